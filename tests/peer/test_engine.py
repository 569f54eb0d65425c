import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing

from peerllm.overlay.answer_shape import AnswerShape, Constants, Field, Record
from peerllm.peer.engine import EngineClient, EngineSettings, default_threads, open_engine
from peerllm.peer.engine_protocol import GenerationTask, ScoreTask, TaskTurn
from peerllm.peer.generation import (
    AnswerScores,
    EngineReady,
    EngineRestarting,
    EngineState,
    EngineUnavailable,
    GeneratedPiece,
    Generation,
    GenerationFailed,
    GenerationRefused,
    GenerationStep,
)
from peerllm.peer.models import DigestCache, ModelFile, locate_model
from peerllm.peer.verification import judge_answer

YES_OR_NO = AnswerShape(
    nodes=[
        Record(fields=[Field(name="yes", node=1, required=True)]),
        Constants(others=["true", "false"]),
    ]
)
NOTHING = AnswerShape(nodes=[Constants()])


def task(max_tokens: int = 6, content: str = "Count to ten.") -> GenerationTask:
    turns = [TaskTurn(role="user", content=content)]
    return GenerationTask(turns=turns, max_tokens=max_tokens)


def settings(tmp_path: Path, model: ModelFile | None = None, **changes: int) -> EngineSettings:
    cache = tmp_path / "digests.json"
    numbers = {"slots": 2, "context_tokens": 256, "threads": 1, **changes}
    return EngineSettings(
        model=model or locate_model(None, DigestCache(cache)), digest_cache=cache, **numbers
    )


@asynccontextmanager
async def ready_engine(
    tmp_path: Path, states: list[EngineState] | None = None
) -> AsyncIterator[EngineClient]:
    seen: list[EngineState] = states if states is not None else []
    with trio.fail_after(60):
        async with open_engine(
            settings(tmp_path), randomness=lambda: 0.0, on_state=seen.append
        ) as engine:
            assert isinstance(await engine.wait_ready(), EngineReady)
            yield engine


async def collect(generation: Generation) -> tuple[list[int], str, GenerationStep]:
    tokens: list[int] = []
    text = ""
    while True:
        step = await generation.next()
        if not isinstance(step, GeneratedPiece):
            return tokens, text, step
        tokens += step.tokens
        text += step.text
        if step.finish:
            return tokens, text, step


async def test_several_answers_stream_from_one_engine(tmp_path: Path) -> None:
    answers: list[tuple[list[int], str]] = []

    async def ask(engine: EngineClient) -> None:
        with engine.generate(task()) as generation:
            tokens, text, _ = await collect(generation)
            answers.append((tokens, text))
            assert generation.prompt_tokens > 10

    async with ready_engine(tmp_path) as engine:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, engine)
        with engine.generate(task(content="word " * 400)) as generation:
            assert await generation.next() == GenerationRefused("context_exceeded")
        shaped = msgspec.structs.replace(task(20), answer_shape=YES_OR_NO)
        with engine.generate(shaped) as generation:
            _, text, end = await collect(generation)
        assert isinstance(end, GeneratedPiece)
        assert end.finish == "stop"
        assert json.loads(text)["yes"] in (True, False)
        impossible = msgspec.structs.replace(shaped, answer_shape=NOTHING)
        with engine.generate(impossible) as generation:
            assert await generation.next() == GenerationRefused("bad_task")
        claim = ScoreTask(task=impossible, tokens=[5])
        assert await engine.score(claim) == GenerationRefused("bad_task")
        # Given up while its form was being tried.
        other = AnswerShape(nodes=[Constants(others=["1"])])
        with engine.generate(msgspec.structs.replace(task(), answer_shape=other)):
            await trio.sleep(0)
        with engine.generate(task()) as generation:
            answers.append((await collect(generation))[:2])
    # Three answers on two slots: the third waited, and greedy answers are equal.
    assert len(answers) == 4
    assert answers[0] == answers[1] == answers[2] == answers[3]
    assert len(answers[0][0]) == 6
    assert answers[0][1]


async def judged(engine: EngineClient, claim: ScoreTask) -> str:
    scores = await engine.score(claim)
    assert isinstance(scores, AnswerScores)
    assert scores.prompt_tokens > 10
    greedy = claim.task.temperature_milli == 0
    # Generated a moment ago by this very process.
    return judge_answer(scores, greedy=greedy, same_logits=not greedy).judgement


async def test_an_honest_answer_is_told_from_others(tmp_path: Path) -> None:
    async with ready_engine(tmp_path) as engine:
        greedy = task(12, "Tell a story about the sea.")
        for asked in (greedy, msgspec.structs.replace(greedy, temperature_milli=800, seed=5)):
            with engine.generate(asked) as generation:
                tokens, _, _ = await collect(generation)
            drawn = asked.temperature_milli > 0
            honest = ScoreTask(task=asked, tokens=tokens)
            other_seed = msgspec.structs.replace(asked, temperature_milli=800, seed=6)
            other_prompt = task(12, "How many legs has a horse?")
            altered = [*tokens[:9], tokens[2], *tokens[10:]]
            assert await judged(engine, honest) == "honest"
            for dishonest in (
                msgspec.structs.replace(honest, tokens=altered),
                msgspec.structs.replace(honest, task=other_seed if drawn else other_prompt),
            ):
                assert await judged(engine, dishonest) == "foreign"


