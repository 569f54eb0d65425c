"""One libp2p node: it listens, admits, serves protocols and dials."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from libp2p.network.stream.exceptions import StreamEOF, StreamError
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.utils.address_validation import expand_wildcard_address
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from peerllm.crypto.errors import PeerIdError
from peerllm.crypto.identity import Identity, public_key_of
from peerllm.overlay.errors import AddressError, DialError, StreamClosed
from peerllm.overlay.framing import READ_BYTES
from peerllm.overlay.hardening import HardenedHost

# For the peer to take our last bytes and end its side as well.
_LINGER_SECONDS: Final = 1.0


class Stream:
    """A stream to an authenticated peer, a `ByteStream` for sessions.

    One task may read while another writes. A connection goes with its last stream.
    """

    def __init__(self, host: HardenedHost, stream: NetStream) -> None:
        self._host = host
        self._stream = stream
        self._closed = False
        address = stream.get_remote_address()
        self.peer_id: Final = str(stream.muxed_conn.peer_id)
        self.remote_address: Final = None if address is None else address[0]

    async def read(self, maximum: int) -> bytes:
        """Return between one and `maximum` bytes, or none at the end of the stream.

        Raises `StreamClosed` when the connection broke. A vanished peer may look like a
        finished one: only the protocol above can tell.
        """
        try:
            return await self._stream.read(maximum)
        except StreamEOF:
            return b""
        except Exception as error:
            # The muxer leaks whatever its layers raise; all of it means the same.
            raise StreamClosed(f"read failed: {type(error).__name__}") from None

    async def write(self, data: bytes) -> None:
        """Send all of the data; raises `StreamClosed` when that can no longer be done.

        The muxer gives up on a peer that takes nothing for five seconds.
        """
        try:
            await self._stream.write(data)
        except Exception as error:
            # As in read.
            raise StreamClosed(f"write failed: {type(error).__name__}") from None

    async def close(self) -> None:
        """End the stream both ways. Bounded in time, never raises, may be repeated."""
        if self._closed:
            return
        self._closed = True
        with trio.CancelScope(shield=True):
            with trio.move_on_after(_LINGER_SECONDS):
                try:
                    await self._stream.close_write()
                    # Closing a socket with unread data makes the kernel throw away what
                    # the peer has not fetched yet, our last words among it.
                    while await self._stream.read(READ_BYTES):
                        pass
                except StreamError:
                    pass
            await self._host.discard(self._stream)


class Node:
    """A running node. Made by `open_node`."""

    def __init__(self, identity: Identity, host: HardenedHost) -> None:
        self._host = host
        self.peer_id: Final = identity.peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where this node can be dialled, each ending in its peer id; wildcards spelled out."""
        return tuple(
            f"{concrete}/p2p/{self.peer_id}"
            for address in self._host.listening_on()
            for concrete in expand_wildcard_address(address)
        )

    @property
    def port(self) -> int | None:
        """The TCP port this node listens on, if it does."""
        for address in self._host.listening_on():
            return int(str(address.value_for_protocol("tcp")))
        return None

    def serve(self, protocol: str, handler: Callable[[Stream], Awaitable[None]]) -> None:
        """Call the handler for every inbound stream of a protocol, each in its own task.

        When the handler returns or raises, its stream is closed. An exception is logged
        by type and place and goes no further.
        """

        async def handle(net_stream: NetStream) -> None:
            stream = Stream(self._host, net_stream)
            try:
                await handler(stream)
            finally:
                await stream.close()

        self._host.serve(protocol, handle)

    async def dial(self, address: str, protocol: str, *, timeout: float = 10) -> Stream:
        """Open a stream to the peer an address names, and only to that peer.

        `timeout` bounds all of it, in seconds. Raises `AddressError` for an address that
        is no `/.../tcp/PORT/p2p/ID`, `DialError` when the peer cannot be reached, proves
        another identity, does not answer in time or does not speak the protocol.
        """
        target, peer = _parse_dialled(address)
        if str(peer) == self.peer_id:
            raise AddressError(f"{address} is this node itself")
        try:
            with trio.fail_after(timeout):
                return Stream(self._host, await self._host.open_stream(target, peer, protocol))
        except trio.TooSlowError:
            raise DialError(f"no answer from {address} within {timeout} s") from None

    async def disconnect(self, peer_id: str) -> None:
        """Cut every connection to a peer; does nothing when there is none."""
        await self._host.disconnect(ID.from_string(peer_id))


@asynccontextmanager
async def open_node(
    identity: Identity,
    *,
    listen: str | None,
    admits: Callable[[str], bool],
    maximum_connections: int = 2000,
) -> AsyncIterator[Node]:
    """Run a node for as long as the context lasts, then close all its connections.

    `listen` is a multiaddr such as `/ip4/0.0.0.0/tcp/4001` (port 0 picks one), or None to
    dial only. `admits` is asked with the proven peer id of every inbound connection; it
    must not block. Raises `AddressError` when `listen` cannot be listened on.
    """
    where = None if listen is None else _parse_multiaddr(listen)
    failure: Exception | None = None
    async with trio.open_nursery() as background:
        host = HardenedHost(
            identity,
            admits=admits,
            maximum_connections=maximum_connections,
            background=background,
        )
        async with host.running(where):
            if where is not None and not host.listening_on():
                failure = AddressError(f"cannot listen on {listen}: in use, or not ours")
            else:
                try:
                    yield Node(identity, host)
                except Exception as error:
                    # Raised below: the nurseries in here are no business of the caller's,
                    # who would get its exception wrapped in a group for each of them.
                    failure = error
    if failure is not None:
        raise failure


def _parse_multiaddr(text: str) -> Multiaddr:
    try:
        address = Multiaddr(text)
        address.value_for_protocol("tcp")
    except (MultiaddrError, ValueError):
        raise AddressError(f"{text!r} is not a multiaddr with a TCP port") from None
    return address


def _parse_dialled(text: str) -> tuple[Multiaddr, ID]:
    where, found, peer_id = text.rpartition("/p2p/")
    try:
        public_key_of(peer_id)
    except PeerIdError:
        found = ""
    if not found:
        raise AddressError(f"{text!r} does not end in /p2p/ and an Ed25519 peer id")
    return _parse_multiaddr(where), ID.from_string(peer_id)
