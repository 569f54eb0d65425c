"""An in-memory pair of byte streams that misbehaves on request, the same way every time."""

from collections.abc import Callable
from random import Random

import pytest
import trio

from peerllm.overlay.errors import StreamClosed


class MemoryStream:
    """One end of a pair. Reads are cut at places that the seed decides."""

    def __init__(self, random: Random, capacity: int) -> None:
        self._random = random
        self._capacity = capacity
        self._incoming = bytearray()
        self._changed = trio.Condition()
        self._ended = False
        self._broken = False
        self._peer: MemoryStream = self
        self.is_silent = False
        self.is_closed = False
        self.written = bytearray()

    def join(self, peer: "MemoryStream") -> None:
        self._peer = peer

    async def read(self, maximum: int) -> bytes:
        async with self._changed:
            while not (self._incoming or self._ended or self._broken):
                await self._changed.wait()
            if self._broken:
                raise StreamClosed("broken")
            count = self._random.randint(1, max(1, min(maximum, len(self._incoming))))
            piece = bytes(self._incoming[:count])
            del self._incoming[:count]
            self._changed.notify_all()
            return piece

    async def write(self, data: bytes) -> None:
        if self.is_silent:
            await trio.lowlevel.checkpoint()
            return
        peer = self._peer
        async with peer._changed:
            while data:
                if self._broken or peer.is_closed:
                    raise StreamClosed("broken")
                room = self._capacity - len(peer._incoming)
                if room <= 0:
                    await peer._changed.wait()
                    continue
                peer._incoming += data[:room]
                self.written += data[:room]
                data = data[room:]
                peer._changed.notify_all()

    async def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        for end in (self, self._peer):
            async with end._changed:
                end._ended = end._ended or not self.is_silent
                end._changed.notify_all()

    async def snap(self) -> None:
        """Break the connection so that both ends notice."""
        for end in (self, self._peer):
            end._broken = True
            async with end._changed:
                end._changed.notify_all()

    def vanish(self) -> None:
        """Drop everything from now on, both ways, so that neither end notices."""
        self.is_silent = self._peer.is_silent = True


MemoryPair = Callable[..., tuple[MemoryStream, MemoryStream]]


@pytest.fixture
def memory_pair() -> MemoryPair:
    def make(seed: int = 0, capacity: int = 1 << 20) -> tuple[MemoryStream, MemoryStream]:
        random = Random(seed)
        one, other = MemoryStream(random, capacity), MemoryStream(random, capacity)
        one.join(other)
        other.join(one)
        return one, other

    return make
