"""Statements for people at a terminal, and for programs as plain values."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.table import Table

from peerllm.charter.money_text import usd
from peerllm.charter.presentation import printable
from peerllm.charter.promises import PayoutRule
from peerllm.coordinator.ledger_statement import CustomerStatement, PayoutRow
from peerllm.coordinator.payout import HostBooks, PayoutDates, Standing


@dataclass(frozen=True, slots=True)
class HostAccount:
    """All that a host's statement shows."""

    books: HostBooks
    standing: Standing
    payouts: tuple[PayoutRow, ...]
    rule: PayoutRule
    dates: PayoutDates


def customer_values(found: CustomerStatement) -> dict[str, object]:
    """A customer's statement as values that JSON can carry."""
    return {
        "account": found.account,
        "tier": found.price_tier,
        "balance_nano_usd": found.funds.balance,
        "reserved_nano_usd": found.funds.reserved,
        "requests": found.requests,
        "charged_nano_usd": found.charged,
        "to_hosts_nano_usd": found.to_hosts,
        "margin_nano_usd": found.margin,
        "processor_fees_nano_usd": found.processor_fees,
        "deposits": [
            {
                "id": line.deposit_id,
                "at_us": line.recorded_at_us,
                "amount_nano_usd": line.amount,
                "tax_nano_usd": line.tax,
                "processor_fee_nano_usd": line.processor_fee,
            }
            for line in found.deposits
        ],
    }


def customer_table(found: CustomerStatement) -> Table:
    """A customer's statement; the processor's fees are a line of their own."""
    return _table(
        f"{found.account}, tier {found.price_tier}",
        [
            *(
                (f"Paid in {day(line.recorded_at_us)}, {line.deposit_id}", usd(line.amount))
                for line in found.deposits
            ),
            ("Taxes paid with it", usd(sum(line.tax for line in found.deposits))),
            ("Payment processor's fees, borne by the network", usd(found.processor_fees)),
            (f"Charged for {found.requests:,} requests, after tax", usd(found.charged)),
            ("  of it for hosts", usd(found.to_hosts)),
            ("  of it for the network, before the processor's fees", usd(found.margin)),
            ("Balance", usd(found.funds.balance)),
            ("  of it reserved", usd(found.funds.reserved)),
        ],
    )


def host_values(account: HostAccount) -> dict[str, object]:
    """A host's statement as values that JSON can carry."""
    books, standing = account.books, account.standing
    return {
        "host": books.host,
        "earned_nano_usd": books.earned,
        "paid_nano_usd": books.paid,
        "balance_nano_usd": books.balance,
        "payable_nano_usd": standing.payable,
        "in_escrow_nano_usd": standing.resting,
        "next_release_at_us": standing.next_release_us,
        "trusted": standing.trusted,
        "trusted_from_us": standing.trusted_from_us,
        "receipts": books.receipts,
        "receipts_missing": standing.receipts_missing,
        "minimum_payout_nano_usd": account.rule.minimum_nano_usd,
        "payout_every_days": account.rule.every_days,
        "payout_due_at_us": account.dates.due_us,
        "payout_overdue_since_us": account.dates.overdue_since_us,
        "payouts": [
            {"batch": row.batch, "at_us": row.recorded_at_us, "amount_nano_usd": row.amount}
            for row in account.payouts
        ],
    }


def host_table(account: HostAccount) -> Table:
    """A host's statement, with the dates on which what rests comes free."""
    books, standing = account.books, account.standing
    return _table(
        books.host,
        [
            (f"Earned, with {books.receipts:,} receipts", usd(books.earned)),
            *(
                (f"Paid out {day(row.recorded_at_us)}, {row.batch}", usd(row.amount))
                for row in account.payouts
            ),
            ("Balance", usd(books.balance)),
            ("  payable now", usd(standing.payable)),
            ("  in escrow", usd(standing.resting)),
            *_escrow_rows(standing),
            (
                "Paid out",
                f"from {usd(account.rule.minimum_nano_usd)}, every {account.rule.every_days} days",
            ),
            *_due_rows(account.dates),
        ],
    )


def _due_rows(dates: PayoutDates) -> Iterator[tuple[str, str]]:
    if dates.overdue_since_us is not None:
        yield "Payout overdue", f"since {day(dates.overdue_since_us)}"
    elif dates.due_us is not None:
        yield "Next payout due", day(dates.due_us)


def _escrow_rows(standing: Standing) -> Iterator[tuple[str, str]]:
    if standing.trusted:
        yield "Trusted", "yes: earnings rest no longer"
        return
    if standing.next_release_us is not None:
        yield "Next release from escrow", day(standing.next_release_us)
    when = "a while after the first receipt"
    if standing.trusted_from_us is not None:
        when = f"from {day(standing.trusted_from_us)}"
    more = f", and {standing.receipts_missing:,} more receipts" if standing.receipts_missing else ""
    yield "Trusted", when + more


def _table(title: str, rows: list[tuple[str, str]]) -> Table:
    table = Table("", "", title=title, title_justify="left", show_header=False)
    for row in rows:
        table.add_row(*map(printable, row))
    return table


def day(moment_us: int) -> str:
    """A date in UTC."""
    return datetime.fromtimestamp(moment_us / 1_000_000, UTC).strftime("%Y-%m-%d")
