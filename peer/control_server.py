"""The local control API's server: HTTP/1.1 by h11 on a loopback port, one request a connection.

Everything that comes in is bounded in size and time. A caller without the token learns
nothing; a subscriber that does not read is dropped, never waited for. A web page in a
browser cannot ask: its Origin, and a Host that is not this machine's, are refused.
"""

import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import h11
import msgspec
import trio

from peerllm.peer.control_api import (
    MAXIMUM_BODY_BYTES,
    ControlFile,
    Fault,
    control_path,
)
from peerllm.peer.files import write_state

_REQUEST_SECONDS: Final = 10.0
_SEND_SECONDS: Final = 5.0
# Window, command line and a script or two.
_MAXIMUM_CONNECTIONS: Final = 32
# A subscriber that is so far behind is not reading.
_BACKLOG_EVENTS: Final = 256
# Shows both ends that the other is there.
_COMMENT_SECONDS: Final = 15.0
_READ_BYTES: Final = 16 * 1024
_OWN_NAMES: Final = frozenset({b"127.0.0.1", b"localhost"})
_EVENT_HEADERS: Final = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-store"),
    ("connection", "close"),
]


@dataclass(frozen=True)
class Request:
    """What was asked, with a token that was right."""

    method: str
    path: str
    body: bytes


@dataclass(frozen=True)
class Response:
    """A status and what goes into the body as JSON."""

    status: int
    value: msgspec.Struct


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    name: str
    value: msgspec.Struct | msgspec.Raw


@dataclass(frozen=True)
class Stream:
    """An answer that comes as server-sent events: `run` is given what sends each."""

    run: Callable[[Callable[[Event], Awaitable[None]]], Awaitable[None]]


Answerer = Callable[[Request], Awaitable[Response | Stream]]


class Broadcast:
    """Hands every event to every subscriber who keeps up."""

    def __init__(self) -> None:
        self._subscribers: set[trio.MemorySendChannel[Event]] = set()

    def publish(self, event: Event) -> None:
        """Tell all; those whose backlog is full are dropped."""
        for subscriber in list(self._subscribers):
            try:
                subscriber.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._subscribers.discard(subscriber)
                subscriber.close()

    @asynccontextmanager
    async def subscribe(self, *first: Event) -> AsyncIterator[trio.MemoryReceiveChannel[Event]]:
        """Everything from now on, after `first`; ends when this subscriber is too slow."""
        sender, receiver = trio.open_memory_channel[Event](_BACKLOG_EVENTS)
        for event in first:
            sender.send_nowait(event)
        self._subscribers.add(sender)
        try:
            yield receiver
        finally:
            self._subscribers.discard(sender)
            sender.close()


