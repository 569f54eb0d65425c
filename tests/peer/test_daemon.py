from dataclasses import replace
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peerllm.overlay.messages import (
    Accepted,
    Cancel,
    Failed,
    Goodbye,
    Hello,
    Piece,
    ReceiptMessage,
    Slots,
)
from peerllm.peer.generation import EngineLoading, EngineReady, EngineUnavailable, GeneratedPiece
from tests.peer.daemon_stage import open_scene
from tests.peer.pool_stage import digest_of, machine_with, running_pool


async def test_it_introduces_itself_works_and_signs(engine: Any, autojump_clock: MockClock) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        hello = await coordinator.welcome()
        (offer,) = hello.models
        assert (offer.digest, offer.slots, offer.context_tokens) == (engine.digest, 2, 512)
        await coordinator.dispatch()
        assert (await coordinator.expect(Slots)).free == 1
        await coordinator.expect(Accepted)
        (await engine.generation(0)).feed(
            GeneratedPiece((5,), "SECRET"), GeneratedPiece((), "", "stop")
        )
        assert not (await coordinator.expect(Piece)).final
        assert (await coordinator.expect(Piece)).final
        await coordinator.expect(ReceiptMessage)
        assert (await coordinator.expect(Slots)).free == 2
        (finished,) = scene.events("chunk_finished")
        assert finished["outcome"] == "complete"
        assert finished["completion_tokens"] == 1
        assert [event["event"] for event in scene.events()] == [
            "connected",
            "chunk_accepted",
            "chunk_finished",
        ]


async def test_a_cancel_stops_one_chunk_and_not_the_other(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        first = await coordinator.dispatch(b"1")
        await coordinator.dispatch(b"2")
        await engine.generation(1)
        await coordinator.send(Cancel(dispatch_id=first))
        await coordinator.send(Cancel(dispatch_id=b"?" * 16))
        assert (await coordinator.expect(ReceiptMessage)).dispatch_id == first
        assert [generation.left for generation in engine.generations] == [True, False]


async def test_more_than_the_slots_is_refused(engine: Any, autojump_clock: MockClock) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        for name in (b"1", b"2", b"3"):
            await coordinator.dispatch(name)
        assert await coordinator.expect(Failed) == Failed(
            dispatch_id=b"3" * 16, reason="overloaded"
        )


async def test_while_the_engine_is_away_no_slot_is_offered(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        ready = engine.state
        engine.state = EngineLoading()
        scene.daemon.models_changed()
        assert (await coordinator.expect(Slots)).free == 0
        await coordinator.dispatch()
        assert (await coordinator.expect(Failed)).reason == "overloaded"
        # It is another one: what it was measured to do is told, too.
        engine.state = replace(ready, tokens_per_second_milli=40_000)
        scene.daemon.models_changed()
        hello = await coordinator.expect(Hello)
        assert hello.models[0].tokens_per_second_milli == 40_000
        assert (await coordinator.expect(Slots)).free == 2


async def test_while_a_limit_holds_no_slot_is_granted_and_what_runs_goes_on(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch()
        generation = await engine.generation(0)
        assert (await coordinator.expect(Slots)).free == 1
        scene.holding = True
        scene.daemon.models_changed()
        assert (await coordinator.expect(Slots)).free == 0
        await coordinator.dispatch(b"2")
        assert (await coordinator.expect(Failed)).reason == "overloaded"
        generation.feed(GeneratedPiece((5,), "SECRET", "stop"))
        await coordinator.expect(ReceiptMessage)
        assert scene.events("chunk_finished")[0]["outcome"] == "complete"
        assert (await coordinator.expect(Slots)).free == 0
        scene.holding = False
        scene.daemon.models_changed()
        assert (await coordinator.expect(Slots)).free == 2


async def test_it_connects_only_once_the_model_is_loaded(
    engine: Any, autojump_clock: MockClock
) -> None:
    ready, engine.state, engine.ready = engine.state, EngineLoading(), trio.Event()
    assert isinstance(ready, EngineReady)
    async with open_scene(engine) as scene:
        await wait_all_tasks_blocked()
        assert scene.dials == []
        engine.state = ready
        engine.ready.set()
        await (await scene.sessions.receive()).welcome()


async def test_without_a_model_to_serve_it_leaves_and_comes_back_with_one(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        ready, engine.ready = engine.state, trio.Event()
        engine.state = EngineUnavailable("digest_mismatch", "the file was altered")
        scene.daemon.models_changed()
        assert (await coordinator.expect(Goodbye)).reason == "no model to serve"
        await coordinator.stream.close()
        await trio.sleep(600)
        assert len(scene.dials) == 1
        assert scene.ends == []
        engine.state = ready
        engine.ready.set()
        await (await scene.sessions.receive()).welcome()


async def test_a_model_that_is_not_here_is_refused_by_its_name(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch(digest=bytes(32))
        assert (await coordinator.expect(Failed)).reason == "unknown_model"
        # Its slot was not taken.
        await coordinator.dispatch(b"2")
        assert (await coordinator.expect(Slots)).free == 1


async def test_a_chunk_for_a_model_that_is_not_loaded_is_served_and_the_other_is_withdrawn(
    engine: Any, autojump_clock: MockClock
) -> None:
    machine = machine_with(100, "a", "b")
    first, second = digest_of("a"), digest_of("b")
    async with running_pool(machine) as pool, open_scene(engine, models=pool) as scene:
        machine.on_change = scene.daemon.models_changed
        assert list(machine.engines) == ["b"]
        coordinator = await scene.sessions.receive()
        hello = await coordinator.welcome()
        assert [offer.digest for offer in hello.models] == [first, second]
        assert await coordinator.expect(Slots) == Slots(digest=second, free=2)
        await coordinator.dispatch(digest=first)
        granted = {}
        while granted != {first: 1, second: 0}:
            message = await coordinator.expect(Slots, Piece)
            assert isinstance(message, Slots), "it was worked on before the slots were told"
            granted[message.digest] = message.free
        await coordinator.dispatch(b"2", digest=second)
        assert (await coordinator.expect(Failed)).reason == "overloaded"
        assert (await coordinator.expect(Piece)).final
        await coordinator.expect(ReceiptMessage)
        assert list(machine.engines) == ["a"]
        while granted != {first: 2, second: 2}:
            message = await coordinator.expect(Slots)
            granted[message.digest] = message.free
