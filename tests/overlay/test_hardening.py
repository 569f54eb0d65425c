"""Every default of libp2p that was found wanting, over real sockets.

Each test fails on a stock host; if one can be removed after an upgrade, so can its part
of overlay/hardening.py.
"""

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.insecure.transport import PLAINTEXT_PROTOCOL_ID, InsecureTransport
from multiaddr import Multiaddr

from peerllm.crypto.identity import Identity
from peerllm.overlay.errors import DialError, StreamClosed
from peerllm.overlay.messages import (
    HostMessage,
    Piece,
    Slots,
    coordinator_message,
    host_message,
)
from peerllm.overlay.node import Node, Stream, open_node
from peerllm.overlay.session import Session, SessionEnd

ECHO = "/test/echo/1"
ANYWHERE = "/ip4/127.0.0.1/tcp/0"
DIGEST = bytes(32)


@asynccontextmanager
async def a_node(
    identity: Identity | None = None, listen: str | None = ANYWHERE, **options: Any
) -> AsyncIterator[Node]:
    options.setdefault("admits", lambda _peer: True)
    with trio.fail_after(30):  # what hangs without a hardening fails instead
        async with open_node(identity or Identity.generate(), listen=listen, **options) as node:
            node.serve(ECHO, echo)
            yield node


async def echo(stream: Stream) -> None:
    while data := await stream.read(65536):
        await stream.write(data)


async def still_serves(node: Node) -> bool:
    async with a_node(listen=None) as client:
        stream = await client.dial(node.addresses[0], ECHO)
        await stream.write(b"ping")
        answer = await stream.read(100)
        await stream.close()
        return answer == b"ping"


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.sleep(0.01)


def connections_of(node: Node) -> list[Any]:
    return node._host._swarm.get_connections()  # type: ignore[return-value]


async def test_a_plaintext_caller_cannot_pass_for_another() -> None:
    served: list[str] = []

    async def remember(stream: Stream) -> None:
        served.append(stream.peer_id)

    async with a_node() as node:
        node.serve("/test/remember/1", remember)
        victim = create_new_key_pair(Identity.generate().seed)
        liar = new_host(
            key_pair=victim,
            sec_opt={PLAINTEXT_PROTOCOL_ID: InsecureTransport(victim)},  # type: ignore[dict-item]
        )
        async with liar.run([]):
            target = info_from_p2p_addr(Multiaddr(node.addresses[0]))
            with pytest.raises(Exception, match="security"):
                await liar.get_network().dial_addr(target.addrs[0], target.peer_id)
            await liar.close()
        assert connections_of(node) == []
        assert served == []


async def test_a_peer_that_is_not_who_the_address_names_is_refused() -> None:
    async with a_node() as node, a_node(listen=None) as client:
        other = Identity.generate().peer_id
        with pytest.raises(DialError):
            await client.dial(f"/ip4/127.0.0.1/tcp/{node.port}/p2p/{other}", ECHO)
        assert connections_of(client) == []


async def test_a_handler_that_raises_ends_its_stream_only() -> None:
    async def broken(_stream: Stream) -> None:
        raise ZeroDivisionError

    async with a_node() as node, a_node(listen=None) as client:
        node.serve("/test/broken/1", broken)
        healthy = await client.dial(node.addresses[0], ECHO)
        for _ in range(3):
            stream = await client.dial(node.addresses[0], "/test/broken/1")
            with contextlib.suppress(StreamClosed):
                assert await stream.read(10) == b""
            await stream.close()
        await healthy.write(b"still here")
        assert await healthy.read(100) == b"still here"


async def test_a_peer_that_vanishes_in_mid_sentence_ends_nothing_else() -> None:
    async with a_node() as node:
        async with a_node(listen=None) as client:
            stream = await client.dial(node.addresses[0], ECHO)
            await stream.write(b"to be contin")
            (connection,) = connections_of(client)
            await connection.muxed_conn.secured_conn.close()
        await until(lambda: connections_of(node) == [])
        assert await still_serves(node)


async def test_inbound_slots_come_back() -> None:
    """Three hundred connections through a node that has room for twenty."""
    served = 0

    async def call_often(node: Node, times: int) -> None:
        nonlocal served
        async with a_node(listen=None) as client:
            for _ in range(times):
                stream = await client.dial(node.addresses[0], ECHO)
                await stream.write(b"hello")
                answer = await stream.read(100)
                served += answer == b"hello"
                await stream.close()

    async with a_node(maximum_connections=20) as node:
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(call_often, node, 50)
        assert served == 300
        assert await still_serves(node)


