"""The host's daemon: keeps a session with its coordinator and works on what comes over it."""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import trio

from peerllm.crypto.certificate import SealingKey, certify
from peerllm.crypto.identity import Identity
from peerllm.crypto.receipt import Receipt
from peerllm.overlay.backoff import full_jitter
from peerllm.overlay.errors import AddressError, DialError, SessionClosed, SessionViolation
from peerllm.overlay.framing import ByteStream
from peerllm.overlay.messages import (
    PROTOCOL_VERSION,
    Cancel,
    CoordinatorMessage,
    Dispatch,
    Failed,
    FailureReason,
    Goodbye,
    Heartbeat,
    HeartbeatReply,
    Hello,
    HostMessage,
    ModelOffer,
    Refused,
    Slots,
    Welcome,
    coordinator_message,
)
from peerllm.overlay.session import Session
from peerllm.peer.events import HostEvent
from peerllm.peer.generation import Engine, EngineReady, EngineState, EngineUnavailable
from peerllm.peer.replay import ReplayGuard
from peerllm.peer.work import Workplace, perform
from peerllm.privacy.event_log import EventLog

SOFTWARE: Final = f"peerllm/{version('peerllm')}"
# Long enough to cost nothing, short enough that a stolen sealing key soon opens nothing.
CERTIFICATE_LIFE_US: Final = 24 * 3600 * 1_000_000
# Half of it, so that a certificate in force is never close to its end.
_RENEWAL_SECONDS: Final = CERTIFICATE_LIFE_US / 2_000_000
# A coordinator answers a hello at once; one that does not is not serving.
_WELCOME_SECONDS: Final = 15.0
_HEARTBEAT_SECONDS: Final = 10.0
# A session this long was a good one: the next attempt starts over without a long pause.
_SETTLED_SECONDS: Final = 60.0
# For the last messages to leave.
_FAREWELL_SECONDS: Final = 2.0


@dataclass(frozen=True)
class DaemonParts:
    """What a daemon is made of; everything that differs between a test and a host."""

    identity: Identity
    coordinator: str
    engine: Engine
    dial: Callable[[], Awaitable[ByteStream]]
    log: EventLog[HostEvent]
    now_us: Callable[[], int]
    randomness: Callable[[], float]
    # Whether a limit of the owner forbids new work at the moment.
    holding: Callable[[], bool] = lambda: False
    on_receipt: Callable[[Receipt], None] = lambda _receipt: None


