"""Reservations whose void could not be written: tried again until the money is given back."""

import trio
from prometheus_client import Gauge

from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.events import CoordinatorEvent
from peerllm.coordinator.storage import Storage
from peerllm.privacy.event_log import EventLog

# A backup or a report holds the write lock for seconds; asking more often only queues behind it.
RETRY_SECONDS = 5.0
# A try that waits longer than this is as good as failed. The storage's own patience is 5 s.
TRY_SECONDS = 10.0
# A megabyte of ids. Where so many fail the disk is gone, and the next start voids what is open.
MOST_OWED = 10_000


class OwedVoids:
    """Ids of reservations to void, in memory: a restart voids whatever is open anyway."""

    def __init__(self, storage: Storage, gauge: Gauge, log: EventLog[CoordinatorEvent]) -> None:
        self._storage = storage
        self._gauge = gauge
        self._log = log
        # A dict for its order.
        self._owed: dict[str, None] = {}
        self._some = trio.Event()

    def owe(self, reservation_id: str) -> None:
        """Void a reservation as soon as the ledger can."""
        if len(self._owed) >= MOST_OWED:
            self._log.event("void_left_to_restart", request=reservation_id)
            return
        self._owed[reservation_id] = None
        self._gauge.set(len(self._owed))
        self._log.event("void_owed", request=reservation_id)
        self._some.set()

    async def give_back(self) -> None:
        """Void what is owed, for ever."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            while self._owed:
                reservation_id = next(iter(self._owed))
                del self._owed[reservation_id]
                if await self._void(reservation_id):
                    self._log.event("void_made", request=reservation_id)
                    self._gauge.set(len(self._owed))
                    continue
                # To the end of the line: one that can never be voided holds up no other.
                self._owed[reservation_id] = None
                await trio.sleep(RETRY_SECONDS)

    async def _void(self, reservation_id: str) -> bool:
        with trio.move_on_after(TRY_SECONDS):
            try:
                await self._storage.void(reservation_id)
            # Whatever is wrong with one void, the requests that run must not end for it.
            except CoordinatorError:
                return False
            return True
        return False
