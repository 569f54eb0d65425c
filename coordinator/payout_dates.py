"""When payouts are due by the charter's interval, and since when one is overdue."""

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from peerllm.charter.promises import EscrowRule, PayoutRule
from peerllm.coordinator import ledger
from peerllm.coordinator.payout import (
    DAY_US,
    HostBooks,
    PayoutDates,
    due_after,
    due_days_passed,
    payable_cents,
    standing,
)

# Not imported when it runs: whoever only reads a statement has no database software.
if TYPE_CHECKING:
    from peerllm.coordinator.ledger_tables import LedgerTables

PAID: Final = "SELECT COALESCE(SUM(amount), 0) FROM transfers WHERE debit_account = ?"
RECEIPTS: Final = """
    SELECT COUNT(*), MIN(receipts.recorded_at_us)
    FROM receipts JOIN reservations USING (reservation_id)
    WHERE host = ? AND state = 'posted'
"""
_BOOK_THEN: Final = """
    SELECT COALESCE(SUM(amount), 0),
        COALESCE(SUM(CASE WHEN recorded_at_us <= ? THEN amount ELSE 0 END), 0)
    FROM transfers WHERE credit_account = ? AND recorded_at_us <= ?
"""
_RECEIPTS_THEN: Final = f"{RECEIPTS} AND receipts.recorded_at_us <= ?"


def last_batch(tables: "LedgerTables") -> tuple[str, int] | None:
    """Name and moment of the newest batch; None before the first."""
    row = tables.row(
        "SELECT batch, created_at_us FROM payouts ORDER BY created_at_us DESC, entry DESC LIMIT 1"
    )
    return None if row is None else (row[0], row[1])


def payout_dates(
    tables: "LedgerTables",
    rule: EscrowRule,
    payout: PayoutRule,
    host: str,
    *,
    now_us: int,
    has_payee: bool,
) -> PayoutDates:
    """When a host's next payout is due, and since when one is overdue.

    What was payable on a due day is owed from then on, since what is payable only grows until it
    is paid. Before the first batch the days run from the first earning of any host. Nothing is
    overdue to a host without a payee: nobody knows whom to pay.
    """
    last = last_batch(tables)
    since_us = _first_earning_us(tables) if last is None else last[1]
    if since_us is None:
        return PayoutDates(None)
    due_us = due_after(since_us, payout.every_days)
    passed = due_days_passed(since_us, payout.every_days, now_us) if has_payee else 0

    def owed(times: int) -> bool:
        then_us = due_after(since_us, payout.every_days, times)
        return _owed(tables, rule, payout.minimum_nano_usd, host, then_us)

    first = bisect_left(range(1, passed + 1), x=True, key=owed) + 1
    if first > passed:
        return PayoutDates(due_us)
    return PayoutDates(due_us, due_after(since_us, payout.every_days, first))


def _owed(tables: "LedgerTables", rule: EscrowRule, minimum: int, host: str, then_us: int) -> bool:
    """Whether a host that was not paid since could have been paid at a moment that is past."""
    account = ledger.host_account(host)
    hold_us = rule.hold_days * DAY_US
    ((earned, rested),) = tables.rows(_BOOK_THEN, then_us - hold_us, account, then_us)
    ((paid,),) = tables.rows(PAID, account)
    ((receipts, first),) = tables.rows(_RECEIPTS_THEN, host, then_us)
    # Only when a clock has jumped was more paid than had been earned.
    if paid > earned:
        return False
    books = HostBooks(
        host=host,
        earned=earned,
        rested=rested,
        paid=paid,
        receipts=receipts,
        first_receipt_us=first,
        oldest_resting_us=None,
    )
    return payable_cents(standing(books, rule, then_us).payable) >= max(minimum, 1)


def _first_earning_us(tables: "LedgerTables") -> int | None:
    ((first,),) = tables.rows(
        "SELECT MIN(recorded_at_us) FROM transfers"
        " WHERE credit_account GLOB 'hosts/*' AND credit_account <> ?",
        ledger.UNCLAIMED_ACCOUNT,
    )
    found: int | None = first
    return found
