"""One connection to the coordinator's database, and how every part of it reads and writes."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from peerllm.coordinator.ledger_tables import LedgerTables
from peerllm.coordinator.payout_storage import PayoutStorage
from peerllm.coordinator.seat_tables import SeatTables
from peerllm.coordinator.storage_schema import io_errors, open_database, write_transaction
from peerllm.coordinator.strike_tables import StrikeTables

T = TypeVar("T")


def wall_clock_us() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


class StorageConnection:
    """What the parts of `StorageFile` share; see there for what they promise."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], int] = wall_clock_us,
        read_only: bool = False,
    ) -> None:
        self._database = open_database(path, read_only=read_only)
        self._tables = LedgerTables(self._database, clock)
        self._seats = SeatTables(self._tables, clock)
        self._strikes = StrikeTables(self._tables, clock)
        self.payouts = PayoutStorage(self._database, self._tables, clock)
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        with io_errors("closing the database"):
            self._database.close()

    def _write(self, write: Callable[[], T]) -> T:
        with io_errors("a write to the database"), write_transaction(self._database):
            return write()

    def _read(self, read: Callable[[], T]) -> T:
        with io_errors("reading the database"):
            return read()
