import os
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from peerllm.overlay.answer_shape import AnswerShape, Constants
from peerllm.peer.catalogue import LocalCatalogue, find_model
from peerllm.peer.engine import open_engine
from peerllm.peer.engine_pipes import DaemonPipes
from peerllm.peer.engine_protocol import (
    Cancel,
    EngineProtocolError,
    Finished,
    FromEngine,
    GenerationTask,
    Load,
    LoadFailed,
    LogitBias,
    Refused,
    Score,
    ScoreTask,
    Started,
    Submit,
    TaskTurn,
    ToEngine,
    Tokens,
    Tune,
    Tuned,
)
from peerllm.peer.generation import (
    EngineReady,
    EngineRestarting,
    EngineState,
    EngineUnavailable,
    GeneratedPiece,
    GenerationFailed,
    GenerationRefused,
)
from peerllm.peer.legacy_format import LegacyFormat
from peerllm.peer.legacy_model import LegacyModel
from peerllm.peer.legacy_process import LegacyServer
from peerllm.peer.model_files import DiskModelFiles
from peerllm.peer.models import DigestCache
from tests.peer.legacy_files import BLOCKS, CONTEXT, WIDTH, gpt2_file, llama_file
from tests.peer.running_process import RunningProcess

# Between two of these the server does one step.
STEP = None


class ScriptedPipes(DaemonPipes):
    """The daemon's messages, each at a given step; what the server says is kept."""

    def __init__(self, *script: ToEngine | None) -> None:
        super().__init__(-1, -1)
        self.script = list(script)
        self.said: list[FromEngine] = []
        self.inbox = self  # type: ignore[assignment]

    def get(self, *, block: bool, timeout: float | None) -> ToEngine | None:
        while block and timeout is None and self.script and self.script[0] is STEP:
            # Who waits for a message, without an end, does no step.
            self.script.pop(0)
        if not self.script:
            return None
        message = self.script.pop(0)
        if message is STEP:
            raise queue.Empty
        return message

    def send(self, message: FromEngine) -> None:
        self.said.append(message)

    def send_alive(self) -> None: ...


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LegacyModel]:
    path = tmp_path_factory.mktemp("gpt2") / "model.bin"
    path.write_bytes(gpt2_file())
    loaded = LegacyModel(path, "gpt2", context_tokens=CONTEXT, threads=1)
    yield loaded
    loaded.close()


def task(content: str = "hello", max_tokens: int = 4, **rest: Any) -> GenerationTask:
    turns = [TaskTurn(role="user", content=content)]
    return GenerationTask(turns=turns, max_tokens=max_tokens, **rest)


def serve(model: LegacyModel, *script: ToEngine | None, template: str = "") -> list[FromEngine]:
    pipes = ScriptedPipes(*script)
    LegacyServer(pipes, model, template).serve()
    return pipes.said


def said_of(number: int, said: list[FromEngine]) -> list[FromEngine]:
    return [one for one in said if getattr(one, "number", 0) == number]


def text_of(said: list[FromEngine]) -> str:
    return "".join(one.text for one in said if isinstance(one, Tokens))


def test_one_answer_at_a_time_streams_token_by_token(model: LegacyModel) -> None:
    # 20 tokens of prompt are three pieces, the last of which gives a token, as each step after.
    said = serve(model, Submit(number=1, task=task()), Submit(number=2, task=task()), *[STEP] * 12)
    first, second = said_of(1, said), said_of(2, said)
    assert first[0] == Started(number=1, prompt_tokens=20)
    assert [type(one) for one in first[1:]] == [Tokens] * 4 + [Finished]
    assert all(isinstance(one, Tokens) and len(one.tokens) == 1 for one in first[1:-1])
    assert first[-1] == Finished(number=1, finish="length")
    # The second waited for the first's end, and is the same.
    assert said.index(second[1]) > said.index(first[-1])
    assert text_of(second) == text_of(first)


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_cancelled_answer_says_nothing_more(model: LegacyModel, steps: int) -> None:
    # Cancelled in the prompt's first piece, in its second, and between two tokens.
    script = [Submit(number=1, task=task(max_tokens=50)), *[STEP] * steps, Cancel(number=1)]
    said = serve(model, *script, Submit(number=2, task=task()), *[STEP] * 6)
    assert len(said_of(1, said)) == 1 + max(0, steps - 2)
    assert said_of(2, said)[-1] == Finished(number=2, finish="length")
    # One that still waits is dropped as well.
    said = serve(
        model,
        Submit(number=1, task=task()),
        Submit(number=2, task=task()),
        Cancel(number=2),
        Cancel(number=99),
        *[STEP] * 12,
    )
    assert [type(one) for one in said_of(2, said)] == [Started]


