"""An answer ends at the customer's stop sequences, whatever its host does with them."""

from pathlib import Path

import pytest
from race_stage import stage
from simulated_host import Faults, order
from toy_house import ADA, PRICE, toy_house
from toy_safety import FAMILY, FamilyFinder
from trio.testing import MockClock

from peerllm.coordinator.orders import ChunkServed
from peerllm.coordinator.race import Finish
from peerllm.coordinator.settlement import charge_of


async def test_a_host_that_ignores_a_stop_sequence_is_cut_there_and_cancelled(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        deaf, slow = here.host("deaf"), here.host("slow", pace=0.2)
        served = await here.run(order(stop=("six seven",)))
        assert isinstance(served, ChunkServed)
        assert (served.finish, served.text) == (Finish.STOP, "one two three four five ")
        assert "".join(here.released) == served.text
        winner, loser = sorted(served.runs, key=lambda run: not run.won)
        assert winner.host == deaf.peer_id
        assert winner.released_tokens == winner.counted_tokens == len(served.text.split(" "))
        assert winner.receipt is not None
        assert len(deaf.cancelled) == len(slow.cancelled) == 1
        assert deaf.tasks[0].stop == ["six seven"]
        assert loser.released_tokens == 0


async def test_who_takes_over_is_cut_as_well(autojump_clock: MockClock) -> None:
    async with stage() as here:
        here.host("dies", Faults(dies_after=4))
        here.host("deaf", pace=0.4)
        served = await here.run(order(stop=("\n", "eight")))
        assert isinstance(served, ChunkServed)
        assert (served.finish, served.text) == (Finish.STOP, "one two three four five six seven ")


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_behind_a_stop_sequence_is_delivered_or_charged(
    tmp_path: Path, stream: bool
) -> None:
    async with toy_house(tmp_path) as toy:
        for name in "ab":
            toy.host(name, text="seven geese slept END and a thousand others did not")
        reply = await toy.chat("Tell me of geese", stream=stream, stop=["END"])
        assert reply.text == "seven geese slept "
        last = reply.json if not stream else reply.events[-2]
        assert last["choices"][0]["finish_reason"] == "stop"
        counted = toy.house.models["toy"].vocabulary.count
        prompt = counted("Tell me of geese") + 8
        paid = 10**9 - (await toy.storage.balance(ADA)).balance
        assert paid == charge_of(PRICE, prompt_tokens=prompt, completion_tokens=counted(reply.text))


async def test_a_stop_sequence_within_a_placeholder_neither_ends_an_answer_nor_names_others(
    tmp_path: Path,
) -> None:
    async with toy_house(tmp_path, finder=FamilyFinder()) as toy:
        for name in "ab":
            toy.host(name, text="It is PERSON_12, I think 2 or 3 times")
        reply = await toy.chat(f"Who of {', '.join(FAMILY)} is it?", stop=["2", "\n"])
        assert reply.text == f"It is {FAMILY[-1]}, I think "
        assert {tuple(task.stop) for host in toy.hosts for task in host.tasks} == {("\n",)}
