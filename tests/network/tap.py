"""A host whose engine is a tap: it keeps what it was asked, so that a test can look at it.

Everything around the engine is real: the daemon, its sockets, envelopes and receipts. No such
engine exists outside the tests.
"""

import io
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio

from peerllm.charter.defaults import FIRST_MODEL
from peerllm.coordinator.service import CoordinatorSettings, now_us, run_coordinator
from peerllm.coordinator.storage_file import StorageFile
from peerllm.crypto.identity import Identity
from peerllm.overlay.messages import SESSION_PROTOCOL, ModelOffer
from peerllm.overlay.node import open_node
from peerllm.peer.daemon import DaemonParts, HostDaemon
from peerllm.peer.engine_protocol import GenerationTask
from peerllm.peer.generation import EngineReady, GeneratedPiece, Generation
from peerllm.peer.served_models import Lease
from peerllm.privacy.event_log import EventLog as CoordinatorLog
from peerllm.privacy.event_log import EventLog as HostLog

Answering = Callable[[GenerationTask], str]


class _Recital:
    """An answer given word by word."""

    def __init__(self, text: str) -> None:
        self._words = text.split(" ")
        self._said = 0
        self.prompt_tokens = 1

    async def next(self) -> GeneratedPiece:
        await trio.lowlevel.checkpoint()
        word = self._words[self._said]
        last = self._said == len(self._words) - 1
        self._said += 1
        space = " " if self._said > 1 else ""
        return GeneratedPiece(tokens=(1,), text=space + word, finish="stop" if last else "")


class TapEngine:
    """Keeps every task and answers with what `answering` makes of it."""

    name = FIRST_MODEL
    state = EngineReady(slots=4, context_tokens=4096, tokens_per_second_milli=50_000)

    def __init__(self, digest: bytes, answering: Answering) -> None:
        self.digest = digest
        self.tasks: list[GenerationTask] = []
        self._answering = answering

    async def wait_ready(self) -> EngineReady:
        await trio.lowlevel.checkpoint()
        return self.state

    @contextmanager
    def generate(self, task: GenerationTask) -> Iterator[Generation]:
        self.tasks.append(task)
        yield _Recital(self._answering(task))


class _Tapped:
    """A tap as its host's only model."""

    def __init__(self, engine: TapEngine) -> None:
        self._engine = engine
        self._taken = 0

    def offers(self) -> list[ModelOffer]:
        state = self._engine.state
        return [
            ModelOffer(
                digest=self._engine.digest,
                name=self._engine.name,
                context_tokens=state.context_tokens,
                slots=state.slots,
                tokens_per_second_milli=state.tokens_per_second_milli,
            )
        ]

    async def wait_offer(self) -> None:
        await trio.lowlevel.checkpoint()

    def knows(self, digest: bytes) -> bool:
        return digest == self._engine.digest

    def free_slots(self, digest: bytes) -> int:
        return self._engine.state.slots - self._taken if self.knows(digest) else 0

    def take(self, digest: bytes) -> Lease | None:
        if self.free_slots(digest) <= 0:
            return None
        self._taken += 1
        return Lease(self._engine, self._release)

    def _release(self) -> None:
        self._taken -= 1


@asynccontextmanager
async def tapped_network(
    folder: Path, charter: Path, digest: bytes, http_port: int, answering: Answering
) -> AsyncIterator[tuple[str, list[TapEngine]]]:
    """A real coordinator and two tapped hosts; yields an API key and the taps."""
    settings = CoordinatorSettings(
        data_directory=folder, charter_directory=charter, http_port=http_port
    )
    coordinator = Identity.load_or_create(settings.identity_file)
    identities = [Identity.generate() for _ in range(2)]
    with StorageFile(settings.database_file, clock=now_us) as storage:
        account = storage.create_customer("tapped").account
        storage.deposit(account, 10**9, "first")
        key = storage.create_api_key(account, "test").plain
        for number, identity in enumerate(identities):
            storage.seat(identity.peer_id, f"operator-{number}", "community", [digest])
    engines = [TapEngine(digest, answering) for _ in identities]
    log = _Listening()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_coordinator, settings, CoordinatorLog(now_us, log))
        with trio.fail_after(60):
            while not log.overlay:
                await trio.sleep(0.05)
        assert log.overlay.endswith(coordinator.peer_id)
        for identity, engine in zip(identities, engines, strict=True):
            nursery.start_soon(_run_host, identity, engine, coordinator.peer_id, log.overlay)
        with trio.fail_after(60):
            while log.joined < len(engines):
                await trio.sleep(0.05)
        yield key, engines
        nursery.cancel_scope.cancel()


async def _run_host(identity: Identity, engine: TapEngine, coordinator: str, address: str) -> None:
    async with open_node(identity, listen=None, admits=lambda _: False) as node:
        parts = DaemonParts(
            identity=identity,
            coordinator=coordinator,
            models=_Tapped(engine),
            dial=lambda: node.dial(address, SESSION_PROTOCOL),
            log=HostLog(now_us, io.StringIO()),
            now_us=now_us,
            randomness=random.random,
        )
        await HostDaemon(parts).run()


class _Listening(io.StringIO):
    """A log that notices when the coordinator listens and how many hosts have joined."""

    overlay = ""
    joined = 0

    def write(self, line: str) -> int:
        if '"event": "listening"' in line:
            self.overlay = line.partition('"overlay": "')[2].partition('"')[0]
        self.joined += '"event": "host_joined"' in line
        return len(line)
