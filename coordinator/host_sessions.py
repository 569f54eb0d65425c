"""Hosts' sessions: who is admitted, what a hello must prove, and where messages go afterwards."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import trio

from peerllm.charter.seat_rules import WAYS_BACK
from peerllm.coordinator.accounts import Seat
from peerllm.coordinator.events import CoordinatorEvent
from peerllm.coordinator.host_accounts import HostAccounts
from peerllm.coordinator.introductions import Introductions, holder_of
from peerllm.coordinator.metrics import Metrics
from peerllm.coordinator.registry import (
    LiveHost,
    Registry,
    network_of,
    offered_digests,
)
from peerllm.crypto.certificate import CertificateRefused, read_certificate
from peerllm.overlay.account_messages import Account, AccountAsked, AccountNotTold, AppealMade
from peerllm.overlay.errors import SessionClosed, SessionViolation
from peerllm.overlay.framing import ByteStream
from peerllm.overlay.messages import (
    MAXIMUM_HOST_FRAME_BYTES,
    Accepted,
    Failed,
    FindModel,
    Goodbye,
    Heartbeat,
    HeartbeatReply,
    Hello,
    HostMessage,
    ModelHolders,
    Piece,
    ReceiptMessage,
    Refused,
    SeatPause,
    Slots,
    Welcome,
    host_message,
)
from peerllm.overlay.session import Session
from peerllm.privacy.event_log import EventLog

HEARTBEAT_SECONDS = 10
# A host that connects and says nothing holds a connection for nothing.
HELLO_SECONDS = 10.0


class HostStream(ByteStream, Protocol):
    """A stream whose other end has been authenticated."""

    @property
    def peer_id(self) -> str:
        """Who is at the other end."""

    @property
    def remote_address(self) -> str | None:
        """The address they came from, if the transport tells."""


class HostSessions:
    """Serves the session protocol to the hosts that hold a seat."""

    def __init__(  # noqa: PLR0913 - what sessions work with, given by name
        self,
        registry: Registry,
        *,
        introductions: Introductions,
        accounts: HostAccounts,
        seats: Callable[[], Mapping[str, Seat]],
        coordinator: str,
        now_us: Callable[[], int],
        metrics: Metrics,
        log: EventLog[CoordinatorEvent],
    ) -> None:
        self._registry = registry
        self._introductions = introductions
        self._accounts = accounts
        self._seats = seats
        self._coordinator = coordinator
        self._now_us = now_us
        self._metrics = metrics
        self._log = log
        self._conversations: dict[str, _Conversation] = {}

    def admits(self, peer_id: str) -> bool:
        """Whether a peer may open any stream at all."""
        return peer_id in self._seats()

    def reseat(self) -> None:
        """Let connected hosts' seats be what they have become, and tell those that are paused."""
        seats = self._seats()
        for conversation in self._conversations.values():
            live, seat = conversation.live, seats.get(conversation.peer_id)
            if conversation.session and live and seat and seat.pause != live.seat.pause:
                with suppress(SessionClosed):
                    conversation.session.post(self._welcome(seat))
                self._log.event(
                    "seat_paused" if seat.pause else "seat_resumed", host=conversation.peer_id
                )
        self._registry.reseat(seats)

    def _welcome(self, seat: Seat) -> Welcome:
        pause = None
        if seat.pause is not None:
            pause = SeatPause(
                reason=seat.pause.reason,
                way_back=WAYS_BACK[seat.pause.reason],
                until_us=seat.pause.until_us,
            )
        return Welcome(
            coordinator=self._coordinator,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            introduces=True,
            tells_accounts=True,
            takes_appeals=True,
            pause=pause,
        )

    async def serve(self, stream: HostStream) -> None:
        """Carry one session to its end."""
        conversation = _Conversation(self, stream.peer_id, stream.remote_address)
        session = Session(
            stream,
            host_message,
            conversation.on_message,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            maximum_frame_bytes=MAXIMUM_HOST_FRAME_BYTES,
        )
        conversation.session = session
        try:
            async with trio.open_nursery() as nursery:
                conversation.nursery = nursery
                nursery.start_soon(conversation.expect_hello)
                end = await session.run()
                nursery.cancel_scope.cancel()
        finally:
            if conversation.live is not None:
                self._registry.leave(conversation.live)
                if self._conversations.get(stream.peer_id) is conversation:
                    del self._conversations[stream.peer_id]
                self._metrics.hosts.set(len(self._registry.hosts))
        self._log.event("host_gone", host=stream.peer_id, reason=end.reason)

    def welcome(self, conversation: "_Conversation", hello: Hello) -> None:
        """Check a hello and let the host join, or refuse it with a reason."""
        session = conversation.session
        if session is None:
            raise SessionViolation("hello before the session began")
        seat = self._seats().get(conversation.peer_id)
        certificate = read_certificate(
            hello.sealing_certificate, peer_id=conversation.peer_id, now_us=self._now_us()
        )
        if seat is None:
            refusal = "no seat"
        elif isinstance(certificate, CertificateRefused):
            refusal = f"sealing certificate refused: {certificate.reason}"
        elif not (offers := offered_digests(seat, hello.models)):
            refusal = "the seat covers none of the models offered"
        else:
            session.post(self._welcome(seat))
            previous = conversation.live
            live = LiveHost(
                seat=seat,
                network=network_of(conversation.remote_address),
                sealing_key=certificate.sealing_key,
                sealing_key_expires_at_us=certificate.expires_at_us,
                offers=offers,
                send=session.send,
                record=self._registry.record_of(conversation.peer_id),
                holder=holder_of(hello.sharing, conversation.remote_address, session.post),
            )
            if previous is None:
                self._registry.join(live)
                conversation.live = live
                self._conversations[conversation.peer_id] = conversation
            else:
                self._registry.renew(previous, live)
            self._metrics.hosts.set(len(self._registry.hosts))
            self._log.event("host_joined", host=conversation.peer_id, models=len(offers))
            return
        session.post(Refused(reason=refusal))
        session.close(refusal)
        self._log.event("host_refused", host=conversation.peer_id, reason=refusal.replace(" ", "_"))

    def find_model(self, conversation: "_Conversation", wanted: str) -> None:
        """Say who holds a model's file, and tell them who will come for it."""
        if conversation.session is not None:
            answer = self._introductions.answer(conversation.peer_id, wanted)
            conversation.session.post(answer)
            self._log.event(
                "model_sought",
                host=conversation.peer_id,
                found=len(answer.holders) if isinstance(answer, ModelHolders) else answer.reason,
            )

    def tell_account(self, conversation: "_Conversation", live: LiveHost) -> None:
        """Tell a host its own account, unless it has just asked."""
        session, nursery = conversation.session, conversation.nursery
        if session is None or nursery is None:
            raise SessionViolation("a question before the session began")
        peer_id = conversation.peer_id
        if self._accounts.may_ask(peer_id):
            answer = partial(self._accounts.answer, peer_id, live.seat.region)
            nursery.start_soon(self._answer_account, session, peer_id, answer)
        else:
            session.post(AccountNotTold(reason="too_often"))

    def take_appeal(self, conversation: "_Conversation", live: LiveHost, strike: int) -> None:
        """Take down a host's appeal against a strike, and tell it its account."""
        session, nursery = conversation.session, conversation.nursery
        if session is None or nursery is None:
            raise SessionViolation("an appeal before the session began")
        peer_id = conversation.peer_id
        if self._accounts.may_appeal(peer_id):
            self._log.event("appeal_made", host=peer_id, strike=strike)
            answer = partial(self._accounts.appeal, peer_id, strike, live.seat.region)
            nursery.start_soon(self._answer_account, session, peer_id, answer)
        else:
            session.post(AccountNotTold(reason="too_often"))

    async def _answer_account(
        self,
        session: Session[HostMessage],
        peer_id: str,
        ask: Callable[[], Awaitable[Account | AccountNotTold]],
    ) -> None:
        answer = await ask()
        with suppress(SessionClosed):
            session.post(answer)
        if isinstance(answer, AccountNotTold):
            self._log.event("account_not_told", host=peer_id, reason=answer.reason)

    def route(
        self, live: LiveHost, message: Accepted | Piece | Failed | ReceiptMessage | Slots
    ) -> None:
        """Pass a message on to the race that waits for it."""
        self._registry.on_message(live, message)


@dataclass(kw_only=False)
class _Conversation:
    """One session's state: nobody until a valid hello."""

    owner: HostSessions
    peer_id: str
    remote_address: str | None
    session: Session[HostMessage] | None = None
    # For what takes longer than a message may.
    nursery: trio.Nursery | None = None
    live: LiveHost | None = None
    greeted: trio.Event = field(default_factory=trio.Event)

    async def expect_hello(self) -> None:
        with trio.move_on_after(HELLO_SECONDS):
            await self.greeted.wait()
            return
        if self.session is not None:
            self.session.close("no hello in time")

    def on_message(self, message: HostMessage) -> None:
        match message:
            case Hello():
                self.greeted.set()
                self.owner.welcome(self, message)
            case Goodbye() | Heartbeat() | HeartbeatReply():
                return
            case _:
                if self.live is None:
                    raise SessionViolation("a message before hello")
                if isinstance(message, FindModel):
                    self.owner.find_model(self, message.wanted)
                elif isinstance(message, AccountAsked):
                    self.owner.tell_account(self, self.live)
                elif isinstance(message, AppealMade):
                    self.owner.take_appeal(self, self.live, message.strike)
                else:
                    self.owner.route(self.live, message)
