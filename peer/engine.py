"""The daemon's side of the engine: starts the process, feeds it, replaces it when it dies."""

import itertools
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import trio

from peerllm.overlay.answer_shape import AnswerShape
from peerllm.overlay.backoff import full_jitter
from peerllm.peer.engine_protocol import (
    Alive,
    Cancel,
    Crashed,
    EngineProtocolError,
    Finished,
    FrameReader,
    FromEngine,
    GenerationTask,
    Load,
    LoadFailed,
    Progress,
    Ready,
    Refused,
    Score,
    Scored,
    ScoreTask,
    Started,
    Submit,
    ToEngine,
    Tokens,
    Tune,
    Tuned,
    frame,
    from_engine,
)
from peerllm.peer.engine_tasks import RunningGeneration, RunningScore, RunningTask
from peerllm.peer.errors import LoadFault
from peerllm.peer.generation import (
    EngineLoading,
    EngineReady,
    EngineRestarting,
    EngineState,
    EngineUnavailable,
    GenerationFailed,
    ScoreOutcome,
)
from peerllm.peer.models import ModelFile
from peerllm.peer.tried_grammars import TriedGrammars

_MODULE: Final = "peerllm.peer.engine_process"
_LEGACY_MODULE: Final = "peerllm.peer.legacy_process"
# A loading engine reports every percent of the weights; a spinning disk may take minutes
# for one percent of the largest models, never this long.
_LOAD_SILENCE_SECONDS: Final = 300.0
# A working engine shows a sign of life after every step. The longest step is a piece
# of a prompt: seconds for a large model on an old laptop.
WORK_SILENCE_SECONDS: Final = 120.0
_KILL_SECONDS: Final = 5.0
# An engine that worked this long did not die of being started.
_SETTLED_SECONDS: Final = 60.0
# What may pass by itself; every other fault lies in the file or the installation.
_PASSING_FAULTS: Final[frozenset[LoadFault]] = frozenset({"no_memory", "engine_died", "timeout"})


@dataclass(frozen=True)
class EngineSettings:
    """What the engine process is told to load, and how much of the machine it takes."""

    model: ModelFile
    digest_cache: Path
    slots: int
    context_tokens: int
    threads: int

    @property
    def module(self) -> str:
        """What the process runs: another library for the files that llama.cpp cannot read."""
        return _LEGACY_MODULE if self.model.legacy else _MODULE


@dataclass(frozen=True)
class _Tuning:
    threads: int = 0
    nice: int = 0
    memory_cap_bytes: int = 0


