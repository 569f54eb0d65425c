import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from peerllm.peer.control_api import ControlFile, DrainRequest, control_path
from peerllm.peer.control_server import Broadcast, Event, Request, Response, open_control
from peerllm.peer.files import read_state

GREETING = Event("status", DrainRequest(seconds=1))


class Scene:
    """A control server over an answerer that keeps what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.requests: list[Request] = []
        self.broadcast = Broadcast()

    async def answer(self, request: Request) -> Response:
        self.requests.append(request)
        await trio.lowlevel.checkpoint()
        return Response(200, DrainRequest(seconds=7))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ControlFile]:
        with trio.fail_after(20):
            async with open_control(
                self.directory, self.answer, self.broadcast, lambda: GREETING, process_id=42
            ) as port:
                here = read_state(control_path(self.directory), ControlFile)
                assert here is not None
                assert (here.port, here.process_id) == (port, 42)
                yield here


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def exchange(port: int, raw: bytes) -> bytes:
    """Send, and read until the server closes."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        received = b""
        try:
            await stream.send_all(raw)
            while piece := await stream.receive_some():
                received += piece
        except trio.BrokenResourceError:
            pass
        return received


def request(here: ControlFile, path: str = "/v1/status", body: bytes = b"") -> bytes:
    head = f"POST {path}?x=1 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {here.token}\r\n"
    return (head + f"content-length: {len(body)}\r\n\r\n").encode() + body


async def test_a_request_with_the_token_is_answered(scene: Scene) -> None:
    async with scene.open() as here:
        raw = await exchange(here.port, request(here, body=b"{}"))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body) == {"seconds": 7}
    assert scene.requests == [Request("POST", "/v1/status", b"{}")]


async def test_the_file_is_the_owner_s_and_goes_with_the_host(scene: Scene) -> None:
    async with scene.open() as here:
        path = control_path(scene.directory)
        assert path.stat().st_mode & 0o777 == 0o600
        assert here.token not in repr(here)
        assert len(here.token) >= 43
    assert not path.exists()
    async with scene.open() as first:
        # Another host took the folder over: its file stays.
        text = path.read_text().replace(first.token, "another")
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"Bearer ", b"Bearer x"), b"401"),
        ((b"authorization", b"x-authorization"), b"401"),
        # What a browser adds to a page's requests, and a name made to lead to this machine.
        ((b"host: localhost", b"host: localhost\r\norigin: https://example.org"), b"403"),
        ((b"host: localhost", b"host: localhost\r\norigin: null"), b"403"),
        ((b"host: localhost", b"host: evil.example:80"), b"403"),
        ((b"POST", b"P\x01ST"), b"400"),
        ((b"HTTP/1.1", b"SPDY/9"), b"400"),
        ((b"content-length: 0", b"content-length: -1"), b"400"),
        ((b"content-length: 0\r\n", b"content-length: 70000\r\n\r\n" + bytes(70000)), b"413"),
        ((b"host: localhost", b"host: " + b"x" * 40_000), b"4"),
    ],
)
async def test_what_is_not_right_is_refused_unheard(
    scene: Scene, change: tuple[bytes, bytes], status: bytes
) -> None:
    async with scene.open() as here:
        raw = await exchange(here.port, request(here).replace(*change))
        assert raw.startswith(b"HTTP/1.1 " + status)
        assert scene.requests == []
        # The next one is served as if nothing had been.
        assert b" 200 " in await exchange(here.port, request(here))


async def test_half_a_request_costs_no_more_than_its_connection(scene: Scene) -> None:
    async with scene.open() as here:
        for cut in (0, 5, 60):
            stream = await trio.open_tcp_stream("127.0.0.1", here.port)
            await stream.send_all(request(here)[:cut])
            await stream.aclose()
        assert b" 200 " in await exchange(here.port, request(here))


async def test_a_stranger_s_silent_connections_keep_nobody_out(scene: Scene) -> None:
    async with scene.open() as here:
        held = [await trio.open_tcp_stream("127.0.0.1", here.port) for _ in range(34)]
        for stream in held:
            await stream.send_all(b"G")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert b" 200 " in await exchange(here.port, request(here))
        # The oldest have made room, one for each that came after the 32nd.
        for stream in held[:3]:
            with suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
        with trio.move_on_after(0.05) as waiting:
            await held[3].receive_some()
        assert waiting.cancelled_caught
        for stream in held:
            await stream.aclose()


async def test_too_many_connections_are_closed_at_once(scene: Scene) -> None:
    async with scene.open() as here:
        held = [await subscribe(here) for _ in range(32)]
        for stream in held:
            await read_until(stream, b"event: ")
        assert await exchange(here.port, request(here)) == b""
        for stream in held:
            await stream.aclose()
        # The first event that finds a subscriber gone is still taken by the kernel.
        for _ in range(2):
            scene.broadcast.publish(GREETING)
            await trio.testing.wait_all_tasks_blocked(0.05)
        assert b" 200 " in await exchange(here.port, request(here))


async def subscribe(here: ControlFile) -> trio.SocketStream:
    stream = await trio.open_tcp_stream("127.0.0.1", here.port)
    await stream.send_all(request(here, "/v1/events").replace(b"POST", b"GET"))
    return stream


async def read_until(stream: trio.SocketStream, wanted: bytes) -> bytes:
    received = b""
    while wanted not in received:
        piece = await stream.receive_some()
        assert piece, "the stream ended"
        received += piece
    return received


async def test_subscribers_hear_how_things_are_and_what_changes(scene: Scene) -> None:
    async with scene.open() as here:
        streams = [await subscribe(here) for _ in range(2)]
        for stream in streams:
            head = await read_until(stream, b'event: status\ndata: {"seconds":1}\n\n')
            assert b"content-type: text/event-stream" in head
        scene.broadcast.publish(Event("log", msgspec.Raw(b'{"event":"starting"}')))
        for stream in streams:
            await read_until(stream, b'event: log\ndata: {"event":"starting"}\n\n')
            await stream.aclose()


async def test_a_subscriber_that_does_not_read_is_dropped_and_the_others_go_on(
    scene: Scene,
) -> None:
    async with scene.broadcast.subscribe() as slow, scene.broadcast.subscribe() as quick:
        for _ in range(1000):
            scene.broadcast.publish(GREETING)
            assert await quick.receive() == GREETING
        assert len([event async for event in slow]) == 256
