"""Judging keeps the event loop free, whatever a request holds."""

import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from toy_house import ANSWER, toy_house

from peerllm.coordinator.api_errors import ApiError
from peerllm.coordinator.chat_schema import ChatRequest, parse_chat
from peerllm.coordinator.computing import computed
from peerllm.coordinator.judging import judge_prompt
from peerllm.safety.judge import Judge, SafetyThresholds

STANDARD = SafetyThresholds(3, {"violence": 500})


class WitnessGate:
    """Lets everything pass and remembers what it read, in which thread."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.threads: set[int] = set()

    def scores(self, text: str) -> Mapping[str, float]:
        self.read.append(text)
        self.threads.add(threading.get_ident())
        return {"violence": 0.1}


@pytest.mark.parametrize("messages", [1, 256])
async def test_no_text_is_judged_in_the_event_loops_thread(tmp_path: Path, messages: int) -> None:
    gate = WitnessGate()
    judge = Judge(STANDARD, [gate])
    async with toy_house(tmp_path, replaced={"judge": judge, "answer_judge": judge}) as toy:
        toy.host("anna")
        turns = [{"role": "user", "content": f"{number} geese"} for number in range(messages)]
        assert (await toy.chat(messages=turns, stream=True)).text == ANSWER
    assert ANSWER in gate.read
    assert {turn["content"] for turn in turns} <= set(gate.read)
    assert threading.get_ident() not in gate.threads


async def test_a_request_whose_customer_left_is_judged_no_further(tmp_path: Path) -> None:
    left, begun = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    class WaitingGate(WitnessGate):
        def scores(self, text: str) -> Mapping[str, float]:
            token.run_sync_soon(begun.set)
            left.wait(timeout=2)
            return super().scores(text)

    gate = WaitingGate()
    async with (
        toy_house(tmp_path, replaced={"judge": Judge(STANDARD, [gate])}) as toy,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(judge_prompt, toy.house, ["one", "two", "three"])
        await begun.wait()
        nursery.cancel_scope.cancel()
        left.set()
    assert gate.read == ["one"]


async def test_what_no_plan_can_serve_is_refused_unjudged(tmp_path: Path) -> None:
    gate = WitnessGate()
    async with toy_house(tmp_path, replaced={"judge": Judge(STANDARD, [gate])}) as toy:
        toy.host("anna")
        rules = [{"role": "system", "content": f"{n} geese " * 50} for n in range(50)]
        asked = {"role": "user", "content": "Summarize the following text:\n\n" + "Geese. " * 40}
        reply = await toy.chat(messages=[*rules, asked])
        assert reply.error["code"] == "context_length_exceeded"
    assert gate.read == []


async def test_what_is_said_twice_is_judged_once(tmp_path: Path) -> None:
    gate = WitnessGate()
    async with toy_house(tmp_path, replaced={"judge": Judge(STANDARD, [gate])}) as toy:
        assert await judge_prompt(toy.house, ["geese"] * 256) is None
    assert gate.read == ["geese"]


async def test_few_threads_work_at_once_however_many_requests_come() -> None:
    met = threading.Barrier(9)
    found: list[bool] = []

    def is_crowded() -> bool:
        try:
            met.wait(timeout=0.5)
        except threading.BrokenBarrierError:
            return False
        return True

    async def compute() -> None:
        found.append(await computed(is_crowded))

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(compute)
    assert found == [False] * 40


async def test_no_body_is_parsed_in_the_event_loops_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def parse(raw: bytes) -> ChatRequest | ApiError:
        threads.append(threading.get_ident())
        return parse_chat(raw)

    monkeypatch.setattr("peerllm.coordinator.application.parse_chat", parse)
    async with toy_house(tmp_path) as toy:
        toy.host("anna")
        assert (await toy.chat()).status == 200
    assert threads
    assert threading.get_ident() not in threads
