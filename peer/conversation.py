"""One session with a coordinator, from hello to its end, and the chunks that run in it."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import trio

from peerllm.overlay.account_messages import Account, AccountAsked, AccountNotTold, AppealMade
from peerllm.overlay.errors import SessionClosed, SessionViolation
from peerllm.overlay.framing import ByteStream
from peerllm.overlay.messages import (
    Cancel,
    CoordinatorMessage,
    Dispatch,
    Failed,
    FailureReason,
    FindModel,
    Goodbye,
    Heartbeat,
    HeartbeatReply,
    Hello,
    HostMessage,
    Introduce,
    ModelHolders,
    ModelNotFound,
    ModelOffer,
    Refused,
    SeatPause,
    Slots,
    Welcome,
    coordinator_message,
)
from peerllm.overlay.session import Session
from peerllm.peer.events import HostEvent
from peerllm.peer.generation import Engine
from peerllm.peer.served_models import Lease
from peerllm.peer.work import Workplace, WorkReport, perform
from peerllm.privacy.event_log import EventLog

# A coordinator answers a hello at once; one that does not is not serving.
_WELCOME_SECONDS: Final = 15.0
_HEARTBEAT_SECONDS: Final = 10.0
# Earnings change by the request; an owner who wants to know more looks at the statement.
_ACCOUNT_SECONDS: Final = 600.0
# A coordinator answers once a minute: longer than that after it would not.
_ACCOUNT_AGAIN_SECONDS: Final = 90.0


class Introduced(Protocol):
    """The host that holds the conversation."""

    @property
    def coordinator(self) -> str:
        """Who must be at the other end."""

    @property
    def log(self) -> EventLog[HostEvent]:
        """Where events go."""

    def hello(self) -> Hello:
        """What to introduce the host with now."""

    def offers(self) -> list[ModelOffer]:
        """The models of that hello."""

    def free_slots(self, digest: bytes) -> int:
        """How many more chunks of a model would be taken now."""

    def admit(self, dispatch: Dispatch) -> Lease | FailureReason:
        """A slot for this dispatch, or why it is turned away."""

    def workplace(
        self, engine: Engine, send: Callable[[HostMessage], Awaitable[None]]
    ) -> Workplace:
        """What a chunk is worked on with."""

    def count(self, report: WorkReport) -> None:
        """Take note of what came of a chunk."""

    def on_introduction(self, message: ModelHolders | ModelNotFound | Introduce) -> None:
        """What the coordinator says about models' files and those who hold or fetch them."""

    def on_account(self, account: Account) -> None:
        """What the coordinator says about this host's account."""


