"""The two ends of a stream on which a model's file is fetched.

Neither end holds more than one frame, and neither waits for the other without a deadline.
"""

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

import trio

from peerllm.overlay.errors import StreamClosed
from peerllm.overlay.framing import ByteStream, FrameDecoder, to_frame
from peerllm.overlay.model_messages import (
    MAXIMUM_ANSWER_BYTES,
    MAXIMUM_QUESTION_BYTES,
    Answer,
    AskList,
    AskPiece,
    Denied,
    ListAnswer,
    PieceAnswer,
    Question,
    answer,
    question,
    to_body,
)

Incoming = TypeVar("Incoming")

# Small, so that under a cap of the owner's several streams take turns well within the five
# seconds after which the muxer gives a stalled reader up.
_SLICE_BYTES: Final = 32 * 1024
# Under the lowest cap a slice takes its turn every two seconds; ten turns missed is gone.
_STALL_SECONDS: Final = 20.0
# 9 KiB/s: a fetch of any size is better served by another holder than by less.
PIECE_SECONDS: Final = 120.0
# Between two questions: longer than a piece takes to be written, or a second
# holder of it to be allowed near the end.
_QUESTION_SECONDS: Final = 60.0
# Who opens a stream has a question; one that is turned away anyhow gets little patience.
_FIRST_QUESTION_SECONDS: Final = 5.0


class ModelLibrary(Protocol):
    """The files that a holder shares."""

    async def hashes(self, digest: bytes) -> bytes | None:
        """The hashes of a file's pieces; None when it is not shared (any more)."""

    async def piece(self, digest: bytes, index: int) -> bytes | None:
        """One piece as it was hashed; None when it is not there, or damaged."""


class _Channel(Generic[Incoming]):
    """Frames over a stream, one at a time."""

    def __init__(
        self, stream: ByteStream, parse: Callable[[bytes], Incoming], maximum_bytes: int
    ) -> None:
        self._stream = stream
        self._parse = parse
        self._frames = FrameDecoder(maximum_bytes=maximum_bytes)

    async def send(self, message: Question | Answer) -> None:
        """Send one frame. Raises `StreamClosed`, also when the peer takes too long over it."""
        frame = to_frame(to_body(message))
        with trio.move_on_after(PIECE_SECONDS) as scope:
            for start in range(0, len(frame), _SLICE_BYTES):
                await self._stream.write(frame[start : start + _SLICE_BYTES])
        if scope.cancelled_caught:
            raise StreamClosed(f"the peer did not take a piece within {PIECE_SECONDS} s")

    async def receive(self, stall_seconds: float, whole_seconds: float) -> Incoming:
        """The next frame's message.

        Raises `StreamClosed` at the end, when nothing comes for `stall_seconds` or not all
        within `whole_seconds`, and `FrameError` for what is no such message.
        """
        deadline = trio.current_time() + whole_seconds
        while (body := self._frames.pop()) is None:
            with trio.move_on_at(min(deadline, trio.current_time() + stall_seconds)):
                data = await self._stream.read(_SLICE_BYTES)
                if not data:
                    raise StreamClosed("the peer ended the stream")
                self._frames.push(data)
                continue
            raise StreamClosed("the peer has fallen silent")
        return self._parse(body)


async def serve_model(
    stream: ByteStream,
    library: ModelLibrary,
    *,
    admits: Callable[[bytes], bool],
    is_busy: Callable[[], bool] = lambda: False,
) -> None:
    """Answer a host's questions until it stops asking. Raises `StreamClosed` and `FrameError`.

    `admits` says for every question whether the peer may have that file now, `is_busy` whether
    nobody may have anything now.
    """
    channel = _Channel(stream, question, MAXIMUM_QUESTION_BYTES)
    while True:
        asked = await channel.receive(_QUESTION_SECONDS, _QUESTION_SECONDS)
        if not admits(asked.digest):
            given: Answer = Denied(reason="not_introduced")
        elif is_busy():
            given = Denied(reason="busy")
        elif isinstance(asked, AskList):
            hashes = await library.hashes(asked.digest)
            given = Denied(reason="not_here") if hashes is None else ListAnswer(hashes=hashes)
        else:
            data = await library.piece(asked.digest, asked.index)
            given = (
                Denied(reason="not_here")
                if data is None
                else PieceAnswer(index=asked.index, data=data)
            )
        await channel.send(given)
        if isinstance(given, Denied):
            return


async def deny(stream: ByteStream) -> None:
    """Answer a host's first question with no, because others are being served.

    Raises `StreamClosed` and `FrameError`.
    """
    channel = _Channel(stream, question, MAXIMUM_QUESTION_BYTES)
    await channel.receive(_FIRST_QUESTION_SECONDS, _FIRST_QUESTION_SECONDS)
    await channel.send(Denied(reason="busy"))


class HolderStream:
    """A stream to a holder, for one file. Any call raises `StreamClosed` or `FrameError`."""

    def __init__(self, stream: ByteStream, digest: bytes) -> None:
        self._digest = digest
        self._stream = stream
        self._channel = _Channel(stream, answer, MAXIMUM_ANSWER_BYTES)

    async def pieces(self) -> bytes | Denied:
        """The hashes of the file's pieces, as the holder has them."""
        await self._channel.send(AskList(digest=self._digest))
        match await self._channel.receive(_STALL_SECONDS, PIECE_SECONDS):
            case ListAnswer(hashes=hashes):
                return hashes
            case Denied() as denied:
                return denied
            case PieceAnswer():
                raise StreamClosed("a piece instead of the list")

    async def ask(self, index: int) -> None:
        """Ask for a piece; more than one may be on the way."""
        await self._channel.send(AskPiece(digest=self._digest, index=index))

    async def piece(self) -> PieceAnswer | Denied:
        """The next piece that was asked for."""
        match await self._channel.receive(_STALL_SECONDS, PIECE_SECONDS):
            case ListAnswer():
                raise StreamClosed("a list instead of a piece")
            case given:
                return given

    async def close(self) -> None:
        """End the stream. Bounded in time, never raises, may be repeated."""
        await self._stream.close()
