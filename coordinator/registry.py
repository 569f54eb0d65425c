"""The hosts that are connected now: what they offer, how they have done, and their messages' way.

In memory only; who may connect at all (seats) lives in storage. A host's messages about a chunk
are routed to the race that dispatched it, and only when they come from the host it was sent to.
"""

import ipaddress
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import trio

from peerllm.coordinator.accounts import Seat
from peerllm.coordinator.selection import Candidate
from peerllm.overlay.messages import (
    Accepted,
    CoordinatorMessage,
    Failed,
    ModelOffer,
    Piece,
    ReceiptMessage,
    Slots,
)

# How much a new observation moves an average: about the last ten chunks count.
_SMOOTHING = 0.2
# Until a host has been measured it is taken to be middling, so that it gets work to be measured by.
_UNMEASURED_FIRST_TOKEN_SECONDS = 1.0
# Three failures in a row open the breaker; it closes after a pause that doubles up to the bound.
_BREAKER_FAILURES = 3
_BREAKER_PAUSE_SECONDS = 5.0
_BREAKER_PAUSE_BOUND_SECONDS = 300.0

ChunkMessage = Accepted | Piece | Failed | ReceiptMessage


class Route(Protocol):
    """The race that waits for a dispatch's messages. Both calls return at once."""

    def deliver(self, message: ChunkMessage) -> None:
        """A message of the host; raises `SessionViolation` when it sent more than was asked."""

    def lost(self) -> None:
        """The host's session ended."""


