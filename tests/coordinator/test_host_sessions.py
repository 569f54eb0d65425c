import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
import trio
from simulated_host import COORDINATOR, DIGEST, NOW_US, new_registry, served_model
from trio.testing import MockClock, memory_stream_one_way_pair

from peerllm.charter.seat_rules import WAYS_BACK
from peerllm.coordinator.accounts import Seat, SeatPause
from peerllm.coordinator.host_accounts import HostAccounts
from peerllm.coordinator.host_sessions import HELLO_SECONDS, HostSessions
from peerllm.coordinator.introductions import Introductions
from peerllm.coordinator.metrics import Metrics
from peerllm.coordinator.registry import Registry
from peerllm.crypto.certificate import SealingKey, certify
from peerllm.crypto.identity import Identity
from peerllm.overlay.account_messages import Account, AccountAsked, AccountNotTold, AppealMade
from peerllm.overlay.framing import FrameDecoder, to_frame
from peerllm.overlay.messages import (
    PROTOCOL_VERSION,
    CoordinatorMessage,
    FindModel,
    Goodbye,
    Hello,
    HostMessage,
    ModelHolders,
    ModelNotFound,
    ModelOffer,
    ModelSharing,
    Refused,
    Slots,
    Welcome,
    coordinator_message,
    to_bytes,
)
from peerllm.privacy.event_log import EventLog
from tests.overlay.account_samples import ACCOUNT

HOST = Identity.from_seed(b"h" * 32)
OTHER = Identity.from_seed(b"o" * 32)
WEEK_US = 7 * 24 * 3600 * 1_000_000


class Pipe:
    """One end of a stream in memory, authenticated as the host."""

    peer_id = HOST.peer_id
    remote_address: str | None = "192.0.2.7"

    def __init__(
        self, reads: trio.testing.MemoryReceiveStream, writes: trio.testing.MemorySendStream
    ) -> None:
        self._reads, self._writes = reads, writes

    async def read(self, maximum: int) -> bytes:
        return bytes(await self._reads.receive_some(maximum))

    async def write(self, data: bytes) -> None:
        await self._writes.send_all(data)

    async def close(self) -> None:
        self._writes.close()


@dataclass
class Caller:
    """A host at the other end, speaking the protocol by hand."""

    pipe: Pipe
    registry: Registry
    log: io.StringIO
    sessions: HostSessions
    frames: FrameDecoder = field(default_factory=lambda: FrameDecoder(maximum_bytes=1 << 21))

    async def say(self, message: HostMessage) -> None:
        await self.pipe.write(to_frame(to_bytes(message)))

    async def hear(self) -> CoordinatorMessage | None:
        while (body := self.frames.pop()) is None:
            data = await self.pipe.read(65536)
            if not data:
                return None
            self.frames.push(data)
        return coordinator_message(body)


def seats(*digests: bytes) -> dict[str, Seat]:
    seat = Seat(HOST.peer_id, "ada", "community", frozenset(digests), "default", NOW_US)
    return {HOST.peer_id: seat}


class ToyAccounts:
    """Accounts that a test decides over: one answer for everybody, when it lets it go."""

    def __init__(self, answer: Account | None = None) -> None:
        self.ready = trio.Event()
        self.asked: list[tuple[str, str]] = []
        self.appeals: list[tuple[str, int]] = []
        self._answer = answer or AccountNotTold(reason="unavailable")

    def may_ask(self, host: str) -> bool:
        return host not in {known for known, _ in self.asked}

    def may_appeal(self, host: str) -> bool:
        return host not in {known for known, _ in self.appeals}

    async def appeal(self, host: str, strike: int, region: str) -> Account | AccountNotTold:
        self.appeals.append((host, strike))
        return await self.answer(host, region)

    async def answer(self, host: str, region: str) -> Account | AccountNotTold:
        self.asked.append((host, region))
        await self.ready.wait()
        return self._answer


@asynccontextmanager
async def session(
    known: dict[str, Seat], accounts: ToyAccounts | None = None
) -> AsyncIterator[Caller]:
    to_host, from_host = memory_stream_one_way_pair(), memory_stream_one_way_pair()
    registry, log = new_registry(), io.StringIO()
    introductions = Introductions(
        registry, [served_model()], clock=trio.current_time, shuffle=lambda _: None
    )
    sessions = HostSessions(
        registry,
        introductions=introductions,
        accounts=cast("HostAccounts", accounts or ToyAccounts()),
        seats=lambda: known,
        coordinator=COORDINATOR.peer_id,
        now_us=lambda: NOW_US,
        metrics=Metrics(),
        log=EventLog(lambda: NOW_US, log),
    )
    assert sessions.admits(HOST.peer_id) is bool(known)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sessions.serve, Pipe(from_host[1], to_host[0]))
        yield Caller(Pipe(to_host[1], from_host[0]), registry, log, sessions)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert registry.hosts == ()


