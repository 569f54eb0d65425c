from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peerllm.overlay.account_messages import AccountAsked, AccountNotTold, AppealMade
from peerllm.overlay.messages import (
    FindModel,
    Goodbye,
    Hello,
    Introduce,
    ModelNotFound,
    ModelSharing,
    SeatPause,
    Slots,
    Welcome,
)
from peerllm.peer.daemon import ToldAccount
from tests.overlay.account_samples import ACCOUNT
from tests.peer.daemon_stage import COORDINATOR, HOST, NOW_US, open_scene

TELLING = Welcome(coordinator=COORDINATOR, heartbeat_seconds=10, tells_accounts=True)


async def test_it_says_what_it_shares_and_passes_introductions_on(
    engine: Any, autojump_clock: MockClock
) -> None:
    sharing = ModelSharing(port=4001, digests=[engine.digest])
    introduction = Introduce(peer_id=HOST.peer_id, digest=engine.digest, valid_us=1)
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        assert (await coordinator.welcome()).sharing is None
        scene.sharing = sharing
        scene.daemon.sharing_changed()
        assert (await coordinator.expect(Hello)).sharing == sharing
        # The hello made the coordinator forget what it was granted.
        assert (await coordinator.expect(Slots)).free == 2
        await coordinator.send(introduction)
        await wait_all_tasks_blocked()
        assert scene.introductions == [introduction]


async def test_only_a_coordinator_that_introduces_is_asked_for_models(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        assert not scene.daemon.find_model("tiny")
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        # One of an earlier release would take the question for garbage.
        assert not scene.daemon.find_model("tiny")
        await coordinator.send(
            Welcome(coordinator=COORDINATOR, heartbeat_seconds=10, introduces=True)
        )
        await wait_all_tasks_blocked()
        assert scene.daemon.find_model("tiny")
        assert await coordinator.expect(FindModel) == FindModel(wanted="tiny")
        answer = ModelNotFound(wanted="tiny", reason="unknown_model")
        await coordinator.send(answer)
        await wait_all_tasks_blocked()
        assert scene.introductions == [answer]


async def test_a_pause_of_the_seat_is_known_until_it_ends(
    engine: Any, autojump_clock: MockClock
) -> None:
    pause = SeatPause(reason="slow", way_back="serve a smaller model", until_us=NOW_US + 5)
    async with open_scene(engine) as scene:
        assert scene.daemon.seat_pause is None
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        for told in (pause, pause, None):
            await coordinator.send(
                Welcome(coordinator=COORDINATOR, heartbeat_seconds=10, pause=told)
            )
            await wait_all_tasks_blocked()
            assert scene.daemon.seat_pause == told
        (paused,) = scene.events("seat_paused")
        assert (paused["reason"], paused["until_us"]) == ("slow", NOW_US + 5)
        assert len(scene.events("seat_resumed")) == 1


async def test_it_asks_for_its_account_and_keeps_what_it_was_told(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        await coordinator.send(TELLING)
        await coordinator.expect(AccountAsked)
        assert scene.daemon.account is None
        # Whoever is refused asks again soon, whoever was told after ten minutes.
        for answer, seconds in (
            (AccountNotTold(reason="too_often"), 90),
            (ACCOUNT, 600),
            (AccountNotTold(reason="unavailable"), 90),
        ):
            await coordinator.send(answer)
            began = trio.current_time()
            await coordinator.expect(AccountAsked)
            assert trio.current_time() - began == pytest.approx(seconds, abs=1)
        assert scene.daemon.account == ToldAccount(NOW_US, ACCOUNT)
        assert scene.accounts_told == 1
        # A session later it is still known, until it is told anew.
        await coordinator.stream.close()
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        await coordinator.send(TELLING)
        await coordinator.expect(AccountAsked)
        assert scene.daemon.account == ToldAccount(NOW_US, ACCOUNT)


async def test_a_coordinator_of_before_is_not_asked(engine: Any, autojump_clock: MockClock) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        with trio.move_on_after(2_000):
            pytest.fail(f"it sent {await coordinator.receive()}")
        assert scene.daemon.account is None
        assert scene.daemon.is_connected


async def test_it_appeals_where_the_coordinator_takes_appeals(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        assert not scene.daemon.appeal(7)
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        assert not scene.daemon.appeal(7)
        await coordinator.send(TELLING)
        await coordinator.expect(AccountAsked)
        # Of before: it would hang up on the question.
        assert not scene.daemon.appeal(7)
        await coordinator.send(msgspec.structs.replace(TELLING, takes_appeals=True))
        await wait_all_tasks_blocked()
        assert scene.daemon.appeal(7)
        assert (await coordinator.expect(AppealMade)).strike == 7


async def test_an_account_before_the_welcome_ends_the_session(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        await coordinator.send(ACCOUNT)
        goodbye = await coordinator.expect(Goodbye)
        assert goodbye.reason == "an account before welcome"
        assert scene.daemon.account is None


async def test_an_introduction_before_the_welcome_ends_the_session(
    engine: Any, autojump_clock: MockClock
) -> None:
    async with open_scene(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        await coordinator.send(Introduce(peer_id=HOST.peer_id, digest=bytes(32), valid_us=1))
        goodbye = await coordinator.expect(Goodbye)
        assert goodbye.reason == "an introduction before welcome"
        assert scene.introductions == []
