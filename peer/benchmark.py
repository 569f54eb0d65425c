"""A short measurement of what this machine does with a model, to choose threads by."""

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import trio

from peerllm.peer.catalogue import BenchmarkResult
from peerllm.peer.engine import EngineClient, EngineSettings, default_threads, open_engine
from peerllm.peer.engine_protocol import GenerationTask, TaskTurn
from peerllm.peer.errors import ModelError, PeerError
from peerllm.peer.generation import EngineUnavailable, GeneratedPiece
from peerllm.peer.legacy_format import LegacyFormat
from peerllm.peer.models import ModelFile

# Ten pieces of prefill, and enough tokens that starting up no longer shows.
_PROMPT_WORDS: Final = 320
_TOKENS: Final = 48
_CONTEXT_TOKENS: Final = 1024
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


def thread_counts() -> tuple[int, ...]:
    """Thread counts worth comparing: a core is left to the machine in any case."""
    most = default_threads()
    return tuple(sorted({max(1, most // 2), most}))


async def measure(
    model: ModelFile,
    *,
    slots: int,
    threads: Sequence[int],
    digest_cache: Path,
    on_result: Callable[[BenchmarkResult], None] = lambda _result: None,
) -> BenchmarkResult:
    """The best of these thread counts, by tokens per second of all slots together.

    Raises `ModelError` when the model cannot be served, `BenchmarkError` when it fails.
    """
    results: list[BenchmarkResult] = []
    for count in threads:
        settings = EngineSettings(
            model=model,
            digest_cache=digest_cache,
            slots=slots,
            context_tokens=_CONTEXT_TOKENS,
            threads=count,
        )
        async with open_engine(settings) as engine:
            state = await engine.wait_ready()
            if isinstance(state, EngineUnavailable):
                raise ModelError(state.reason, state.sentence)
            with trio.move_on_after(_LONGEST_SECONDS) as deadline:
                results.append(
                    await _measure_engine(engine, state.slots, count, build(model.legacy))
                )
            if deadline.cancelled_caught:
                raise BenchmarkError(
                    f"{_TOKENS} tokens took longer than {_LONGEST_SECONDS:.0f} seconds "
                    f"with {count} threads: this machine is too slow for this model"
                )
        on_result(results[-1])
    return max(results, key=lambda result: result.decode_all_milli)


async def _measure_engine(
    engine: EngineClient, slots: int, threads: int, measured: str
) -> BenchmarkResult:
    prompt = _task("word " * _PROMPT_WORDS, 1)
    began = trio.current_time()
    with engine.generate(prompt) as generation:
        await generation.next()
        prefill = generation.prompt_tokens / (trio.current_time() - began)
    return BenchmarkResult(
        threads=threads,
        slots=slots,
        prefill_milli=int(prefill * 1000),
        decode_milli=await _decode_milli(engine, 1),
        decode_all_milli=await _decode_milli(engine, slots),
        build=measured,
    )


async def _decode_milli(engine: EngineClient, answers: int) -> int:
    arrivals: list[list[tuple[float, int]]] = []
    async with trio.open_nursery() as nursery:
        for _ in range(answers):
            arrivals.append([])
            # The first answers go on while the last prompts enter, two steps each.
            nursery.start_soon(_answer, engine, _TOKENS + 2 * answers, arrivals[-1])
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
