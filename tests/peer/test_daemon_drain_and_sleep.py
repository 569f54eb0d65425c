from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peerllm.overlay.messages import Accepted, Failed, Goodbye, ReceiptMessage, Slots
from peerllm.peer.generation import GeneratedPiece
from tests.peer.daemon_stage import open_scene


async def test_draining_lets_the_running_answer_end(engine: Any, autojump_clock: MockClock) -> None:
    async with open_scene(engine) as scene, trio.open_nursery() as nursery:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch()
        generation = await engine.generation(0)
        await coordinator.expect(Accepted)
        nursery.start_soon(scene.daemon.drain, 30)
        assert (await coordinator.expect(Slots)).free == 0
        await coordinator.dispatch(b"2")
        assert (await coordinator.expect(Failed)).reason == "overloaded"
        generation.feed(GeneratedPiece((5,), "SECRET", "stop"))
        await coordinator.expect(ReceiptMessage)
        assert (await coordinator.expect(Goodbye)).reason == "stopping"
        await coordinator.stream.close()
        await wait_all_tasks_blocked()
        assert scene.ends == [None]
        assert trio.current_time() < 5


async def test_draining_does_not_wait_for_ever(engine: Any, autojump_clock: MockClock) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch()
        generation = await engine.generation(0)
        await scene.daemon.drain(30)
        await wait_all_tasks_blocked()
        assert scene.ends == [None]
        assert generation.left
        assert trio.current_time() < 40


async def test_asked_twice_it_stops_at_once(engine: Any, autojump_clock: MockClock) -> None:
    async with open_scene(engine) as scene, trio.open_nursery() as nursery:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch()
        generation = await engine.generation(0)
        assert not scene.daemon.is_draining
        nursery.start_soon(scene.daemon.drain, 30)
        await wait_all_tasks_blocked()
        assert scene.daemon.is_draining
        assert not scene.ends
        scene.daemon.stop()
        await wait_all_tasks_blocked()
        assert scene.ends == [None]
        assert generation.left
        nursery.cancel_scope.cancel()


async def test_before_a_sleep_the_running_answer_ends_and_after_it_the_host_is_back(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene, trio.open_nursery() as nursery:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch()
        generation = await engine.generation(0)
        await coordinator.expect(Accepted)
        nursery.start_soon(scene.daemon.rest, 4)
        assert (await coordinator.expect(Slots)).free == 0
        assert scene.daemon.is_resting
        await coordinator.dispatch(b"2")
        assert (await coordinator.expect(Failed)).reason == "overloaded"
        generation.feed(GeneratedPiece((5,), "SECRET", "stop"))
        await coordinator.expect(ReceiptMessage)
        assert (await coordinator.expect(Goodbye)).reason == "going to sleep"
        await coordinator.stream.close()
        # It does not come back by itself, however long the computer sleeps.
        await trio.sleep(50_000)
        assert len(scene.dials) == 1
        scene.daemon.wake()
        woken = trio.current_time()
        coordinator = await scene.sessions.receive()
        assert trio.current_time() - woken < 1
        await coordinator.welcome()
        assert (await coordinator.expect(Slots)).free == 2
        assert not scene.ends
    assert [line["event"] for line in scene.events() if "sleep" in line["event"]]
    assert len(scene.events("awake")) == 1


async def test_an_answer_that_takes_too_long_is_left_when_the_computer_sleeps(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch()
        generation = await engine.generation(0)
        # As the system's own limit ends it.
        with trio.move_on_after(2):
            await scene.daemon.rest(30)
        await wait_all_tasks_blocked()
        assert (await coordinator.expect(Goodbye)).reason == "going to sleep"
        await coordinator.stream.close()
        await wait_all_tasks_blocked()
        assert generation.left
        assert trio.current_time() < 5
        scene.daemon.wake()
        await scene.sessions.receive()


async def test_no_coordinator_is_looked_for_while_the_computer_sleeps(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine, unreachable=3) as scene:
        await wait_all_tasks_blocked()
        # Between two attempts.
        await scene.daemon.rest(1)
        tries = len(scene.dials)
        await trio.sleep(10_000)
        assert len(scene.dials) == tries
        scene.daemon.wake()
        await (await scene.sessions.receive()).welcome()


async def test_a_host_that_sleeps_can_be_stopped(engine: Any, autojump_clock: MockClock) -> None:
    async with open_scene(engine) as scene:
        await (await scene.sessions.receive()).welcome()
        await scene.daemon.rest(1)
        await scene.daemon.drain(30)
        await wait_all_tasks_blocked()
        assert scene.ends == [None]
