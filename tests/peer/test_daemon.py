import io
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peerllm.crypto.certificate import SealingCertificate, read_certificate
from peerllm.crypto.encoding import encode
from peerllm.crypto.envelope import EnvelopeBinding, seal
from peerllm.crypto.identity import Identity
from peerllm.overlay.account_messages import AccountAsked, AccountNotTold, AppealMade
from peerllm.overlay.errors import DialError, StreamClosed
from peerllm.overlay.framing import FrameDecoder, to_frame
from peerllm.overlay.messages import (
    MAXIMUM_FRAME_BYTES,
    Accepted,
    Cancel,
    ChatMessage,
    ChunkTask,
    Dispatch,
    Failed,
    FindModel,
    Goodbye,
    Heartbeat,
    HeartbeatReply,
    Hello,
    HostMessage,
    Introduce,
    Message,
    ModelNotFound,
    ModelSharing,
    Piece,
    ReceiptMessage,
    Refused,
    SeatPause,
    Slots,
    Welcome,
    host_message,
    to_bytes,
)
from peerllm.peer.daemon import DaemonParts, HostDaemon, ToldAccount
from peerllm.peer.generation import (
    EngineLoading,
    EngineReady,
    EngineUnavailable,
    GeneratedPiece,
)
from peerllm.peer.served_models import ServedModels
from peerllm.privacy.event_log import EventLog
from tests.overlay.account_samples import ACCOUNT
from tests.peer.conftest import OneModel
from tests.peer.pool_stage import digest_of, machine_with, running_pool

HOST = Identity.from_seed(b"h" * 32)
COORDINATOR = Identity.from_seed(b"c" * 32).peer_id
NOW_US = 1_700_000_000_000_000


class PipeStream:
    """One end of an in-memory connection."""

    def __init__(self, out: trio.MemorySendChannel[bytes], into: trio.MemoryReceiveChannel[bytes]):
        self._out, self._into = out, into

    async def read(self, maximum: int) -> bytes:  # noqa: ARG002
        try:
            return await self._into.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            return b""

    async def write(self, data: bytes) -> None:
        try:
            await self._out.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise StreamClosed("broken") from None

    async def close(self) -> None:
        self._out.close()
        self._into.close()
        await trio.lowlevel.checkpoint()


class Coordinator:
    """The other end of one session, as a test plays it."""

    def __init__(self, stream: PipeStream) -> None:
        self.stream = stream
        self._frames = FrameDecoder(maximum_bytes=MAXIMUM_FRAME_BYTES)
        self.sealing_key = b""

    async def send(self, message: Message) -> None:
        await self.stream.write(to_frame(to_bytes(message)))

    async def receive(self) -> HostMessage | None:
        """The next message but heartbeats, which are answered; None at the end."""
        while True:
            while (body := self._frames.pop()) is None:
                raw = await self.stream.read(1 << 16)
                if not raw:
                    return None
                self._frames.push(raw)
            message = host_message(body)
            if isinstance(message, Heartbeat):
                await self.send(HeartbeatReply(sequence=message.sequence))
            else:
                return message

    async def expect(self, *kinds: type[Any]) -> Any:
        """The next message of these kinds; everything before it is passed over."""
        while (message := await self.receive()) is not None:
            if isinstance(message, kinds):
                return message
        raise AssertionError("the session ended")

    async def welcome(self) -> Hello:
        hello: Hello = await self.expect(Hello)
        certificate = read_certificate(
            hello.sealing_certificate, peer_id=HOST.peer_id, now_us=NOW_US
        )
        assert isinstance(certificate, SealingCertificate)
        self.sealing_key = certificate.sealing_key
        await self.send(Welcome(coordinator=COORDINATOR, heartbeat_seconds=10))
        await self.expect(Slots)
        return hello

    async def dispatch(self, name: bytes = b"d", *, digest: bytes = bytes(range(32))) -> bytes:
        task = ChunkTask(
            messages=[ChatMessage(role="user", content="SECRET")],
            max_tokens=9,
            temperature_milli=0,
            top_p_milli=1000,
            stop=[],
            assistant_prefix="",
            reply_key=b"r" * 32,
        )
        binding = EnvelopeBinding(
            dispatch_id=name * 16,
            host=HOST.peer_id,
            model_digest=digest,
            expires_at_us=NOW_US + 60_000_000,
            seed=1,
        )
        await self.send(
            Dispatch(
                dispatch_id=binding.dispatch_id,
                model_digest=digest,
                expires_at_us=binding.expires_at_us,
                seed=1,
                nonce=b"n" * 16,
                deadline_us=60_000_000,
                envelope=seal(binding, self.sealing_key, encode(task)),
            )
        )
        return binding.dispatch_id


