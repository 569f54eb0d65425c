"""When a stronger judge is asked, how long it is waited for, and what holds without it."""

from itertools import repeat
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from peerllm.safety.judge import SafetyThresholds, Verdict
from peerllm.safety.judge_cascade import (
    FAILURES_BEFORE_REST,
    REST_SECONDS,
    CascadeRule,
    JudgeCascade,
    Undecided,
)
from peerllm.safety.stronger_judges import (
    MAXIMUM_PIECES,
    OVERLAP_CHARACTERS,
    FailureKind,
    JudgeFailure,
    pauses,
    pieces_of,
)
from tests.safety.judge_stage import ScriptedJudge

STANDARD = SafetyThresholds(
    version=5,
    thresholds_milli={"overall": 600, "violence": 600, "hate": 500},
    bands_milli={"overall": (400, 850), "violence": (400, 850)},
)
SAFE, UNSAFE = {"overall": 0.1, "violence": 0.1}, {"overall": 0.9, "violence": 0.9}
DOUBTED = STANDARD.verdict({"overall": 700, "violence": 300})


def failing(kind: FailureKind, retry_after: float | None = None) -> JudgeFailure:
    return JudgeFailure(kind=kind, retry_after_seconds=retry_after)


def cascade(*judges: ScriptedJudge, **rule: Any) -> JudgeCascade:
    return JudgeCascade(judges, CascadeRule(**rule), jitter=repeat(1.0))


async def decided(asked: JudgeCascade, gate: Verdict = DOUBTED) -> Verdict | Undecided:
    return await asked.decide(gate, "a text", "prompt", STANDARD)


@pytest.mark.parametrize(
    ("scores", "allowed", "uncertain"),
    [
        ({"overall": 399}, True, False),
        ({"overall": 400}, True, True),
        ({"overall": 599}, True, True),
        ({"overall": 600}, False, True),
        ({"overall": 849}, False, True),
        ({"overall": 850}, False, False),
        ({"overall": 700, "violence": 850}, False, False),
        # A category without a band is certain at its threshold.
        ({"hate": 499}, True, False),
        ({"hate": 500}, False, False),
        ({"overall": 450, "hate": 500}, False, False),
        ({"unheard_of": 1000}, True, False),
    ],
)
def test_the_band_is_uncertain_and_nothing_beside_it(
    scores: dict[str, int], allowed: bool, uncertain: bool
) -> None:
    verdict = STANDARD.verdict(scores)
    assert (verdict.allowed, verdict.uncertain) == (allowed, uncertain)


@pytest.mark.parametrize("band", [(0, 700), (601, 700), (400, 599), (400, 1001)])
def test_a_band_holds_its_threshold(band: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="band of 'hate'"):
        SafetyThresholds(1, {"hate": 600}, {"hate": band})


@pytest.mark.parametrize(("scores", "allowed"), [(SAFE, True), (UNSAFE, False)])
async def test_the_stronger_judge_decides(scores: dict[str, float], allowed: bool) -> None:
    judge = ScriptedJudge([scores])
    verdict = await decided(cascade(judge))
    assert isinstance(verdict, Verdict)
    assert (verdict.allowed, verdict.category, verdict.standard_version) == (allowed, "violence", 5)
    assert not verdict.uncertain
    assert judge.asked == [("a text", "prompt")]


async def test_a_judge_is_not_asked_about_what_it_cannot_tell() -> None:
    blind = ScriptedJudge([SAFE], categories=frozenset({"hate"}))
    assert await decided(cascade(blind)) == DOUBTED
    assert blind.asked == []
    able = ScriptedJudge([SAFE])
    verdict = await decided(cascade(blind, able))
    assert isinstance(verdict, Verdict)
    assert verdict.allowed


async def test_a_silent_judge_is_asked_again_and_then_refused_for(
    autojump_clock: MockClock,
) -> None:
    judge = ScriptedJudge([None])
    began = trio.current_time()
    outcome = await decided(cascade(judge, attempts=3, attempt_seconds=2, deadline_seconds=60))
    assert outcome == Undecided(reason="timeout", standard_version=5)
    assert len(judge.asked) == 3
    # Three attempts of two seconds; no pause after the third, which ends the judge's patience.
    assert trio.current_time() - began == pytest.approx(3 * 2 + 0.25 + 0.5)


async def test_the_deadline_is_over_everything(autojump_clock: MockClock) -> None:
    judges = [ScriptedJudge([None]) for _ in range(4)]
    began = trio.current_time()
    outcome = await decided(cascade(*judges, attempts=10, attempt_seconds=3, deadline_seconds=8))
    assert isinstance(outcome, Undecided)
    assert trio.current_time() - began == pytest.approx(8)