class ControlServer:
    """Answers on a loopback port; made by `open_control`."""

    def __init__(
        self,
        token: str,
        answer: Answerer,
        broadcast: Broadcast,
        greeting: Callable[[], Event],
    ) -> None:
        self._token = token
        self._answer = answer
        self._broadcast = broadcast
        self._greeting = greeting
        self._limiter = trio.CapacityLimiter(_MAXIMUM_CONNECTIONS)
        # Connections that have not shown the token yet, the oldest first.
        self._unread: dict[trio.CancelScope, None] = {}

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection, from its request to its end; never raises for a caller's fault."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_READ_BYTES)
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                request = await self._read_in_time(stream, connection)
                if request is None:
                    return
                try:
                    self._limiter.acquire_nowait()
                except trio.WouldBlock:
                    return
                try:
                    await self._serve_one(stream, connection, request)
                finally:
                    self._limiter.release()

    async def _read_in_time(
        self, stream: trio.SocketStream, connection: h11.Connection
    ) -> Request | Response | None:
        """See `_read`. Others that are silent make room: any user of the machine can connect."""
        request: Request | Response | None = None
        with trio.move_on_after(_REQUEST_SECONDS) as scope:
            self._unread[scope] = None
            if len(self._unread) > _MAXIMUM_CONNECTIONS:
                oldest = next(iter(self._unread))
                del self._unread[oldest]
                oldest.cancel()
            try:
                request = await self._read(stream, connection)
            finally:
                self._unread.pop(scope, None)
        return request

    async def _serve_one(
        self,
        stream: trio.SocketStream,
        connection: h11.Connection,
        request: Request | Response,
    ) -> None:
        if isinstance(request, Request) and (request.method, request.path) == ("GET", "/v1/events"):
            await self._stream_events(stream, connection)
            return
        response = request if isinstance(request, Response) else await self._answer(request)
        if isinstance(response, Stream):
            await self._stream_answer(stream, connection, response)
            return
        body = msgspec.json.encode(response.value)
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ]
        with suppress(h11.LocalProtocolError):
            raw = connection.send(h11.Response(status_code=response.status, headers=headers)) or b""
            raw += connection.send(h11.Data(data=body)) or b""
            raw += connection.send(h11.EndOfMessage()) or b""
            with trio.move_on_after(_SEND_SECONDS):
                await stream.send_all(raw)

    async def _read(
        self, stream: trio.SocketStream, connection: h11.Connection
    ) -> Request | Response | None:
        """The request; or how it is refused; or None when there is nobody to answer."""
        head: h11.Request | None = None
        body = bytearray()
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError:
                return _fault(400, "that is not an HTTP/1.1 request")
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(_READ_BYTES))
            elif isinstance(event, h11.Request):
                head = event
                # Before the body: whoever may not ask need not be listened to.
                if not _is_local(head):
                    return _fault(403, "only programs of this machine may ask, not web pages")
                if not self._admits(head):
                    return _fault(401, "the token is missing or wrong: see control.json")
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAXIMUM_BODY_BYTES:
                    return _fault(413, f"a body has at most {MAXIMUM_BODY_BYTES} bytes")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                path = head.target.decode("ascii", "replace").partition("?")[0]
                return Request(head.method.decode("ascii", "replace"), path, bytes(body))
            else:
                return None

    def _admits(self, head: h11.Request) -> bool:
        wanted = f"Bearer {self._token}".encode()
        shown = [value for name, value in head.headers if name == b"authorization"]
        return len(shown) == 1 and hmac.compare_digest(shown[0], wanted)

    async def _stream_answer(
        self, stream: trio.SocketStream, connection: h11.Connection, answer: Stream
    ) -> None:
        async def send(event: Event) -> None:
            raw = connection.send(h11.Data(data=_sse(event))) or b""
            with trio.move_on_after(_SEND_SECONDS) as late:
                await stream.send_all(raw)
            if late.cancelled_caught:
                raise trio.BrokenResourceError

        head = connection.send(h11.Response(status_code=200, headers=_EVENT_HEADERS)) or b""
        with trio.move_on_after(_SEND_SECONDS):
            await stream.send_all(head)
        await answer.run(send)

    async def _stream_events(self, stream: trio.SocketStream, connection: h11.Connection) -> None:
        async with self._broadcast.subscribe(self._greeting()) as events:
            raw = connection.send(h11.Response(status_code=200, headers=_EVENT_HEADERS)) or b""
            while True:
                with trio.move_on_after(_SEND_SECONDS) as late:
                    await stream.send_all(raw)
                if late.cancelled_caught:
                    return
                text = b": still here\n\n"
                try:
                    with trio.move_on_after(_COMMENT_SECONDS):
                        text = _sse(await events.receive())
                except trio.EndOfChannel:
                    return
                raw = connection.send(h11.Data(data=text)) or b""


@asynccontextmanager
async def open_control(
    data_directory: Path,
    answer: Answerer,
    broadcast: Broadcast,
    greeting: Callable[[], Event],
    *,
    process_id: int,
) -> AsyncIterator[int]:
    """Serve until the block is left; gives the port and leaves it in the control file.

    `greeting` is the first event that a new subscriber gets.
    """
    token = secrets.token_urlsafe(32)
    server = ControlServer(token, answer, broadcast, greeting)
    # Not an open port of the machine: only programs on it can connect.
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    path = control_path(data_directory)
    here = ControlFile(port=port, token=token, process_id=process_id)
    await trio.to_thread.run_sync(write_state, path, here)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.serve_listeners, server.serve, listeners))
            yield port
            nursery.cancel_scope.cancel()
    finally:
        with suppress(OSError):
            # Unless another host of the same folder has taken it over.
            if path.read_bytes().find(token.encode()) >= 0:
                path.unlink()


def _is_local(head: h11.Request) -> bool:
    """Whether no web page is behind it, not even one whose name was made to lead here."""
    hosts = [value.rpartition(b":")[0] or value for name, value in head.headers if name == b"host"]
    origins = [value for name, value in head.headers if name == b"origin"]
    return not origins and all(host.lower() in _OWN_NAMES for host in hosts)


def _sse(event: Event) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (event.name.encode(), msgspec.json.encode(event.value))


def _fault(status: int, sentence: str) -> Response:
    return Response(status, Fault(error=sentence))
