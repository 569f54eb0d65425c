"""The host's daemon: keeps a session with its coordinator and works on what comes over it."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import trio

from peerllm.crypto.certificate import SealingKey, certify
from peerllm.crypto.identity import Identity
from peerllm.crypto.receipt import Receipt
from peerllm.overlay.account_messages import Account
from peerllm.overlay.backoff import full_jitter
from peerllm.overlay.errors import AddressError, DialError
from peerllm.overlay.framing import ByteStream
from peerllm.overlay.messages import (
    PROTOCOL_VERSION,
    Dispatch,
    FailureReason,
    Hello,
    HostMessage,
    Introduce,
    ModelHolders,
    ModelNotFound,
    ModelOffer,
    ModelSharing,
    SeatPause,
)
from peerllm.peer.conversation import Conversation
from peerllm.peer.events import HostEvent
from peerllm.peer.generation import Engine
from peerllm.peer.replay import ReplayGuard
from peerllm.peer.served_models import Lease, ServedModels
from peerllm.peer.work import Workplace, WorkReport
from peerllm.privacy.event_log import EventLog

SOFTWARE: Final = f"peerllm/{version('peerllm')}"
# Long enough to cost nothing, short enough that a stolen sealing key soon opens nothing.
CERTIFICATE_LIFE_US: Final = 24 * 3600 * 1_000_000
# Half of it, so that a certificate in force is never close to its end.
_RENEWAL_SECONDS: Final = CERTIFICATE_LIFE_US / 2_000_000
# A session this long was a good one: the next attempt starts over without a long pause.
_SETTLED_SECONDS: Final = 60.0
# For the last messages to leave.
_FAREWELL_SECONDS: Final = 2.0


@dataclass(frozen=True)
class DaemonParts:
    """What a daemon is made of; everything that differs between a test and a host."""

    identity: Identity
    coordinator: str
    models: ServedModels
    dial: Callable[[], Awaitable[ByteStream]]
    log: EventLog[HostEvent]
    now_us: Callable[[], int]
    randomness: Callable[[], float]
    # Whether a limit of the owner forbids new work at the moment.
    holding: Callable[[], bool] = lambda: False
    # A receipt, and as it was signed.
    on_receipt: Callable[[Receipt, bytes], None] = lambda _receipt, _signed: None
    # What other hosts may fetch from here, and what the coordinator says about such fetches.
    sharing: Callable[[], ModelSharing | None] = lambda: None
    on_introduction: Callable[[ModelHolders | ModelNotFound | Introduce], None] = lambda _: None
    # The coordinator has told this host's account, see `HostDaemon.account`.
    on_account: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class ToldAccount:
    """What the coordinator has said of this host's account, and when by this host's clock."""

    told_at_us: int
    account: Account


class HostDaemon:
    """Serves one coordinator with the models of this host until told to stop."""

    def __init__(self, parts: DaemonParts) -> None:
        self._parts = parts
        # Across sessions: a dispatch replayed after a reconnection is still a replay.
        self._replays = ReplayGuard()
        self._keys = [SealingKey.generate()]
        self._conversation: Conversation | None = None
        self._draining = False
        self._seated = trio.Event()
        self._stopped = trio.Event()
        # Set unless the computer is about to sleep, or sleeps.
        self._awake = trio.Event()
        self._awake.set()
        # Chunks by outcome, tokens and receipts since the start.
        self.tally: Counter[str] = Counter()
        # Kept in memory only, the latest one; None until one was told.
        self.account: ToldAccount | None = None

    @property
    def coordinator(self) -> str:
        """Who the host works for."""
        return self._parts.coordinator

    @property
    def log(self) -> EventLog[HostEvent]:
        """Where events go."""
        return self._parts.log

    async def run(self) -> None:
        """Keep a session with the coordinator, reconnecting, until `drain` has stopped it.

        While there is no model to serve it waits for one.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._renew_certificates)
            nursery.start_soon(self._keep_connected)
            await self._stopped.wait()
            nursery.cancel_scope.cancel()

    async def drain(self, seconds: float) -> None:
        """Take no new work, let running answers end within `seconds`, then stop."""
        self._draining = True
        if self._conversation is not None:
            self._parts.log.event("draining", running=self._conversation.running)
        await self._leave(seconds, "stopping")
        self._stopped.set()

    async def rest(self, seconds: float) -> None:
        """Take no new work, let running answers end within `seconds`, and stay away until `wake`.

        Cancelled, it leaves at once.
        """
        self._awake = trio.Event()
        self._parts.log.event("going_to_sleep", running=self.running)
        await self._leave(seconds, "going to sleep")

    def wake(self) -> None:
        """Come back after a rest."""
        if not self._awake.is_set():
            self._parts.log.event("awake")
            self._awake.set()

    async def _leave(self, seconds: float, reason: str) -> None:
        conversation = self._conversation
        if conversation is None:
            return
        conversation.announce()
        try:
            with trio.move_on_after(seconds):
                await conversation.idle()
        finally:
            conversation.close(reason)
        with trio.move_on_after(_FAREWELL_SECONDS):
            await conversation.over.wait()

    @property
    def is_connected(self) -> bool:
        """Whether the coordinator has welcomed this host in a session that still stands."""
        return self._conversation is not None and self._conversation.is_welcome

    @property
    def seat_pause(self) -> SeatPause | None:
        """Why the network gives this host no work for a while, as far as it has said so."""
        return self._conversation.pause if self._conversation else None

    @property
    def running(self) -> int:
        """How many chunks are being worked on."""
        return self._conversation.running if self._conversation else 0

    @property
    def is_draining(self) -> bool:
        """Whether the daemon has been asked to stop."""
        return self._draining

    @property
    def is_resting(self) -> bool:
        """Whether it stays away because the computer sleeps, or is about to."""
        return not self._awake.is_set()

    def stop(self) -> None:
        """Stop now, whatever is running."""
        self._stopped.set()

    def seat_given(self) -> None:
        """Connect without waiting: the coordinator has said that there is a seat."""
        self._seated.set()

    def models_changed(self) -> None:
        """Tell the coordinator what is offered and granted now; what runs goes on."""
        if self._conversation is not None:
            self._conversation.announce()

    def sharing_changed(self) -> None:
        """Tell the coordinator what others may fetch from here now."""
        if self._conversation is not None:
            self._conversation.greet()
            self._conversation.announce()

    def find_model(self, wanted: str) -> bool:
        """Ask the coordinator who holds a model's file; False when there is none to ask."""
        return (
            self.is_connected
            and self._conversation is not None
            and self._conversation.find_model(wanted)
        )

    def appeal(self, strike: int) -> bool:
        """Appeal against a strike; False when there is no coordinator to take it."""
        return (
            self.is_connected
            and self._conversation is not None
            and self._conversation.appeal(strike)
        )

    def offers(self) -> list[ModelOffer]:
        """What coordinators are told of."""
        return self._parts.models.offers()

    def free_slots(self, digest: bytes) -> int:
        """How many more chunks of a model would be taken now."""
        if self._draining or self.is_resting or self._parts.holding():
            return 0
        return self._parts.models.free_slots(digest)

    def admit(self, dispatch: Dispatch) -> Lease | FailureReason:
        """A slot for this dispatch, or why it is turned away."""
        parts = self._parts
        fault: FailureReason | None = None
        lease: Lease | None = None
        # Room first: a dispatch that is turned away for want of it may come again.
        if not parts.models.knows(dispatch.model_digest):
            fault = "unknown_model"
        elif self.free_slots(dispatch.model_digest) > 0:
            fault = self._replays.admit(
                dispatch.dispatch_id,
                expires_at_us=dispatch.expires_at_us,
                now_us=parts.now_us(),
            )
            lease = None if fault else parts.models.take(dispatch.model_digest)
        if lease is not None:
            return lease
        fault = fault or "overloaded"
        self.tally["refused"] += 1
        parts.log.event("chunk_refused", reason=fault)
        return fault

    def workplace(
        self, engine: Engine, send: Callable[[HostMessage], Awaitable[None]]
    ) -> Workplace:
        """What a chunk is worked on with."""
        return Workplace(
            identity=self._parts.identity,
            coordinator=self.coordinator,
            engine=engine,
            sealing_keys=lambda: self._keys,
            now_us=self._parts.now_us,
            send=send,
            signed=self._count_receipt,
        )

    def count(self, report: WorkReport) -> None:
        """Take note of what came of a chunk."""
        self.tally[report.outcome] += 1
        self.tally["prompt_tokens"] += report.prompt_tokens
        self.tally["completion_tokens"] += report.completion_tokens
        self.log.event(
            "chunk_finished",
            outcome=report.outcome,
            reason=report.reason,
            prompt_tokens=report.prompt_tokens,
            completion_tokens=report.completion_tokens,
            first_token_us=report.first_token_us,
            duration_us=report.duration_us,
        )

    async def _keep_connected(self) -> None:
        attempt = 0
        while True:
            await self._parts.models.wait_offer()
            if self.is_resting:
                await self._awake.wait()
                attempt = 0
            began = trio.current_time()
            try:
                stream = await self._parts.dial()
            except (AddressError, DialError):
                self._parts.log.event("unreachable", attempt=attempt)
            else:
                await self._converse(stream)
            if trio.current_time() - began > _SETTLED_SECONDS:
                attempt = 0
            self._seated = trio.Event()
            with trio.move_on_after(full_jitter(attempt, self._parts.randomness)):
                await self._seated.wait()
                attempt = 0
            attempt += 1

    async def _converse(self, stream: ByteStream) -> None:
        async with trio.open_nursery() as nursery:
            conversation = Conversation(self, stream, nursery)
            self._conversation = conversation
            if self.is_resting:
                # Reached it just before the computer sleeps.
                conversation.close("going to sleep")
            nursery.start_soon(conversation.expect_welcome)
            nursery.start_soon(conversation.keep_asking_account)
            try:
                reason = await conversation.run()
            finally:
                self._conversation = None
                conversation.over.set()
            self._parts.log.event("disconnected", reason=reason)
            # Whatever was still running has nobody to answer to.
            nursery.cancel_scope.cancel()

    async def _renew_certificates(self) -> None:
        while True:
            await trio.sleep(_RENEWAL_SECONDS)
            # The key before stays for envelopes that are on their way.
            self._keys = [SealingKey.generate(), self._keys[0]]
            self._parts.log.event("certificate_renewed")
            if self._conversation is not None:
                self._conversation.greet()
                self._conversation.announce()

    def hello(self) -> Hello:
        """What to introduce this host with now."""
        now_us = self._parts.now_us()
        certificate = certify(
            self._parts.identity,
            self._keys[0].public_bytes,
            issued_at_us=now_us,
            expires_at_us=now_us + CERTIFICATE_LIFE_US,
        )
        return Hello(
            protocol_version=PROTOCOL_VERSION,
            software=SOFTWARE,
            sealing_certificate=certificate,
            models=self.offers(),
            sharing=self._parts.sharing(),
        )

    def on_introduction(self, message: ModelHolders | ModelNotFound | Introduce) -> None:
        """Pass on what the coordinator says about models' files."""
        self._parts.on_introduction(message)

    def on_account(self, account: Account) -> None:
        """Keep what the coordinator says about this host's account, until it says it anew."""
        self.account = ToldAccount(self._parts.now_us(), account)
        self._parts.on_account()

    def _count_receipt(self, receipt: Receipt, signed: bytes) -> None:
        self.tally["receipts"] += 1
        self._parts.on_receipt(receipt, signed)