async def test_an_unknown_peer_is_refused_before_any_stream() -> None:
    friend, stranger = Identity.generate(), Identity.generate()
    asked: list[str] = []
    served: list[str] = []

    def admits(peer_id: str) -> bool:
        asked.append(peer_id)
        return peer_id == friend.peer_id

    async def remember(stream: Stream) -> None:
        served.append(stream.peer_id)

    async with a_node(admits=admits) as node:
        node.serve("/test/remember/1", remember)
        for identity in (stranger, friend):
            async with a_node(identity, listen=None) as client:
                if identity is stranger:
                    with pytest.raises(DialError):
                        await client.dial(node.addresses[0], "/test/remember/1")
                else:
                    await client.dial(node.addresses[0], "/test/remember/1")
                    await until(lambda: served != [])
    assert asked == [stranger.peer_id, friend.peer_id]
    assert served == [friend.peer_id]


async def test_a_peer_that_was_down_can_be_dialled_as_soon_as_it_is_up() -> None:
    identity = Identity.generate()
    async with a_node(identity) as node:
        address = node.addresses[0]
    async with a_node(listen=None) as client:
        for _ in range(3):
            with pytest.raises(DialError):
                await client.dial(address, ECHO)
        async with a_node(identity, listen=address.partition("/p2p/")[0]):
            await client.dial(address, ECHO)


async def test_dialling_a_silent_address_ends_in_time() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with a_node(listen=None) as client:
        with pytest.raises(DialError, match="no answer"):
            await client.dial(
                f"/ip4/127.0.0.1/tcp/{port}/p2p/{Identity.generate().peer_id}", ECHO, timeout=0.2
            )
    await listeners[0].aclose()


async def test_nothing_is_spoken_but_what_was_served() -> None:
    stock = ["/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"]
    relay = ["/libp2p/circuit/relay/0.2.0/hop", "/libp2p/circuit/relay/0.2.0/stop"]
    async with a_node() as node, a_node(listen=None) as client:
        for protocol in stock + relay:
            with pytest.raises(DialError, match="does not speak"):
                await client.dial(node.addresses[0], protocol)


async def test_a_peer_that_ignores_its_window_is_cut() -> None:
    async def never_read(_stream: Stream) -> None:
        await trio.sleep_forever()

    async def flood(stream: Stream) -> int:
        stream._stream.muxed_stream.send_window = 2**40  # type: ignore[attr-defined]
        for sent in range(4800):  # 300 MB
            try:
                await stream.write(bytes(65000))
            except StreamClosed:
                return sent
        return 4800

    async with a_node() as node, a_node(listen=None) as client:
        node.serve("/test/deaf/1", never_read)
        stream = await client.dial(node.addresses[0], "/test/deaf/1")
        (connection,) = connections_of(node)
        assert await flood(stream) < 1000
        await until(lambda: connections_of(node) == [])
        assert connection.is_closed
        assert await still_serves(node)


async def test_streams_left_open_are_refused_instead_of_waited_for() -> None:
    async with a_node() as node, a_node(listen=None) as client:
        for _ in range(32):
            await client.dial(node.addresses[0], ECHO)
        with pytest.raises(DialError, match="close some first"):
            await client.dial(node.addresses[0], ECHO)


async def test_a_peer_that_opens_too_many_streams_is_cut() -> None:
    async with a_node() as node, a_node(listen=None) as client:
        await client.dial(node.addresses[0], ECHO)
        (connection,) = connections_of(client)
        with contextlib.suppress(Exception):  # it is cut meanwhile
            for _ in range(300):
                await connection.new_stream()
        await until(lambda: connections_of(node) == [])
        assert await still_serves(node)


async def test_the_same_peer_back_again_replaces_its_old_connection() -> None:
    identity = Identity.generate()
    async with (
        a_node() as node,
        a_node(identity, listen=None) as before,
        a_node(identity, listen=None) as after,
    ):
        stale = await before.dial(node.addresses[0], ECHO)
        fresh = await after.dial(node.addresses[0], ECHO)
        with contextlib.suppress(StreamClosed):
            assert await stale.read(10) == b""
        await until(lambda: len(connections_of(node)) == 1)
        await fresh.write(b"me again")
        assert await fresh.read(100) == b"me again"


