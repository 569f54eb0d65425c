"""One dispatch in flight: what its host has sent so far, and what that comes to in the end."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import trio

from peerllm.coordinator.orders import HostRun
from peerllm.coordinator.race import Contestant, Failure
from peerllm.coordinator.registry import ChunkMessage, LiveHost
from peerllm.coordinator.selection import Candidate
from peerllm.crypto.envelope import EnvelopeBinding
from peerllm.crypto.receipt import Receipt, verify_receipt
from peerllm.crypto.reply import ReplyOpener
from peerllm.overlay.errors import SessionClosed, SessionViolation
from peerllm.overlay.messages import CoordinatorMessage, ReceiptMessage
from peerllm.safety.stop_sequences import StopCut

# What a host says of the request rather than of itself.
_REQUEST_FAULTS = ("bad_task", "context_exceeded")


@dataclass(frozen=True, kw_only=True)
class DispatchEvent:
    """A message of the host, with the time it came; None when its session ended."""

    dispatch: bytes
    at: float
    message: ChunkMessage | None


@dataclass(kw_only=True, eq=False)
class DispatchRun:
    """One dispatch at one host; the registry's `Route` to the race.

    `events` must have room for `message_bound` messages and one loss.
    """

    live: LiveHost
    candidate: Candidate
    binding: EnvelopeBinding
    nonce: bytes
    opener: ReplyOpener
    cut: StopCut
    events: trio.MemorySendChannel[DispatchEvent]
    message_bound: int
    started_at: float
    tokens: int = 0
    characters: int = 0
    messages: int = 0
    receipt: Receipt | None = None
    signed_receipt: bytes | None = None
    session_lost: bool = False
    refusal: str | None = None
    ended_at: float | None = None

    @property
    def owes_receipt(self) -> bool:
        """Whether a receipt can still be hoped for."""
        return self.receipt is None and not self.session_lost and self.refusal is None

    def deliver(self, message: ChunkMessage) -> None:
        """Pass a message on; raises `SessionViolation` beyond the bound."""
        self.messages += 1
        if self.messages > self.message_bound:
            raise SessionViolation("more messages about a chunk than it may have tokens")
        self._post(message)

    def lost(self) -> None:
        """The host's session ended."""
        if not self.session_lost:
            self.session_lost = True
            self._post(None)

    async def tell(self, message: CoordinatorMessage) -> bool:
        """Send to the host; False when its session is gone, which that session also reports."""
        try:
            await self.live.send(message)
        except SessionClosed:
            return False
        return True

    def keep_receipt(self, message: ReceiptMessage, coordinator: str, now_us: int) -> None:
        """Keep the receipt if the host signed it for exactly this dispatch."""
        verified = verify_receipt(
            message.receipt,
            host=self.candidate.host,
            coordinator=coordinator,
            dispatch_id=self.binding.dispatch_id,
            nonce=self.nonce,
            model_digest=self.binding.model_digest,
            now_us=now_us,
        )
        if isinstance(verified, Receipt):
            self.receipt, self.signed_receipt = verified, message.receipt

    def remember(self, contestant: Contestant, *, served: bool) -> None:
        """Let the outcome count in the host's record; `served` says whether anyone had an answer.

        Being full is no fault, and having said nothing no merit: it takes no work. What is said to
        be wrong with the request is a host's fault only where another could serve it: otherwise a
        customer's bad requests would suspend every honest host.
        """
        now, first_token = trio.current_time(), _first_token_seconds(contestant)
        if contestant.failure in (None, Failure.DIVERGED):
            if first_token is None:
                self.live.record.outrun(now - contestant.started_at)
            elif not contestant.said_nothing:
                self.live.record.succeeded(first_token)
        elif self.refusal != "overloaded" and (served or self.refusal not in _REQUEST_FAULTS):
            self.live.record.failed(now)

    def summary(
        self, contestant: Contestant, *, released: str, won: bool, count: Callable[[str], int]
    ) -> HostRun:
        """The run in numbers.

        Tokens are the canonical count of the text, and never more than tokens were sent: a host
        that spells words letter by letter sends more tokens and earns nothing by it.
        """
        own = contestant.text[contestant.base :]
        counted = min(self.tokens, count(own))
        ended = self.ended_at if self.ended_at is not None else trio.current_time()
        return HostRun(
            host=contestant.host,
            operator=self.candidate.operator,
            dedicated=self.candidate.dedicated,
            dispatch=contestant.dispatch,
            won=won,
            failure=contestant.failure.value if contestant.failure else None,
            counted_tokens=counted,
            released_tokens=min(counted, count(released)),
            receipt=self.receipt,
            signed_receipt=self.signed_receipt,
            started_at=contestant.started_at,
            first_token_seconds=_first_token_seconds(contestant),
            duration_seconds=ended - contestant.started_at,
        )

    def _post(self, message: ChunkMessage | None) -> None:
        event = DispatchEvent(
            dispatch=self.binding.dispatch_id, at=trio.current_time(), message=message
        )
        # The channel holds everything that the bound above lets through.
        self.events.send_nowait(event)


def all_refused_the_task(runs: Collection[DispatchRun]) -> bool:
    """Whether every host that answered called the task itself impossible.

    Hosts that were full, lost or too late have said nothing about the task.
    """
    refusals = {run.refusal for run in runs} - {None, "overloaded"}
    return refusals == {"bad_task"} and not any(run.tokens for run in runs)


def _first_token_seconds(contestant: Contestant) -> float | None:
    if contestant.first_token_at is None:
        return None
    return contestant.first_token_at - contestant.started_at
