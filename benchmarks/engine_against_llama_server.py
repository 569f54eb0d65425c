"""PeerLLM's engine, through its process boundary, against llama.cpp's own server over HTTP.

    python3 -m venv /tmp/server && /tmp/server/bin/pip install xllamacpp==2026.10.11549
    .venv/bin/python benchmarks/engine_against_llama_server.py --server /tmp/server/bin/python

Same model file, same threads, same questions, in one run: the two take turns, round by round, the
other one idle. Rates come from the median round; times to a first token from all rounds together.
"""

import argparse
import platform
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil
import trio
from llama_server import LlamaServer, running_llama_server

from peerllm.peer.engine import EngineClient, EngineSettings, open_engine
from peerllm.peer.engine_protocol import GenerationTask, LogitBias, TaskTurn
from peerllm.peer.generation import EngineReady, GeneratedPiece
from peerllm.peer.llama import LlamaModel, load_library
from peerllm.peer.models import DigestCache, locate_model

CONTEXT_TOKENS: Final = 2048
DECODED_TOKENS: Final = 96
PROMPT_WORDS: Final = 240
ARRIVING_WORDS: Final = 60
ARRIVALS: Final = 10

# Gives a pair (prompt tokens, tokens now) whenever tokens come; prompt tokens may come last.
Ask = Callable[[str, int], AsyncIterator[tuple[int, int]]]


@dataclass
class Side:
    """One of the two, and what was measured of it."""

    name: str
    ask: Ask
    process_id: int
    decode: list[float] = field(default_factory=list)
    decode_cpu: list[float] = field(default_factory=list)
    prefill: list[float] = field(default_factory=list)
    prefill_cpu: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    prompt_tokens: set[int] = field(default_factory=set)
    memory: int = 0


def server_side(server: LlamaServer) -> Side:
    async def ask(content: str, max_tokens: int) -> AsyncIterator[tuple[int, int]]:
        async for event in server.stream(content, max_tokens):
            for choice in event["choices"]:
                if choice["delta"].get("content") is not None:
                    yield 0, 1
            if usage := event.get("usage"):
                yield usage["prompt_tokens"], 0

    return Side("llama-server", ask, server.process_id)


def engine_side(engine: EngineClient, end_tokens: list[int]) -> Side:
    never = [LogitBias(token=token, bias_milli=-100_000) for token in end_tokens]

    async def ask(content: str, max_tokens: int) -> AsyncIterator[tuple[int, int]]:
        turn = TaskTurn(role="user", content=content)
        task = GenerationTask(turns=[turn], max_tokens=max_tokens, logit_bias=never)
        with engine.generate(task) as generation:
            while True:
                step = await generation.next()
                if not isinstance(step, GeneratedPiece):
                    raise SystemExit(f"the engine failed: {step}")
                yield generation.prompt_tokens, len(step.tokens)
                if step.finish:
                    return

    assert engine.process_id
    return Side("PeerLLM", ask, engine.process_id)


