"""A stream that moves no more bytes a second than its owner allows, and counts them."""

from collections.abc import Callable
from typing import Final

import trio

from peerllm.overlay.framing import ByteStream

# So much may pass at once after a quiet while: a chunk's pieces come in bursts.
_BURST_SECONDS: Final = 0.25


class Meter:
    """Bytes moved, and when the next ones may move. Shared by both directions."""

    def __init__(self, bytes_per_second: Callable[[], int] = lambda: 0) -> None:
        """`bytes_per_second` is asked every time, 0 is no cap: a change counts at once."""
        self._rate = bytes_per_second
        self._clear_at = 0.0
        self.received = 0
        self.sent = 0

    def delay(self, count: int, now: float) -> float:
        """Take `count` bytes into account; seconds to wait before moving more."""
        rate = self._rate()
        if rate <= 0:
            self._clear_at = now
            return 0.0
        self._clear_at = max(self._clear_at, now - _BURST_SECONDS) + count / rate
        return max(0.0, self._clear_at - now)


class MeteredStream:
    """Another stream, metered."""

    def __init__(self, stream: ByteStream, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    async def read(self, maximum: int) -> bytes:
        """As the stream's; waits so that a fast sender is slowed by the flow control."""
        data = await self._stream.read(maximum)
        self._meter.received += len(data)
        await trio.sleep(self._meter.delay(len(data), trio.current_time()))
        return data

    async def write(self, data: bytes) -> None:
        """As the stream's; first waits until these bytes may go."""
        await trio.sleep(self._meter.delay(len(data), trio.current_time()))
        await self._stream.write(data)
        self._meter.sent += len(data)

    async def close(self) -> None:
        """As the stream's."""
        await self._stream.close()