def test_stop_strings_end_an_answer_and_stay_out_of_it(model: LegacyModel) -> None:
    def answer(**rest: Any) -> list[FromEngine]:
        return serve(model, Submit(number=1, task=task(max_tokens=30, **rest)), *[STEP] * 40)

    whole = text_of(answer())
    assert len(whole) > 8
    stop = whole[5:7]
    at = whole.index(stop)
    said = answer(stop=[stop])
    assert text_of(said) == whole[:at]
    assert said[-1] == Finished(number=1, finish="stop")
    # What was said before a failover is gone on with, not repeated.
    rest = text_of(answer(assistant_prefix=whole[:5]))
    assert (whole[:5] + rest)[: len(whole)] == whole


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"min_p_milli": 50}, "min p"),
        ({"frequency_penalty_milli": 1}, "frequency penalty"),
        ({"presence_penalty_milli": -1}, "presence penalty"),
        ({"logit_bias": [LogitBias(token=1, bias_milli=5)]}, "logit bias"),
        ({"answer_shape": AnswerShape(nodes=[Constants(strings=["yes"])])}, "answer shape"),
    ],
)
def test_what_the_library_cannot_do_is_refused(
    model: LegacyModel, wanted: dict[str, Any], named: str
) -> None:
    (refused,) = serve(model, Submit(number=1, task=task(**wanted)), STEP)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.sentence) == (
        "bad_task",
        f"legacy models cannot do this: {named}",
    )


def test_every_field_of_a_task_is_either_heeded_or_refused(model: LegacyModel) -> None:
    heeded = {"turns", "assistant_prefix", "max_tokens", "temperature_milli", "top_p_milli"}
    heeded |= {"repetition_penalty_milli", "seed", "stop"}
    refused = {"min_p_milli", "frequency_penalty_milli", "presence_penalty_milli", "logit_bias"}
    refused |= {"answer_shape"}
    # A new field must be added to one of the two on purpose.
    assert heeded | refused == set(GenerationTask.__struct_fields__)

    def text(**rest: Any) -> str:
        return text_of(
            serve(model, Submit(number=1, task=task(max_tokens=9, **rest)), *[STEP] * 20)
        )

    drawn = text(temperature_milli=1500, seed=1)
    assert drawn == text(temperature_milli=1500, seed=1)
    assert drawn != text(temperature_milli=1500, seed=2)
    assert drawn != text(temperature_milli=100, seed=1)
    assert text(temperature_milli=1500, seed=1, top_p_milli=0) == text()
    assert text(repetition_penalty_milli=10_000) != text()


def test_claims_are_not_scored_and_impossible_prompts_refused(model: LegacyModel) -> None:
    claim = ScoreTask(task=task(), tokens=[1])
    said = serve(
        model,
        Score(number=1, task=claim),
        Submit(number=2, task=task("word " * 200)),
        Submit(number=3, task=task("x" * (CONTEXT - 19))),
        Submit(number=4, task=task("a\0b")),
        Submit(number=5, task=GenerationTask(turns=[], max_tokens=1)),
        STEP,
    )
    reasons = [one.reason for one in said if isinstance(one, Refused)]
    assert reasons == ["bad_task", "context_exceeded", "context_exceeded", "bad_task", "bad_task"]
    assert len(said) == 5


def test_an_answer_ends_with_the_context(model: LegacyModel) -> None:
    said = serve(model, Submit(number=1, task=task(max_tokens=10_000)), *[STEP] * 200)
    assert sum(len(one.tokens) for one in said if isinstance(one, Tokens)) == CONTEXT - 20
    assert said[-1] == Finished(number=1, finish="length")


def test_the_owners_template_writes_the_prompt(model: LegacyModel) -> None:
    template = "{% for message in messages %}[{{ message.content }}]{% endfor %}"
    (started,) = serve(model, Submit(number=1, task=task("hello")), template=template)
    assert started == Started(number=1, prompt_tokens=3)
    dropping = "{{ messages[0].content }}"
    two = GenerationTask(turns=[*task().turns, *task().turns], max_tokens=1)
    (refused,) = serve(model, Submit(number=1, task=two), template=dropping)
    assert isinstance(refused, Refused)