def hello(
    *,
    by: Identity = HOST,
    issued_at_us: int = NOW_US,
    digest: bytes = DIGEST,
    sharing: ModelSharing | None = None,
) -> Hello:
    return Hello(
        protocol_version=PROTOCOL_VERSION,
        software="test",
        sealing_certificate=certify(
            by,
            SealingKey.generate().public_bytes,
            issued_at_us=issued_at_us,
            expires_at_us=issued_at_us + WEEK_US,
        ),
        models=[
            ModelOffer(
                digest=digest, name="toy", context_tokens=4096, slots=2, tokens_per_second_milli=1
            )
        ],
        sharing=sharing,
    )


async def test_a_seated_host_is_welcomed_and_can_take_work(autojump_clock: MockClock) -> None:
    async with session(seats(DIGEST)) as caller:
        await caller.say(hello())
        welcome = await caller.hear()
        assert isinstance(welcome, Welcome)
        assert welcome.coordinator == COORDINATOR.peer_id
        (candidate,) = caller.registry.candidates(DIGEST, 100)
        assert (candidate.host, candidate.network) == (HOST.peer_id, "192.0.2.0/24")
        await caller.say(Slots(digest=DIGEST, free=0))
        await trio.testing.wait_all_tasks_blocked()
        assert caller.registry.candidates(DIGEST, 100)[0].free_slots == 0


async def test_a_paused_host_is_told_why_and_what_ends_it(autojump_clock: MockClock) -> None:
    known = seats(DIGEST)
    (seat,) = known.values()
    paused = replace(seat, pause=SeatPause("errors", NOW_US, NOW_US + 5))
    async with session(known) as caller:
        await caller.say(hello())
        first = await caller.hear()
        assert isinstance(first, Welcome)
        assert first.pause is None
        caller.sessions.reseat()
        known[HOST.peer_id] = paused
        caller.sessions.reseat()
        caller.sessions.reseat()
        again = await caller.hear()
        assert isinstance(again, Welcome)
        assert again.pause is not None
        assert (again.pause.reason, again.pause.until_us) == ("errors", NOW_US + 5)
        assert again.pause.way_back == WAYS_BACK["errors"]
        assert caller.registry.candidates(DIGEST, 1) == []
        # A second hello does not shake it off.
        await caller.say(hello())
        assert await caller.hear() == again
        known[HOST.peer_id] = seat
        caller.sessions.reseat()
        assert await caller.hear() == first
        assert len(caller.registry.candidates(DIGEST, 1)) == 1
        log = caller.log.getvalue()
        assert (log.count('"seat_paused"'), log.count('"seat_resumed"')) == (1, 1)


@pytest.mark.parametrize(
    ("known", "said", "reason"),
    [
        ({}, hello(), "no seat"),
        (seats(DIGEST), hello(by=OTHER), "sealing certificate refused: bad_signature"),
        (
            seats(DIGEST),
            hello(issued_at_us=NOW_US - 2 * WEEK_US),
            "sealing certificate refused: expired",
        ),
        (seats(bytes(32)), hello(), "the seat covers none of the models offered"),
    ],
)
async def test_a_hello_that_proves_too_little_is_refused_with_a_reason(
    autojump_clock: MockClock, known: dict[str, Seat], said: Hello, reason: str
) -> None:
    async with session(known) as caller:
        await caller.say(said)
        assert await caller.hear() == Refused(reason=reason)
        assert isinstance(await caller.hear(), Goodbye)
        assert await caller.hear() is None
        assert caller.registry.hosts == ()


async def test_a_host_that_shares_is_known_by_where_it_comes_from(
    autojump_clock: MockClock,
) -> None:
    async with session(seats(DIGEST)) as caller:
        await caller.say(hello(sharing=ModelSharing(port=4001, digests=[DIGEST])))
        welcome = await caller.hear()
        assert isinstance(welcome, Welcome)
        assert welcome.introduces
        (live,) = caller.registry.hosts
        assert live.holder is not None
        assert live.holder.address == "/ip4/192.0.2.7/tcp/4001"
        # Nobody is introduced to itself.
        await caller.say(FindModel(wanted="toy"))
        found = await caller.hear()
        assert isinstance(found, ModelHolders)
        assert (found.digest, found.holders) == (DIGEST, [])
        await caller.say(FindModel(wanted="mystery"))
        assert await caller.hear() == ModelNotFound(wanted="mystery", reason="unknown_model")
        # It changed its mind.
        await caller.say(hello())
        assert isinstance(await caller.hear(), Welcome)
        assert live.holder is None


async def test_who_asks_for_a_model_without_hello_is_not_answered(
    autojump_clock: MockClock,
) -> None:
    async with session(seats(DIGEST)) as caller:
        await caller.say(FindModel(wanted="toy"))
        assert await caller.hear() == Goodbye(reason="a message before hello")


async def test_who_does_not_greet_is_let_go(autojump_clock: MockClock) -> None:
    async with session(seats(DIGEST)) as caller:
        began = trio.current_time()
        while await caller.hear() is not None:
            pass
        assert trio.current_time() - began <= HELLO_SECONDS + 1


