"""A short measurement of what this machine does with a model, to choose threads and slots by."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import trio

from peerllm.peer.engine import EngineClient, EngineSettings, default_threads, open_engine
from peerllm.peer.engine_protocol import GenerationTask, TaskTurn
from peerllm.peer.errors import ModelError, PeerError
from peerllm.peer.generation import EngineUnavailable, GeneratedPiece
from peerllm.peer.legacy_format import LegacyFormat
from peerllm.peer.measurements import Measurement
from peerllm.peer.models import ModelFile
from peerllm.peer.tuning import TRIED_SLOTS, Trial, choose_slots, hardware, thread_counts, tune

# Five pieces of prefill, and enough passes that starting up no longer shows.
_PROMPT_WORDS: Final = 320
_PASSES: Final = 24
# Holds all that is measured, and takes little memory with every slot tried.
_CONTEXT_TOKENS: Final = 512
# The slowest machine worth serving with decodes a token per second.
_LONGEST_SECONDS: Final = 300.0


class BenchmarkError(PeerError):
    """The engine did not survive being measured."""


def build(legacy: LegacyFormat | None = None) -> str:
    """The inference library whose figures these are."""
    package = "ctransformers" if legacy else "llama-cpp-python"
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return "none"


async def measure(
    model: ModelFile,
    *,
    slots: int,
    threads: int,
    digest_cache: Path,
    on_trial: Callable[[Trial], None] = lambda _trial: None,
) -> Measurement:
    """Try numbers of threads and of slots, and choose; other than 0, they are decided already.

    Raises `ModelError` when the model cannot be served, `BenchmarkError` when it fails.
    """
    trials: list[Trial] = []
    with _unwrapped():
        for count in [threads] if threads else thread_counts(default_threads()):
            settings = EngineSettings(
                model=model,
                digest_cache=digest_cache,
                slots=slots or max(TRIED_SLOTS),
                context_tokens=_CONTEXT_TOKENS,
                threads=count,
            )
            trials.append(await _try(settings, decided=bool(slots)))
            on_trial(trials[-1])
    # A file of the legacy library holds one answer, whatever was asked for.
    chosen = tune(trials, max(trials[0].together_milli) if slots else 0)
    together = chosen.trial.together_milli
    return Measurement(
        threads=chosen.trial.threads,
        slots=chosen.slots,
        prefill_milli=chosen.trial.prefill_milli,
        decode_milli=together[1],
        decode_all_milli=together[chosen.slots],
        build=build(model.legacy),
        hardware=hardware(),
    )


@contextmanager
def _unwrapped() -> Iterator[None]:
    """Raise a `PeerError` as what it is: a nursery puts what is raised inside it in a group."""
    fault: BaseException | None = None
    try:
        yield
    except* PeerError as group:
        fault = group
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    if fault is not None:
        raise fault


async def _try(settings: EngineSettings, *, decided: bool) -> Trial:
    async with open_engine(settings) as engine:
        state = await engine.wait_ready()
        if isinstance(state, EngineUnavailable):
            raise ModelError(state.reason, state.sentence)
        with trio.move_on_after(_LONGEST_SECONDS):
            prefill = await _prefill_milli(engine)
            together: dict[int, int] = {}
            for answers in (1, state.slots) if decided else TRIED_SLOTS:
                if answers > state.slots:
                    break
                together[answers] = await _decode_milli(engine, answers)
                if decided or choose_slots(together) == answers:
                    continue
                # Another program's burst of work only ever slows, and the choice lasts: what
                # seems to bring nothing is measured once more.
                together[answers] = max(together[answers], await _decode_milli(engine, answers))
                if choose_slots(together) != answers:
                    break
            return Trial(settings.threads, prefill, together)
    raise BenchmarkError(
        f"a few answers took longer than {_LONGEST_SECONDS:.0f} seconds with "
        f"{settings.threads} threads: this machine is too slow for this model"
    )


async def _prefill_milli(engine: EngineClient) -> int:
    began = trio.current_time()
    with engine.generate(_task("word " * _PROMPT_WORDS, 1)) as generation:
        await generation.next()
        return int(generation.prompt_tokens / (trio.current_time() - began) * 1000)


async def _decode_milli(engine: EngineClient, answers: int) -> int:
    arrivals: list[list[tuple[float, int]]] = []
    async with trio.open_nursery() as nursery:
        for _ in range(answers):
            arrivals.append([])
            # The first answers go on while the last prompts enter.
            nursery.start_soon(_answer, engine, _PASSES + answers, arrivals[-1])
    # From when the last prompt is in until the first answer ends: only then all decode.
    began = max(times[0][0] for times in arrivals)
    ended = min(times[-1][0] for times in arrivals)
    tokens = sum(count for times in arrivals for at, count in times if began < at <= ended)
    if tokens < answers:
        raise BenchmarkError(
            f"the model's answers are too short to measure {answers} at once: use fewer slots"
        )
    return int(tokens / (ended - began) * 1000)


async def _answer(engine: EngineClient, max_tokens: int, arrivals: list[tuple[float, int]]) -> None:
    """One answer: when its tokens came, and how many at a time."""
    with engine.generate(_task("Tell a long story about the sea.", max_tokens)) as generation:
        while True:
            step = await generation.next()
            if not isinstance(step, GeneratedPiece):
                raise BenchmarkError("the engine failed while it was measured")
            arrivals.append((trio.current_time(), len(step.tokens)))
            if step.finish:
                return


def _task(content: str, max_tokens: int) -> GenerationTask:
    return GenerationTask(turns=[TaskTurn(role="user", content=content)], max_tokens=max_tokens)
