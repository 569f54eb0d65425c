import contextlib
from collections.abc import Awaitable, Callable

import pytest
import trio

from peerllm.crypto.identity import Identity
from peerllm.overlay.errors import AddressError, DialError, StreamClosed
from peerllm.overlay.node import Stream, open_node

ANYWHERE = "/ip4/127.0.0.1/tcp/0"


def anyone(_peer_id: str) -> bool:
    return True


def remembering(seen: list[Stream]) -> Callable[[Stream], Awaitable[None]]:
    async def handler(stream: Stream) -> None:
        seen.append(stream)
        while data := await stream.read(1000):
            await stream.write(data)

    return handler


async def test_both_ends_know_whom_they_talk_to() -> None:
    server, caller = Identity.generate(), Identity.generate()
    seen: list[Stream] = []
    with trio.fail_after(10):
        async with (
            open_node(server, listen=ANYWHERE, admits=anyone) as node,
            open_node(caller, listen=None, admits=anyone) as client,
        ):
            node.serve("/test/1", remembering(seen))
            stream = await client.dial(node.addresses[0], "/test/1")
            await stream.write(b"hello")
            assert await stream.read(1000) == b"hello"
            assert stream.peer_id == server.peer_id == node.peer_id
            assert [inbound.peer_id for inbound in seen] == [caller.peer_id]
            assert [inbound.remote_address for inbound in seen] == ["127.0.0.1"]


async def test_a_node_over_ipv6_knows_its_callers_address() -> None:
    seen: list[Stream] = []
    with trio.fail_after(10):
        async with (
            open_node(Identity.generate(), listen="/ip6/::1/tcp/0", admits=anyone) as node,
            open_node(Identity.generate(), listen=None, admits=anyone) as client,
        ):
            node.serve("/test/1", remembering(seen))
            stream = await client.dial(node.addresses[0], "/test/1")
            await stream.write(b"hello")
            assert await stream.read(1000) == b"hello"
            assert [inbound.remote_address for inbound in seen] == ["::1"]


async def test_addresses_are_concrete() -> None:
    identity = Identity.generate()
    with trio.fail_after(10):
        async with open_node(identity, listen="/ip4/0.0.0.0/tcp/0", admits=anyone) as node:
            assert node.port
            assert node.addresses
            for address in node.addresses:
                assert address.endswith(f"/tcp/{node.port}/p2p/{identity.peer_id}")
            assert not any("0.0.0.0" in address for address in node.addresses)  # noqa: S104
        async with open_node(identity, listen=None, admits=anyone) as node:
            assert node.addresses == ()
            assert node.port is None


async def test_disconnecting_a_peer_ends_its_streams() -> None:
    caller = Identity.generate()
    seen: list[Stream] = []
    with trio.fail_after(10):
        async with (
            open_node(Identity.generate(), listen=ANYWHERE, admits=anyone) as node,
            open_node(caller, listen=None, admits=anyone) as client,
        ):
            node.serve("/test/1", remembering(seen))
            stream = await client.dial(node.addresses[0], "/test/1")
            await node.disconnect(caller.peer_id)
            with contextlib.suppress(StreamClosed):
                assert await stream.read(1000) == b""
            await node.disconnect(caller.peer_id)


async def test_closing_a_stream_delivers_what_was_written_before() -> None:
    async def parting(stream: Stream) -> None:
        await stream.write(b"x" * 100_000)

    received = bytearray()
    with trio.fail_after(10):
        async with (
            open_node(Identity.generate(), listen=ANYWHERE, admits=anyone) as node,
            open_node(Identity.generate(), listen=None, admits=anyone) as client,
        ):
            node.serve("/test/1", parting)
            stream = await client.dial(node.addresses[0], "/test/1")
            await stream.write(b"y" * 100_000)
            while data := await stream.read(1000):
                received += data
    assert received == b"x" * 100_000


@pytest.mark.parametrize(
    "address",
    [
        "",
        "127.0.0.1:4001",
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/127.0.0.1/tcp/4001/p2p/nobody",
        f"/ip4/127.0.0.1/udp/4001/p2p/{Identity.generate().peer_id}",
        f"/p2p/{Identity.generate().peer_id}",
        f"127.0.0.1/p2p/{Identity.generate().peer_id}",
    ],
)
async def test_an_address_that_cannot_be_dialled_is_named(address: str) -> None:
    async with open_node(Identity.generate(), listen=None, admits=anyone) as node:
        with pytest.raises(AddressError):
            await node.dial(address, "/test/1")


async def test_a_node_does_not_dial_itself() -> None:
    async with open_node(Identity.generate(), listen=ANYWHERE, admits=anyone) as node:
        with pytest.raises(AddressError, match="itself"):
            await node.dial(node.addresses[0], "/test/1")


@pytest.mark.parametrize("listen", ["nonsense", "/ip4/127.0.0.1", "/ip4/192.0.2.1/tcp/0"])
async def test_listening_where_one_cannot_is_an_error(listen: str) -> None:
    with pytest.raises(AddressError):
        async with open_node(Identity.generate(), listen=listen, admits=anyone):
            pytest.fail("it claims to listen")


async def test_an_exception_inside_the_context_arrives_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_node(Identity.generate(), listen=ANYWHERE, admits=anyone):
            raise ZeroDivisionError


async def test_cancelling_a_dial_and_a_node_leaves_nothing_behind() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    silent = f"/ip4/127.0.0.1/tcp/{port}/p2p/{Identity.generate().peer_id}"
    with trio.fail_after(10):
        with trio.move_on_after(0.2) as scope:
            async with open_node(Identity.generate(), listen=ANYWHERE, admits=anyone) as node:
                with pytest.raises(DialError):
                    await node.dial(silent, "/test/1", timeout=0.1)
                await node.dial(silent, "/test/1")
        assert scope.cancelled_caught
        await listeners[0].aclose()
