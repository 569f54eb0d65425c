"""One of a host's models: its file, its engine while there is one, the chunks that hold it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from peerllm.peer.catalogue import WantedModel
from peerllm.peer.engine import EngineSettings
from peerllm.peer.engine_pool_policy import Resident
from peerllm.peer.engine_protocol import GenerationTask, Tuned
from peerllm.peer.generation import (
    Engine,
    EngineLoading,
    EngineReady,
    EngineState,
    EngineUnavailable,
    Generation,
    GenerationFailed,
    GenerationStep,
)
from peerllm.peer.model_files import FileSign, KnownModel

# Half of the time a coordinator waits for a first token: the prompt needs the rest. A model
# that takes longer to load is offered while it is loaded, and makes no room.
LONGEST_LOAD_SECONDS: Final = 7.5


class PoolEngine(Engine, Protocol):
    """An engine that a pool may open: one with a process and limits."""

    @property
    def process_id(self) -> int | None:
        """The engine process, while there is one."""

    @property
    def tuned(self) -> Tuned | None:
        """The limits in force; None until known."""

    def tune(self, *, threads: int, nice: int, memory_cap_bytes: int) -> None:
        """Take other limits."""


@dataclass(frozen=True)
class EngineLimits:
    """What one engine may take; see `PoolEngine.tune`."""

    threads: int
    nice: int
    memory_cap_bytes: int


OpenEngine = Callable[
    [EngineSettings, Callable[[EngineState], None]], AbstractAsyncContextManager[PoolEngine]
]


@dataclass(frozen=True)
class ModelInLine:
    """The file is being read, or other models are loaded first."""


@dataclass(frozen=True)
class ModelAway:
    """Not loaded, and why, in one sentence."""

    sentence: str


ModelState = ModelInLine | ModelAway | EngineState


@dataclass(eq=False)
class EngineRun:
    """One engine, from the decision to load the model until its process is gone."""

    began: float
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    gone: trio.Event = field(default_factory=trio.Event)
    # The engine's last word, after which it is put away.
    over: trio.Event = field(default_factory=trio.Event)
    engine: PoolEngine | None = None
    was_ready: bool = False
    # What the engine was last told to keep to.
    told: EngineLimits | None = None

    @property
    def state(self) -> EngineState:
        """The engine's own: it knows of its process's end before it can tell."""
        return self.engine.state if self.engine else EngineLoading()


class PooledModel:
    """What a pool knows of one model; see `generation.Engine`. Only the pool changes it."""

    def __init__(self, wanted: WantedModel, *, preloaded: bool) -> None:
        self.wanted = wanted
        self.preloaded = preloaded
        self.known: KnownModel | None = None
        self.run: EngineRun | None = None
        # What the engine said of itself when it was last ready with this file.
        self.proved: EngineReady | None = None
        self.load_seconds = 0.0
        self.leases = 0
        self.last_used = 0.0
        self.fault: EngineUnavailable | None = None
        # It is to be loaded as soon as there is room, whether or not a chunk asks for it.
        self.in_line = True
        self.is_being_read = False
        self.unloaded_by_owner = False
        # Why there was no room for it, when that was last looked at.
        self.no_room = ""
        # The file as last seen, and what is wrong with it although the engine goes on.
        self.seen: FileSign | None = None
        self.file_fault = ""
        self._changed = trio.Event()

    @property
    def name(self) -> str:
        """The model's name on this host."""
        return self.wanted.name

    @property
    def digest(self) -> bytes:
        """SHA-256 of the file; empty until it has been read."""
        return self.known.digest if self.known else b""

    @property
    def state(self) -> EngineState:
        """As the work on a chunk sees it: what is not loaded is loading."""
        return self.fault or (self.run.state if self.run else EngineLoading())

    @property
    def shown_state(self) -> ModelState:
        """As the owner sees it."""
        if self.fault is not None:
            return self.fault
        if self.run is not None:
            return self.run.state
        if self.is_being_read or (self.in_line and not self.no_room):
            return ModelInLine()
        return ModelAway(self._why_away())

    @property
    def detail(self) -> str:
        """What its owner should know of it while it serves; empty when there is nothing."""
        if self.unloaded_by_owner:
            return f"takes no more chunks, is unloaded after the last of {self.leases}"
        if self.file_fault:
            return f"serves on, but cannot be loaded again: {self.file_fault}"
        return ""

    def _why_away(self) -> str:
        if self.unloaded_by_owner:
            return "unloaded by its owner"
        if self.no_room:
            return self.no_room
        if not self.loads_quickly:
            return f"it takes {self.load_seconds:.0f} s to load: peerllm model load {self.name}"
        return "loaded again when a chunk asks for it"

    @property
    def loads_quickly(self) -> bool:
        """Whether a customer can wait for it to be loaded."""
        return self.proved is not None and self.load_seconds <= LONGEST_LOAD_SECONDS

    @property
    def is_offered(self) -> bool:
        """Whether coordinators are told of it at all, with or without a free slot."""
        if self.proved is None or self.fault is not None or self.unloaded_by_owner:
            return False
        return self.run is not None or (self.loads_quickly and not self.file_fault)

    @property
    def takes_work(self) -> bool:
        """Whether it has an engine that takes work now, or is about to have it."""
        if self.run is None or self.unloaded_by_owner or self.is_being_read:
            return False
        # A first load proves nothing yet; an engine that died is away.
        return isinstance(self.run.state, EngineReady) or (
            self.is_on_its_way and self.loads_quickly
        )

    @property
    def is_on_its_way(self) -> bool:
        """Whether its engine is being loaded, and not because it died."""
        return self.run is not None and not self.run.was_ready

    def resident(self, *, weights_count_as_free: bool) -> Resident | None:
        """What the policy needs to know of it, while it has an engine."""
        if self.run is None or self.known is None:
            return None
        need = self.known.need
        loading = not self.run.was_ready
        seen_as_free = need.weights if weights_count_as_free else 0
        return Resident(
            name=self.name,
            need=need.total,
            unseen=need.total if loading else seen_as_free,
            last_used=self.last_used,
            busy=self.leases > 0,
            loading=loading,
            # What could not come back by itself is not sent away for the sake of another.
            kept=self.preloaded or not self.loads_quickly or bool(self.file_fault),
        )

    def wake(self) -> None:
        """Let those who wait look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def wait_change(self) -> None:
        """Wait until something about it is different."""
        await self._changed.wait()

    async def wait_ready(self) -> EngineReady | EngineUnavailable:
        """Wait until work is taken, or until it is known that it will not be."""
        while not isinstance(state := self.state, EngineReady | EngineUnavailable):
            await self.wait_change()
        return state

    @contextmanager
    def generate(self, task: GenerationTask) -> Iterator[Generation]:
        """Begin an answer, once the model is loaded; leaving the block cancels it."""
        with ExitStack() as stack:
            late = _LateGeneration(self, task, stack)
            late.begin_if_ready()
            yield late


class _LateGeneration:
    """An answer whose engine may have to be loaded first."""

    def __init__(self, model: PooledModel, task: GenerationTask, stack: ExitStack) -> None:
        self._model = model
        self._task = task
        self._stack = stack
        self._begun: Generation | None = None

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the rendered prompt; 0 until the engine has started on it."""
        return self._begun.prompt_tokens if self._begun else 0

    def begin_if_ready(self) -> None:
        """Hand the task to the engine if that takes work."""
        run = self._model.run
        if run is not None and run.engine is not None and isinstance(run.state, EngineReady):
            self._begun = self._stack.enter_context(run.engine.generate(self._task))

    async def next(self) -> GenerationStep:
        """See `generation.Generation`."""
        while self._begun is None:
            # An engine that died is not waited for: another host answers sooner.
            if not self._model.is_on_its_way:
                return GenerationFailed("engine_unavailable")
            await self._model.wait_change()
            self.begin_if_ready()
        return await self._begun.next()
