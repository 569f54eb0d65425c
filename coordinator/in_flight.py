"""Requests being served now: how many a key has, and when there are none."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio


class InFlight:
    """Counts requests by API key while they run."""

    def __init__(self) -> None:
        self._by_key: Counter[str] = Counter()
        self._idle = trio.Event()

    def of(self, key_id: str) -> int:
        """How many requests of one key are being served."""
        return self._by_key[key_id]

    @contextmanager
    def counted(self, key_id: str) -> Iterator[None]:
        """Count one request while the block runs."""
        self._by_key[key_id] += 1
        try:
            yield
        finally:
            self._by_key -= Counter([key_id])  # drops keys that reach zero
            if not self._by_key:
                self._idle.set()
                self._idle = trio.Event()

    async def idle(self) -> None:
        """Wait until no request is being served."""
        while self._by_key:
            await self._idle.wait()