class Conversation:
    """One session, from hello to its end, and the dispatches that run in it."""

    def __init__(self, host: Introduced, stream: ByteStream, nursery: trio.Nursery) -> None:
        self._host = host
        self._nursery = nursery
        self._session = Session(
            stream, coordinator_message, self._on_message, heartbeat_seconds=_HEARTBEAT_SECONDS
        )
        # What the coordinator has been told in this session: offers, and free slots by digest.
        self._offered: list[ModelOffer] = []
        self._granted: dict[bytes, int] = {}
        self._running: dict[bytes, trio.CancelScope] = {}
        self._idle = trio.Event()
        self._welcomed = trio.Event()
        # Whether this coordinator knows the question; another release would hang up on it.
        self._introduces = False
        self._tells_accounts = False
        self._takes_appeals = False
        self._account_refused = trio.Event()
        # While the network gives this host no work: why, and what ends it.
        self.pause: SeatPause | None = None
        self.over = trio.Event()

    @property
    def running(self) -> int:
        """How many dispatches are being worked on."""
        return len(self._running)

    @property
    def is_welcome(self) -> bool:
        """Whether the coordinator has answered the hello."""
        return self._welcomed.is_set()

    async def run(self) -> str:
        """Introduce this host and carry the session to its end; gives the reason."""
        self.greet()
        return (await self._session.run()).reason

    def greet(self) -> None:
        """Say hello, at first or again: the newest one stands."""
        hello = self._host.hello()
        self._offered = hello.models
        # A hello makes the coordinator forget what it was granted before.
        self._granted.clear()
        self._post(hello)

    def announce(self, about: bytes | None = None) -> None:
        """Say what is offered and how many more chunks would be taken, where that changed.

        For the model that it is `about` in any case: the coordinator has counted a slot of it
        as taken.
        """
        if not self._welcomed.is_set():
            return
        offers = self._host.offers()
        if not offers:
            self._session.close("no model to serve")
            return
        if offers != self._offered:
            self.greet()
        for offer in offers:
            free = self._host.free_slots(offer.digest)
            if offer.digest == about or self._granted.get(offer.digest) != free:
                self._granted[offer.digest] = free
                self._post(Slots(digest=offer.digest, free=free))

    def _post(self, message: HostMessage) -> None:
        # What is worth saying in a session only: its end is told by `run`.
        with suppress(SessionClosed):
            self._session.post(message)

    def find_model(self, wanted: str) -> bool:
        """Ask who holds a model's file; False when this coordinator does not answer that."""
        if self._introduces:
            self._post(FindModel(wanted=wanted))
        return self._introduces

    def appeal(self, strike: int) -> bool:
        """Appeal against a strike; False when this coordinator takes no appeals."""
        if self._takes_appeals:
            self._post(AppealMade(strike=strike))
        return self._takes_appeals

    async def expect_welcome(self) -> None:
        """Close the session when the coordinator does not answer the hello."""
        with trio.move_on_after(_WELCOME_SECONDS):
            await self._welcomed.wait()
            return
        self._session.close("no welcome in time")

    async def keep_asking_account(self) -> None:
        """Ask for this host's account now and then, of a coordinator that knows the question."""
        await self._welcomed.wait()
        while self._tells_accounts:
            self._account_refused = trio.Event()
            self._post(AccountAsked())
            with trio.move_on_after(_ACCOUNT_SECONDS):
                await self._account_refused.wait()
                await trio.sleep(_ACCOUNT_AGAIN_SECONDS)

    async def idle(self) -> None:
        """Wait until nothing is being worked on, or the session is over."""
        while self._running and not self._session.is_closed:
            await self._idle.wait()

    def close(self, reason: str) -> None:
        """End the session in order."""
        self._session.close(reason)

    def _on_message(self, message: CoordinatorMessage) -> None:
        match message:
            case Welcome():
                self._on_welcome(message)
            case Dispatch():
                self._on_dispatch(message)
            case Cancel():
                if scope := self._running.get(message.dispatch_id):
                    scope.cancel()
            case ModelHolders() | ModelNotFound() | Introduce():
                if not self._welcomed.is_set():
                    raise SessionViolation("an introduction before welcome")
                self._host.on_introduction(message)
            case Account() | AccountNotTold():
                self._on_account(message)
            case Refused():
                self._host.log.event("refused_by_coordinator", reason=_word(message.reason))
                self._session.close("refused")
            case Heartbeat() | HeartbeatReply() | Goodbye():
                return

    def _on_welcome(self, welcome: Welcome) -> None:
        if welcome.coordinator != self._host.coordinator:
            raise SessionViolation("welcome in another coordinator's name")
        self._introduces = welcome.introduces
        self._tells_accounts = welcome.tells_accounts
        self._takes_appeals = welcome.takes_appeals
        self._on_pause(welcome.pause)
        if not self._welcomed.is_set():
            self._welcomed.set()
            self._host.log.event("connected", coordinator=welcome.coordinator)
        self.announce()

    def _on_account(self, answer: Account | AccountNotTold) -> None:
        if not self._welcomed.is_set():
            raise SessionViolation("an account before welcome")
        if isinstance(answer, Account):
            self._host.on_account(answer)
        else:
            self._account_refused.set()

    def _on_pause(self, pause: SeatPause | None) -> None:
        if pause != self.pause and pause is not None:
            self._host.log.event("seat_paused", reason=pause.reason, until_us=pause.until_us)
        elif pause != self.pause:
            self._host.log.event("seat_resumed")
        self.pause = pause

    def _on_dispatch(self, dispatch: Dispatch) -> None:
        if not self._welcomed.is_set():
            raise SessionViolation("a dispatch before welcome")
        # An id is forgotten when its envelope expires, and a chunk may run for longer.
        is_running = dispatch.dispatch_id in self._running
        lease = "refused_envelope" if is_running else self._host.admit(dispatch)
        if not isinstance(lease, Lease):
            self._post(Failed(dispatch_id=dispatch.dispatch_id, reason=lease))
            self.announce(dispatch.model_digest)
            return
        scope = trio.CancelScope()
        self._running[dispatch.dispatch_id] = scope
        self._host.log.event(
            "chunk_accepted", envelope_bytes=len(dispatch.envelope), running=self.running
        )
        self.announce(dispatch.model_digest)
        self._nursery.start_soon(self._work, dispatch, lease, scope)

    async def _work(self, dispatch: Dispatch, lease: Lease, scope: trio.CancelScope) -> None:
        place = self._host.workplace(lease.engine, self._session.send)
        try:
            report = await perform(dispatch, place, scope)
        except SessionClosed:
            # The session's own end says why; nobody is left to hear of this chunk.
            return
        finally:
            lease.release()
            del self._running[dispatch.dispatch_id]
            self._idle.set()
            self._idle = trio.Event()
        self._host.count(report)
        self.announce(dispatch.model_digest)


def _word(reason: str) -> str:
    """A coordinator's reason as one word; what it may say is not up to this host."""
    return "_".join(reason.split())
