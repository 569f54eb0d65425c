"""Walking the hash chain: every link is made anew from the rows as they stand."""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from sqlite_utils import Database

from peerllm.coordinator.chain import (
    PAYOUT_COLUMNS,
    PAYOUT_LINE_COLUMNS,
    RECEIPT_COLUMNS,
    RESERVATION_COLUMNS,
    TRANSFER_COLUMNS,
    Row,
    link,
    receipt_row,
)

# One altered row breaks one link; a list of hundreds would tell nobody more.
MOST_FAULTS_TOLD: Final = 20

# In the order in which a link binds them; rows of before the chain belong to its opening, entry 0.
_ROWS: Final[tuple[tuple[str, Callable[[Row], Row]], ...]] = (
    (
        f"SELECT COALESCE(entry, 0), {TRANSFER_COLUMNS} FROM transfers ORDER BY 1, sequence",  # noqa: S608
        tuple,
    ),
    (
        f"SELECT COALESCE(entry, 0), {RESERVATION_COLUMNS} FROM reservations"  # noqa: S608
        " WHERE state <> 'open' ORDER BY 1, reservation_id",
        tuple,
    ),
    (
        f"SELECT COALESCE(entry, 0), {RECEIPT_COLUMNS} FROM receipts"  # noqa: S608
        " ORDER BY 1, host, dispatch_id",
        receipt_row,
    ),
    (f"SELECT entry, {PAYOUT_COLUMNS} FROM payouts ORDER BY 1", tuple),  # noqa: S608
    (
        f"SELECT payouts.entry, {PAYOUT_LINE_COLUMNS.replace('batch', 'payout_lines.batch')}"  # noqa: S608
        " FROM payout_lines JOIN payouts USING (batch) ORDER BY 1, line",
        tuple,
    ),
)


class _Rows:
    """One table's rows, handed out entry by entry."""

    def __init__(self, rows: Iterator[Row], bound: Callable[[Row], Row]) -> None:
        self._rows = rows
        self._bound = bound
        self._next = next(rows, None)

    def of(self, entry: int) -> Iterator[Row]:
        """The rows of this entry, if they are the next ones."""
        while self._next is not None and self._next[0] == entry:
            yield self._bound(self._next[1:])
            self._next = next(self._rows, None)

    def left_before(self, entry: int) -> bool:
        """Whether rows name an entry that was not there."""
        return self._next is not None and int(str(self._next[0])) < entry

    def skip_to(self, entry: int) -> None:
        """Leave out rows of entries before this one."""
        while self.left_before(entry):
            self._next = next(self._rows, None)


def chain_faults(database: Database) -> tuple[list[str], int, bytes]:
    """What is wrong with the chain, the number of its last link, and that link's digest."""
    tables = [_Rows(iter(database.execute(sql)), bound) for sql, bound in _ROWS]
    faults, previous, expected = [], b"", 0
    for entry, kind, subject, digest in database.execute(
        "SELECT entry, kind, subject, digest FROM chain ORDER BY entry"
    ):
        if entry != expected:
            faults.append(f"links {expected} to {entry - 1} of the hash chain are missing")
        if any(table.left_before(entry) for table in tables):
            faults.append(f"rows name a link before {entry} that is not in the hash chain")
            for table in tables:
                table.skip_to(entry)
        rows = chain.from_iterable(table.of(entry) for table in tables)
        if link(previous, kind, subject, rows) != digest:
            faults.append(
                f"link {entry} of the hash chain ({kind} {subject}) does not bind its rows: one of"
                " them, or the link, was altered, added or taken away"
            )
        # Goes on from the link as it stands, so that each break is told where it is.
        previous, expected = digest, entry + 1
    if any(table.left_before(2**63) for table in tables):
        faults.append("rows name a link after the hash chain's last one")
    return faults[:MOST_FAULTS_TOLD], expected - 1, previous
