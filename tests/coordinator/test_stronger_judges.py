"""Uncertain prompts and answers in the life of a request: who waits, what leaves."""

import re
from collections.abc import Mapping
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import trio
from toy_house import ANSWER, PROMPT, ToyHouse, toy_house
from toy_safety import NAME
from trio.testing import MockClock

from peerllm.safety.judge import Judge, SafetyThresholds
from peerllm.safety.judge_cascade import CascadeRule, JudgeCascade
from peerllm.safety.stronger_judges import JudgeFailure
from tests.safety.judge_stage import ScriptedJudge

DOUBT = "doubtfulmark"
SAFE, UNSAFE = {"violence": 0.0}, {"violence": 1.0}
STANDARD = SafetyThresholds(3, {"violence": 500}, {"violence": (300, 800)})


class DoubtingGate:
    """Uncertain wherever the mark stands: below the threshold, or above it beside "worse"."""

    def scores(self, text: str) -> Mapping[str, float]:
        if DOUBT not in text:
            return {"violence": 0.1}
        return {"violence": 0.7 if "worse" in text else 0.4}


def judging(judge: ScriptedJudge | None, **rule: Any) -> dict[str, Any]:
    doubting = Judge(STANDARD, [DoubtingGate()])
    return {
        "judge": doubting,
        "answer_judge": doubting,
        "cascade": judge and JudgeCascade([judge], CascadeRule(**rule), jitter=repeat(1.0)),
    }


def serving(toy: ToyHouse, text: str = ANSWER) -> None:
    toy.host("anna", text=text)
    toy.host("bert", text=text)


async def test_what_is_certain_waits_for_nobody(tmp_path: Path) -> None:
    judge = ScriptedJudge([None])
    async with toy_house(tmp_path, replaced=judging(judge)) as toy:
        serving(toy)
        assert (await toy.chat()).text == ANSWER
    assert judge.asked == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_doubtful_prompt_goes_where_the_judge_sends_it_without_its_identifiers(
    tmp_path: Path, stream: bool
) -> None:
    judge = ScriptedJudge([SAFE, UNSAFE])
    async with toy_house(tmp_path, replaced=judging(judge)) as toy:
        serving(toy)
        content = f"{PROMPT} worse {DOUBT} of {NAME}"
        assert (await toy.chat(content, stream=stream)).text == ANSWER
        refused = await toy.chat(content, stream=stream)
        assert (refused.status, refused.error["code"]) == (400, "content_filter")
        assert refused.error["stage"] == "prompt"
    for text, role in judge.asked:
        assert role == "prompt"
        assert DOUBT in text
        assert NAME not in text
        assert re.search(r"PERSON_\d", text)


async def test_only_what_is_doubtful_leaves_and_in_one_question(tmp_path: Path) -> None:
    judge = ScriptedJudge([SAFE])
    async with toy_house(tmp_path, replaced=judging(judge)) as toy:
        serving(toy)
        turns = [f"{DOUBT} one", "harmless", f"{DOUBT} two"]
        roles = ["user", "assistant", "user"]
        messages = [{"role": r, "content": t} for r, t in zip(roles, turns, strict=True)]
        assert (await toy.chat("", messages=messages)).text == ANSWER
    assert [text for text, _ in judge.asked] == [f"{DOUBT} one\n\n{DOUBT} two"]


@pytest.mark.parametrize(
    ("rule", "content", "code"),
    [
        ({}, DOUBT, "judge_unavailable"),
        ({}, f"worse {DOUBT}", "judge_unavailable"),
        ({"when_down": "gate_decides"}, DOUBT, None),
        ({"when_down": "gate_decides"}, f"worse {DOUBT}", "content_filter"),
    ],
)
async def test_a_judge_that_is_down(
    tmp_path: Path, rule: dict[str, Any], content: str, code: str | None, patient_clock: MockClock
) -> None:
    judge = ScriptedJudge([None])
    async with toy_house(tmp_path, replaced=judging(judge, **rule)) as toy:
        serving(toy)
        began = trio.current_time()
        reply = await toy.chat(content)
        assert trio.current_time() - began < 10
        if code is None:
            assert reply.text == ANSWER
        else:
            assert reply.error["code"] == code
    if code == "judge_unavailable":
        assert (reply.status, reply.headers["retry-after"]) == (503, "20")
        assert reply.error["reason"] == "timeout"
        assert DOUBT not in reply.body.decode()


async def test_without_a_stronger_judge_the_threshold_decides(tmp_path: Path) -> None:
    async with toy_house(tmp_path, replaced=judging(None)) as toy:
        serving(toy)
        assert (await toy.chat(DOUBT)).text == ANSWER
        assert (await toy.chat(f"worse {DOUBT}")).error["code"] == "content_filter"


LONG = "word " * 30 + f"{DOUBT} here " + "more " * 60


async def test_a_doubtful_window_is_held_until_the_judge_has_decided(tmp_path: Path) -> None:
    class HeldJudge(ScriptedJudge):
        async def scores(self, text: str, role: Any, /) -> Mapping[str, float] | JudgeFailure:
            self.asked.append((text, role))
            seen.append(list(reply_texts()))
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert seen[-1] == list(reply_texts()), "something was released meanwhile"
            return SAFE

    seen: list[list[bytes]] = []
    pieces: list[bytes] = []

    def reply_texts() -> list[bytes]:
        return pieces

    judge = HeldJudge([SAFE])
    async with toy_house(tmp_path, replaced=judging(judge)) as toy:
        serving(toy, LONG.strip())

        def watch(reply: Any) -> bool:
            pieces[:] = reply.pieces
            return False

        reply = await toy.chat(stream=True, leaves=watch)
        assert reply.text == LONG.strip()
    assert judge.asked
    assert {role for _, role in judge.asked} == {"answer"}
    assert all(DOUBT.encode() not in b"".join(before) for before in seen[:1])


@pytest.mark.parametrize("outcome", [UNSAFE, JudgeFailure(kind="malformed")])
async def test_a_doubtful_window_that_is_not_allowed_never_leaves(
    tmp_path: Path, outcome: Any
) -> None:
    async with toy_house(tmp_path, replaced=judging(ScriptedJudge([outcome]))) as toy:
        serving(toy, LONG.strip())
        reply = await toy.chat(stream=True)
        assert DOUBT not in reply.body.decode()
        error = reply.events[-2]["error"]
        assert error["stage"] == "answer"
        assert error["code"] in {"content_filter", "judge_unavailable"}
        assert reply.events[-1] == "DONE"


async def test_who_leaves_while_a_judge_thinks_is_not_charged(tmp_path: Path) -> None:
    judge = ScriptedJudge([None])
    async with toy_house(tmp_path, replaced=judging(judge, deadline_seconds=60)) as toy:
        serving(toy)
        with trio.move_on_after(0.3):
            await toy.chat(DOUBT)
        assert judge.cancelled == 1
        assert all(charge is None for _, charge in (await toy.reservations()).values())
