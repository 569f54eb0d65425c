"""A host's daemon between a scripted engine and the coordinators that it dials."""

import io
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from peerllm.crypto.certificate import SealingCertificate, read_certificate
from peerllm.crypto.encoding import encode
from peerllm.crypto.envelope import EnvelopeBinding, seal
from peerllm.crypto.identity import Identity
from peerllm.overlay.errors import DialError, StreamClosed
from peerllm.overlay.framing import FrameDecoder, to_frame
from peerllm.overlay.messages import (
    MAXIMUM_FRAME_BYTES,
    ChatMessage,
    ChunkTask,
    Dispatch,
    Heartbeat,
    HeartbeatReply,
    Hello,
    HostMessage,
    Message,
    ModelSharing,
    Slots,
    Welcome,
    host_message,
    to_bytes,
)
from peerllm.peer.daemon import DaemonParts, HostDaemon
from peerllm.peer.served_models import ServedModels
from peerllm.privacy.event_log import EventLog
from tests.peer.conftest import OneModel

HOST = Identity.from_seed(b"h" * 32)
COORDINATOR = Identity.from_seed(b"c" * 32).peer_id
NOW_US = 1_700_000_000_000_000


class PipeStream:
    """One end of an in-memory connection."""

    def __init__(self, out: trio.MemorySendChannel[bytes], into: trio.MemoryReceiveChannel[bytes]):
        self._out, self._into = out, into

    async def read(self, maximum: int) -> bytes:  # noqa: ARG002
        try:
            return await self._into.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            return b""

    async def write(self, data: bytes) -> None:
        try:
            await self._out.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise StreamClosed("broken") from None

    async def close(self) -> None:
        self._out.close()
        self._into.close()
        await trio.lowlevel.checkpoint()


class Coordinator:
    """The other end of one session, as a test plays it."""

    def __init__(self, stream: PipeStream) -> None:
        self.stream = stream
        self._frames = FrameDecoder(maximum_bytes=MAXIMUM_FRAME_BYTES)
        self.sealing_key = b""

    async def send(self, message: Message) -> None:
        await self.stream.write(to_frame(to_bytes(message)))

    async def receive(self) -> HostMessage | None:
        """The next message but heartbeats, which are answered; None at the end."""
        while True:
            while (body := self._frames.pop()) is None:
                raw = await self.stream.read(1 << 16)
                if not raw:
                    return None
                self._frames.push(raw)
            message = host_message(body)
            if isinstance(message, Heartbeat):
                await self.send(HeartbeatReply(sequence=message.sequence))
            else:
                return message

    async def expect(self, *kinds: type[Any]) -> Any:
        """The next message of these kinds; everything before it is passed over."""
        while (message := await self.receive()) is not None:
            if isinstance(message, kinds):
                return message
        raise AssertionError("the session ended")

    async def welcome(self) -> Hello:
        hello: Hello = await self.expect(Hello)
        certificate = read_certificate(
            hello.sealing_certificate, peer_id=HOST.peer_id, now_us=NOW_US
        )
        assert isinstance(certificate, SealingCertificate)
        self.sealing_key = certificate.sealing_key
        await self.send(Welcome(coordinator=COORDINATOR, heartbeat_seconds=10))
        await self.expect(Slots)
        return hello

    async def dispatch(self, name: bytes = b"d", *, digest: bytes = bytes(range(32))) -> bytes:
        task = ChunkTask(
            messages=[ChatMessage(role="user", content="SECRET")],
            max_tokens=9,
            temperature_milli=0,
            top_p_milli=1000,
            stop=[],
            assistant_prefix="",
            reply_key=b"r" * 32,
        )
        binding = EnvelopeBinding(
            dispatch_id=name * 16,
            host=HOST.peer_id,
            model_digest=digest,
            expires_at_us=NOW_US + 60_000_000,
            seed=1,
        )
        await self.send(
            Dispatch(
                dispatch_id=binding.dispatch_id,
                model_digest=digest,
                expires_at_us=binding.expires_at_us,
                seed=1,
                nonce=b"n" * 16,
                deadline_us=60_000_000,
                envelope=seal(binding, self.sealing_key, encode(task)),
            )
        )
        return binding.dispatch_id


@dataclass
class Scene:
    """A running daemon, the sessions it opened, and its log."""

    daemon: HostDaemon
    sessions: trio.MemoryReceiveChannel[Coordinator]
    output: io.StringIO
    unreachable: int = 0
    holding: bool = False
    sharing: ModelSharing | None = None
    introductions: list[Any] = field(default_factory=list)
    accounts_told: int = 0
    dials: list[float] = field(default_factory=list)
    ends: list[Any] = field(default_factory=list)

    def events(self, name: str = "") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.output.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name or not name]


@asynccontextmanager
async def open_scene(
    engine: Any, unreachable: int = 0, models: ServedModels | None = None
) -> AsyncIterator[Scene]:
    """Run a daemon against scripted sessions; no word of a dial's failure reaches its log."""
    opened, sessions = trio.open_memory_channel[Coordinator](math.inf)
    output = io.StringIO()
    introductions: list[Any] = []

    async def dial() -> PipeStream:
        await trio.lowlevel.checkpoint()
        scene.dials.append(trio.current_time())
        if scene.unreachable:
            scene.unreachable -= 1
            raise DialError("SECRET address")
        there, here = (trio.open_memory_channel[bytes](64) for _ in range(2))
        opened.send_nowait(Coordinator(PipeStream(here[0], there[1])))
        return PipeStream(there[0], here[1])

    def account_told() -> None:
        scene.accounts_told += 1

    async def run() -> None:
        scene.ends.append(await scene.daemon.run())

    log = EventLog(lambda: NOW_US, output)
    daemon = HostDaemon(
        DaemonParts(
            identity=HOST,
            coordinator=COORDINATOR,
            models=models or OneModel(engine),
            dial=dial,
            log=log,
            now_us=lambda: NOW_US,
            randomness=lambda: 1.0,
            holding=lambda: scene.holding,
            sharing=lambda: scene.sharing,
            on_introduction=introductions.append,
            on_account=account_told,
        )
    )
    scene = Scene(daemon, sessions, output, unreachable, introductions=introductions)
    with trio.fail_after(200_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            yield scene
            nursery.cancel_scope.cancel()
    assert "SECRET" not in output.getvalue()