@pytest.mark.parametrize("how", ["in order", "cancelled"])
async def test_leaving_a_node_closes_its_connections(how: str) -> None:
    async with a_node(listen=None) as client:
        with trio.CancelScope() as scope:
            async with a_node() as node:
                stream = await client.dial(node.addresses[0], ECHO)
                if how == "cancelled":
                    scope.cancel()
                    await trio.sleep_forever()
        with contextlib.suppress(StreamClosed):
            assert await stream.read(10) == b""
        await until(lambda: connections_of(client) == [])


async def test_a_connection_goes_with_its_last_stream() -> None:
    async with a_node() as node, a_node(listen=None) as client:
        one = await client.dial(node.addresses[0], ECHO)
        other = await client.dial(node.addresses[0], ECHO)
        await one.close()
        await other.write(b"not yet")
        assert await other.read(100) == b"not yet"
        await other.close()
        assert connections_of(client) == []
        await until(lambda: connections_of(node) == [])


async def test_a_cancelled_write_leaves_the_connection_in_order() -> None:
    async with a_node() as node, a_node(listen=None) as client:
        doomed = await client.dial(node.addresses[0], ECHO)
        bystander = await client.dial(node.addresses[0], ECHO)
        for steps in range(15):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(doomed.write, bytes(1000))
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            await bystander.write(b"unharmed")
            assert await bystander.read(100) == b"unharmed"


@pytest.mark.parametrize("raw", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 4096, os.urandom(65536), b""])
async def test_garbage_from_strangers_ends_nothing(raw: bytes) -> None:
    async with a_node() as node:
        assert node.port is not None
        for _ in range(20):
            stranger = await trio.open_tcp_stream("127.0.0.1", node.port)
            with contextlib.suppress(trio.BrokenResourceError):
                await stranger.send_all(raw)
            await stranger.aclose()
        assert await still_serves(node)


