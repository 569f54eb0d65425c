from typing import Any

import pytest
import trio
from trio.testing import MockClock

from peerllm.overlay.messages import (
    Accepted,
    Failed,
    Goodbye,
    Hello,
    ReceiptMessage,
    Refused,
    Welcome,
)
from peerllm.peer.generation import GeneratedPiece
from peerllm.peer.replay import ReplayGuard
from tests.peer.daemon_stage import HOST, open_scene


async def test_a_replay_is_refused_also_after_a_reconnection(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch()
        (await engine.generation(0)).feed(GeneratedPiece((), "", "stop"))
        await coordinator.expect(ReceiptMessage)
        await coordinator.send(Goodbye(reason="restarting"))
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch()
        assert (await coordinator.expect(Failed)).reason == "refused_envelope"
        assert len(engine.generations) == 1


async def test_an_id_that_is_being_worked_on_is_refused_though_it_expired(
    engine: Any, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_scene(engine) as scene:
        # As if the first envelope had expired: its id is forgotten, its chunk still runs.
        monkeypatch.setattr(ReplayGuard, "admit", lambda *_arguments, **_times: None)
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch()
        generation = await engine.generation(0)
        await coordinator.dispatch()
        assert (await coordinator.expect(Failed)).reason == "refused_envelope"
        generation.feed(GeneratedPiece((), "", "stop"))
        await coordinator.expect(ReceiptMessage)
        await coordinator.dispatch()
        (await engine.generation(1)).feed(GeneratedPiece((), "", "stop"))
        await coordinator.expect(ReceiptMessage)


async def test_a_lost_session_cancels_its_work_and_is_opened_again(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch()
        generation = await engine.generation(0)
        await coordinator.stream.close()
        coordinator = await scene.sessions.receive()
        assert generation.left
        hello = await coordinator.welcome()
        assert hello.models[0].slots == 2
        assert [event["reason"] for event in scene.events("disconnected")] == ["stream_ended"]


async def test_a_coordinator_out_of_reach_is_tried_ever_more_rarely(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine, unreachable=9) as scene:
        await scene.sessions.receive()
        pauses = [round(b - a, 1) for a, b in zip(scene.dials, scene.dials[1:], strict=False)]
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        assert len(scene.events("unreachable")) == 9


async def test_a_seat_that_was_given_is_not_waited_for(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine, unreachable=8) as scene:
        await trio.sleep(35)
        # Six attempts by now; the next would come after half a minute.
        before = len(scene.dials)
        scene.daemon.seat_given()
        await trio.sleep(0.1)
        assert len(scene.dials) == before + 1
        # Not in force yet: it is tried again soon, and then more and more rarely as ever.
        await scene.sessions.receive()
        assert scene.dials[-1] - scene.dials[before] == 1.0


async def test_without_a_welcome_the_session_is_given_up(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        assert (await coordinator.expect(Goodbye)).reason == "no welcome in time"
        assert trio.current_time() < 20
        await scene.sessions.receive()


@pytest.mark.parametrize("before", [True, False])
async def test_a_coordinator_that_breaks_the_protocol_is_left(
    engine: Any, autojump_clock: MockClock, before: bool
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        coordinator.sealing_key = HOST.public_key
        if before:
            await coordinator.dispatch()
        else:
            await coordinator.send(Welcome(coordinator=HOST.peer_id, heartbeat_seconds=10))
        await scene.sessions.receive()
        assert scene.events("disconnected")[0]["reason"] == "violation"
        assert engine.generations == []


async def test_a_refusal_is_logged_as_one_word_and_tried_again(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        await coordinator.send(Refused(reason="no seat"))
        await scene.sessions.receive()
        assert scene.events("refused_by_coordinator")[0]["reason"] == "no_seat"


async def test_the_certificate_is_renewed_in_time_and_the_old_key_still_opens(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        old = coordinator.sealing_key
        await coordinator.welcome()
        assert coordinator.sealing_key != old
        assert trio.current_time() <= 12 * 3600 + 60
        coordinator.sealing_key = old
        await coordinator.dispatch()
        await coordinator.expect(Accepted)
