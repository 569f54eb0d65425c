import random
from dataclasses import replace

import pytest
import trio
from race_stage import ANSWER, stage
from simulated_host import (
    FAULT_KINDS,
    Faults,
    OpenLog,
    all_slots_free,
    dispatcher,
    echo,
    order,
)
from trio.testing import MockClock, wait_all_tasks_blocked

from peerllm.coordinator.dispatch import QUEUE_SECONDS, RECEIPT_SECONDS
from peerllm.coordinator.orders import ChunkServed, ChunkUnserved


@pytest.mark.parametrize("kind", ["none", "forged", "replayed"])
async def test_a_receipt_that_does_not_hold_is_as_none(
    autojump_clock: MockClock, kind: str
) -> None:
    async with stage() as here:
        host = here.host("host", Faults(receipt=kind))
        for seed in range(2):  # the second time there is an old receipt to replay
            began = trio.current_time()
            served = await here.run(seed=seed)
            assert isinstance(served, ChunkServed)
            assert [run.receipt for run in served.runs] == [None]
            assert trio.current_time() - began <= 1 + RECEIPT_SECONDS
        assert kind == "none" or len(host.receipts_sent) == 2


async def test_another_hosts_receipt_is_as_none(autojump_clock: MockClock) -> None:
    async with stage() as here:
        honest = here.host("honest")
        served = await here.run()
        thief = here.host("thief", Faults(receipt="replayed"))
        thief.last_receipt = honest.receipts_sent[0]
        honest.die()
        served = await here.run(seed=1)
        assert [(run.host, run.receipt) for run in served.runs] == [(thief.peer_id, None)]


async def test_more_tokens_than_asked_for_are_garbage(autojump_clock: MockClock) -> None:
    async with stage() as here:
        bad = here.host("bad", Faults(talkative=True), pace=0.01)
        here.host("good", pace=0.1)
        served = await here.run(order(max_tokens=12))
        assert isinstance(served, ChunkServed)
        runs = {run.host: run for run in served.runs}
        assert runs[bad.peer_id].failure in {"garbage", "diverged"}
        assert runs[bad.peer_id].counted_tokens <= 12


async def test_more_text_than_tokens_can_hold_is_garbage(autojump_clock: MockClock) -> None:
    async with stage() as here:
        bad = here.host("bad", Faults(verbose=True))
        served = await here.run(order(max_tokens=12))
        assert isinstance(served, ChunkUnserved)
        assert [run.failure for run in served.runs] == ["garbage"]
        assert len("".join(here.released)) <= 12 * 128
        assert bad.cancelled


