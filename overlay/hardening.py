"""libp2p 0.8.1 made fit for a coordinator. The only file that touches its private names.

What the release gets wrong, and what stands here instead:

- it accepts unauthenticated plaintext: Noise alone is offered;
- an exception in a stream handler ends the whole service: it ends that stream;
- an inbound slot is never given back: it is when its connection closes;
- a stranger's first line may have any length: longer ones end the connection unread;
- nobody is refused by identity: `admits` decides before any stream is served;
- a muxed stream takes in data without bound: the connection is cut;
- a cancelled write breaks the encryption of everything after it: frames go out whole;
- the same peer, back over a new connection, leaves the dead one listed: it is cut;
- dialling waits 250 ms and shuns a peer for a minute after a failure: neither is used;
- opening a 257th stream waits for ever: streams per connection are capped, both ways;
- identify and ping are served to anyone, in tasks that outlive the host: they are not;
- it logs what peers send: its loggers are silent.

`tests/overlay/test_hardening.py` holds a test for each that fails without it.
"""

import logging
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import trio
from libp2p import new_host
from libp2p.abc import IMuxedConn, INetStream, INotifee, ISecureConn
from libp2p.crypto.ed25519 import create_new_key_pair as ed25519_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError, ParseError
from libp2p.host.basic_host import BasicHost
from libp2p.io.abc import Reader, ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError, MessageTooLarge
from libp2p.io.trio import TrioTCPStream
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection import swarm_connection
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.protocol_muxer import multiselect_communicator
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.rcmgr import Direction
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import TYPE_GO_AWAY, Yamux
from libp2p.utils.varint import read_varint_prefixed_bytes_limited
from multiaddr import Multiaddr

from peerllm.crypto.identity import Identity
from peerllm.overlay.errors import DialError, OverlayError

_log: Final = logging.getLogger("peerllm.overlay")

# The stock 16 MiB would let each of two thousand hosts rightfully fill that much of our
# memory. 1 MiB still carries 25 MB/s at 40 ms.
_WINDOW_BYTES: Final = 1024 * 1024
# What one connection's streams may hold unread, together. A peer that keeps to its windows
# stays below, as no stream of ours goes unread.
_MAXIMUM_UNREAD_BYTES: Final = 4 * 1024 * 1024
# A session, a model exchange and some overlap; each costs a task and some 10 kB.
_MAXIMUM_STREAMS: Final = 32
# Handshakes under way from one network address, before we know who it is. Enough for a
# household behind one address; one attacker cannot hold every inbound slot with silence.
_MAXIMUM_HANDSHAKES_PER_ADDRESS: Final = 64
# Two round trips and 15 ms of arithmetic; a slot is blocked no longer by a silent caller.
_HANDSHAKE_SECONDS: Final = 5
_NEGOTIATION_SECONDS: Final = 5
# Names of protocols: the longest of ours has some 30 bytes, those of others rarely a hundred.
_LONGEST_LINE_BYTES: Final = 1024
# To hand one yamux frame (64 KiB at most) to the kernel.
_WRITE_SECONDS: Final = 5.0
# An inbound connection without a stream; the peer that dialled may be about to open one.
_IDLE_SECONDS: Final = 5.0
# A connection that is being closed is owed little patience.
_PARTING_SECONDS: Final = 1.0

StreamHandler = Callable[[NetStream], Awaitable[None]]


def silence_libp2p() -> None:
    """Keep libp2p from logging anything anywhere: it quotes what peers send.

    Idempotent. What an operator must know is logged by this package, without content.
    """
    libp2p = logging.getLogger("libp2p")
    libp2p.propagate = False
    libp2p.setLevel(logging.CRITICAL + 1)
    libp2p.handlers = [logging.NullHandler()]
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("libp2p."):
            # Some set a level of their own, which would override their parent's.
            logger = logging.getLogger(name)
            logger.setLevel(logging.NOTSET)
            logger.handlers = []
            logger.propagate = True
    # This module logs through the root logger, which also installs a handler on it.
    vars(swarm_connection)["logging"] = libp2p