async def test_a_score_is_refused_or_fails_as_an_answer_does(tmp_path: Path) -> None:
    async with ready_engine(tmp_path) as engine:
        assert await engine.score(ScoreTask(task=task(), tokens=[10**9])) == GenerationRefused(
            "bad_task"
        )
        long = ScoreTask(task=task(), tokens=[5] * 200)
        with trio.CancelScope() as scope:
            scope.cancel()
            await engine.score(long)
        assert engine.process_id
        async with trio.open_nursery() as nursery:
            outcomes: list[object] = []

            async def ask() -> None:
                outcomes.append(await engine.score(long))

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            os.kill(engine.process_id, signal.SIGKILL)
        assert outcomes == [GenerationFailed("engine_died")]
        assert await engine.score(long) == GenerationFailed("engine_unavailable")


async def test_leaving_the_block_frees_the_slot(tmp_path: Path) -> None:
    async with ready_engine(tmp_path) as engine:
        for _ in range(4):
            with trio.CancelScope() as scope, engine.generate(task(10_000)) as generation:
                await generation.next()
                scope.cancel()
                await generation.next()
            assert scope.cancelled_caught
        with engine.generate(task()) as generation:
            tokens, _, _ = await collect(generation)
        assert len(tokens) == 6


async def test_a_killed_engine_fails_its_answers_at_once_and_comes_back(tmp_path: Path) -> None:
    states: list[EngineState] = []
    async with ready_engine(tmp_path, states) as engine:
        with engine.generate(task(10_000)) as generation:
            assert isinstance(await generation.next(), GeneratedPiece)
            assert engine.process_id
            os.kill(engine.process_id, signal.SIGKILL)
            step = await generation.next()
            while isinstance(step, GeneratedPiece):
                step = await generation.next()
            assert step == GenerationFailed("engine_died")
            assert await generation.next() == step
        with engine.generate(task()) as generation:
            assert await generation.next() == GenerationFailed("engine_unavailable")
        assert isinstance(await engine.wait_ready(), EngineReady)
        with engine.generate(task()) as generation:
            tokens, _, _ = await collect(generation)
        assert len(tokens) == 6
    restarts = [state for state in states if isinstance(state, EngineRestarting)]
    assert [restart.cause for restart in restarts] == ["the engine process ended (signal SIGKILL)"]


async def test_an_engine_that_hangs_is_replaced(tmp_path: Path) -> None:
    states: list[EngineState] = []
    with trio.fail_after(60):
        async with open_engine(
            settings(tmp_path), randomness=lambda: 0.0, on_state=states.append, silence_seconds=0.5
        ) as engine:
            await engine.wait_ready()
            with engine.generate(task(10_000)) as generation:
                await generation.next()
                assert engine.process_id
                os.kill(engine.process_id, signal.SIGSTOP)
                while isinstance(await generation.next(), GeneratedPiece):
                    pass
                assert await generation.next() == GenerationFailed("engine_died")
            assert isinstance(await engine.wait_ready(), EngineReady)
    (restart,) = [state for state in states if isinstance(state, EngineRestarting)]
    assert restart.cause == "the engine process stopped responding"


async def test_limits_apply_to_a_running_engine_and_to_its_successor(tmp_path: Path) -> None:
    def levels(process_id: int | None) -> set[int]:
        tasks = Path(f"/proc/{process_id}/task")
        return {os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in tasks.iterdir()}

    states: list[EngineState] = []
    async with ready_engine(tmp_path, states) as engine:
        with engine.generate(task(12)) as generation:
            await generation.next()
            engine.tune(threads=2, nice=19, memory_cap_bytes=0)
            tokens, _, _ = await collect(generation)
            assert len(tokens) == 11
        assert engine.tuned
        assert (engine.tuned.threads, engine.tuned.nice) == (2, 19)
        if sys.platform == "linux":
            assert levels(engine.process_id) == {19}
        assert engine.process_id
        engine.tune(threads=0, nice=19, memory_cap_bytes=1_000_000)
        os.kill(engine.process_id, signal.SIGKILL)
        # The cap is respected by the next process: it does not load, and tries again.
        while not any(isinstance(s, EngineRestarting) and "cap" in s.cause for s in states):
            await trio.sleep(0.01)
        engine.tune(threads=0, nice=19, memory_cap_bytes=0)
        assert isinstance(await engine.wait_ready(), EngineReady)
        with engine.generate(task()) as generation:
            tokens, _, _ = await collect(generation)
        assert len(tokens) == 6
        assert (engine.tuned.threads, engine.tuned.nice) == (1, 19)


async def test_a_model_that_cannot_be_served_is_not_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("not a model")
    wrong = locate_model(None, DigestCache(None))
    for model, reason in [
        (ModelFile("text", path, bytes(32)), "not_gguf"),
        (ModelFile("altered", wrong.path, bytes(32)), "digest_mismatch"),
    ]:
        with trio.fail_after(30):
            async with open_engine(settings(tmp_path, model)) as engine:
                state = await engine.wait_ready()
                assert isinstance(state, EngineUnavailable)
                assert state.reason == reason
                assert str(model.path) in state.sentence


async def test_a_library_for_another_processor_is_named_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ends like a process that meets an instruction its processor does not know.
    tmp_path.joinpath("sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if sys.argv[:1] == ['-m']:\n"
        "    os.kill(os.getpid(), signal.SIGILL)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with open_engine(settings(tmp_path)) as engine:
        state = await engine.wait_ready()
    assert isinstance(state, EngineUnavailable)
    assert state.reason == "no_library"
    assert "another processor" in state.sentence


async def test_no_process_is_left_behind(tmp_path: Path) -> None:
    async with ready_engine(tmp_path) as engine:
        process_id = engine.process_id
        assert process_id
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


def test_the_machine_keeps_a_core() -> None:
    assert 1 <= default_threads() <= max(1, (os.cpu_count() or 2) - 1)
