"""One long-lived conversation with a peer over one byte stream.

A session reads frames and hands them to its owner, writes what the owner sends, and
finds out by heartbeats that a peer is gone: TCP alone takes minutes to notice, and the
muxer never does. Nothing a peer does makes `run` raise: it returns why the session ended.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar, cast

import trio

from peerllm.overlay.errors import FrameError, SessionClosed, SessionViolation, StreamClosed
from peerllm.overlay.framing import READ_BYTES, ByteStream, FrameDecoder, to_frame
from peerllm.overlay.messages import (
    MAXIMUM_FRAME_BYTES,
    Goodbye,
    Heartbeat,
    HeartbeatReply,
    Message,
    to_bytes,
)

Incoming = TypeVar("Incoming")

EndReason = Literal[
    "closed_here",  # close() was called
    "cancelled",  # the task that ran the session was cancelled
    "goodbye",  # the peer said goodbye
    "stream_ended",  # the peer ended the stream between two frames
    "truncated",  # the stream ended inside a frame
    "stream_lost",  # the connection broke
    "silent",  # two heartbeats in a row went unanswered
    "slow_reader",  # the peer did not take what was sent to it
    "malformed",
    "too_large",
    "unsupported_version",
    "violation",  # the owner's handler raised SessionViolation, or heartbeats came in a flood
]

# Missing one may be a pause of the peer's process or a busy uplink; two is twenty seconds.
_MISSES_ALLOWED: Final = 2
# As long as a whole frame of the largest kind and a few hundred small ones wait for the
# peer, it is merely slower than us.
_MAXIMUM_BACKLOG_BYTES: Final = 2 * MAXIMUM_FRAME_BYTES
# The send deadline applies to each slice, so that it asks for a minimum rate (13 kB/s at
# five seconds) and not for a large envelope to pass a home line at once.
_SLICE_BYTES: Final = 64 * 1024
# Heartbeats and replies between two of our own; a peer in order sends two. Each costs up to 50 us
# (measured): as many as a line carries would take all of an event loop's time.
_MAXIMUM_BEATS: Final = 1000
# What is still to be sent when a session closes in order, goodbye included.
_FAREWELL_SECONDS: Final = 1.0

# After these the stream takes no more bytes, or the peer no more interest.
_NO_FAREWELL: Final = frozenset({"cancelled", "stream_lost", "silent", "slow_reader"})


@dataclass(frozen=True)
class SessionEnd:
    """Why a session ended. Neither field ever repeats anything the peer sent."""

    reason: EndReason
    detail: str = ""


class Session(Generic[Incoming]):
    """A framed conversation; `run` it once, send from any task meanwhile.

    `parse` turns a frame's body into a message or raises `FrameError`. `on_message` gets
    every message but heartbeats, in order; it must not block, may call `post` and `close`,
    and raises `SessionViolation` to end the session. Any other exception of it is a bug
    and propagates out of `run`.

    `send_deadline` is how many seconds the peer may take for each 64 KiB, and how long
    `send` waits for room in the backlog. `heartbeat_seconds` may be set while it runs, as
    a host does when its coordinator's welcome names another.
    """

    def __init__(
        self,
        stream: ByteStream,
        parse: Callable[[bytes], Incoming],
        on_message: Callable[[Incoming], None],
        *,
        heartbeat_seconds: float = 10.0,
        send_deadline: float = 5.0,
        maximum_frame_bytes: int = MAXIMUM_FRAME_BYTES,
    ) -> None:
        self._stream = stream
        self._parse = parse
        self._on_message = on_message
        self.heartbeat_seconds = heartbeat_seconds
        self._send_deadline = send_deadline
        self._frames = FrameDecoder(maximum_bytes=maximum_frame_bytes)
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._work = trio.Event()
        self._room = trio.Event()
        self._end: SessionEnd | None = None
        self._ended = trio.Event()
        self._heartbeats_sent = 0
        self._heartbeats_answered = 0
        self._beats_received = 0

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended; nothing can be sent any more."""
        return self._end is not None

    async def run(self) -> SessionEnd:
        """Carry the session until it ends, close the stream and say why it ended."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read_and_beat)
                nursery.start_soon(self._write)
                await self._ended.wait()
                if self._end is not None and self._end.reason in _NO_FAREWELL:
                    nursery.cancel_scope.cancel()
                nursery.cancel_scope.deadline = trio.current_time() + _FAREWELL_SECONDS
        finally:
            self._finish("cancelled")
            with trio.CancelScope(shield=True):  # bounded by the stream
                await self._stream.close()
        return cast("SessionEnd", self._end)

    async def send(self, message: Message) -> None:
        """Queue one message, waiting while the peer is behind.

        Returns before the peer has it. A cancelled send has queued all or nothing. Raises
        `SessionClosed` when the session has ended, and ends it when there is no room
        within the send deadline.
        """
        frame = to_frame(to_bytes(message))
        with trio.move_on_after(self._send_deadline):
            while not self.is_closed and not self._has_room_for(frame):
                if self._room.is_set():
                    self._room = trio.Event()
                await self._room.wait()
        self._queue(frame)
        await trio.lowlevel.checkpoint()

    def post(self, message: Message) -> None:
        """Queue one message without waiting; a peer that is too far behind is closed.

        Raises `SessionClosed` when the session has ended.
        """
        self._queue(to_frame(to_bytes(message)))

    def close(self, reason: str = "") -> None:
        """End the session in order: send what is queued and a goodbye with this reason.

        The reason must be printable ASCII of at most 200 characters. Does nothing to a
        session that has ended.
        """
        self._finish("closed_here", reason)

    def _has_room_for(self, frame: bytes) -> bool:
        return self._backlog_bytes + len(frame) <= _MAXIMUM_BACKLOG_BYTES

    def _queue(self, frame: bytes, *, first: bool = False) -> None:
        if not self.is_closed and not self._has_room_for(frame):
            self._finish("slow_reader")
        if self._end is not None:
            raise SessionClosed(f"the session has ended: {self._end.reason}")
        self._append(frame, first=first)

    def _append(self, frame: bytes, *, first: bool = False) -> None:
        if first:
            self._backlog.appendleft(frame)
        else:
            self._backlog.append(frame)
        self._backlog_bytes += len(frame)
        self._work.set()

    def _post_heartbeat(self, message: Heartbeat | HeartbeatReply) -> None:
        # First in line: a long backlog must not pass for a dead peer.
        self._queue(to_frame(to_bytes(message)), first=True)

    def _finish(self, reason: EndReason, detail: str = "") -> None:
        """Record the first reason for which the session ends, and wake who waits."""
        if self._end is not None:
            return
        self._end = SessionEnd(reason, detail)
        if reason not in _NO_FAREWELL:
            self._append(to_frame(to_bytes(Goodbye(reason=detail or reason))))
        self._ended.set()
        self._work.set()
        self._room.set()

    async def _read_and_beat(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            nursery.start_soon(self._beat)
            await self._ended.wait()
            nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        try:
            while not self.is_closed:
                data = await self._stream.read(READ_BYTES)
                if not data:
                    self._finish("stream_ended" if self._frames.is_empty else "truncated")
                    return
                self._frames.push(data)
                while not self.is_closed and (body := self._frames.pop()) is not None:
                    self._receive(self._parse(body))
        except StreamClosed:
            self._finish("stream_lost")
        except SessionClosed:
            return  # ended while answering
        except FrameError as error:
            self._finish(error.reason)
        except SessionViolation as violation:
            self._finish("violation", violation.reason)

    def _receive(self, message: Incoming) -> None:
        if isinstance(message, Heartbeat | HeartbeatReply):
            self._beats_received += 1
            if self._beats_received > _MAXIMUM_BEATS:
                raise SessionViolation("too many heartbeats")
        if isinstance(message, Heartbeat):
            self._post_heartbeat(HeartbeatReply(sequence=message.sequence))
        elif isinstance(message, HeartbeatReply):
            # An answer to what was not asked proves nothing.
            if message.sequence <= self._heartbeats_sent:
                self._heartbeats_answered = max(self._heartbeats_answered, message.sequence)
        else:
            self._on_message(message)
            if isinstance(message, Goodbye):
                self._finish("goodbye")

    async def _beat(self) -> None:
        while True:
            await trio.sleep(self.heartbeat_seconds)
            if self._heartbeats_sent - self._heartbeats_answered >= _MISSES_ALLOWED:
                self._finish("silent")
            if self.is_closed:
                return
            self._beats_received = 0
            self._heartbeats_sent += 1
            self._post_heartbeat(Heartbeat(sequence=self._heartbeats_sent))

    async def _write(self) -> None:
        try:
            while batch := await self._next_batch():
                for start in range(0, len(batch), _SLICE_BYTES):
                    piece = batch[start : start + _SLICE_BYTES]
                    with trio.fail_after(self._send_deadline):
                        await self._stream.write(piece)
                    self._backlog_bytes -= len(piece)
                    self._room.set()
        except trio.TooSlowError:
            self._finish("slow_reader")
        except StreamClosed:
            # The peer's last words may still wait to be read, and say more than this.
            with trio.move_on_after(_FAREWELL_SECONDS):
                await self._ended.wait()
            self._finish("stream_lost")

    async def _next_batch(self) -> bytes:
        """Wait for frames and return as many as fill a slice; none once all are sent."""
        if not self._backlog and not self.is_closed:
            self._work = trio.Event()
            await self._work.wait()
            # Let every other task that is ready add its frame to the same write.
            await trio.lowlevel.checkpoint()
        frames: list[bytes] = []
        size = 0
        while self._backlog and size < _SLICE_BYTES:
            frames.append(self._backlog.popleft())
            size += len(frames[-1])
        return b"".join(frames)