def _where(error: BaseException) -> str:
    """Name an error and its place; its text may quote a peer."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


class _BoundedYamux(Yamux):
    """Yamux that cuts a peer which overfills it, and never half-sends a frame."""

    async def start(self) -> None:
        try:
            await super().start()
        except Exception as error:
            # Let out, it would end the whole swarm.
            _log.warning("a connection failed: %s", _where(error))
            await self._cleanup_on_error()

    async def _read_data_body(self, length: int) -> bytes:
        unread = sum(map(len, self.stream_buffers.values()))
        if unread + length > _MAXIMUM_UNREAD_BYTES:
            _log.warning("cut %s: it sent more than was read", self.peer_id)
            # The one exception upon which the stock loop closes the connection.
            raise trio.TooSlowError
        return await super()._read_data_body(length)

    async def _write_frame(self, data: bytes) -> None:
        # Noise counts messages: a frame that was encrypted and not sent, because its task
        # was cancelled in between, makes every later one undecipherable.
        parting = data[1] == TYPE_GO_AWAY
        with trio.CancelScope(
            shield=True,
            deadline=trio.current_time() + (_PARTING_SECONDS if parting else _WRITE_SECONDS),
        ) as scope:
            async with self._write_lock:
                await self.secured_conn.write(data)
        if scope.cancelled_caught:
            with trio.CancelScope(shield=True):
                await self.secured_conn.close()
            raise ConnectionClosedError("the peer does not take what is sent to it")
        await trio.lowlevel.checkpoint()


class _BoundedMuxers(MuxerMultistream):
    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        return _BoundedYamux(conn, peer_id, is_initiator=conn.is_initiator)


class _OnConnected(INotifee):
    """Calls back when a connection has been added; every other event is nothing to us."""

    def __init__(self, connected: Callable[[SwarmConn], None]) -> None:
        self._connected = connected

    async def connected(self, _network: Any, conn: Any) -> None:
        self._connected(conn)

    async def disconnected(self, network: Any, conn: Any) -> None:
        pass

    async def opened_stream(self, network: Any, stream: Any) -> None:
        pass

    async def closed_stream(self, network: Any, stream: Any) -> None:
        pass

    async def listen(self, network: Any, multiaddr: Any) -> None:
        pass

    async def listen_close(self, network: Any, multiaddr: Any) -> None:
        pass


class HardenedHost:
    """A libp2p host over TCP, Noise and yamux with every mending above in place."""

    def __init__(
        self,
        identity: Identity,
        *,
        admits: Callable[[str], bool],
        maximum_connections: int,
        background: trio.Nursery,
    ) -> None:
        silence_libp2p()
        yamux.MAX_WINDOW_SIZE = _WINDOW_BYTES
        vars(multiselect_communicator)["read_delim"] = _read_line
        keys = ed25519_key_pair(identity.seed)
        self._admits = admits
        self._background = background
        self._handshakes: Counter[str] = Counter()
        self._dialling: dict[ID, trio.Lock] = {}
        host = new_host(
            key_pair=keys,
            sec_opt={NOISE: Noise(keys, noise_privkey=x25519_key_pair().private_key)},
            muxer_opt={TProtocol(YAMUX): _BoundedYamux},
            connection_config=ConnectionConfig(
                max_connections=maximum_connections,
                high_watermark=maximum_connections,
                # Never dial or prune on its own account.
                low_watermark=0,
                min_connections=0,
                inbound_upgrade_timeout=_HANDSHAKE_SECONDS,
            ),
            disable_identify_address_discovery=True,
        )
        self._host = cast("BasicHost", host)
        self._swarm = cast("Swarm", host.get_network())
        self._harden()

    def _harden(self) -> None:
        swarm = self._swarm
        # Its default limits (by address, by second) refuse a household or a restart; what
        # is needed of it is done here by identity.
        swarm.set_resource_manager(None)
        swarm.retry_config = RetryConfig(max_retries=0)
        swarm.upgrader.muxer_multistream = _BoundedMuxers({TProtocol(YAMUX): _BoundedYamux})
        for notifee in list(swarm.notifees):
            swarm.remove_notifee(notifee)
        swarm.register_notifee(_OnConnected(self._on_connected))
        self._host.multiselect.handlers.clear()
        swarm.set_stream_handler(self._on_stream)
        self._add_connection = swarm.add_conn
        # Instance attributes, so that other hosts in the process stay as they are.
        vars(swarm)["add_conn"] = self._admit
        vars(swarm)["_do_handle_inbound_connection"] = self._on_inbound

    @asynccontextmanager
    async def running(self, listen: Multiaddr | None) -> AsyncIterator[None]:
        """Listen and serve inside the context; on leaving, close every connection."""
        async with self._host.run([] if listen is None else [listen]):
            try:
                yield
            finally:
                with trio.CancelScope(shield=True):
                    # All at once first: the stock close takes 0.2 s for each in turn.
                    async with trio.open_nursery() as nursery:
                        for connection in self._swarm.get_connections():
                            nursery.start_soon(self.cut, connection)
                    with trio.move_on_after(_PARTING_SECONDS):
                        await self._host.close()

    def listening_on(self) -> list[Multiaddr]:
        """Return the addresses the sockets are bound to."""
        return self._host.get_transport_addrs()

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Call the handler for every inbound stream of this protocol, one task each."""
        self._host.set_stream_handler(TProtocol(protocol), cast("Any", handler))

    async def open_stream(self, address: Multiaddr, peer: ID, protocol: str) -> NetStream:
        """Open a stream to a peer, over the connection there is or a new one.

        The caller sets the deadline. Raises `DialError`.
        """
        while True:
            connection, is_new = await self._connection(address, peer)
            try:
                return await self._open_stream_on(connection, protocol)
            except DialError:
                # The peer may have closed the old connection just as we chose it.
                if is_new or not connection.muxed_conn.is_closed:
                    raise

    async def _connection(self, address: Multiaddr, peer: ID) -> tuple[SwarmConn, bool]:
        """Return a connection to the peer and whether it was made just now."""
        # Two at once would make the peer cut the first as stale.
        lock = self._dialling.setdefault(peer, trio.Lock())
        try:
            async with lock:
                for connection in self._swarm.get_connections(peer):
                    if not connection.is_closed and connection.muxed_conn.is_established:
                        return cast("SwarmConn", connection), False
                return cast("SwarmConn", await self._swarm.dial_addr(address, peer)), True
        except (BaseLibp2pError, OSError) as error:
            raise DialError(f"cannot reach {peer} at {address}: {_where(error)}") from None
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._dialling.pop(peer, None)

    async def _open_stream_on(self, connection: SwarmConn, protocol: str) -> NetStream:
        peer = connection.muxed_conn.peer_id
        if len(connection.get_streams()) >= _MAXIMUM_STREAMS:
            raise DialError(f"{_MAXIMUM_STREAMS} streams to {peer} are open: close some first")
        try:
            stream = await connection.new_stream()
        except BaseLibp2pError as error:
            raise DialError(f"cannot open a stream to {peer}: {_where(error)}") from None
        try:
            await self._host.multiselect_client.select_one_of(
                [TProtocol(protocol)], MultiselectCommunicator(stream), _NEGOTIATION_SECONDS
            )
        except (BaseLibp2pError, UnicodeDecodeError):
            await self.discard(stream)
            raise DialError(f"{peer} does not speak {protocol}, or left") from None
        except BaseException:
            # No answer in time: the next dial shall not find a dead connection.
            await self.cut(connection)
            raise
        return stream

    async def discard(self, stream: NetStream) -> None:
        """Reset a stream, and give up its connection when no other stream uses it."""
        with trio.CancelScope(shield=True):  # bounded by the muxer's write
            await stream.reset()
        connection = stream.swarm_conn
        if connection is None or connection.get_streams():
            return
        if connection.direction is Direction.OUTBOUND:
            self._swarm.remove_conn(connection)
            self._background.start_soon(self.cut, connection)
        else:
            self._background.start_soon(self._cut_when_idle, connection)

    async def _cut_when_idle(self, connection: SwarmConn) -> None:
        with trio.move_on_after(_IDLE_SECONDS):
            await connection.event_closed.wait()
        if not connection.get_streams():
            await self.cut(connection)

    async def disconnect(self, peer: ID) -> None:
        """Cut every connection to a peer."""
        for connection in self._swarm.get_connections(peer):
            await self.cut(cast("SwarmConn", connection))

    async def cut(self, connection: Any) -> None:
        """Close a connection whatever state it is in. Bounded in time, never raises."""
        muxed = connection.muxed_conn
        with trio.CancelScope(shield=True):
            with trio.move_on_after(2 * _PARTING_SECONDS):
                try:
                    await connection.close()
                except Exception as error:
                    # What is broken fails to close in many ways; it is closed below.
                    _log.debug("closing a connection: %s", _where(error))
            await _close_quietly(muxed.secured_conn)
            self._swarm.remove_conn(connection)

    async def _admit(self, muxed: IMuxedConn, direction: str = "unknown") -> SwarmConn:
        if direction != "outbound" and not self._admits(str(muxed.peer_id)):
            with trio.move_on_after(_PARTING_SECONDS, shield=True):
                await muxed.close()
            raise SwarmException("not admitted")
        return await self._add_connection(muxed, direction)

    async def _on_inbound(
        self, socket: ReadWriteCloser, listening_on: Multiaddr, _failure: object
    ) -> None:
        address = _remember_remote_address(socket)
        try:
            if self._handshakes[address] >= _MAXIMUM_HANDSHAKES_PER_ADDRESS:
                _log.info("refused a connection: too many handshakes from its address")
                return
            self._handshakes[address] += 1
            try:
                muxed = await self._swarm.upgrade_inbound_raw_conn(
                    RawConnection(socket, False), listening_on
                )
            finally:
                self._handshakes[address] -= 1
                self._handshakes += Counter()  # forget addresses at zero
            await cast("Yamux", muxed).event_closed.wait()
        except Exception as error:
            # Whatever a stranger sends ends here.
            _log.debug("an inbound connection ended: %s", _where(error))
        finally:
            await _close_quietly(socket)

    def _on_connected(self, newest: SwarmConn) -> None:
        if newest.direction is not Direction.INBOUND:
            return
        self._background.start_soon(self._cut_when_idle, newest)
        for connection in self._swarm.get_connections(newest.muxed_conn.peer_id):
            older = cast("SwarmConn", connection)
            if older is not newest and older.direction is Direction.INBOUND:
                self._background.start_soon(self.cut, older)

    async def _on_stream(self, net_stream: INetStream) -> None:
        stream = cast("NetStream", net_stream)
        connection = stream.swarm_conn
        try:
            if connection is None:
                return
            if len(connection.get_streams()) > _MAXIMUM_STREAMS:
                _log.warning("cut %s: too many streams at once", stream.muxed_conn.peer_id)
                self._background.start_soon(self.cut, connection)
                return
            protocol, handler = await self._host.multiselect.negotiate(
                MultiselectCommunicator(stream), _NEGOTIATION_SECONDS
            )
            if protocol is not None and handler is not None:
                stream.set_protocol(protocol)
                await handler(stream)
        except (BaseLibp2pError, OverlayError) as error:
            _log.info("a stream from %s ended: %s", stream.muxed_conn.peer_id, _where(error))
        except Exception as error:
            # Let out, it would end the whole host.
            _log.warning("a stream handler failed: %s", _where(error))
        finally:
            await self.discard(stream)


async def _read_line(reader: Reader) -> bytes:
    """Read a line of a negotiation, which a stranger writes before any key is exchanged."""
    try:
        raw = await read_varint_prefixed_bytes_limited(reader, _LONGEST_LINE_BYTES)
    except MessageTooLarge:
        raise ParseError("a line is too long") from None
    if raw[-1:] != b"\n":
        # The stock one quotes it.
        raise ParseError("a line does not end")
    return raw[:-1]


def _remember_remote_address(socket: ReadWriteCloser) -> str:
    """Return the remote network address, or "" when the caller is already gone.

    The stock lookup knows no IPv6, and none at all once the socket is closed.
    """
    if not isinstance(socket, TrioTCPStream):
        return ""
    try:
        address, port = socket.stream.socket.getpeername()[:2]
    except OSError:
        return ""
    socket._cached_remote_address = (address, port)
    return str(address)


async def _close_quietly(closable: Any) -> None:
    with trio.move_on_after(_PARTING_SECONDS, shield=True):
        try:
            await closable.close()
        except Exception as error:
            # What is broken fails to close in many ways.
            _log.debug("closing a socket: %s", _where(error))
