import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from peerllm.overlay.messages import ModelOffer
from peerllm.peer.engine_protocol import GenerationTask
from peerllm.peer.generation import (
    EngineReady,
    EngineState,
    EngineUnavailable,
    GenerationStep,
)
from peerllm.peer.llama import LlamaModel
from peerllm.peer.models import embedded_model_path
from peerllm.peer.served_models import Lease


@pytest.fixture(scope="session")
def model() -> Iterator[LlamaModel]:
    """The real embedded model, loaded once into the test process."""
    loaded = LlamaModel(embedded_model_path())
    yield loaded
    loaded.close()


class ScriptedGeneration:
    """An answer whose steps the test supplies."""

    def __init__(self, task: GenerationTask) -> None:
        self.task = task
        self.prompt_tokens = 0
        self.left = False
        self._put, self._steps = trio.open_memory_channel[GenerationStep](math.inf)

    def feed(self, *steps: GenerationStep, prompt_tokens: int = 11) -> None:
        self.prompt_tokens = prompt_tokens
        for step in steps:
            self._put.send_nowait(step)

    async def next(self) -> GenerationStep:
        return await self._steps.receive()


class ScriptedEngine:
    """An engine that says what a test tells it to; never reachable from a user's path."""

    name = "scripted"
    digest = bytes(range(32))

    def __init__(self) -> None:
        self.state: EngineState = EngineReady(
            slots=2, context_tokens=512, tokens_per_second_milli=50_000
        )
        self.generations: list[ScriptedGeneration] = []
        self.ready = trio.Event()
        self.ready.set()
        self._started = trio.Event()

    async def wait_ready(self) -> EngineReady | EngineUnavailable:
        await self.ready.wait()
        assert isinstance(self.state, EngineReady | EngineUnavailable)
        return self.state

    @contextmanager
    def generate(self, task: GenerationTask) -> Iterator[ScriptedGeneration]:
        generation = ScriptedGeneration(task)
        self.generations.append(generation)
        self._started.set()
        self._started = trio.Event()
        try:
            yield generation
        finally:
            generation.left = True

    async def generation(self, index: int) -> ScriptedGeneration:
        while len(self.generations) <= index:
            await self._started.wait()
        return self.generations[index]


class OneModel:
    """A host's only model, on a scripted engine that a test may take away."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.leases = 0

    def offers(self) -> list[ModelOffer]:
        state = self.engine.state
        if not isinstance(state, EngineReady):
            return [] if isinstance(state, EngineUnavailable) else self.last
        self.last = [
            ModelOffer(
                digest=self.engine.digest,
                name=self.engine.name,
                context_tokens=state.context_tokens,
                slots=state.slots,
                tokens_per_second_milli=state.tokens_per_second_milli,
            )
        ]
        return self.last

    async def wait_offer(self) -> None:
        await self.engine.wait_ready()

    def knows(self, digest: bytes) -> bool:
        return digest == self.engine.digest

    def free_slots(self, digest: bytes) -> int:
        state = self.engine.state
        ready = isinstance(state, EngineReady) and self.knows(digest)
        return state.slots - self.leases if ready else 0

    def take(self, digest: bytes) -> Lease | None:
        if self.free_slots(digest) <= 0:
            return None
        self.leases += 1
        return Lease(self.engine, self._release)

    def _release(self) -> None:
        self.leases -= 1


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()