async def test_a_host_that_says_nothing_neither_wins_nor_gains_by_it(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        lazy = here.host("lazy", answer=echo(""), pace=0)
        here.host("good")
        before = replace(here.registry.record_of(lazy.peer_id))
        served = await here.run()
        assert isinstance(served, ChunkServed)
        assert served.text == ANSWER == "".join(here.released)
        assert {run.host: run.won for run in served.runs}[lazy.peer_id] is False
        assert here.registry.record_of(lazy.peer_id) == before


async def test_one_operators_hosts_cannot_agree_on_silence(autojump_clock: MockClock) -> None:
    async with stage() as here:
        for number in range(8):
            here.host(f"lazy{number}", answer=echo(""), pace=0, operator="idle")
        here.host("good", pace=0.5)
        served = await here.run()
        assert isinstance(served, ChunkServed)
        assert served.text == ANSWER


async def test_silence_waits_for_a_host_that_is_busy(autojump_clock: MockClock) -> None:
    async with stage() as here, trio.open_nursery() as nursery:
        here.host("good", slots=1)
        nursery.start_soon(dispatcher(here.registry).run, order(), OpenLog(), _discard)
        await wait_all_tasks_blocked()
        here.host("lazy", answer=echo(""), pace=0)
        served = await here.run(seed=1)
        assert isinstance(served, ChunkServed)
        assert served.text == ANSWER


async def test_an_answer_that_is_empty_everywhere_is_served(autojump_clock: MockClock) -> None:
    async with stage() as here:
        for name in ("a", "b", "c"):
            here.host(name, answer=echo(""), pace=0)
        here.host("own", answer=echo(""), pace=0, tier="dedicated")
        began = trio.current_time()
        served = await here.run()
        assert isinstance(served, ChunkServed)
        assert (served.text, len(served.runs)) == ("", 4)
        assert [run.won for run in served.runs].count(True) == 1
        assert trio.current_time() - began < QUEUE_SECONDS


@pytest.mark.parametrize("fault", ["bad_task", "context_exceeded"])
async def test_a_request_that_nobody_can_serve_suspends_nobody(
    autojump_clock: MockClock, fault: str
) -> None:
    async with stage() as here:
        hosts = [here.host(name, Faults(refuses=fault)) for name in "abc"]
        before = [replace(here.registry.record_of(host.peer_id)) for host in hosts]
        for seed in range(4):
            served = await here.run(seed=seed)
            assert isinstance(served, ChunkUnserved)
            assert served.reason == ("bad_task" if fault == "bad_task" else "all_failed")
        assert [here.registry.record_of(host.peer_id) for host in hosts] == before


async def test_refusing_what_another_host_serves_counts(autojump_clock: MockClock) -> None:
    async with stage() as here:
        picky = here.host("picky", Faults(refuses="bad_task"))
        here.host("good")
        assert isinstance(await here.run(), ChunkServed)
        assert here.registry.record_of(picky.peer_id).failures_in_a_row == 1


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (Faults(refuses="overloaded"), "bad_task"),
        (Faults(dies_after=0), "bad_task"),
        (Faults(refuses="engine_failed"), "all_failed"),
        (Faults(dies_after=2), "all_failed"),
    ],
)
async def test_a_task_is_refused_when_all_who_answered_say_so(
    autojump_clock: MockClock, other: Faults, reason: str
) -> None:
    async with stage() as here:
        here.host("picky", Faults(refuses="bad_task"))
        here.host("other", other)
        served = await here.run()
        assert isinstance(served, ChunkUnserved)
        assert served.reason == reason


async def _discard(_text: str) -> None:
    """Nobody reads it."""


async def test_hundreds_of_races_with_any_faults_never_hang_or_release_what_nobody_won(
    autojump_clock: MockClock,
) -> None:
    draw = random.Random(20)
    outcomes: list[str] = []
    for number in range(300):
        async with stage() as here:
            for name in range(draw.randrange(1, 6)):
                here.host(
                    f"h{name}",
                    draw.choice(FAULT_KINDS)(draw),
                    answer=echo(draw.choice((ANSWER, ANSWER, ANSWER, ""))),
                    pace=draw.choice((0.02, 0.05, 0.3)),
                    slots=draw.randrange(1, 3),
                    tier=draw.choice(("community", "community", "dedicated")),
                )
            leaves_after = draw.choice((None, None, None, draw.random() * 2))
            wanted = order(max_tokens=draw.choice((5, 12, 40)), race_size=draw.choice((1, 2, 3)))
            served: ChunkServed | ChunkUnserved | None = None
            limit = wanted.deadlines().total + QUEUE_SECONDS + 30
            with trio.fail_after(limit), trio.move_on_after(leaves_after or limit):
                served = await here.run(wanted, seed=number)
            released = "".join(here.released)
            outcomes.append(type(served).__name__)
            assert all_slots_free(*here.hosts)
            if isinstance(served, ChunkServed):
                assert released == served.text
                assert sum(run.won for run in served.runs) == 1
                assert len({run.dispatch for run in served.runs}) == len(served.runs)
            assert all(
                run.released_tokens <= run.counted_tokens <= wanted.max_tokens
                for run in (served.runs if served else ())
            )
            for run in served.runs if served else ():
                honest = next(host for host in here.hosts if host.peer_id == run.host)
                assert run.receipt is None or honest.faults.receipt in {"honest", "inflated"}
    assert {"ChunkServed", "ChunkUnserved", "NoneType"} <= set(outcomes)
    assert outcomes.count("ChunkServed") > 100
