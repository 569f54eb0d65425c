"""A request's statement: who raced, who won, what it cost and who was paid. Numbers only.

Kept in memory for the latest requests, so that a customer can ask what an answer was made of;
what must last (receipts, transfers) is in storage.
"""

from collections import OrderedDict
from dataclasses import dataclass

import msgspec

from peerllm.coordinator.orders import HostRun
from peerllm.coordinator.settlement import Settlement

# At about 2 kB each, two megabytes of memory; a customer asks right after the answer.
KEPT_STATEMENTS = 1_000


class HostLine(msgspec.Struct, frozen=True, kw_only=True):
    """One host's part in a chunk."""

    host: str
    operator: str
    dedicated: bool
    won: bool
    failure: str | None
    receipt: bool
    tokens: int
    released_tokens: int
    started_ms: int
    first_token_ms: int | None
    duration_ms: int
    tokens_per_second_milli: int | None
    dispatch_id: str


class ChunkLine(msgspec.Struct, frozen=True, kw_only=True):
    """One chunk's race."""

    index: int
    kind: str
    prompt_tokens: int
    hosts: list[HostLine]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What one request was made of and how its price was split, in nano-USD."""

    id: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    charge_nano_usd: int
    host_share_nano_usd: int
    margin_nano_usd: int
    unclaimed_nano_usd: int
    paid_nano_usd: dict[str, int]
    tier: str
    tariff_version: int
    quote_id: str | None
    fallback: bool
    chunks: list[ChunkLine]
    coordinator_ms: dict[str, int]


def host_line(run: HostRun, began_at: float) -> HostLine:
    """The numbers of one host's run; its start counts from the request's first dispatch."""
    first = run.first_token_seconds
    decoding = run.duration_seconds - first if first is not None else 0.0
    rate = (run.counted_tokens - 1) / decoding if decoding > 0 and run.counted_tokens > 1 else None
    return HostLine(
        host=run.host,
        operator=run.operator,
        dedicated=run.dedicated,
        won=run.won,
        failure=run.failure,
        receipt=run.receipt is not None,
        tokens=run.counted_tokens,
        released_tokens=run.released_tokens,
        started_ms=round((run.started_at - began_at) * 1000),
        first_token_ms=None if first is None else round(first * 1000),
        duration_ms=round(run.duration_seconds * 1000),
        tokens_per_second_milli=None if rate is None else round(rate * 1000),
        dispatch_id=run.dispatch.hex(),
    )


def paid_by_host(settlement: Settlement, hosts: set[str]) -> dict[str, int]:
    """What each host that worked was paid, zero included."""
    return {host: settlement.paid_to(host) for host in sorted(hosts)}


@dataclass(frozen=True)
class _Kept:
    account: str
    statement: Statement


class Statements:
    """The latest statements, found by request id and shown to their account alone."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def keep(self, account: str, statement: Statement) -> None:
        """Keep one more, forgetting the oldest beyond the bound."""
        self._kept[statement.id] = _Kept(account, statement)
        while len(self._kept) > KEPT_STATEMENTS:
            self._kept.popitem(last=False)

    def find(self, account: str, request_id: str) -> Statement | None:
        """The statement, or None when it is unknown, forgotten or somebody else's."""
        kept = self._kept.get(request_id)
        return kept.statement if kept is not None and kept.account == account else None