@dataclass
class Scene:
    """A running daemon, the sessions it opened, and its log."""

    daemon: HostDaemon
    sessions: trio.MemoryReceiveChannel[Coordinator]
    output: io.StringIO
    unreachable: int = 0
    holding: bool = False
    sharing: ModelSharing | None = None
    introductions: list[Any] = field(default_factory=list)
    accounts_told: int = 0
    dials: list[float] = field(default_factory=list)
    ends: list[Any] = field(default_factory=list)

    def events(self, name: str = "") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.output.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name or not name]


@pytest.fixture
def scene_of() -> Callable[[Any], Any]:
    @asynccontextmanager
    async def open_scene(
        engine: Any, unreachable: int = 0, models: ServedModels | None = None
    ) -> AsyncIterator[Scene]:
        opened, sessions = trio.open_memory_channel[Coordinator](math.inf)
        output = io.StringIO()
        introductions: list[Any] = []

        async def dial() -> PipeStream:
            await trio.lowlevel.checkpoint()
            scene.dials.append(trio.current_time())
            if scene.unreachable:
                scene.unreachable -= 1
                raise DialError("SECRET address")
            there, here = (trio.open_memory_channel[bytes](64) for _ in range(2))
            opened.send_nowait(Coordinator(PipeStream(here[0], there[1])))
            return PipeStream(there[0], here[1])

        def account_told() -> None:
            scene.accounts_told += 1

        async def run() -> None:
            scene.ends.append(await scene.daemon.run())

        log = EventLog(lambda: NOW_US, output)
        daemon = HostDaemon(
            DaemonParts(
                identity=HOST,
                coordinator=COORDINATOR,
                models=models or OneModel(engine),
                dial=dial,
                log=log,
                now_us=lambda: NOW_US,
                randomness=lambda: 1.0,
                holding=lambda: scene.holding,
                sharing=lambda: scene.sharing,
                on_introduction=introductions.append,
                on_account=account_told,
            )
        )
        scene = Scene(daemon, sessions, output, unreachable, introductions=introductions)
        with trio.fail_after(200_000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                yield scene
                nursery.cancel_scope.cancel()
        assert "SECRET" not in output.getvalue()

    return open_scene


async def test_it_says_what_it_shares_and_passes_introductions_on(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    sharing = ModelSharing(port=4001, digests=[engine.digest])
    introduction = Introduce(peer_id=HOST.peer_id, digest=engine.digest, valid_us=1)
    async with scene_of(engine) as scene:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    pause = SeatPause(reason="slow", way_back="serve a smaller model", until_us=NOW_US + 5)
    async with scene_of(engine) as scene:
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


TELLING = Welcome(coordinator=COORDINATOR, heartbeat_seconds=10, tells_accounts=True)


async def test_it_asks_for_its_account_and_keeps_what_it_was_told(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
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


async def test_a_coordinator_of_before_is_not_asked(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        with trio.move_on_after(2_000):
            pytest.fail(f"it sent {await coordinator.receive()}")
        assert scene.daemon.account is None
        assert scene.daemon.is_connected


async def test_it_appeals_where_the_coordinator_takes_appeals(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        await coordinator.send(ACCOUNT)
        goodbye = await coordinator.expect(Goodbye)
        assert goodbye.reason == "an account before welcome"
        assert scene.daemon.account is None


async def test_an_introduction_before_the_welcome_ends_the_session(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        await coordinator.send(Introduce(peer_id=HOST.peer_id, digest=bytes(32), valid_us=1))
        goodbye = await coordinator.expect(Goodbye)
        assert goodbye.reason == "an introduction before welcome"
        assert scene.introductions == []


async def test_it_introduces_itself_works_and_signs(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        first = await coordinator.dispatch(b"1")
        await coordinator.dispatch(b"2")
        await engine.generation(1)
        await coordinator.send(Cancel(dispatch_id=first))
        await coordinator.send(Cancel(dispatch_id=b"?" * 16))
        assert (await coordinator.expect(ReceiptMessage)).dispatch_id == first
        assert [generation.left for generation in engine.generations] == [True, False]


async def test_more_than_the_slots_is_refused(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        for name in (b"1", b"2", b"3"):
            await coordinator.dispatch(name)
        assert await coordinator.expect(Failed) == Failed(
            dispatch_id=b"3" * 16, reason="overloaded"
        )


async def test_a_replay_is_refused_also_after_a_reconnection(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
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


async def test_a_lost_session_cancels_its_work_and_is_opened_again(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine, unreachable=9) as scene:
        await scene.sessions.receive()
        pauses = [round(b - a, 1) for a, b in zip(scene.dials, scene.dials[1:], strict=False)]
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
        assert len(scene.events("unreachable")) == 9


async def test_a_seat_that_was_given_is_not_waited_for(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine, unreachable=8) as scene:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        assert (await coordinator.expect(Goodbye)).reason == "no welcome in time"
        assert trio.current_time() < 20
        await scene.sessions.receive()


@pytest.mark.parametrize("before", [True, False])
async def test_a_coordinator_that_breaks_the_protocol_is_left(
    engine: Any, scene_of: Any, autojump_clock: MockClock, before: bool
) -> None:
    async with scene_of(engine) as scene:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.expect(Hello)
        await coordinator.send(Refused(reason="no seat"))
        await scene.sessions.receive()
        assert scene.events("refused_by_coordinator")[0]["reason"] == "no_seat"


async def test_the_certificate_is_renewed_in_time_and_the_old_key_still_opens(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        old = coordinator.sealing_key
        await coordinator.welcome()
        assert coordinator.sealing_key != old
        assert trio.current_time() <= 12 * 3600 + 60
        coordinator.sealing_key = old
        await coordinator.dispatch()
        await coordinator.expect(Accepted)


async def test_while_the_engine_is_away_no_slot_is_offered(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    ready, engine.state, engine.ready = engine.state, EngineLoading(), trio.Event()
    assert isinstance(ready, EngineReady)
    async with scene_of(engine) as scene:
        await wait_all_tasks_blocked()
        assert scene.dials == []
        engine.state = ready
        engine.ready.set()
        await (await scene.sessions.receive()).welcome()


async def test_without_a_model_to_serve_it_leaves_and_comes_back_with_one(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch(digest=bytes(32))
        assert (await coordinator.expect(Failed)).reason == "unknown_model"
        # Its slot was not taken.
        await coordinator.dispatch(b"2")
        assert (await coordinator.expect(Slots)).free == 1


async def test_a_chunk_for_a_model_that_is_not_loaded_is_served_and_the_other_is_withdrawn(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    machine = machine_with(100, "a", "b")
    first, second = digest_of("a"), digest_of("b")
    async with running_pool(machine) as pool, scene_of(engine, models=pool) as scene:
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


async def test_draining_lets_the_running_answer_end(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene, trio.open_nursery() as nursery:
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


async def test_draining_does_not_wait_for_ever(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
        coordinator = await scene.sessions.receive()
        await coordinator.welcome()
        await coordinator.dispatch()
        generation = await engine.generation(0)
        await scene.daemon.drain(30)
        await wait_all_tasks_blocked()
        assert scene.ends == [None]
        assert generation.left
        assert trio.current_time() < 40


async def test_asked_twice_it_stops_at_once(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene, trio.open_nursery() as nursery:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene, trio.open_nursery() as nursery:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
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
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine, unreachable=3) as scene:
        await wait_all_tasks_blocked()
        # Between two attempts.
        await scene.daemon.rest(1)
        tries = len(scene.dials)
        await trio.sleep(10_000)
        assert len(scene.dials) == tries
        scene.daemon.wake()
        await (await scene.sessions.receive()).welcome()


async def test_a_host_that_sleeps_can_be_stopped(
    engine: Any, scene_of: Any, autojump_clock: MockClock
) -> None:
    async with scene_of(engine) as scene:
        await (await scene.sessions.receive()).welcome()
        await scene.daemon.rest(1)
        await scene.daemon.drain(30)
        await wait_all_tasks_blocked()
        assert scene.ends == [None]
