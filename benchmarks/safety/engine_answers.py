"""Answers of a real model, in its own engine process, to many prompts: greedy, eight at once."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio

from peerllm.peer.engine import EngineClient, EngineSettings, open_engine
from peerllm.peer.engine_protocol import GenerationTask, TaskTurn
from peerllm.peer.generation import EngineReady, GeneratedPiece
from peerllm.peer.models import DigestCache, locate_model

SLOTS: Final = 8
CONTEXT_TOKENS: Final = 1024
ANSWER_SECONDS: Final = 600.0

# Told of an answer's next piece: which prompt's, its text, and whether it is the last.
OnPiece = Callable[[int, str, bool], None]


async def answer_all(
    prompts: Sequence[str],
    on_piece: OnPiece,
    *,
    max_tokens: int,
    model: Path | None = None,
    threads: int = 1,
) -> None:
    """Answer every prompt, telling `on_piece` of each piece; without `model`, the embedded one."""
    with tempfile.TemporaryDirectory() as folder:
        settings = EngineSettings(
            model=locate_model(model, DigestCache(None)),
            digest_cache=Path(folder) / "digests.json",
            slots=SLOTS,
            context_tokens=CONTEXT_TOKENS,
            threads=threads,
        )
        async with open_engine(settings) as engine:
            ready = await engine.wait_ready()
            if not isinstance(ready, EngineReady):
                raise SystemExit(ready.sentence)
            at_once = trio.CapacityLimiter(SLOTS)

            async def one(number: int) -> None:
                turns = [TaskTurn(role="user", content=prompts[number])]
                async with at_once:
                    task = GenerationTask(turns=turns, max_tokens=max_tokens)
                    await _answer(engine, task, number, on_piece)

            async with trio.open_nursery() as nursery:
                for number in range(len(prompts)):
                    nursery.start_soon(one, number)


async def _answer(
    engine: EngineClient, task: GenerationTask, number: int, on_piece: OnPiece
) -> None:
    with trio.fail_after(ANSWER_SECONDS), engine.generate(task) as generation:
        while True:
            step = await generation.next()
            if not isinstance(step, GeneratedPiece):
                raise SystemExit(f"the engine gave no answer: {step}")
            on_piece(number, step.text, bool(step.finish))
            if step.finish:
                return
