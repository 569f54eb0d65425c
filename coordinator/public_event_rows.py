"""The rows behind a period's public events, read at one moment from a coordinator's database."""

from collections.abc import Iterator
from pathlib import Path

from peerllm.charter.log_entries import Entry
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.ledger import HOST_PREFIX
from peerllm.coordinator.ledger_tables import LedgerTables
from peerllm.coordinator.public_events import (
    SETTLED_US,
    PaidSpan,
    seat_steps,
    strike_entries,
    tier_entries,
    window_entries,
    within,
)
from peerllm.coordinator.region_figures import read_receipt
from peerllm.coordinator.storage_schema import io_errors, open_database
from peerllm.coordinator.strike_tables import StrikeTables


class PeriodRefusedError(CoordinatorError):
    """The period is not over, or ends before it begins."""


def public_events(path: Path, since_us: int, until_us: int, now_us: int) -> list[Entry]:
    """What is to be taken down for a period; raises PeriodRefusedError and StorageError."""
    if until_us <= since_us:
        raise PeriodRefusedError("the period ends before it begins: give a later --until")
    if until_us + SETTLED_US > now_us:
        raise PeriodRefusedError(
            "the period is not over: give an --until that has passed, an hour ago at least (UTC)"
        )
    with io_errors("reading the database"):
        database = open_database(path, read_only=True)
        try:
            with database.atomic():
                tables = LedgerTables(database, lambda: now_us)
                steps = seat_steps(
                    tables.rows(
                        "SELECT peer_id, since_us, tier, region FROM seat_history"
                        " ORDER BY since_us, entry"
                    )
                )
                strikes = StrikeTables(tables, lambda: now_us).strikes(None)
                entries = [
                    *strike_entries(strikes),
                    *tier_entries(steps),
                    *window_entries(_dedicated_spans(tables), steps),
                ]
        finally:
            database.close()
    return within(entries, since_us, until_us)


def _dedicated_spans(tables: LedgerTables) -> Iterator[PaidSpan]:
    """Paid work of every host that was ever dedicated, of all times.

    A window may have begun long before the period that it ends in.
    """
    for host, raw, request, opened_at_us, recorded_at_us in tables.rows(
        "SELECT host, raw, receipts.reservation_id, opened_at_us, receipts.recorded_at_us"
        " FROM receipts JOIN reservations USING (reservation_id)"
        " JOIN transfers ON transfers.reservation_id = reservations.reservation_id"
        " AND transfers.credit_account = ? || host"
        " WHERE host IN (SELECT peer_id FROM seat_history WHERE tier = 'dedicated')",
        HOST_PREFIX,
    ):
        # A host's word for how long it worked counts no further than the request was open here.
        began_us = max(opened_at_us, recorded_at_us - read_receipt(host, raw).duration_us)
        yield PaidSpan(host, request, min(began_us, recorded_at_us), recorded_at_us)
