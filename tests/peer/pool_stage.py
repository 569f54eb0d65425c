"""A machine with simulated engines for tests of the pool; nothing here is reachable by a user."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio

from peerllm.peer.catalogue import WantedModel
from peerllm.peer.engine import EngineSettings
from peerllm.peer.engine_pool import EnginePool, open_pool
from peerllm.peer.engine_protocol import GenerationTask, TaskTurn, Tuned
from peerllm.peer.errors import ModelError
from peerllm.peer.generation import (
    EngineLoading,
    EngineReady,
    EngineRestarting,
    EngineState,
    EngineUnavailable,
    GeneratedPiece,
    Generation,
    GenerationFailed,
    GenerationStep,
)
from peerllm.peer.memory import MemoryNeed
from peerllm.peer.model_files import FileSign, KnownModel
from peerllm.peer.models import ModelFile
from peerllm.peer.pool_parts import PoolParts
from peerllm.peer.pooled_model import PooledModel

TASK = GenerationTask(turns=[TaskTurn(role="user", content="SECRET")], max_tokens=1)


@dataclass
class File:
    """A model file on the simulated machine."""

    digest: bytes
    size: int = 100
    inode: int = 1
    modified: int = 0
    load_seconds: float = 1.0
    fault: ModelError | None = None
    # What the engine says when it loads this file, instead of being ready.
    load_fault: EngineUnavailable | None = None


class SimulatedEngine:
    """Loads in the time its file takes and answers with its model's name."""

    def __init__(
        self, machine: "Machine", settings: EngineSettings, on_state: Callable[[EngineState], None]
    ) -> None:
        self.name = settings.model.name
        self.digest = settings.model.digest
        self.slots = settings.slots
        self.state: EngineState = EngineLoading()
        self.process_id: int | None = next(machine.numbers)
        self.tuned: Tuned | None = None
        self.cap = 0
        self.dead = False
        self.has_loaded = False
        self._machine = machine
        self._on_state = on_state

    def tune(self, *, threads: int, nice: int, memory_cap_bytes: int) -> None:
        self.tuned = Tuned(threads=threads, nice=nice)
        self.cap = memory_cap_bytes

    def tell(self, state: EngineState) -> None:
        self.state = state
        self._on_state(state)

    async def load(self) -> None:
        self.tell(EngineLoading())
        file = self._machine.files[self.name]
        await trio.sleep(file.load_seconds)
        self.has_loaded = True
        self.tell(file.load_fault or EngineReady(self.slots, 512, 50_000))

    def die(self) -> None:
        self.dead = True
        self.tell(EngineRestarting("the engine process ended (signal SIGKILL)", 9.0))

    async def wait_ready(self) -> EngineReady | EngineUnavailable:
        raise NotImplementedError

    @contextmanager
    def generate(self, task: GenerationTask) -> Iterator[Generation]:  # noqa: ARG002
        self._machine.answering.append(self.name)
        yield _Answer(self)
        self._machine.answering.remove(self.name)


class _Answer:
    prompt_tokens = 3

    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine = engine

    async def next(self) -> GenerationStep:
        await trio.lowlevel.checkpoint()
        if self._engine.dead:
            return GenerationFailed("engine_died")
        return GeneratedPiece((1,), self._engine.name, "stop")


@dataclass
class Machine:
    """So much memory, these files, these engines."""

    memory: int
    files: dict[str, File]
    engines: dict[str, SimulatedEngine] = field(default_factory=dict)
    answering: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    most_at_once: int = 0
    # The names of models told of, None for slots alone.
    told: list[str | None] = field(default_factory=list)
    on_change: Callable[[], None] = lambda: None
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10_000)))

    async def read(self, wanted: WantedModel) -> KnownModel:
        await trio.sleep(0.01)
        file = self.files.get(wanted.name)
        if file is None:
            raise ModelError("missing_file", f"the model file {wanted.path} cannot be read")
        if file.fault is not None:
            raise file.fault
        if wanted.digest not in {None, file.digest}:
            raise ModelError("digest_mismatch", f"{wanted.path} is not the expected model")
        settings = EngineSettings(
            model=ModelFile(wanted.name, wanted.path, file.digest),
            digest_cache=Path("/digests"),
            slots=2,
            context_tokens=512,
            threads=4,
        )
        need = MemoryNeed(weights=file.size, cache=0, computing=0, process=0)
        return KnownModel(settings, need, self._sign(file))

    async def sign(self, path: Path) -> FileSign | None:
        await trio.lowlevel.checkpoint()
        file = self.files.get(path.stem)
        return self._sign(file) if file else None

    def _sign(self, file: File) -> FileSign:
        return FileSign(file.inode, file.size, file.modified)

    def free(self) -> int:
        """What the system shows: a model that loads has not taken its memory yet."""
        return self._left(e.name for e in self.engines.values() if e.has_loaded)

    def _left(self, names: Iterable[str]) -> int:
        return self.memory - sum(self.files[name].size for name in names)

    @asynccontextmanager
    async def open_engine(
        self, settings: EngineSettings, on_state: Callable[[EngineState], None]
    ) -> AsyncIterator[SimulatedEngine]:
        name = settings.model.name
        assert name not in self.engines
        engine = SimulatedEngine(self, settings, on_state)
        self.engines[name] = engine
        assert self._left(self.engines) >= 0
        self.history.append(f"+{name}")
        self.most_at_once = max(self.most_at_once, len(self.engines))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.load)
                yield engine
                nursery.cancel_scope.cancel()
        finally:
            # A process takes a moment to end, and only then its memory is free.
            with trio.CancelScope(shield=True):
                await trio.sleep(0.2)
            del self.engines[name]
            self.history.append(f"-{name}")

    def changed(self, model: PooledModel | None) -> None:
        self.told.append(model.name if model else None)
        self.on_change()


def machine_with(memory: int, *names: str, **sizes: int) -> Machine:
    """Files of 100 bytes, or of the size given."""
    files = {name: File(digest_of(name)) for name in names}
    files |= {name: File(digest_of(name), size) for name, size in sizes.items()}
    return Machine(memory, files)


def digest_of(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def wanted(name: str) -> WantedModel:
    return WantedModel(name, Path(f"/models/{name}.gguf"))


@asynccontextmanager
async def running_pool(
    machine: Machine,
    *,
    names: Sequence[str] = (),
    preloaded: Sequence[str] = (),
    slots: int = 4,
    settled: float = 30.0,
) -> AsyncIterator[EnginePool]:
    """A pool on this machine, once all has been loaded that will be."""
    parts = PoolParts(
        slots=slots,
        files=machine,
        open_engine=machine.open_engine,
        free_memory=machine.free,
        own_memory=lambda: 10,
        weights_count_as_free=False,
        on_change=machine.changed,
    )
    with trio.fail_after(100_000):
        models = [wanted(name) for name in names or machine.files]
        async with open_pool(parts, models, preloaded) as pool:
            await trio.sleep(settled)
            yield pool
    assert machine.engines == {}


async def answer(pool: EnginePool, name: str) -> str | None:
    """One chunk's answer; None where no slot is free."""
    lease = pool.take(digest_of(name))
    if lease is None:
        return None
    try:
        with lease.engine.generate(TASK) as generation:
            step = await generation.next()
    finally:
        lease.release()
    return step.text if isinstance(step, GeneratedPiece) else repr(step)


def free_slots(pool: EnginePool, *names: str) -> list[int]:
    return [pool.free_slots(digest_of(name)) for name in names]


def altered(file: File, **changes: object) -> File:
    return replace(file, modified=file.modified + 1, **changes)  # type: ignore[arg-type]