class EngineClient:
    """Owns the engine process. Made by `open_engine`; see `generation.Engine`."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        randomness: Callable[[], float],
        on_state: Callable[[EngineState], None] = lambda _state: None,
        silence_seconds: float = WORK_SILENCE_SECONDS,
    ) -> None:
        self._silence_seconds = silence_seconds
        self._settings = settings
        self._random = randomness
        self._on_state = on_state
        self._state: EngineState = EngineLoading()
        self._changed = trio.Event()
        self._numbers = itertools.count(1)
        self._running: dict[int, RunningTask] = {}
        self._outbox: trio.MemorySendChannel[ToEngine] | None = None
        self._grammars = TriedGrammars(settings.model.path)
        # Unbounded for the same reason as the outbox.
        self._untried, self._to_try = trio.open_memory_channel[Submit | Score](math.inf)
        self._process: trio.Process | None = None
        self._wanted = _Tuning()
        self.tuned: Tuned | None = None

    @property
    def name(self) -> str:
        """The model's name in the catalogue."""
        return self._settings.model.name

    @property
    def digest(self) -> bytes:
        """SHA-256 of the model's file."""
        return self._settings.model.digest

    @property
    def state(self) -> EngineState:
        """Whether work is taken now."""
        return self._state

    @property
    def process_id(self) -> int | None:
        """The engine process, while there is one."""
        return self._process.pid if self._process else None

    def tune(self, *, threads: int, nice: int, memory_cap_bytes: int) -> None:
        """Take other limits, from now on and for every process that follows.

        `threads` 0 means as many as the engine was started with. The cap is for loading.
        """
        self._wanted = _Tuning(threads, nice, memory_cap_bytes)
        if isinstance(self._state, EngineReady):
            self._send_tuning()

    async def wait_ready(self) -> EngineReady | EngineUnavailable:
        """Wait until work is taken, or until it is known that it never will be."""
        while not isinstance(self._state, EngineReady | EngineUnavailable):
            await self._changed.wait()
        return self._state

    @contextmanager
    def generate(self, task: GenerationTask) -> Iterator[RunningGeneration]:
        """Begin an answer; leaving the block before its end cancels it."""
        generation = RunningGeneration(next(self._numbers))
        with self._register(generation, Submit(number=generation.number, task=task)):
            yield generation

    async def score(self, task: ScoreTask) -> ScoreOutcome:
        """Check a claimed answer; beside running answers, on a slot like theirs."""
        scoring = RunningScore(next(self._numbers))
        with self._register(scoring, Score(number=scoring.number, task=task)):
            return await scoring.outcome()

    @contextmanager
    def _register(self, running: RunningTask, message: Submit | Score) -> Iterator[None]:
        if self._outbox is None or not isinstance(self._state, EngineReady):
            running.put(GenerationFailed("engine_unavailable"))
            yield
            return
        outbox = self._outbox
        self._running[running.number] = running
        shape = _answer_shape(message)
        if shape is None or self._grammars.passed(shape):
            outbox.send_nowait(message)
        else:
            self._untried.send_nowait(message)
        try:
            yield
        finally:
            # Still registered: the engine has not said its last word on it.
            if self._running.pop(running.number, None) and outbox is self._outbox:
                outbox.send_nowait(Cancel(number=running.number))

    async def supervise(self) -> None:
        """Run engine processes, one after another, until the model proves unservable.

        A model that was never ready is not tried again: its operator is told at once.
        """
        attempt = 0
        was_ready = False
        while True:
            self._set_state(EngineLoading())
            ready_at: list[float] = []
            failure = await self._run_process(ready_at)
            was_ready = was_ready or bool(ready_at)
            if not was_ready or failure.reason not in _PASSING_FAULTS:
                self._set_state(failure)
                return
            settled = bool(ready_at) and trio.current_time() - ready_at[0] > _SETTLED_SECONDS
            attempt = 0 if settled else attempt + 1
            delay = full_jitter(attempt, self._random)
            self._set_state(EngineRestarting(failure.sentence, delay))
            await trio.sleep(delay)

    async def _run_process(self, ready_at: list[float]) -> EngineUnavailable:
        """One process from start to end; gives why it ended."""
        try:
            process = await trio.lowlevel.open_process(
                # -P: a file in the working directory must not stand in for a module.
                [sys.executable, "-P", "-m", self._settings.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            return EngineUnavailable(
                "engine_died", f"the engine process cannot be started: {error.strerror}"
            )
        self._process = process
        # Unbounded: messages out are as many as the tasks the daemon lets in.
        outbox, to_write = trio.open_memory_channel[ToEngine](math.inf)
        self._outbox = outbox
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_write_all, process, to_write)
                nursery.start_soon(self._try_grammars, outbox)
                outbox.send_nowait(self._load_message())
                failure = await self._read_all(process, ready_at)
                nursery.cancel_scope.cancel()
        finally:
            self._outbox = None
            self.tuned = None
            # Before anyone hears of the failure: who then waits must wait for the next one.
            # What is to be told of it follows once the process is reaped.
            self._state = EngineLoading()
            for generation in self._running.values():
                generation.put(GenerationFailed("engine_died"))
            self._running.clear()
            await _end_process(process)
            self._process = None
        return failure or self._death(process, loading=not ready_at)

    async def _try_grammars(self, outbox: trio.MemorySendChannel[ToEngine]) -> None:
        """Hand tasks on once the form of their answer has passed its trial, one after another."""
        async for message in self._to_try:
            shape = _answer_shape(message)
            # Cancelled meanwhile, or of a process before this one.
            if shape is None or message.number not in self._running:
                continue
            fault = await self._grammars.fault(shape)
            if message.number not in self._running:
                continue
            if fault is None:
                outbox.send_nowait(message)
            else:
                refused = Refused(number=message.number, reason="bad_task", sentence=fault)
                self._running.pop(message.number).put(refused)

    def _send_tuning(self) -> None:
        if self._outbox is not None:
            threads = self._wanted.threads or self._settings.threads
            self._outbox.send_nowait(Tune(threads=threads, nice=self._wanted.nice))

    def _load_message(self) -> Load:
        settings = self._settings
        return Load(
            path=str(settings.model.path),
            digest=settings.model.digest,
            digest_cache=str(settings.digest_cache),
            slots=settings.slots,
            context_tokens=settings.context_tokens,
            threads=self._wanted.threads or settings.threads,
            memory_cap_bytes=self._wanted.memory_cap_bytes,
            legacy=settings.model.legacy,
        )

    async def _read_all(
        self, process: trio.Process, ready_at: list[float]
    ) -> EngineUnavailable | None:
        """Act on what the engine says until it ends; gives the reason when it told one."""
        assert process.stdout is not None  # noqa: S101 - opened with a pipe
        reader = FrameReader()
        crashed: EngineUnavailable | None = None
        while True:
            with trio.move_on_after(self._silence(ready=bool(ready_at))) as silence:
                raw = await process.stdout.receive_some(1 << 16)
            if silence.cancelled_caught:
                if ready_at and not self._stalled():
                    continue
                return EngineUnavailable("timeout", "the engine process stopped responding")
            if not raw:
                return crashed
            try:
                for message in map(from_engine, reader.feed(bytes(raw))):
                    match message:
                        case LoadFailed():
                            return EngineUnavailable(message.reason, message.sentence)
                        case Crashed():
                            crashed = EngineUnavailable(
                                "engine_died", f"the engine process failed: {message.where}"
                            )
                        case _:
                            self._take(message, ready_at)
            except EngineProtocolError as error:
                return EngineUnavailable("engine_died", str(error))

    def _take(self, message: FromEngine, ready_at: list[float]) -> None:
        match message:
            case Progress():
                self._set_state(EngineLoading(message.percent))
            case Ready():
                ready_at.append(trio.current_time())
                self._send_tuning()
                self._set_state(
                    EngineReady(
                        slots=message.slots,
                        context_tokens=message.context_tokens,
                        tokens_per_second_milli=message.tokens_per_second_milli,
                    )
                )
            case Started() | Tokens():
                if generation := self._running.get(message.number):
                    generation.put(message)
            case Finished() | Refused() | Scored():
                if generation := self._running.pop(message.number, None):
                    generation.put(message)
            case Tuned():
                self.tuned = message
            case Alive() | LoadFailed() | Crashed():
                pass

    def _silence(self, *, ready: bool) -> float:
        return self._silence_seconds if ready else _LOAD_SILENCE_SECONDS

    def _stalled(self) -> bool:
        """Whether a task has waited through a whole silence; an idle engine has none."""
        before = trio.current_time() - self._silence_seconds
        return any(generation.started_at <= before for generation in self._running.values())

    def _death(self, process: trio.Process, *, loading: bool) -> EngineUnavailable:
        code = process.returncode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if not loading:
            return EngineUnavailable("engine_died", f"the engine process ended ({how})")
        if how == "signal SIGILL":
            return EngineUnavailable(
                "no_library",
                "the inference library was compiled for another processor: build it on this one",
            )
        return EngineUnavailable(
            "engine_died",
            f"the engine process ended while loading {self._settings.model.path} ({how}): "
            "the file is damaged or memory ran out",
        )

    def _set_state(self, state: EngineState) -> None:
        self._state = state
        self._changed.set()
        self._changed = trio.Event()
        self._on_state(state)


@asynccontextmanager
async def open_engine(
    settings: EngineSettings,
    *,
    randomness: Callable[[], float] = random.random,
    on_state: Callable[[EngineState], None] = lambda _state: None,
    silence_seconds: float = WORK_SILENCE_SECONDS,
) -> AsyncIterator[EngineClient]:
    """Start an engine and keep one running until the block is left.

    Gives the client at once, before the model is loaded: see `EngineClient.wait_ready`.
    An engine that has work and shows no sign of life for `silence_seconds` is replaced.
    """
    client = EngineClient(
        settings, randomness=randomness, on_state=on_state, silence_seconds=silence_seconds
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.supervise)
        yield client
        nursery.cancel_scope.cancel()


def _answer_shape(message: Submit | Score) -> AnswerShape | None:
    task = message.task
    return task.task.answer_shape if isinstance(task, ScoreTask) else task.answer_shape


async def _write_all(process: trio.Process, messages: trio.MemoryReceiveChannel[ToEngine]) -> None:
    assert process.stdin is not None  # noqa: S101 - opened with a pipe
    try:
        async for message in messages:
            await process.stdin.send_all(frame(message))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        # The reader sees the end of the process and says why.
        return


async def _end_process(process: trio.Process) -> None:
    """Kill and reap. Killed, not asked: it holds nothing that would need saving."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + _KILL_SECONDS):
        process.kill()
        await process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                await pipe.aclose()


def default_threads() -> int:
    """One less than the physical cores, so that the machine stays usable; at least one."""
    return max(1, (psutil.cpu_count(logical=False) or os.cpu_count() or 2) - 1)