class HostDaemon:
    """Serves one coordinator with one engine until told to stop."""

    def __init__(self, parts: DaemonParts) -> None:
        self._parts = parts
        # Across sessions: a dispatch replayed after a reconnection is still a replay.
        self._replays = ReplayGuard()
        self._keys = [SealingKey.generate()]
        self._conversation: _Conversation | None = None
        self._draining = False
        self._stopped = trio.Event()
        # Chunks by outcome, tokens and receipts since the start.
        self.tally: Counter[str] = Counter()

    async def run(self) -> EngineUnavailable | None:
        """Keep a session with the coordinator, reconnecting, until `drain` has stopped it.

        Gives the reason when it ends because the model cannot be served.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._renew_certificates)
            nursery.start_soon(self._keep_connected)
            await self._stopped.wait()
            nursery.cancel_scope.cancel()
        state = self._parts.engine.state
        return state if isinstance(state, EngineUnavailable) else None

    async def drain(self, seconds: float) -> None:
        """Take no new work, let running answers end within `seconds`, then stop."""
        self._draining = True
        conversation = self._conversation
        if conversation is not None:
            self._parts.log.event("draining", running=conversation.running)
            conversation.announce_slots()
            with trio.move_on_after(seconds):
                await conversation.idle()
            conversation.close("stopping")
            with trio.move_on_after(_FAREWELL_SECONDS):
                await conversation.over.wait()
        self._stopped.set()

    @property
    def is_connected(self) -> bool:
        """Whether the coordinator has welcomed this host in a session that still stands."""
        return self._conversation is not None and self._conversation.is_welcome

    @property
    def running(self) -> int:
        """How many chunks are being worked on."""
        return self._conversation.running if self._conversation else 0

    def count_receipt(self, receipt: Receipt) -> None:
        """Take note of a receipt that was just signed."""
        self.tally["receipts"] += 1
        self._parts.on_receipt(receipt)

    @property
    def is_draining(self) -> bool:
        """Whether the daemon has been asked to stop."""
        return self._draining

    def stop(self) -> None:
        """Stop now, whatever is running."""
        self._stopped.set()

    def engine_changed(self, state: EngineState) -> None:
        """Tell the coordinator that the engine can be used now, or cannot."""
        if isinstance(state, EngineUnavailable):
            self._stopped.set()
        if self._conversation is None:
            return
        if isinstance(state, EngineReady):
            # Its speed or its slots may differ from what was offered.
            self._conversation.greet()
        self._conversation.announce_slots()

    def limits_changed(self) -> None:
        """Tell the coordinator what is granted now; what runs goes on."""
        if self._conversation is not None:
            self._conversation.announce_slots()

    @property
    def free_slots(self) -> int:
        """How many more dispatches would be taken now."""
        state = self._parts.engine.state
        if self._draining or self._parts.holding() or not isinstance(state, EngineReady):
            return 0
        return max(0, state.slots - self.running)

    async def _keep_connected(self) -> None:
        attempt = 0
        while True:
            if isinstance(await self._parts.engine.wait_ready(), EngineUnavailable):
                self._stopped.set()
                return
            began = trio.current_time()
            try:
                stream = await self._parts.dial()
            except (AddressError, DialError):
                self._parts.log.event("unreachable", attempt=attempt)
            else:
                await self._converse(stream)
            if trio.current_time() - began > _SETTLED_SECONDS:
                attempt = 0
            await trio.sleep(full_jitter(attempt, self._parts.randomness))
            attempt += 1

    async def _converse(self, stream: ByteStream) -> None:
        async with trio.open_nursery() as nursery:
            conversation = _Conversation(self, self._parts, stream, self._replays, nursery)
            self._conversation = conversation
            nursery.start_soon(conversation.expect_welcome)
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
                self._conversation.announce_slots()

    def sealing_keys(self) -> list[SealingKey]:
        """The key of the certificate in force, then the one before it."""
        return self._keys

    def hello(self) -> Hello | None:
        """What to introduce this host with now; nothing while there is no engine."""
        parts, state = self._parts, self._parts.engine.state
        if not isinstance(state, EngineReady):
            return None
        now_us = parts.now_us()
        offer = ModelOffer(
            digest=parts.engine.digest,
            name=parts.engine.name,
            context_tokens=state.context_tokens,
            slots=state.slots,
            tokens_per_second_milli=state.tokens_per_second_milli,
        )
        certificate = certify(
            parts.identity,
            self._keys[0].public_bytes,
            issued_at_us=now_us,
            expires_at_us=now_us + CERTIFICATE_LIFE_US,
        )
        return Hello(
            protocol_version=PROTOCOL_VERSION,
            software=SOFTWARE,
            sealing_certificate=certificate,
            models=[offer],
        )


class _Conversation:
    """One session, from hello to its end, and the dispatches that run in it."""

    def __init__(
        self,
        daemon: HostDaemon,
        parts: DaemonParts,
        stream: ByteStream,
        replays: ReplayGuard,
        nursery: trio.Nursery,
    ) -> None:
        self._daemon = daemon
        self._parts = parts
        self._replays = replays
        self._nursery = nursery
        self._session = Session(
            stream, coordinator_message, self._on_message, heartbeat_seconds=_HEARTBEAT_SECONDS
        )
        self._place = Workplace(
            identity=parts.identity,
            coordinator=parts.coordinator,
            engine=parts.engine,
            sealing_keys=daemon.sealing_keys,
            now_us=parts.now_us,
            send=self._session.send,
            signed=daemon.count_receipt,
        )
        self._running: dict[bytes, trio.CancelScope] = {}
        self._idle = trio.Event()
        self._welcomed = trio.Event()
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
        hello = self._daemon.hello()
        if hello is not None:
            self._post(hello)

    def announce_slots(self) -> None:
        """Say how many more dispatches would be taken now."""
        if self._welcomed.is_set():
            self._post(Slots(digest=self._parts.engine.digest, free=self._daemon.free_slots))

    def _post(self, message: HostMessage) -> None:
        # What is worth saying in a session only: its end is told by `run`.
        with suppress(SessionClosed):
            self._session.post(message)

    async def expect_welcome(self) -> None:
        """Close the session when the coordinator does not answer the hello."""
        with trio.move_on_after(_WELCOME_SECONDS):
            await self._welcomed.wait()
            return
        self._session.close("no welcome in time")

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
            case Refused():
                self._parts.log.event("refused_by_coordinator", reason=_word(message.reason))
                self._session.close("refused")
            case Heartbeat() | HeartbeatReply() | Goodbye():
                return

    def _on_welcome(self, welcome: Welcome) -> None:
        if welcome.coordinator != self._parts.coordinator:
            raise SessionViolation("welcome in another coordinator's name")
        if not self._welcomed.is_set():
            self._welcomed.set()
            self._parts.log.event("connected", coordinator=welcome.coordinator)
        self.announce_slots()

    def _on_dispatch(self, dispatch: Dispatch) -> None:
        if not self._welcomed.is_set():
            raise SessionViolation("a dispatch before welcome")
        # Room first: a dispatch that is turned away for want of it may come again.
        fault: FailureReason | None = "overloaded"
        if self._daemon.free_slots > 0:
            fault = self._replays.admit(
                dispatch.dispatch_id,
                expires_at_us=dispatch.expires_at_us,
                now_us=self._parts.now_us(),
            )
        if fault is not None:
            self._post(Failed(dispatch_id=dispatch.dispatch_id, reason=fault))
            self._daemon.tally["refused"] += 1
            self._parts.log.event("chunk_refused", reason=fault)
            return
        scope = trio.CancelScope()
        self._running[dispatch.dispatch_id] = scope
        self._parts.log.event(
            "chunk_accepted", envelope_bytes=len(dispatch.envelope), running=self.running
        )
        self.announce_slots()
        self._nursery.start_soon(self._work, dispatch, scope)

    async def _work(self, dispatch: Dispatch, scope: trio.CancelScope) -> None:
        try:
            report = await perform(dispatch, self._place, scope)
        except SessionClosed:
            # The session's own end says why; nobody is left to hear of this chunk.
            return
        finally:
            del self._running[dispatch.dispatch_id]
            self._idle.set()
            self._idle = trio.Event()
        self._daemon.tally[report.outcome] += 1
        self._daemon.tally["prompt_tokens"] += report.prompt_tokens
        self._daemon.tally["completion_tokens"] += report.completion_tokens
        self._parts.log.event(
            "chunk_finished",
            outcome=report.outcome,
            reason=report.reason,
            prompt_tokens=report.prompt_tokens,
            completion_tokens=report.completion_tokens,
            first_token_us=report.first_token_us,
            duration_us=report.duration_us,
        )
        self.announce_slots()


def _word(reason: str) -> str:
    """A coordinator's reason as one word; what it may say is not up to this host."""
    return "_".join(reason.split())