def test_a_plain_transcript_ends_where_the_model_speaks_for_the_user(
    model: LegacyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken = iter([*b"Hi\nUser: and"])
    monkeypatch.setattr(model, "draw", lambda *_, **__: next(spoken))
    said = serve(model, Submit(number=1, task=task(max_tokens=50)), *[STEP] * 20)
    assert text_of(said) == "Hi"
    assert said[-1] == Finished(number=1, finish="stop")


def test_threads_are_changed_between_two_steps(
    model: LegacyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "threads", 1)
    whole = text_of(serve(model, Submit(number=1, task=task()), *[STEP] * 9))
    # For the last token only: two threads that wait for each other take long on a busy machine.
    tune = Tune(threads=2, nice=0)
    said = serve(model, Submit(number=1, task=task()), *[STEP] * 5, tune, STEP)
    (tuned,) = [one for one in said if isinstance(one, Tuned)]
    assert (tuned.threads, model.threads) == (2, 2)
    assert text_of(said) == whole


def test_an_engine_loads_one_model_only(model: LegacyModel) -> None:
    with pytest.raises(EngineProtocolError):
        serve(model, load(Path("/model.bin"), bytes(32), None))


def test_an_idle_engine_overwrites_what_it_held(model: LegacyModel, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(gpt2_file())
    fresh = LegacyModel(path, "gpt2", context_tokens=CONTEXT, threads=1)
    places = 23
    for at in range(0, places, 8):
        fresh.evaluate([0] * min(8, places - at))

    def draws(one: LegacyModel) -> list[int]:
        one.held = places
        one.evaluate([65])
        return [
            one.draw([], temperature=2.0, top_p=1.0, repetition_penalty=1.0, seed=seed)
            for seed in range(40)
        ]

    def after(steps: int) -> list[int]:
        shorter = [Submit(number=2, task=task(max_tokens=1)), *[STEP] * 3]
        serve(model, Submit(number=1, task=task()), *[STEP] * 6, *shorter, *[STEP] * steps)
        return draws(model)

    # 20 tokens of prompt and 3 of the longer answer: three pieces overwrite them all.
    assert after(0) != draws(fresh)
    assert after(2) != draws(fresh)
    assert after(4) == draws(fresh)
    fresh.close()


def load(path: Path, digest: bytes, legacy: LegacyFormat | None) -> Load:
    return Load(
        path=str(path),
        digest=digest,
        digest_cache="/nonexistent/digests.json",
        slots=4,
        context_tokens=64,
        threads=1,
        legacy=legacy,
    )


@pytest.mark.parametrize(
    ("damage", "changes", "reason"),
    [
        (lambda raw: raw[:-9], {}, "unloadable"),
        (lambda raw: raw[:-9] + bytes(9), {"digest": bytes(32)}, "digest_mismatch"),
        (lambda raw: raw, {"memory_cap_bytes": 300_000_000}, "no_memory"),
    ],
)
def test_what_cannot_be_served_is_not_loaded(
    tmp_path: Path, damage: Callable[[bytes], bytes], changes: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(damage(gpt2_file()))
    process = RunningProcess(module="peerllm.peer.legacy_process")
    wanted = load(path, DigestCache(None).digest(path), LegacyFormat(architecture="gpt2"))
    process.send(msgspec.structs.replace(wanted, **changes))
    failed = process.receive()
    assert isinstance(failed, LoadFailed)
    assert failed.reason == reason
    assert "\n" not in failed.sentence
    assert process.end() == (0, b"")


async def test_a_file_that_breaks_under_the_library_costs_its_process_only(tmp_path: Path) -> None:
    path = tmp_path / "old.bin"
    path.write_bytes(llama_file())
    catalogue = LocalCatalogue(tmp_path / "data")
    template = "{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}"
    catalogue.add(path, legacy=LegacyFormat(architecture="llama", chat_template=template))
    # The way of a host: found by name, read and checked, then loaded.
    files = DiskModelFiles(tmp_path / "data", tmp_path / "digests.json", 4, 64, threads=1)
    known = await files.read(find_model(tmp_path / "data", "old"))
    assert known.need.cache == 64 * 2 * BLOCKS * WIDTH * 2
    states: list[EngineState] = []
    with trio.fail_after(60):
        async with open_engine(
            known.settings, randomness=lambda: 0.0, on_state=states.append
        ) as engine:
            ready = await engine.wait_ready()
            assert isinstance(ready, EngineReady)
            assert (ready.slots, ready.context_tokens) == (1, 64)
            assert ready.tokens_per_second_milli > 0
            with engine.generate(task(max_tokens=5, seed=3, temperature_milli=900)) as generation:
                piece = await generation.next()
                assert isinstance(piece, GeneratedPiece)
                # The beginning of a sequence, five letters and the end of a turn.
                assert generation.prompt_tokens == 7
            with engine.generate(task(min_p_milli=1)) as generation:
                assert await generation.next() == GenerationRefused("bad_task")
            assert await engine.score(ScoreTask(task=task(), tokens=[1])) == GenerationRefused(
                "bad_task"
            )
            # The library has mapped the file: what is cut off now, it misses in its next step.
            os.truncate(path, 4096)
            with engine.generate(task()) as generation:
                assert await generation.next() == GenerationFailed("engine_died")
            end = await engine.wait_ready()
    assert isinstance(end, EngineUnavailable)
    assert "is damaged or no llama model: it ends at byte 4096" in end.sentence
    (restart,) = [state for state in states if isinstance(state, EngineRestarting)]
    assert restart.cause == "the engine process ended (signal SIGBUS)"