async def test_the_operator_may_let_the_gate_decide(autojump_clock: MockClock) -> None:
    for gate in (DOUBTED, STANDARD.verdict({"overall": 450, "violence": 300})):
        asked = cascade(ScriptedJudge([None]), when_down="gate_decides")
        assert await decided(asked, gate) == gate


async def test_after_a_failure_the_next_judge_is_asked(autojump_clock: MockClock) -> None:
    first, second = ScriptedJudge([failing("server_error")]), ScriptedJudge([UNSAFE])
    verdict = await decided(cascade(first, second, attempts=2))
    assert isinstance(verdict, Verdict)
    assert not verdict.allowed
    assert (len(first.asked), len(second.asked)) == (2, 1)


@pytest.mark.parametrize("kind", ["refused", "malformed", "too_long"])
async def test_what_a_text_causes_is_not_asked_again_and_tires_no_judge(
    kind: FailureKind, autojump_clock: MockClock
) -> None:
    judge = ScriptedJudge([failing(kind)] * 10 + [SAFE])
    asked = cascade(judge)
    for _ in range(10):
        assert await decided(asked) == Undecided(reason=kind, standard_version=5)
    assert len(judge.asked) == 10
    assert isinstance(await decided(asked), Verdict)


async def test_a_busy_judge_is_given_the_time_it_asks_for(autojump_clock: MockClock) -> None:
    judge = ScriptedJudge([failing("busy", 4.0), SAFE])
    began = trio.current_time()
    assert isinstance(await decided(cascade(judge)), Verdict)
    assert trio.current_time() - began == pytest.approx(4)
    # Longer than the deadline is as good as down, and known at once.
    judge = ScriptedJudge([failing("busy", 3600.0), SAFE])
    began = trio.current_time()
    assert await decided(cascade(judge)) == Undecided(reason="busy", standard_version=5)
    assert trio.current_time() == began


async def test_a_silent_judge_leaves_time_for_the_next(autojump_clock: MockClock) -> None:
    silent, second = ScriptedJudge([None]), ScriptedJudge([UNSAFE])
    began = trio.current_time()
    verdict = await decided(cascade(silent, second))
    assert isinstance(verdict, Verdict)
    assert not verdict.allowed
    assert trio.current_time() - began == pytest.approx(4)


async def test_a_judge_that_is_down_is_left_alone_for_a_while(autojump_clock: MockClock) -> None:
    judge = ScriptedJudge([failing("unreachable")] * FAILURES_BEFORE_REST + [SAFE])
    asked = cascade(judge, attempts=1)
    for _ in range(FAILURES_BEFORE_REST):
        assert isinstance(await decided(asked), Undecided)
    began = trio.current_time()
    for _ in range(50):
        assert isinstance(await decided(asked), Undecided)
    assert trio.current_time() == began
    assert len(judge.asked) == FAILURES_BEFORE_REST
    await trio.sleep(REST_SECONDS)
    assert isinstance(await decided(asked), Verdict)


async def test_leaving_cancels_the_question(autojump_clock: MockClock) -> None:
    judge = ScriptedJudge([None, SAFE])
    asked = cascade(judge)
    with trio.move_on_after(1) as scope:
        await decided(asked)
    assert scope.cancelled_caught
    assert judge.cancelled == 1
    # Nothing of it is left behind: the next one is answered.
    assert isinstance(await decided(asked), Verdict)


async def test_how_questions_ended_is_told_without_their_text() -> None:
    told: list[tuple[str, str]] = []
    judge = ScriptedJudge([failing("malformed"), SAFE, UNSAFE])
    asked = JudgeCascade(
        [judge], CascadeRule(), jitter=repeat(0.0), told=lambda *what: told.append(what)
    )
    for _ in range(3):
        await decided(asked)
    assert [outcome for _, outcome in told] == ["malformed", "allowed", "refused"]


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=9, max_size=9), st.integers(1, 10))
def test_pauses_double_and_are_bounded(jitter: list[float], attempts: int) -> None:
    found = list(pauses(attempts, iter(jitter)))
    assert len(found) == attempts - 1
    assert all(0.125 * 2**n <= pause <= 0.25 * 2**n for n, pause in enumerate(found))


@settings(max_examples=40)
@given(st.integers(0, 20_000), st.integers(500, 3_000))
def test_pieces_overlap_and_lose_nothing(length: int, size: int) -> None:
    text = "".join(chr(0x100 + n % 50_000) for n in range(length))
    pieces = pieces_of(text, size)
    if isinstance(pieces, JudgeFailure):
        assert length > (size - OVERLAP_CHARACTERS) * MAXIMUM_PIECES
        return
    assert all(len(piece) <= size for piece in pieces)
    assert pieces[0] + "".join(piece[OVERLAP_CHARACTERS:] for piece in pieces[1:]) == text
