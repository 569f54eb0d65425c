"""A host's own account from the ledger, at one moment: money, dates, days and payouts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from peerllm.charter.promises import EscrowRule
from peerllm.coordinator import ledger
from peerllm.coordinator.ledger_statement import PayoutRow, payouts_of
from peerllm.coordinator.payout import DAY_US, HostBooks, Standing, standing

# Not imported when it runs: whoever only reads a statement has no database software.
if TYPE_CHECKING:
    from peerllm.coordinator.ledger_tables import LedgerTables
    from peerllm.coordinator.payout_storage import PayoutStorage

# How many UTC days of earnings are told, today's included.
DAYS_TOLD = 31


@dataclass(frozen=True, slots=True)
class DatedAmount:
    """Nano-USD at an instant in epoch microseconds."""

    at_us: int
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatement:
    """All that the ledger says to a host.

    `releases`: what comes free from escrow, one entry a UTC day, soonest first. `days`: what was
    earned on each of the last days, by the day's beginning; days without earnings are left out.
    """

    books: HostBooks
    standing: Standing
    releases: tuple[DatedAmount, ...]
    days: tuple[DatedAmount, ...]
    payouts: tuple[PayoutRow, ...]


def host_statement(
    tables: "LedgerTables", payouts: "PayoutStorage", rule: EscrowRule, host: str, now_us: int
) -> HostStatement:
    """Read a host's statement; one that never earned anything has an empty one."""
    account = ledger.host_account(host)
    found = payouts.standing(rule, host)
    if found is None:
        books = HostBooks(
            host=host,
            earned=0,
            rested=0,
            paid=0,
            receipts=0,
            first_receipt_us=None,
            oldest_resting_us=None,
        )
        found = books, standing(books, rule, now_us)
    hold_us = rule.hold_days * DAY_US
    resting = tables.rows(
        "SELECT MAX(recorded_at_us) + ?, SUM(amount) FROM transfers"
        " WHERE credit_account = ? AND recorded_at_us > ?"
        " GROUP BY (recorded_at_us + ?) / ? ORDER BY 1",
        hold_us,
        account,
        now_us - hold_us,
        hold_us,
        DAY_US,
    )
    first_day = (now_us // DAY_US - DAYS_TOLD + 1) * DAY_US
    days = tables.rows(
        "SELECT recorded_at_us / ? * ?, SUM(amount) FROM transfers"
        " WHERE credit_account = ? AND recorded_at_us BETWEEN ? AND ? GROUP BY 1 ORDER BY 1",
        DAY_US,
        DAY_US,
        account,
        first_day,
        # Not what a clock that has been set back since has entered later.
        first_day + DAYS_TOLD * DAY_US - 1,
    )
    return HostStatement(
        books=found[0],
        standing=found[1],
        releases=releases(found[0], found[1], [DatedAmount(*row) for row in resting]),
        days=tuple(DatedAmount(*row) for row in days),
        payouts=payouts_of(tables, host),
    )


def releases(
    books: HostBooks, found: Standing, resting: list[DatedAmount]
) -> tuple[DatedAmount, ...]:
    """When what is in escrow comes free: as each earning's rest ends, or with full trust.

    `resting`: the earnings that rest, by the day on which each has rested long enough.
    """
    if found.trusted:
        return ()
    trusted_from = found.trusted_from_us if found.receipts_missing == 0 else None
    # What was paid out before its rest was over, under an older rule, does not come free again.
    ahead = max(0, books.paid - books.rested)
    dated: list[DatedAmount] = []
    for one in resting:
        at_us, amount = one.at_us, max(0, one.amount - ahead)
        ahead = max(0, ahead - one.amount)
        if trusted_from is not None and trusted_from < at_us:
            at_us = trusted_from
            if dated and dated[-1].at_us == at_us:
                amount += dated.pop().amount
        if amount:
            dated.append(DatedAmount(at_us, amount))
    return tuple(dated)
