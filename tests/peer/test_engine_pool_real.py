"""Two real models and a broken one in one pool, each in its own engine process."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from peerllm.peer import pooled_model
from peerllm.peer.catalogue import embedded_model, find_models
from peerllm.peer.engine import open_engine
from peerllm.peer.engine_pool import EnginePool, open_pool
from peerllm.peer.engine_protocol import GenerationTask, TaskTurn
from peerllm.peer.generation import (
    EngineReady,
    EngineRestarting,
    EngineState,
    EngineUnavailable,
    GeneratedPiece,
    GenerationFailed,
)
from peerllm.peer.model_files import DiskModelFiles
from peerllm.peer.models import EMBEDDED_MODEL, embedded_model_path
from peerllm.peer.pool_parts import PoolParts
from peerllm.peer.pooled_model import PooledModel
from tests.peer.gguf_files import tiny_gguf


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The embedded model, the same under another name inside, and what no library loads."""
    variant, hollow = tmp_path / "variant.gguf", tmp_path / "hollow.gguf"
    raw = embedded_model_path().read_bytes()
    variant.write_bytes(raw.replace(b"Smollm2 135M", b"Smollm3 135M", 1))
    # Well formed, but for the tensors that a model of this kind must have.
    hollow.write_bytes(tiny_gguf(tokenizer__chat_template="{{ messages }}"))
    return [EMBEDDED_MODEL.name, str(variant), str(hollow)]


@asynccontextmanager
async def pool_of(
    tmp_path: Path, files: list[str], history: list[str], *, at_once: int
) -> AsyncIterator[EnginePool]:
    def changed(model: PooledModel | None) -> None:
        state = model.state if model else None
        if model and isinstance(state, EngineReady) and history[-1:] != [model.name]:
            history.append(model.name)
        if isinstance(state, EngineRestarting):
            history.append(state.cause)

    disk = DiskModelFiles(
        tmp_path, tmp_path / "digests.json", slots=2, context_tokens=256, threads=1
    )
    parts = PoolParts(
        slots=4,
        files=disk,
        open_engine=lambda settings, on_state: open_engine(
            settings, randomness=lambda: 0.0, on_state=on_state
        ),
        free_memory=lambda: 1 << 40,
        own_memory=lambda: 0,
        weights_count_as_free=False,
        on_change=changed,
    )
    with trio.fail_after(120):
        need = (await disk.read(embedded_model())).need.total
        async with open_pool(parts, find_models(tmp_path, files)) as pool:
            # And an empty process.
            pool.tune(threads=1, nice=0, memory_cap_bytes=at_once * need + 80_000_000)
            yield pool


async def settle(*models: PooledModel) -> list[EngineState]:
    for model in models:
        while model.in_line or not isinstance(model.state, EngineReady | EngineUnavailable):
            if model.proved and model.run is None:
                break
            await model.wait_change()
    return [model.state for model in models]


async def answer(pool: EnginePool, model: PooledModel, tokens: int = 6) -> list[int]:
    lease = pool.take(model.digest)
    assert lease
    task = GenerationTask(turns=[TaskTurn(role="user", content="Count to ten.")], max_tokens=tokens)
    said: list[int] = []
    try:
        with lease.engine.generate(task) as generation:
            while isinstance(step := await generation.next(), GeneratedPiece):
                said += step.tokens
                if step.finish:
                    return said
    finally:
        lease.release()
    assert step == GenerationFailed("engine_died")
    return []


async def test_two_real_models_take_turns_and_then_run_side_by_side(
    tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # However busy this machine is.
    monkeypatch.setattr(pooled_model, "LONGEST_LOAD_SECONDS", 60.0)
    history: list[str] = []
    async with pool_of(tmp_path, files, history, at_once=1) as pool:
        first, second, hollow = pool.models
        states = await settle(first, second, hollow)
        # A file that only the library refuses costs its own process and nothing else.
        assert isinstance(states[2], EngineUnavailable)
        assert (states[2].reason, str(hollow.wanted.path) in states[2].sentence) == (
            "unloadable",
            True,
        )
        assert first.run is None
        assert len(pool.process_ids) == 1
        tokens = await answer(pool, first)
        assert len(tokens) == 6
        assert second.run is None
        # Not another model, but its file is another one.
        assert first.digest != second.digest
        pool.tune(threads=1, nice=0, memory_cap_bytes=0)
        assert await answer(pool, second) == tokens
        assert history == [first.name, second.name, first.name, second.name]

        # One engine hangs under a chunk and is then killed: the other one does not notice.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer, pool, first, 10_000)
            await trio.testing.wait_all_tasks_blocked()
            assert first.run
            assert first.run.engine
            assert first.run.engine.process_id
            os.kill(first.run.engine.process_id, signal.SIGSTOP)
            assert await answer(pool, second) == tokens
            os.kill(first.run.engine.process_id, signal.SIGKILL)
        assert pool.free_slots(first.digest) == 0
        assert pool.free_slots(second.digest) == 2
        while history[-1] == second.name:
            await first.wait_change()
        assert history[4:] == ["the engine process ended (signal SIGKILL)"]
        assert [offer.name for offer in pool.offers()] == [first.name, second.name]

        # A file that is gone costs nothing until its engine ends, and then one model.
        second.wanted.path.unlink()
        assert await answer(pool, second) == tokens
        assert second.run
        assert second.run.engine
        assert second.run.engine.process_id
        os.kill(second.run.engine.process_id, signal.SIGKILL)
        while not isinstance(second.state, EngineUnavailable):
            await second.wait_change()
        assert second.state.reason == "missing_file"
        assert "cannot be read: No such file or directory" in second.state.sentence
        assert [offer.name for offer in pool.offers()] == [first.name]