def question(number: int, words: int) -> str:
    """A question like no other from its first word on, so that no side has read it before."""
    return f"Number {number}: go on with this story. " + f"the sea {number} " * (words // 3)


def cpu_seconds(process_id: int) -> float:
    times = psutil.Process(process_id).cpu_times()
    return float(times.user + times.system)


async def decode(side: Side, sequences: int, numbers: Callable[[], int]) -> None:
    arrivals: list[list[tuple[float, int]]] = [[] for _ in range(sequences)]
    ready = 0
    cpu: list[float] = []
    ended = trio.Event()

    async def one(times: list[tuple[float, int]]) -> None:
        nonlocal ready
        # The first ones go on while the last prompts enter.
        async for _, count in side.ask(question(numbers(), 12), DECODED_TOKENS + 8 * sequences):
            if count and not times:
                ready += 1
                if ready == sequences:
                    cpu.append(cpu_seconds(side.process_id))
            times.append((trio.current_time(), count))
        if not ended.is_set():
            cpu.append(cpu_seconds(side.process_id))
            ended.set()

    async with trio.open_nursery() as nursery:
        for times in arrivals:
            nursery.start_soon(one, times)
    began = max(next(at for at, count in times if count) for times in arrivals)
    over = min(max(at for at, count in times if count) for times in arrivals)
    tokens = sum(count for times in arrivals for at, count in times if began < at <= over)
    side.decode.append(tokens / (over - began))
    side.decode_cpu.append(tokens / (cpu[1] - cpu[0]))


async def prefill(side: Side, sequences: int, numbers: Callable[[], int]) -> None:
    entered = 0
    lasts: list[float] = []

    async def one() -> None:
        nonlocal entered
        known = 0
        async for prompt_tokens, count in side.ask(question(numbers(), PROMPT_WORDS), 1):
            known = known or prompt_tokens
            if count:
                lasts.append(trio.current_time())
        entered += known
        side.prompt_tokens.add(known)

    began, cpu = trio.current_time(), cpu_seconds(side.process_id)
    async with trio.open_nursery() as nursery:
        for _ in range(sequences):
            nursery.start_soon(one)
    side.prefill.append(entered / (max(lasts) - began))
    side.prefill_cpu.append(entered / (cpu_seconds(side.process_id) - cpu))


class Writers:
    """Answers that go on while something else is measured."""

    def __init__(self, side: Side, count: int) -> None:
        self._side = side
        self._missing = count
        self.all_run = trio.Event()
        if not count:
            self.all_run.set()

    async def write(self, number: int) -> None:
        """Write one answer, noting the time between its tokens."""
        before = 0.0
        async for _, count in self._side.ask(question(number, 12), CONTEXT_TOKENS):
            now = trio.current_time()
            if count and before and self.all_run.is_set():
                self._side.gaps.append(now - before)
            if count and not before:
                self._missing -= 1
            if not self._missing:
                self.all_run.set()
            before = now if count else before


async def first_tokens(side: Side, sequences: int, numbers: Callable[[], int]) -> None:
    """Questions that arrive one after the other while all other slots write answers."""
    writers = Writers(side, sequences - 1)
    async with trio.open_nursery() as nursery:
        for _ in range(sequences - 1):
            nursery.start_soon(writers.write, numbers())
        await writers.all_run.wait()
        for _ in range(ARRIVALS):
            began = trio.current_time()
            async for _, count in side.ask(question(numbers(), ARRIVING_WORDS), 1):
                if count:
                    side.first.append(trio.current_time() - began)
        nursery.cancel_scope.cancel()
    # What was given up leaves before the next measurement.
    await trio.sleep(0.5)


Measurement = Callable[[Side, int, Callable[[], int]], Awaitable[None]]
MEASUREMENTS: Final[tuple[Measurement, ...]] = (decode, prefill, first_tokens)


async def compare(
    model: Path, server_python: Path, sequences: int, threads: int, rounds: int, port: int
) -> tuple[Side, Side, LlamaServer]:
    loaded = LlamaModel(model)
    end_tokens = loaded.end_tokens
    loaded.close()
    file = locate_model(model, DigestCache(None))
    # All numbers of as many digits: prompts of equal length.
    counter = iter(range(10_000, 100_000))
    with (
        tempfile.TemporaryDirectory() as folder,
        running_llama_server(
            server_python,
            model,
            slots=sequences,
            context_tokens=CONTEXT_TOKENS,
            threads=threads,
            port=port,
        ) as server,
    ):
        settings = EngineSettings(
            model=file,
            digest_cache=Path(folder) / "digests.json",
            slots=sequences,
            context_tokens=CONTEXT_TOKENS,
            threads=threads,
        )
        async with open_engine(settings) as engine:
            state = await engine.wait_ready()
            if not isinstance(state, EngineReady):
                raise SystemExit(state.sentence)
            sides = (server_side(server), engine_side(engine, end_tokens))
            for number in range(rounds):
                for measure in MEASUREMENTS:
                    for side in sides if number % 2 else sides[::-1]:
                        await measure(side, sequences, lambda: next(counter))
            for side in sides:
                side.memory = psutil.Process(side.process_id).memory_full_info().uss
            return (*sides, server)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(server: Side, engine: Side, sequences: int) -> None:
    rows: list[tuple[str, float, float, bool]] = []
    for name, values in (
        ("decode, tokens/s", lambda side: statistics.median(side.decode)),
        ("decode, tokens per CPU second", lambda side: statistics.median(side.decode_cpu)),
        ("prefill, tokens/s", lambda side: statistics.median(side.prefill)),
        ("prefill, tokens per CPU second", lambda side: statistics.median(side.prefill_cpu)),
    ):
        rows.append((name, values(server), values(engine), True))
    for share in (0.5, 0.95):
        name = f"first token while others run, ms, p{share * 100:.0f}"
        pair = (percentile(side.first, share) * 1000 for side in (server, engine))
        rows.append((name, *pair, False))
    if server.gaps and engine.gaps:
        for share in (0.5, 0.99):
            pair = (percentile(side.gaps, share) * 1000 for side in (server, engine))
            rows.append((f"between the others' tokens, ms, p{share * 100:.0f}", *pair, False))
    rows.append(
        ("memory of the process alone, MB", server.memory / 1e6, engine.memory / 1e6, False)
    )
    print(f"\n{sequences} at once{'':33}{server.name:>14}{engine.name:>12}{'better by':>12}")
    for name, theirs, ours, more_is_better in rows:
        ratio = ours / theirs if more_is_better else theirs / ours
        print(f"  {name:42}{theirs:14.1f}{ours:12.1f}{ratio:11.2f}x")
    print(f"  prompt tokens asked: {sorted(server.prompt_tokens)}, {sorted(engine.prompt_tokens)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", type=Path, required=True, help="a Python that has xllamacpp")
    parser.add_argument("--model", type=Path, help="GGUF file; without, the embedded model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=18321)
    wanted = parser.parse_args()
    model = wanted.model or locate_model(None, DigestCache(None)).path
    library = load_library()
    print(f"{model.name}, {wanted.threads} threads, {wanted.rounds} rounds, {platform.machine()}")
    for number, sequences in enumerate(wanted.sequences):
        server, engine, running = trio.run(
            compare,
            model,
            wanted.server,
            sequences,
            wanted.threads,
            wanted.rounds,
            wanted.port + number,
        )
        if not number:
            print(f"llama-server of xllamacpp {running.release}: {running.system.strip()}")
            ours = library.llama_print_system_info().decode().strip()
            print(f"PeerLLM on llama-cpp-python {version('llama-cpp-python')}: {ours}")
        report(server, engine, sequences)


if __name__ == "__main__":
    main()
