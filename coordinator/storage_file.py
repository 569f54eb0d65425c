"""All that lasts of a coordinator, synchronously: what the trio shell and the commands share."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import outcome

from peerllm.coordinator.customer_storage import CustomerStorage
from peerllm.coordinator.errors import StorageError
from peerllm.coordinator.money_storage import MoneyStorage
from peerllm.coordinator.seat_storage import SeatStorage
from peerllm.coordinator.storage_schema import io_errors, write_transaction
from peerllm.coordinator.strike_storage import StrikeStorage

T = TypeVar("T")


class StorageFile(CustomerStorage, MoneyStorage, SeatStorage, StrikeStorage):
    """One connection to the coordinator's database; of one thread at a time.

    Several processes may hold one each: a write waits for the others' to finish. Every method is
    one transaction. They raise StorageError when the disk or a lock fails them, LedgerError and
    UnknownAccountError for bugs of the caller; whenever one raises, nothing of it was written.
    """

    def together(
        self, operations: Sequence[Callable[["StorageFile"], T]]
    ) -> list[outcome.Outcome[T]]:
        """Run several writes as one group commit: one wait for the disk instead of many.

        Each succeeds or fails by itself; raises StorageError if the group as a whole could not
        be written, and then nothing of any of them was.
        """
        results: list[outcome.Outcome[T]] = []
        with io_errors("a group commit"), write_transaction(self._database):
            for operation in operations:
                results.append(outcome.capture(operation, self))
                if not self._database.conn.in_transaction:
                    # A full disk, for one, makes SQLite roll the whole transaction back.
                    raise StorageError("the database undid a group of writes: is the disk full?")
        return results
