import pytest
import trio
from race_stage import ANSWER, stage
from simulated_host import Faults, SimulatedHost, all_slots_free, dispatcher, echo, order
from trio.testing import MockClock

from peerllm.coordinator.dispatch import CANCEL_SECONDS, QUEUE_SECONDS, RECEIPT_SECONDS
from peerllm.coordinator.orders import ChunkServed, ChunkUnserved
from peerllm.coordinator.selection import RaceRule


async def test_two_different_hosts_race_and_the_loser_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        fast, slow = here.host("fast"), here.host("slow", pace=0.2)
        served = await here.run()
        assert isinstance(served, ChunkServed)
        assert served.text == ANSWER == "".join(here.released)
        winner, loser = sorted(served.runs, key=lambda run: not run.won)
        assert (winner.host, loser.host) == (fast.peer_id, slow.peer_id)
        assert winner.released_tokens == winner.counted_tokens == 12
        assert loser.released_tokens == 0
        assert len(slow.cancelled) == 1
        assert not fast.cancelled
        assert slow.finished == []
        # The loser's receipt claims far more than it sent: what counts is what was counted.
        assert loser.receipt is not None
        assert loser.receipt.completion_tokens > loser.counted_tokens
        assert loser.counted_tokens <= 4


async def test_a_loser_is_cancelled_while_the_customer_reads_slowly(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        here.host("fast")
        slow = here.host("slow", pace=0.4)
        cancelled_at: list[float] = []

        async def release(text: str) -> None:
            if text.endswith("twelve"):
                await trio.sleep(3)
                cancelled_at.extend([0.0] if slow.cancelled else [])

        served = await dispatcher(here.registry).run(order(), here.log, release)
        assert isinstance(served, ChunkServed)
        assert cancelled_at


async def test_a_customer_who_reads_slowly_does_not_make_hosts_look_stalled(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        only = here.host("only")

        async def release(_text: str) -> None:
            await trio.sleep(4 if not only.finished else 0)
            if len(here.released) == 0:
                await trio.sleep(16)
            here.released.append(_text)

        served = await dispatcher(here.registry).run(order(max_tokens=200), here.log, release)
        assert isinstance(served, ChunkServed)
        assert "".join(here.released) == ANSWER
        assert [run.failure for run in served.runs] == [None]


async def test_hosts_of_one_operator_or_one_network_never_race_each_other(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        for number in range(3):
            here.host(f"a{number}", operator="ada", network="10.0.0.0/24")
        served = await here.run()
        assert isinstance(served, ChunkServed)
        assert len(served.runs) == 1
        here.host("b", operator="bob", network="10.0.0.0/24")
        assert len((await here.run()).runs) == 1
        here.host("c", operator="cid", network="10.0.1.0/24")
        both = await here.run(rule=RaceRule(distinct_networks=False))
        assert len({run.operator for run in both.runs}) == 2


@pytest.mark.parametrize(
    ("faults", "failure", "pace"),
    [
        (Faults(dies_after=4), "host_lost", 0.3),
        (Faults(stalls_after=4), "stalled", 1.4),
        (Faults(garbage_after=4), "garbage", 0.3),
        (Faults(floods=True), "host_lost", 0.3),
    ],
)
async def test_the_backup_takes_over_in_the_middle_of_the_answer(
    autojump_clock: MockClock, faults: Faults, failure: str, pace: float
) -> None:
    async with stage() as here:
        bad = here.host("bad", faults)
        good = here.host("good", pace=pace)
        served = await here.run()
        assert isinstance(served, ChunkServed)
        assert "".join(here.released) == ANSWER
        runs = {run.host: run for run in served.runs}
        assert runs[bad.peer_id].failure == failure
        assert runs[good.peer_id].won
        released = [runs[host.peer_id].released_tokens for host in (bad, good)]
        assert sum(released) == 12
        assert released[1] > 0
        if failure == "garbage":
            assert bad.cancelled


async def test_a_third_host_continues_from_what_was_released(autojump_clock: MockClock) -> None:
    async with stage() as here:
        here.host("a", Faults(dies_after=5))
        here.host("b", Faults(dies_after=2), pace=0.06)
        late: list[SimulatedHost] = []

        async def release(text: str) -> None:
            here.released.append(text)
            if "three" in text:
                late.append(here.host("late"))

        served = await dispatcher(here.registry).run(order(), here.log, release)
        assert isinstance(served, ChunkServed)
        assert "".join(here.released) == ANSWER == served.text
        (task,) = late[0].tasks
        assert task.assistant_prefix
        assert ANSWER.startswith(task.assistant_prefix)
        assert not task.assistant_prefix.endswith(" ")
        assert task.max_tokens == 40 - len(task.assistant_prefix.split())
        assert sum(run.released_tokens for run in served.runs) == 12


async def test_a_healthy_host_whose_answer_departed_is_asked_to_continue_when_none_is_left(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        leader = here.host("leader", Faults(dies_after=6))
        other = here.host("other", answer=echo("uno dos tres quatro"), pace=0.06)
        served = await here.run()
        assert isinstance(served, ChunkServed)
        released = "".join(here.released)
        assert released == served.text
        assert released.startswith("one two three four five")
        assert other.tasks[0].assistant_prefix == ""
        assert len(other.tasks) == 2
        assert ANSWER.startswith(other.tasks[1].assistant_prefix)
        assert leader.tasks[0].assistant_prefix == ""


async def test_a_departed_backup_is_not_asked_again_while_the_leader_speaks(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        here.host("leader")
        other = here.host("other", answer=echo("uno dos tres quatro"), pace=0.06)
        served = await here.run()
        assert isinstance(served, ChunkServed)
        assert served.text == ANSWER
        assert len(other.tasks) == 1
        assert len(other.cancelled) == 1


async def test_a_departed_backup_is_not_replaced_while_the_leader_speaks(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        here.host("leader")
        here.host("departing", answer=echo("uno dos tres quatro"), pace=0.06)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.run)
            await trio.sleep(0.3)
            late = here.host("late")
        assert "".join(here.released) == ANSWER
        assert late.tasks == []


async def test_a_dead_host_has_no_receipt_and_delays_nobody(autojump_clock: MockClock) -> None:
    async with stage() as here:
        dead = here.host("dead", Faults(dies_after=3))
        here.host("good")
        began = trio.current_time()
        served = await here.run()
        assert trio.current_time() - began < 1
        run = next(run for run in served.runs if run.host == dead.peer_id)
        assert run.receipt is None
        assert run.signed_receipt is None


async def test_the_answers_length_is_bounded(autojump_clock: MockClock) -> None:
    async with stage() as here:
        here.host("host")
        served = await here.run(order(max_tokens=5))
        assert isinstance(served, ChunkServed)
        assert served.finish.value == "length"
        assert served.text == "one two three four five"


async def test_a_refusal_sends_the_chunk_to_another_host(autojump_clock: MockClock) -> None:
    async with stage() as here:
        full = here.host("full", Faults(refuses="overloaded"))
        here.host("good")
        served = await here.run()
        assert isinstance(served, ChunkServed)
        assert [run.failure for run in served.runs if run.host == full.peer_id] == ["refused"]
        assert here.registry.record_of(full.peer_id).error_rate == 0


async def test_a_deaf_host_delays_the_end_by_no_more_than_the_receipts_patience(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        here.host("good")
        here.host("deaf", Faults(deaf=True, receipt="none"), pace=100)
        began = trio.current_time()
        served = await here.run()
        assert isinstance(served, ChunkServed)
        assert trio.current_time() - began <= 1 + RECEIPT_SECONDS


async def test_no_host_is_an_answer_after_the_queues_patience(autojump_clock: MockClock) -> None:
    async with stage() as here:
        began = trio.current_time()
        assert await here.run() == ChunkUnserved(reason="no_host", runs=())
        assert trio.current_time() - began == QUEUE_SECONDS


async def test_a_host_that_joins_in_time_is_taken(autojump_clock: MockClock) -> None:
    async with stage() as here:

        async def join_later() -> None:
            await trio.sleep(QUEUE_SECONDS / 2)
            here.host("late")

        here.nursery.start_soon(join_later)
        assert isinstance(await here.run(), ChunkServed)


async def test_a_host_whose_pause_ends_in_time_is_taken(autojump_clock: MockClock) -> None:
    async with stage() as here:
        host = here.host("host")
        for _ in range(3):
            here.registry.record_of(host.peer_id).failed(trio.current_time())
        assert isinstance(await here.run(), ChunkServed)


async def test_the_dedicated_host_serves_when_the_community_does_not(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        ours = here.host("ours", tier="dedicated")
        served = await here.run()
        assert isinstance(served, ChunkServed)
        assert [(run.host, run.dedicated) for run in served.runs] == [(ours.peer_id, True)]
        assert trio.current_time() < QUEUE_SECONDS, "nobody of the community was to be waited for"
        here.host("bad", Faults(dies_after=4))
        here.released.clear()
        served = await here.run()
        assert isinstance(served, ChunkServed)
        assert "".join(here.released) == ANSWER
        assert [run.dedicated for run in served.runs] == [False, True]
        assert ours.tasks[-1].assistant_prefix != ""


async def test_a_race_that_cannot_be_filled_does_not_look_at_all_hosts_for_every_token(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage() as here:
        here.host("only", answer=echo("word " * 200))
        looks: list[int] = []
        candidates = here.registry.candidates
        monkeypatch.setattr(
            here.registry,
            "candidates",
            lambda digest, tokens: looks.append(tokens) or candidates(digest, tokens),
        )
        assert isinstance(await here.run(order(max_tokens=250)), ChunkServed)
        assert len(looks) < 5


async def test_all_failed_is_an_answer(autojump_clock: MockClock) -> None:
    async with stage() as here:
        here.host("a", Faults(dies_after=2))
        here.host("b", Faults(refuses="engine_failed"))
        served = await here.run()
        assert isinstance(served, ChunkUnserved)
        assert served.reason == "all_failed"
        assert ANSWER.startswith("".join(here.released))


async def test_a_race_of_the_silent_ends(autojump_clock: MockClock) -> None:
    async with stage() as here:
        silent = here.host("silent", Faults(silent=True))
        wanted = order()
        began = trio.current_time()
        served = await here.run(wanted)
        assert isinstance(served, ChunkUnserved)
        assert trio.current_time() - began <= wanted.deadlines().first_token + CANCEL_SECONDS
        assert silent.cancelled


async def test_a_host_slower_than_the_whole_deadline_ends(autojump_clock: MockClock) -> None:
    async with stage() as here:
        slow = here.host("slow", pace=14.9)
        wanted = order(max_tokens=12)
        began = trio.current_time()
        served = await here.run(wanted)
        assert isinstance(served, ChunkUnserved)
        assert served.reason == "out_of_time"
        assert trio.current_time() - began <= wanted.deadlines().total + CANCEL_SECONDS
        assert slow.cancelled


async def test_an_answer_that_arrived_in_time_is_read_to_its_end_however_slowly(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        hosts = here.host("a"), here.host("b")
        wanted = order()
        began = trio.current_time()

        async def release(text: str) -> None:
            here.released.append(text)
            await trio.sleep(wanted.deadlines().total / 4)

        served = await dispatcher(here.registry).run(wanted, here.log, release)
        assert isinstance(served, ChunkServed)
        assert "".join(here.released) == ANSWER
        assert trio.current_time() - began > wanted.deadlines().total
        assert all(run.receipt for run in served.runs)
        assert any(host.finished for host in hosts)


async def test_nobody_is_entered_when_the_time_is_over(autojump_clock: MockClock) -> None:
    async with stage() as here:
        here.host("brief", Faults(dies_after=6))
        wanted = order()
        over = trio.current_time() + wanted.deadlines().total
        late: list[SimulatedHost] = []

        async def release(_text: str) -> None:
            await trio.sleep(wanted.deadlines().total / 4)
            if trio.current_time() >= over and not late:
                late.append(here.host("late"))

        served = await dispatcher(here.registry).run(wanted, here.log, release)
        assert isinstance(served, ChunkUnserved)
        assert served.reason == "out_of_time"
        assert [host.tasks for host in late] == [[]]


async def test_a_host_that_is_always_outrun_before_its_first_token_is_not_called_fast(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        fast = here.host("fast", pace=0.5)
        silent = here.host("silent", Faults(silent=True))
        for _ in range(10):
            await here.run()
        records = [here.registry.record_of(host.peer_id) for host in (fast, silent)]
        assert records[0].first_token_seconds < 1 < records[1].first_token_seconds


@pytest.mark.parametrize("after", [0.0, 0.04, 0.12, 0.31, 0.7])
async def test_cancelling_the_caller_cancels_hosts_and_frees_slots(
    autojump_clock: MockClock, after: float
) -> None:
    async with stage() as here:
        hosts = [here.host("a"), here.host("b", pace=0.11)]
        with trio.move_on_after(after) as scope:
            await here.run()
        if scope.cancelled_caught:
            assert all_slots_free(*hosts)
            for host in hosts:
                assert len(host.cancelled) == len(host.tasks) - len(host.finished)


async def test_leaving_while_a_piece_is_released_still_cancels_whoever_was_dropped(
    autojump_clock: MockClock,
) -> None:
    async with stage() as here:
        stalled = here.host("stalled", Faults(stalls_after=3))
        here.host("other", pace=14)
        with trio.CancelScope() as scope:

            async def release(text: str) -> None:
                if len(here.released) > 2 or "four" in text:
                    scope.cancel()
                here.released.append(text)
                await trio.sleep(0)

            await dispatcher(here.registry).run(order(), here.log, release)
        assert stalled.cancelled


async def test_a_message_about_anothers_dispatch_is_dropped(autojump_clock: MockClock) -> None:
    async with stage() as here:
        good = here.host("good")
        evil = here.host("evil", Faults(silent=True))
        assert evil.live is not None
        stolen: list[bytes] = []

        async def release(text: str) -> None:
            here.released.append(text)
            if good.live and evil.live:
                stolen.extend(good.live.routes)
                assert not set(evil.live.routes) & set(good.live.routes)

        served = await dispatcher(here.registry).run(order(), here.log, release)
        assert isinstance(served, ChunkServed)
        assert stolen
