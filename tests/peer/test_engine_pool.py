import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peerllm.peer.errors import ModelError
from peerllm.peer.generation import (
    EngineReady,
    EngineRestarting,
    EngineUnavailable,
    GeneratedPiece,
    GenerationFailed,
)
from peerllm.peer.pooled_model import ModelAway, ModelInLine
from tests.peer.pool_stage import (
    TASK,
    altered,
    answer,
    digest_of,
    free_slots,
    machine_with,
    running_pool,
    wanted,
)

DEAD = repr(GenerationFailed("engine_unavailable"))


async def test_models_that_fit_together_are_loaded_one_after_another(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(300, "a", "b", "c")
    async with running_pool(machine) as pool:
        assert machine.history == ["+a", "+b", "+c"]
        assert [offer.name for offer in pool.offers()] == ["a", "b", "c"]
        assert [await answer(pool, name) for name in "abc"] == ["a", "b", "c"]
        assert len(set(pool.process_ids)) == 3


async def test_a_model_that_was_evicted_is_loaded_when_a_chunk_asks_for_it(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(250, "a", "b", "c")
    async with running_pool(machine) as pool:
        # All have been loaded once, so that what is offered has been seen to work.
        assert machine.history == ["+a", "+b", "-a", "+c"]
        assert free_slots(pool, "a", "b", "c") == [2, 2, 2]
        assert await answer(pool, "b") == "b"
        began = trio.current_time()
        assert await answer(pool, "a") == "a"
        assert trio.current_time() - began == pytest.approx(1.2)
        # c, since b had worked after it was loaded.
        assert machine.history[4:] == ["-c", "+a"]
        assert machine.most_at_once == 2


async def test_a_model_at_work_is_never_evicted_and_nothing_else_is_promised(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(100, "a", "b")
    async with running_pool(machine) as pool:
        lease = pool.take(digest_of("b"))
        assert lease
        with lease.engine.generate(TASK):
            assert free_slots(pool, "a", "b") == [0, 1]
            assert pool.take(digest_of("a")) is None
            pool.load(pool.models[0])
            await trio.sleep(60)
            assert machine.history == ["+a", "-a", "+b"]
            state = pool.models[0].shown_state
            assert state == ModelAway("it takes 1 MB, 0 MB are free beside b")
        machine.told.clear()
        lease.release()
        assert free_slots(pool, "a", "b") == [2, 2]
        assert machine.told == [None]
        # What its owner asked for is done now.
        await trio.sleep(5)
        assert machine.history[-2:] == ["-b", "+a"]


async def test_chunks_for_two_models_that_do_not_fit_together_are_not_both_taken(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(100, "a", "b", "c")
    async with running_pool(machine) as pool:
        answers: list[str | None] = []

        async def ask(name: str) -> None:
            answers.append(await answer(pool, name))

        assert free_slots(pool, "a", "b", "c") == [2, 2, 2]
        async with trio.open_nursery() as nursery:
            for name in ("a", "b", "a"):
                nursery.start_soon(ask, name)
                await wait_all_tasks_blocked()
            assert free_slots(pool, "a", "b", "c") == [0, 0, 0]
        assert answers == [None, "a", "a"]
        assert machine.most_at_once == 1


async def test_several_loads_at_once_count_each_other_s_memory(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(300, "a", "b", "c", large=300)
    async with running_pool(machine, names=["a", "b", "c", "large"]) as pool:
        assert list(machine.engines) == ["large"]
        machine.memory = 550
        answers: list[str | None] = []

        async def ask(name: str) -> None:
            answers.append(await answer(pool, name))

        lease = pool.take(digest_of("large"))
        assert lease
        async with trio.open_nursery() as nursery:
            for name in ("a", "b", "c"):
                nursery.start_soon(ask, name)
                await wait_all_tasks_blocked()
        # Two fit beside the one at work, the third would have to wait for memory.
        assert sorted(answers, key=str) == [None, "a", "b"]
        lease.release()


async def test_a_cancelled_chunk_does_not_stop_the_load_and_leaves_its_slot(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(100, "a", "b")
    async with running_pool(machine) as pool:
        with trio.move_on_after(0.5) as late:
            await answer(pool, "a")
        assert late.cancelled_caught
        assert free_slots(pool, "a", "b") == [2, 0]
        await trio.sleep(5)
        assert free_slots(pool, "a", "b") == [2, 2]
        assert list(machine.engines) == ["a"]
        assert machine.answering == []
    # And a host that stops while a model loads leaves none behind.
    machine = machine_with(100, "a", "b")
    async with running_pool(machine, settled=0.5):
        pass


async def test_a_chunk_hears_at_once_that_its_model_cannot_be_loaded(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(100, "a", "b")
    async with running_pool(machine) as pool:
        machine.files["a"].load_fault = EngineUnavailable("engine_died", "the library aborted")
        assert await answer(pool, "a") == DEAD
        machine.told.clear()
        # The process takes a moment to end, and then it is told that there is room again.
        await trio.sleep(0.5)
        assert machine.told == [None]
        assert free_slots(pool, "a", "b") == [0, 2]
        assert [offer.name for offer in pool.offers()] == ["b"]
        assert pool.models[0].shown_state == machine.files["a"].load_fault
        assert await answer(pool, "b") == "b"


async def test_an_engine_that_died_is_not_waited_for_and_others_go_on(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(200, "a", "b")
    async with running_pool(machine) as pool:
        lease = pool.take(digest_of("a"))
        assert lease
        machine.engines["a"].die()
        with lease.engine.generate(TASK) as generation:
            assert await generation.next() == GenerationFailed("engine_unavailable")
        lease.release()
        assert free_slots(pool, "a", "b") == [0, 2]
        assert isinstance(pool.models[0].shown_state, EngineRestarting)
        # It is still offered: it comes back by itself.
        assert [offer.name for offer in pool.offers()] == ["a", "b"]
        assert await answer(pool, "b") == "b"
        machine.engines["a"].tell(EngineReady(2, 512, 40_000))
        assert free_slots(pool, "a") == [2]
        assert pool.offers()[0].tokens_per_second_milli == 40_000


async def test_a_slow_model_is_offered_while_it_is_loaded_and_makes_no_room(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(100, "slow", "b")
    machine.files["slow"].load_seconds = 20.0
    async with running_pool(machine, settled=60) as pool:
        assert machine.history == ["+slow"]
        assert free_slots(pool, "slow", "b") == [2, 0]
        assert [offer.name for offer in pool.offers()] == ["slow"]
        pool.unload(pool.models[0])
        await trio.sleep(60)
        assert machine.history == ["+slow", "-slow", "+b"]
        assert pool.offers()[0].name == "b"
        # Only its owner can bring it back: b gives way to that.
        pool.load(pool.models[0])
        await trio.sleep(1)
        assert free_slots(pool, "slow") == [0]
        assert pool.take(digest_of("slow")) is None
        await trio.sleep(60)
        assert free_slots(pool, "slow", "b") == [2, 0]


async def test_a_preloaded_model_is_loaded_first_and_stays(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(200, "a", "b", "c")
    async with running_pool(machine, preloaded=["c"]) as pool:
        assert machine.history == ["+c", "+a", "-a", "+b"]
        assert await answer(pool, "a") == "a"
        assert "-c" not in machine.history
        assert pool.models[0].name == "c"
        assert pool.models[0].preloaded


async def test_the_host_s_slots_are_shared_by_its_models(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(200, "a", "b")
    async with running_pool(machine, slots=3) as pool:
        leases = [pool.take(digest_of(name)) for name in ("a", "a", "b")]
        assert all(leases)
        assert free_slots(pool, "a", "b") == [0, 0]
        assert pool.take(digest_of("b")) is None
        assert pool.running == 3
        for lease in leases:
            assert lease
            lease.release()
        assert free_slots(pool, "a", "b") == [2, 2]


async def test_models_at_work_share_the_threads(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(200, "a", "b")

    def threads() -> list[int]:
        tuned = [machine.engines[name].tuned for name in ("a", "b")]
        return [one.threads for one in tuned if one]

    async with running_pool(machine) as pool:
        assert threads() == [4, 4]
        first, second = (pool.take(digest_of(name)) for name in ("a", "b"))
        assert threads() == [2, 2]
        pool.tune(threads=1, nice=0, memory_cap_bytes=0)
        # Never none.
        assert threads() == [1, 1]
        pool.tune(threads=3, nice=0, memory_cap_bytes=0)
        assert threads() == [1, 1]
        assert first
        assert second
        first.release()
        assert threads() == [3, 3]
        second.release()


async def test_what_its_owner_unloads_ends_its_chunks_first(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(200, "a", "b")
    async with running_pool(machine) as pool:
        lease = pool.take(digest_of("a"))
        assert lease
        pool.unload(pool.models[0])
        assert free_slots(pool, "a", "b") == [0, 2]
        await trio.sleep(60)
        assert "after the last of 1" in pool.models[0].detail
        with lease.engine.generate(TASK) as generation:
            assert await generation.next() == GeneratedPiece((1,), "a", "stop")
        lease.release()
        await trio.sleep(60)
        assert list(machine.engines) == ["b"]
        assert pool.models[0].shown_state == ModelAway("unloaded by its owner")
        assert free_slots(pool, "a") == [0]
        pool.load(pool.models[0])
        assert pool.models[0].shown_state == ModelInLine()
        await trio.sleep(5)
        assert await answer(pool, "a") == "a"


async def test_a_bad_file_beside_a_good_one_is_told_and_served_once_it_is_mended(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(200, "a", "bad")
    fault = ModelError("not_gguf", "/models/bad.gguf is not a GGUF model file")
    machine.files["bad"].fault = fault
    async with running_pool(machine, names=["bad", "a"]) as pool:
        bad = pool.models[0]
        assert bad.shown_state == EngineUnavailable("not_gguf", str(fault))
        assert [offer.name for offer in pool.offers()] == ["a"]
        assert await answer(pool, "a") == "a"
        # Tried again it is no better.
        pool.load(bad)
        await trio.sleep(5)
        assert bad.shown_state == EngineUnavailable("not_gguf", str(fault))
        machine.files["bad"].fault = None
        await trio.sleep(3600)
        assert machine.history == ["+a"]
        pool.load(bad)
        await trio.sleep(5)
        assert await answer(pool, "bad") == "bad"


async def test_a_host_without_a_servable_model_waits_for_one(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(200, "a")
    machine.files["a"].fault = ModelError("not_gguf", "no")
    async with running_pool(machine) as pool:
        assert pool.offers() == []
        with trio.move_on_after(3600) as waiting:
            await pool.wait_offer()
        assert waiting.cancelled_caught
        machine.files["a"].fault = None
        pool.load(pool.models[0])
        with trio.fail_after(5):
            await pool.wait_offer()
        # One that the host was not started with.
        machine.files["new"] = machine_with(0, "new").files["new"]
        pool.add(wanted("new"))
        await trio.sleep(5)
        assert await answer(pool, "new") == "new"


async def test_a_file_altered_while_it_is_served_ends_its_engine(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(200, "a", "b")
    async with running_pool(machine) as pool:
        # The same bytes, written again: nothing happens.
        machine.files["a"] = altered(machine.files["a"])
        await trio.sleep(5)
        assert await answer(pool, "a") == "a"
        lease = pool.take(digest_of("a"))
        assert lease
        machine.files["a"] = altered(machine.files["a"], digest=digest_of("other"))
        await trio.sleep(5)
        lease.release()
        assert list(machine.engines) == ["b"]
        state = pool.models[0].shown_state
        assert isinstance(state, EngineUnavailable)
        assert state.reason == "digest_mismatch"
        assert pool.knows(digest_of("a"))
        assert free_slots(pool, "a", "b") == [0, 2]
        # Its owner means it: it is served as the model that it is now.
        pool.load(pool.models[0])
        await trio.sleep(5)
        assert free_slots(pool, "other") == [2]
        assert not pool.knows(digest_of("a"))


@pytest.mark.parametrize("gone", [True, False])
async def test_a_file_deleted_or_replaced_while_loaded_is_served_on_but_not_evicted(
    gone: bool, autojump_clock: MockClock
) -> None:
    machine = machine_with(100, "b", "a")
    async with running_pool(machine) as pool:
        good = machine.files["a"]
        machine.files["gone"] = good
        if gone:
            # Its engine has it open; the machine still counts its memory.
            machine.files["a"] = altered(good, fault=ModelError("missing_file", "it is gone"))
        else:
            machine.files["a"] = altered(good, digest=digest_of("other"))
        machine.files["a"].inode = 2
        await trio.sleep(5)
        assert await answer(pool, "a") == "a"
        assert pool.models[1].detail.startswith("serves on, but cannot be loaded again: ")
        # Nobody would get it back.
        assert free_slots(pool, "a", "b") == [2, 0]
        machine.files["a"] = altered(good)
        await trio.sleep(5)
        assert pool.models[1].detail == ""
        assert free_slots(pool, "a", "b") == [2, 2]


async def test_a_file_deleted_while_its_model_is_not_loaded_is_not_offered(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(100, "a", "b")
    async with running_pool(machine) as pool:
        del machine.files["a"]
        await trio.sleep(5)
        assert [offer.name for offer in pool.offers()] == ["b"]
        state = pool.models[0].shown_state
        assert isinstance(state, EngineUnavailable)
        assert "cannot be read" in state.sentence


async def test_one_file_under_two_names_is_loaded_once(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(300, "a", "twin", "b")
    machine.files["twin"].digest = digest_of("a")
    async with running_pool(machine) as pool:
        assert machine.history == ["+a", "+b"]
        state = pool.models[1].shown_state
        assert isinstance(state, EngineUnavailable)
        assert state.sentence == "/models/twin.gguf is the same model as a: one is enough"


async def test_a_lower_memory_cap_sends_idle_models_away(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(300, "a", "b", "c")
    async with running_pool(machine) as pool:
        assert await answer(pool, "a") == "a"
        lease = pool.take(digest_of("b"))
        assert lease
        pool.tune(threads=1, nice=5, memory_cap_bytes=160)
        await trio.sleep(5)
        assert list(machine.engines) == ["b"]
        assert machine.engines["b"].tuned
        assert machine.engines["b"].tuned.nice == 5
        assert free_slots(pool, "a", "b", "c") == [0, 1, 0]
        lease.release()
        assert free_slots(pool, "a", "b", "c") == [2, 2, 2]
        assert await answer(pool, "a") == "a"
        assert list(machine.engines) == ["a"]
        # What the daemon and the others leave of the cap is what an engine may take.
        assert machine.engines["a"].cap == 150


async def test_free_memory_that_goes_and_comes_is_told(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(200, "a", "b")
    async with running_pool(machine) as pool:
        pool.unload(pool.models[0])
        pool.load(pool.models[0])
        await trio.sleep(5)
        machine.memory = 100
        pool.tune(threads=0, nice=0, memory_cap_bytes=110)
        await trio.sleep(5)
        machine.told.clear()
        # Another program takes what a model that is not loaded would need.
        machine.memory = 50
        await trio.sleep(5)
        assert machine.told == [None]
        assert sorted(free_slots(pool, "a", "b")) == [0, 2]
        machine.memory = 200
        await trio.sleep(5)
        assert free_slots(pool, "a", "b") == [2, 2]


async def test_memory_that_was_short_in_the_engine_is_looked_for_again_each_minute(
    autojump_clock: MockClock,
) -> None:
    machine = machine_with(200, "a")
    machine.files["a"].load_fault = EngineUnavailable("no_memory", "it takes more")
    async with running_pool(machine) as pool:
        assert pool.models[0].shown_state == machine.files["a"].load_fault
        pool.unload(pool.models[0])
        await trio.sleep(600)
        assert machine.history.count("+a") == 1
        pool.load(pool.models[0])
        # Before it has been read: it is not loaded then, either.
        pool.unload(pool.models[0])
        await trio.sleep(600)
        assert machine.history.count("+a") == 1
        pool.load(pool.models[0])
        await trio.sleep(10)
        await trio.sleep(150)
        assert machine.history.count("+a") == 4
        machine.files["a"].load_fault = None
        await trio.sleep(70)
        assert await answer(pool, "a") == "a"