class Told:
    """A stranger's words, and how many bytes were asked for at once."""

    def __init__(self, raw: bytes) -> None:
        self._left = raw
        self.asked: list[int] = []

    async def read(self, maximum: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked.append(maximum or 0)
        told, self._left = self._left[:maximum], self._left[maximum:]
        return told


@pytest.mark.parametrize(
    "raw",
    [b"\x80\x80\x80\x80\x01SECRET\n", b"\x81\x08" + b"SECRET" * 171, b"\x06SECRET", b"\x00"],
    ids=["256 MB", "1025 bytes", "without an end", "empty"],
)
async def test_a_line_without_bound_is_neither_waited_for_nor_quoted(raw: bytes) -> None:
    told = Told(raw)
    async with a_node(listen=None):
        with pytest.raises(MultiselectCommunicatorError) as refused:
            await MultiselectCommunicator(cast("Any", told)).read()
    assert max(told.asked) <= 1024
    assert "SECRET" not in repr(refused.value.__cause__)


async def test_silent_strangers_hold_a_bounded_number_of_slots() -> None:
    async with a_node() as node:
        assert node.port is not None
        strangers = [await trio.open_tcp_stream("127.0.0.1", node.port) for _ in range(64)]
        pending = node._host._handshakes
        await until(lambda: pending["127.0.0.1"] == 64)
        one_more = await trio.open_tcp_stream("127.0.0.1", node.port)
        assert await one_more.receive_some() == b""
        for stranger in strangers:
            await stranger.aclose()
        await until(lambda: pending["127.0.0.1"] == 0)
        assert await still_serves(node)


async def test_libp2p_logs_nothing_and_leaves_the_root_logger_alone() -> None:
    secret = "my doctor said"
    records: list[logging.LogRecord] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    async def broken(stream: Stream) -> None:
        raise ValueError((await stream.read(100)).decode())

    root = logging.getLogger()
    collect = Collect()
    level, handlers = root.level, list(root.handlers)
    root.addHandler(collect)
    root.setLevel(logging.DEBUG)
    try:
        async with a_node() as node, a_node(listen=None) as client:
            node.serve("/test/broken/1", broken)
            stream = await client.dial(node.addresses[0], "/test/broken/1")
            await stream.write(secret.encode())
            with contextlib.suppress(StreamClosed):
                await stream.read(10)
            with pytest.raises(DialError):
                await client.dial(node.addresses[0], f"/{secret}/1")
    finally:
        root.removeHandler(collect)
        root.setLevel(level)
    assert root.handlers == handlers
    said = [f"{record.name} {record.getMessage()} {record.exc_info}" for record in records]
    assert any("ValueError at test_hardening.py" in line for line in said)
    assert [line for line in said if secret in line] == []
    assert [line for line in said if line.startswith(("libp2p", "root"))] == []


class Wire:
    """A network between two nodes that can stop carrying without telling either."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.is_cut = trio.Event()

    async def serve(self, task_status: trio.TaskStatus[int]) -> None:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, self._carry, 0)
            task_status.started(listeners[0].socket.getsockname()[1])

    async def _carry(self, near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream("127.0.0.1", self._target)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._copy, near, far)
            nursery.start_soon(self._copy, far, near)

    async def _copy(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                if self.is_cut.is_set():
                    await trio.sleep_forever()
                await sink.send_all(data)


async def test_a_connection_that_fell_silent_is_noticed_and_given_up() -> None:
    ends: list[SessionEnd] = []
    heard: list[HostMessage] = []

    async def coordinate(stream: Stream) -> None:
        session = Session(stream, host_message, heard.append, heartbeat_seconds=0.2)
        ends.append(await session.run())

    async with a_node() as node, a_node(listen=None) as client, trio.open_nursery() as nursery:
        node.serve("/test/session/1", coordinate)
        assert node.port is not None
        wire = Wire(node.port)
        port: int = await nursery.start(wire.serve)
        stream = await client.dial(
            f"/ip4/127.0.0.1/tcp/{port}/p2p/{node.peer_id}", "/test/session/1"
        )
        session = Session(stream, coordinator_message, lambda _message: None, heartbeat_seconds=0.2)

        async def carry() -> None:
            ends.append(await session.run())

        nursery.start_soon(carry)
        await session.send(Slots(digest=DIGEST, free=1))
        await until(lambda: heard != [])
        wire.is_cut.set()
        await until(lambda: len(ends) == 2)
        await until(lambda: connections_of(client) == [])
        nursery.cancel_scope.cancel()
    assert {end.reason for end in ends} == {"silent"}


async def test_a_session_gives_up_a_peer_that_does_not_read() -> None:
    ends: list[SessionEnd] = []

    async def deaf(_stream: Stream) -> None:
        await trio.sleep_forever()

    big = Piece(dispatch_id=bytes(16), sealed=bytes(100_000), final=False)
    async with a_node() as node, a_node(listen=None) as client:
        node.serve("/test/deaf/1", deaf)
        stream = await client.dial(node.addresses[0], "/test/deaf/1")
        session = Session(stream, coordinator_message, lambda _message: None, send_deadline=0.5)

        async def carry() -> None:
            ends.append(await session.run())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry)
            with contextlib.suppress(Exception):
                while True:
                    await session.send(big)
    assert ends == [SessionEnd("slow_reader")]


async def test_garbage_from_an_admitted_peer_ends_its_session_only() -> None:
    ends: list[SessionEnd] = []

    async def coordinate(stream: Stream) -> None:
        ends.append(await Session(stream, host_message, lambda _message: None).run())

    async with a_node() as node, a_node(listen=None) as client:
        node.serve("/test/session/1", coordinate)
        bystander = await client.dial(node.addresses[0], ECHO)
        for garbage in (b"\xff" * 100, b"\x00\x00\x00\x05 junk", os.urandom(10_000)):
            stream = await client.dial(node.addresses[0], "/test/session/1")
            await stream.write(garbage)
            with contextlib.suppress(StreamClosed):
                while await stream.read(1000):
                    pass
            await stream.close()
        await bystander.write(b"unharmed")
        assert await bystander.read(100) == b"unharmed"
    assert len(ends) == 3
    assert {end.reason for end in ends} <= {"too_large", "malformed", "truncated"}


async def test_many_nodes_live_in_one_process() -> None:
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(a_node()) for _ in range(4)]

        async def call(caller: Node, called: Node) -> None:
            stream = await caller.dial(called.addresses[0], ECHO)
            await stream.write(caller.peer_id.encode())
            assert await stream.read(100) == caller.peer_id.encode()

        async with trio.open_nursery() as nursery:
            for caller in nodes:
                for called in nodes:
                    if called is not caller:
                        nursery.start_soon(call, caller, called)
