from pathlib import Path

from simulated_host import Faults
from toy_house import ANSWER, Reply, toy_house
from toy_safety import MARK
from trio.testing import MockClock

from peerllm.overlay.messages import ChunkTask

SENTENCE = "The keeper of the canaryprompt wrote the number of geese in his large book. "
DOCUMENT = f"Summarize this text:\n\n{SENTENCE * 220}"
TRANSLATION = f"Translate to German: {SENTENCE * 220}"


def kinds(reply: Reply, statement: Reply) -> list[str]:
    assert reply.status == 200
    return [chunk["kind"] for chunk in statement.json["chunks"]]


async def test_more_parts_than_slots_wait_for_each_other_however_long(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path) as toy:
        for name in "ab":
            toy.host(name, text="geese", slots=1, pace=6)  # 12 seconds a part, one at a time
        reply = await toy.chat(DOCUMENT)
        assert reply.status == 200
        statement = (await toy.call("GET", f"/v1/statements/{reply.json['id']}")).json
        assert len(statement["chunks"]) > 4


async def test_translated_parts_are_joined_in_order(tmp_path: Path) -> None:
    def number(task: ChunkTask) -> str:
        return f"part of {len(task.messages[-1].content)} letters"

    async with toy_house(tmp_path) as toy:
        for name in "abc":
            toy.host(name, answer=number, slots=8)
        reply = await toy.chat(TRANSLATION)
        assert reply.text.count("part of") == len(reply.text.split("\n\n")) >= 3
        statement = await toy.call("GET", f"/v1/statements/{reply.json['id']}")
        assert set(kinds(reply, statement)) == {"map"}
        assert reply.json["usage"]["completion_tokens"] == 4 * reply.text.count("part of")


async def test_no_operator_is_shown_more_than_its_bound_of_a_document(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        hosts = [toy.host(name, slots=16) for name in "abcdef"]
        reply = await toy.chat(DOCUMENT)
        assert reply.status == 200
        statement = (await toy.call("GET", f"/v1/statements/{reply.json['id']}")).json
        chunks = len(statement["chunks"])
        assert all(len(host.tasks) * 2 <= chunks + 1 for host in hosts)


async def test_one_unsafe_part_refuses_the_whole_and_stops_the_others(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("bad", text=f"these geese {MARK}", slots=1, operator="x")
        slow = toy.host("slow", text=ANSWER, slots=16, pace=30, operator="x")
        reply = await toy.chat(DOCUMENT)
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
        assert MARK not in reply.body.decode()
        await toy.settle_down()
        assert len(slow.cancelled) == len(slow.tasks)
        assert {state for state, _ in (await toy.reservations()).values()} == {"voided"}


async def test_a_part_nobody_can_serve_fails_the_whole_without_a_charge(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a", Faults(refuses="engine_failed"), slots=16)
        reply = await toy.chat(DOCUMENT)
        assert (reply.status, reply.error["code"]) == (503, "no_capacity")
        assert {state for state, _ in (await toy.reservations()).values()} == {"voided"}