@dataclass(kw_only=True)
class Record:
    """How a host has done lately; moving averages, no content."""

    first_token_seconds: float = _UNMEASURED_FIRST_TOKEN_SECONDS
    error_rate: float = 0.0
    failures_in_a_row: int = 0
    suspended_until: float = 0.0

    def succeeded(self, first_token_seconds: float) -> None:
        """The host delivered (or was cancelled while it was delivering)."""
        self.failures_in_a_row = 0
        self.error_rate *= 1 - _SMOOTHING
        difference = first_token_seconds - self.first_token_seconds
        self.first_token_seconds += _SMOOTHING * difference

    def outrun(self, seconds: float) -> None:
        """The host was cancelled before its first token: it is at least that slow, or silent."""
        slower = max(0.0, seconds - self.first_token_seconds)
        self.first_token_seconds += _SMOOTHING * slower

    def failed(self, now: float) -> None:
        """The host refused, stalled or sent garbage. No ban: a pause that grows, then a return."""
        self.failures_in_a_row += 1
        self.error_rate += _SMOOTHING * (1 - self.error_rate)
        excess = self.failures_in_a_row - _BREAKER_FAILURES
        if excess >= 0:
            pause = min(_BREAKER_PAUSE_SECONDS * 2**excess, _BREAKER_PAUSE_BOUND_SECONDS)
            self.suspended_until = now + pause


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Model files that a connected host shares, where, and how to tell it who may fetch them.

    `post` raises `SessionClosed` when the host has just left.
    """

    address: str
    digests: frozenset[bytes]
    post: Callable[[CoordinatorMessage], None]


@dataclass(kw_only=True, eq=False)
class LiveHost:
    """One connected host."""

    seat: Seat
    network: str | None
    sealing_key: bytes
    sealing_key_expires_at_us: int
    offers: dict[bytes, ModelOffer]
    send: Callable[[CoordinatorMessage], Awaitable[None]]
    record: Record
    holder: Holder | None = None
    credit: dict[bytes, int] = field(default_factory=dict)
    routes: dict[bytes, Route] = field(default_factory=dict)
    in_flight: dict[bytes, int] = field(default_factory=dict)

    def free_slots(self, digest: bytes) -> int:
        """Chunks the host may take now: its own last word, and never more than it offered."""
        offer = self.offers.get(digest)
        if offer is None or self.seat.pause is not None:
            return 0
        room = offer.slots - self.in_flight.get(digest, 0)
        return max(0, min(self.credit.get(digest, offer.slots), room))


class Registry:
    """All connected hosts of this coordinator.

    `changes` counts whatever may have made a host eligible: joining, leaving, a slot more.
    """

    def __init__(self, clock: Callable[[], float], now_us: Callable[[], int]) -> None:
        self._clock = clock
        self._now_us = now_us
        self._hosts: dict[str, LiveHost] = {}
        self._records: dict[str, Record] = {}
        self._changed = trio.Event()
        self.changes = 0

    @property
    def hosts(self) -> tuple[LiveHost, ...]:
        """Everyone connected."""
        return tuple(self._hosts.values())

    def record_of(self, host: str) -> Record:
        """A host's record, which outlives its sessions."""
        return self._records.setdefault(host, Record())

    def join(self, live: LiveHost) -> None:
        """A host is connected; an older session of the same host gives way to it."""
        previous = self._hosts.get(live.seat.peer_id)
        self._hosts[live.seat.peer_id] = live
        if previous is not None:
            self._abandon(previous)
        self._notify()

    def renew(self, live: LiveHost, fresh: LiveHost) -> None:
        """A connected host said hello again: take over its new key, offers and seat."""
        live.seat, live.offers = fresh.seat, fresh.offers
        live.sealing_key = fresh.sealing_key
        live.sealing_key_expires_at_us = fresh.sealing_key_expires_at_us
        live.holder = fresh.holder
        live.credit.clear()
        self._notify()

    def leave(self, live: LiveHost) -> None:
        """A session ended; its races are told at once."""
        if self._hosts.get(live.seat.peer_id) is live:
            del self._hosts[live.seat.peer_id]
        self._abandon(live)
        self._notify()

    def reseat(self, seats: Mapping[str, Seat]) -> None:
        """Take over what has changed about the seats of connected hosts: a pause, for one."""
        changed = False
        for live in self._hosts.values():
            seat = seats.get(live.seat.peer_id, live.seat)
            changed |= seat != live.seat
            live.seat = seat
        if changed:
            self._notify()

    def largest_context(self, digest: bytes) -> int | None:
        """The most tokens any connected host takes in one chunk; None when nobody serves it."""
        return max(
            (
                live.offers[digest].context_tokens
                for live in self.hosts
                if digest in live.offers and live.seat.pause is None
            ),
            default=None,
        )

    def free_slots(self, digest: bytes) -> int:
        """Chunks of a model that all connected hosts together would take now."""
        return sum(live.free_slots(digest) for live in self.hosts)

    def free_hosts(self, digest: bytes) -> int:
        """Hosts that would begin a chunk of a model now; dedicated ones only where no others would.

        Slots of one host share its machine, so that they answer no more tokens a second.
        """
        free = [
            candidate.dedicated
            for candidate in self.candidates(digest, 0)
            if candidate.free_slots > 0 and not candidate.suspended
        ]
        return free.count(False) or len(free)

    def candidates(self, digest: bytes, tokens: int) -> list[Candidate]:
        """What selection needs to know of the hosts that can take `tokens` tokens of a model."""
        now, now_us = self._clock(), self._now_us()
        return [
            Candidate(
                host=live.seat.peer_id,
                operator=live.seat.operator,
                network=live.network,
                dedicated=live.seat.tier == "dedicated",
                free_slots=live.free_slots(digest),
                slots=live.offers[digest].slots,
                first_token_seconds=live.record.first_token_seconds,
                error_rate=live.record.error_rate,
                suspended=live.record.suspended_until > now,
            )
            for live in self._hosts.values()
            if digest in live.offers
            and digest in live.seat.digests
            and live.seat.pause is None
            and live.offers[digest].context_tokens >= tokens
            and live.sealing_key_expires_at_us > now_us
        ]

    def find(self, host: str) -> LiveHost | None:
        """The live session of a host."""
        return self._hosts.get(host)

    def open_route(self, live: LiveHost, dispatch: bytes, digest: bytes, route: Route) -> None:
        """Take one of the host's slots for a dispatch and route its messages to `route`."""
        live.routes[dispatch] = route
        live.in_flight[digest] = live.in_flight.get(digest, 0) + 1
        if digest in live.credit:
            live.credit[digest] = max(0, live.credit[digest] - 1)

    def close_route(self, live: LiveHost, dispatch: bytes, digest: bytes) -> None:
        """Give the slot back."""
        if live.routes.pop(dispatch, None) is not None:
            live.in_flight[digest] -= 1
            self._notify()

    def on_message(self, live: LiveHost, message: ChunkMessage | Slots) -> None:
        """A message of a connected host; those about chunks nobody waits for are dropped."""
        if isinstance(message, Slots):
            # Only what it offered: a host's memory here must not grow with what it says.
            if message.digest in live.offers:
                live.credit[message.digest] = message.free
                self._notify()
            return
        route = live.routes.get(message.dispatch_id)
        if route is not None:
            route.deliver(message)

    async def changed(self) -> None:
        """Wait until some host joined, left, has a slot more than before or ends its pause."""
        now = self._clock()
        pauses = [live.record.suspended_until - now for live in self.hosts]
        soonest = min((pause for pause in pauses if pause > 0), default=math.inf)
        with trio.move_on_after(soonest):
            await self._changed.wait()

    def _notify(self) -> None:
        self.changes += 1
        self._changed.set()
        self._changed = trio.Event()

    def _abandon(self, live: LiveHost) -> None:
        for route in list(live.routes.values()):
            route.lost()


def network_of(address: str | None) -> str | None:
    """The prefix by which two hosts count as one network: /24 in IPv4, /48 in IPv6 (RFC 6177).

    None for loopback and for what cannot be read: it says nothing about who is near whom.
    """
    if address is None:
        return None
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    # A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d, which would all be one network.
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if parsed.is_loopback:
        return None
    prefix = 24 if parsed.version == 4 else 48
    return str(ipaddress.ip_network((parsed, prefix), strict=False))


def offered_digests(seat: Seat, offers: Iterable[ModelOffer]) -> dict[bytes, ModelOffer]:
    """The offers that the seat covers, by digest."""
    return {offer.digest: offer for offer in offers if offer.digest in seat.digests}
