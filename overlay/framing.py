"""Messages cut out of a byte stream: each body is preceded by its length.

The length is needed even though the transport keeps order: yamux reports a peer that
vanished and a peer that finished in the same way, and only a whole frame tells them apart.
"""

import struct
from typing import Final, Protocol

from peerllm.overlay.errors import FrameError

_LENGTH: Final = struct.Struct(">I")

# yamux answers every read with a window update of its own, so reading the length and the
# body separately costs half as much CPU again; this is yamux's largest frame.
READ_BYTES: Final = 64 * 1024


class ByteStream(Protocol):
    """An ordered stream of bytes to one peer.

    Raises `StreamClosed` from `read` and `write` once the peer or the connection is gone.
    A `read` or `write` that is cancelled may have moved part of the data: close after it.
    """

    async def read(self, maximum: int) -> bytes:
        """Return between one and `maximum` bytes, or none at the end of the stream."""
        ...

    async def write(self, data: bytes) -> None:
        """Send all of the data, waiting for as long as the peer has no room for it."""
        ...

    async def close(self) -> None:
        """End the stream both ways. Bounded in time, never raises, may be repeated."""
        ...


def to_frame(body: bytes) -> bytes:
    """Return the body preceded by its length, ready to be written."""
    return _LENGTH.pack(len(body)) + body


class FrameDecoder:
    """Turns pieces of a byte stream, cut anywhere, back into frames.

    Holds at most one frame and one push beyond it, provided `pop` is called until it
    returns None after every `push`.
    """

    def __init__(self, *, maximum_bytes: int) -> None:
        self._maximum_bytes = maximum_bytes
        self._buffer = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether the stream may end here without a frame being cut short."""
        return not self._buffer

    def push(self, data: bytes) -> None:
        """Add what was just read."""
        self._buffer += data

    def pop(self) -> bytes | None:
        """Return the next whole frame's body, or None until more has been pushed.

        Raises `FrameError("too_large")` as soon as such a length is announced, before
        any of that frame is buffered.
        """
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._maximum_bytes:
            raise FrameError(
                "too_large", f"a frame of {length} bytes, at most {self._maximum_bytes} allowed"
            )
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return body
