"""What the engine promises beside speed: sameness, quick cancelling, cheap checking.

    .venv/bin/python benchmarks/engine_promises.py [--model FILE.gguf] [--threads N]

Sameness: answers with one seed, alone and beside seven others that come and go. Cancelling: from
leaving an answer until the engine has dealt with it, beside the time between two tokens. Checking:
processor time of scoring 128 tokens as a share of generating them.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import trio

from peerllm.peer.batching import BatchingEngine
from peerllm.peer.chat import ChatTemplate, ChatTurn
from peerllm.peer.engine import EngineClient, EngineSettings, open_engine
from peerllm.peer.engine_protocol import GenerationTask, TaskTurn
from peerllm.peer.generation import GeneratedPiece
from peerllm.peer.llama import LlamaModel
from peerllm.peer.models import DigestCache, locate_model
from peerllm.peer.sampling import Sampling
from peerllm.peer.sequences import Produced, Prompt

SLOTS: Final = 8
CONTEXT_TOKENS: Final = 1024
QUESTIONS: Final = 40
# From 512 cells on, the library computes a lone answer's attention in another way.
LONG_WORDS: Final = 560
WORDS: Final = ("sea", "fox", "tea", "old", "red", "sun", "far")


def sameness(model: LlamaModel, threads: int, words: int, tokens: int) -> tuple[int, int]:
    """How many answers were the same beside others as alone, of how many."""
    template = ChatTemplate(model.chat_template)
    engine = BatchingEngine(model, slots=SLOTS, context_tokens=CONTEXT_TOKENS, threads=threads)
    asked: list[Prompt] = []
    for number in range(QUESTIONS):
        filler = "".join(f"{WORDS[(number * at) % 7]} " for at in range(words))
        text = f"{filler}Tell story number {number}."
        asked.append(template.prompt([ChatTurn("user", text)], "", model))

    def submit(number: int) -> None:
        sampling = Sampling(temperature=0.8, top_p=0.95, seed=number)
        # Of different lengths, so that answers come and go.
        length = tokens - number % 7 * tokens // 14
        engine.submit(number, asked[number], max_tokens=length, sampling=sampling)

    def finish(answers: dict[int, list[int]]) -> None:
        while not engine.idle:
            for outcome in engine.step():
                assert isinstance(outcome, Produced)
                answers.setdefault(outcome.identifier, []).extend(outcome.tokens)

    together: dict[int, list[int]] = {}
    for number in range(QUESTIONS):
        submit(number)
    finish(together)
    same = 0
    for number in range(QUESTIONS):
        alone: dict[int, list[int]] = {}
        submit(number)
        finish(alone)
        shorter = min(len(alone[number]), len(together[number]))
        same += alone[number][:shorter] == together[number][:shorter]
    engine.close()
    return same, QUESTIONS


def checking(model: LlamaModel, threads: int) -> float:
    """Processor time of scoring as a share of generating."""
    template = ChatTemplate(model.chat_template)
    engine = BatchingEngine(model, slots=1, context_tokens=CONTEXT_TOKENS, threads=threads)
    prompt = template.prompt([ChatTurn("user", "Tell a long story about the sea.")], "", model)
    ends = tuple((token, -100.0) for token in model.end_tokens)
    sampling = Sampling(temperature=0.8, top_p=0.95, seed=3, logit_bias=ends)
    shares = []
    for _ in range(5):
        engine.submit(1, prompt, max_tokens=128, sampling=sampling)
        tokens, generating = _run(engine)
        engine.score(1, prompt, tokens, sampling=sampling)
        shares.append(_run(engine)[1] / generating)
    engine.close()
    return statistics.median(shares)


def _run(engine: BatchingEngine) -> tuple[list[int], float]:
    """The tokens of what is queued, and the processor time it took."""
    tokens: list[int] = []
    began = time.process_time()
    while not engine.idle:
        for outcome in engine.step():
            if isinstance(outcome, Produced):
                tokens += outcome.tokens
    return tokens, time.process_time() - began


async def cancelling(model: Path | None, threads: int) -> tuple[list[float], list[float]]:
    """Seconds until an answer that was left is gone, and between two tokens meanwhile."""
    gone: list[float] = []
    gaps: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = EngineSettings(
            model=locate_model(model, DigestCache(None)),
            digest_cache=Path(folder) / "digests.json",
            slots=SLOTS,
            context_tokens=CONTEXT_TOKENS,
            threads=threads,
        )
        async with open_engine(settings) as engine:
            await engine.wait_ready()
            async with trio.open_nursery() as nursery:
                for _ in range(SLOTS - 1):
                    nursery.start_soon(_write, engine, gaps)
                for _ in range(60):
                    with engine.generate(_story()) as generation:
                        for _ in range(3):
                            await generation.next()
                    left = trio.current_time()
                    # Messages are dealt with in order: this one is answered after the other.
                    engine.tuned = None
                    engine.tune(threads=threads, nice=0, memory_cap_bytes=0)
                    while engine.tuned is None:
                        await trio.sleep(0.0005)
                    gone.append(trio.current_time() - left)
                nursery.cancel_scope.cancel()
    return gone, gaps


async def _write(engine: EngineClient, gaps: list[float]) -> None:
    while True:
        with engine.generate(_story()) as generation:
            before = 0.0
            while isinstance(step := await generation.next(), GeneratedPiece) and not step.finish:
                now = trio.current_time()
                if before:
                    gaps.append(now - before)
                before = now


def _story() -> GenerationTask:
    turn = TaskTurn(role="user", content="Tell a very long story about the sea.")
    return GenerationTask(turns=[turn], max_tokens=900, temperature_milli=900)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="GGUF file; without, the embedded model")
    parser.add_argument("--threads", type=int, default=1)
    wanted = parser.parse_args()
    file = locate_model(wanted.model, DigestCache(None)).path
    model = LlamaModel(file)
    print(f"{file.name}, {wanted.threads} threads, {SLOTS} slots")
    for words, tokens, name in ((0, 64, "short"), (LONG_WORDS, 24, "beyond 512 cells")):
        same, of = sameness(model, wanted.threads, words, tokens)
        print(f"  the same alone and beside seven others, {name}: {same} of {of}")
    share = checking(model, wanted.threads)
    print(f"  scoring 128 tokens takes {share:.2f} of generating them")
    model.close()
    gone, gaps = trio.run(cancelling, wanted.model, wanted.threads)
    for name, values in (("cancelled after", gone), ("between two tokens", gaps)):
        p50, p95 = (percentile(values, share) * 1000 for share in (0.5, 0.95))
        print(f"  {name}: {p50:.0f} ms p50, {p95:.0f} ms p95 ({len(values)})")


if __name__ == "__main__":
    main()