async def test_a_message_before_the_greeting_ends_the_session(autojump_clock: MockClock) -> None:
    async with session(seats(DIGEST)) as caller:
        await caller.say(Slots(digest=DIGEST, free=1))
        assert await caller.hear() == Goodbye(reason="a message before hello")
        assert await caller.hear() is None
        await trio.testing.wait_all_tasks_blocked()
        assert "violation" in caller.log.getvalue()


async def test_a_second_hello_renews_the_key(autojump_clock: MockClock) -> None:
    async with session(seats(DIGEST)) as caller:
        await caller.say(hello())
        assert isinstance(await caller.hear(), Welcome)
        (live,) = caller.registry.hosts
        before = live.sealing_key
        await caller.say(hello())
        assert isinstance(await caller.hear(), Welcome)
        assert caller.registry.hosts == (live,)
        assert live.sealing_key != before


async def test_a_renewal_that_proves_too_little_ends_the_session(
    autojump_clock: MockClock,
) -> None:
    async with session(seats(DIGEST)) as caller:
        await caller.say(hello())
        assert isinstance(await caller.hear(), Welcome)
        await caller.say(hello(by=OTHER))
        assert isinstance(await caller.hear(), Refused)
        assert isinstance(await caller.hear(), Goodbye)
        await trio.testing.wait_all_tasks_blocked()
        assert caller.registry.hosts == ()


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x80", b"canary prompt", bytes(3000)])
async def test_garbage_ends_the_session_and_is_not_logged(
    autojump_clock: MockClock, raw: bytes
) -> None:
    async with session(seats(DIGEST)) as caller:
        await caller.pipe.write(to_frame(raw))
        while await caller.hear() is not None:
            pass
        await trio.testing.wait_all_tasks_blocked()
        assert '"reason": "malformed"' in caller.log.getvalue()
        assert "canary" not in caller.log.getvalue()


async def test_a_host_is_told_its_own_account_while_other_messages_go_on(
    autojump_clock: MockClock,
) -> None:
    accounts = ToyAccounts(ACCOUNT)
    async with session(seats(DIGEST), accounts) as caller:
        await caller.say(hello())
        welcome = await caller.hear()
        assert isinstance(welcome, Welcome)
        assert welcome.tells_accounts
        await caller.say(AccountAsked())
        await caller.say(Slots(digest=DIGEST, free=1))
        await trio.testing.wait_all_tasks_blocked()
        # Nobody waits for the answer but who asked.
        assert caller.registry.candidates(DIGEST, 100)[0].free_slots == 1
        await caller.say(AccountAsked())
        assert await caller.hear() == AccountNotTold(reason="too_often")
        accounts.ready.set()
        assert await caller.hear() == ACCOUNT
        assert accounts.asked == [(HOST.peer_id, "default")]
        assert "account_not_told" not in caller.log.getvalue()


async def test_an_appeal_is_taken_down_for_the_host_of_the_session_and_not_too_often(
    autojump_clock: MockClock,
) -> None:
    accounts = ToyAccounts(ACCOUNT)
    accounts.ready.set()
    async with session(seats(DIGEST), accounts) as caller:
        await caller.say(AppealMade(strike=7))
        assert isinstance(await caller.hear(), Goodbye)
    async with session(seats(DIGEST), accounts) as caller:
        await caller.say(hello())
        welcome = await caller.hear()
        assert isinstance(welcome, Welcome)
        assert welcome.takes_appeals
        await caller.say(AppealMade(strike=7))
        assert await caller.hear() == ACCOUNT
        await caller.say(AppealMade(strike=8))
        assert await caller.hear() == AccountNotTold(reason="too_often")
    assert accounts.appeals == [(HOST.peer_id, 7)]
    assert '"strike": 7' in caller.log.getvalue()


async def test_an_account_that_cannot_be_told_is_refused_and_logged(
    autojump_clock: MockClock,
) -> None:
    accounts = ToyAccounts()
    accounts.ready.set()
    async with session(seats(DIGEST), accounts) as caller:
        await caller.say(hello())
        await caller.hear()
        await caller.say(AccountAsked())
        assert await caller.hear() == AccountNotTold(reason="unavailable")
        assert '"account_not_told"' in caller.log.getvalue()


async def test_nobody_is_told_an_account_before_hello(autojump_clock: MockClock) -> None:
    accounts = ToyAccounts(ACCOUNT)
    async with session(seats(DIGEST), accounts) as caller:
        await caller.say(AccountAsked())
        goodbye = await caller.hear()
        assert isinstance(goodbye, Goodbye)
        assert goodbye.reason == "a message before hello"
    assert accounts.asked == []


async def test_a_session_that_ends_leaves_its_question(autojump_clock: MockClock) -> None:
    accounts = ToyAccounts(ACCOUNT)
    async with session(seats(DIGEST), accounts) as caller:
        await caller.say(hello())
        await caller.hear()
        await caller.say(AccountAsked())
        await trio.testing.wait_all_tasks_blocked()
        await caller.say(Goodbye(reason="enough"))
        await trio.testing.wait_all_tasks_blocked()
        assert accounts.asked
        assert caller.registry.hosts == ()
