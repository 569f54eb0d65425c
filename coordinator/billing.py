"""What an answer costs, who is paid, and the reservation that holds the money until then."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import trio

from peerllm.coordinator import api_errors
from peerllm.coordinator.accounts import ApiKey, KeyExpired, KeyRevoked, SignedReceipt
from peerllm.coordinator.api_errors import ApiError
from peerllm.coordinator.errors import CoordinatorError, StorageError
from peerllm.coordinator.house import House
from peerllm.coordinator.ledger import BudgetExceeded, InsufficientFunds, Posted, Reserved
from peerllm.coordinator.orders import HostRun
from peerllm.coordinator.plan_work import ChunkResult, Work
from peerllm.coordinator.price_list import Offer
from peerllm.coordinator.settlement import (
    ChunkWork,
    HostWork,
    Settlement,
    TokenPrice,
    charge_of,
    settle,
)
from peerllm.coordinator.statement import ChunkLine, Statement, host_line, paid_by_host

# The ledger answers in milliseconds; a request that is being cancelled waits this long for it.
LEDGER_SECONDS = 10.0


@dataclass
class Hold:
    """A reservation while the request runs; `refusal` where there is none."""

    refusal: ApiError | None = None
    posted: bool = False


@asynccontextmanager
async def reserved(house: House, key: ApiKey, request_id: str, bound: int) -> AsyncIterator[Hold]:
    """Hold the price's upper bound; whatever was not posted by the end is released."""
    outcome = await house.storage.reserve(
        request_id, account=key.account, amount=bound, key_id=key.key_id
    )
    match outcome:
        case Reserved():
            hold = Hold()
        case InsufficientFunds(available=available, needed=needed):
            yield Hold(refusal=api_errors.insufficient_funds(needed, available))
            return
        case BudgetExceeded(remaining=remaining, needed=needed):
            yield Hold(refusal=api_errors.insufficient_funds(needed, remaining))
            return
        case KeyExpired() | KeyRevoked():
            yield Hold(refusal=api_errors.unauthorized("This API key is no longer valid."))
            return
        case _:
            raise CoordinatorError(f"request id {request_id} was used twice")
    try:
        yield hold
    finally:
        if not hold.posted:
            await _release(house, request_id)


async def _release(house: House, request_id: str) -> None:
    """Give the money back now or, where the ledger cannot, later: how the request ended stands."""
    with trio.move_on_after(LEDGER_SECONDS, shield=True), suppress(StorageError):
        await house.storage.void(request_id)
        return
    house.owed_voids.owe(request_id)


@dataclass(frozen=True, kw_only=True)
class Bill:
    """Who pays for what, on which offer, and never more than `bound`."""

    key: ApiKey
    request_id: str
    prompt: int
    bound: int
    offer: Offer


def settlement_of(work: Work, bill: Bill) -> Settlement:
    """The charge and its split: the customer's charge is the hosts' pool and the margin."""
    charge = charge_of(
        bill.offer.price, prompt_tokens=bill.prompt, completion_tokens=_completion_tokens(work)
    )
    chunks = [_chunk_work(result, bill.offer.price) for result in work.in_order()]
    settlement = settle(min(bill.bound, charge), bill.offer.shares, chunks)
    if not isinstance(settlement, Settlement):
        raise CoordinatorError(
            f"the tariff gives hosts {settlement.host_share_basis_points} basis points, "
            f"the charter promises {settlement.minimum_host_share_basis_points}"
        )
    return settlement


def receipts_of(work: Work) -> list[SignedReceipt]:
    """Every verified receipt of the request, byte for byte as signed."""
    return [
        SignedReceipt(host=run.host, dispatch_id=run.dispatch, raw=run.signed_receipt)
        for result in work.in_order()
        for run in result.served.runs
        if run.signed_receipt is not None
    ]


async def post(
    house: House, bill: Bill, settlement: Settlement, receipts: list[SignedReceipt]
) -> None:
    """One transaction, finished even when the customer has gone: the answer was delivered."""
    outcome = None
    with trio.move_on_after(LEDGER_SECONDS, shield=True):
        outcome = await house.storage.post(bill.request_id, settlement, receipts)
    if not isinstance(outcome, Posted):
        raise CoordinatorError(
            f"request {bill.request_id} was not settled: {type(outcome).__name__}"
        )


def statement_of(work: Work, bill: Bill, settlement: Settlement, laps: dict[str, int]) -> Statement:
    """The request in numbers, for its customer."""
    results = work.in_order()
    runs = [run for result in results for run in result.served.runs]
    began_at = min(run.started_at for run in runs)
    return Statement(
        id=bill.request_id,
        model=work.model.name,
        prompt_tokens=bill.prompt,
        completion_tokens=_completion_tokens(work),
        charge_nano_usd=settlement.charge,
        host_share_nano_usd=settlement.host_share,
        margin_nano_usd=settlement.margin,
        unclaimed_nano_usd=settlement.unclaimed,
        paid_nano_usd=paid_by_host(settlement, {run.host for run in runs}),
        tier=bill.offer.tier,
        tariff_version=bill.offer.tariff_version,
        quote_id=bill.offer.quote_id,
        fallback=any(run.dedicated for run in runs),
        chunks=[
            ChunkLine(
                index=result.chunk.index,
                kind=result.chunk.kind,
                prompt_tokens=result.prompt_tokens,
                hosts=[host_line(run, began_at) for run in result.served.runs],
            )
            for result in results
        ],
        coordinator_ms=laps,
    )


def _completion_tokens(work: Work) -> int:
    """Tokens of the answer as released to the customer, before identifiers were restored."""
    final = work.plan.chunks if work.plan.joined else (work.plan.final,)
    delivered = sum(
        min(
            chunk.max_tokens,
            sum(run.released_tokens for run in work.results[chunk.index].served.runs),
        )
        for chunk in final
    )
    return delivered if work.merged_tokens is None else min(work.merged_tokens, delivered)


def _chunk_work(result: ChunkResult, price: TokenPrice) -> ChunkWork:
    """A chunk weighs what its tokens would cost; its leader is whoever had text released."""
    runs = result.served.runs
    output = sum(run.released_tokens for run in runs)
    return ChunkWork(
        weight=charge_of(price, prompt_tokens=result.prompt_tokens, completion_tokens=output),
        deliveries=tuple(_host_work(run) for run in runs),
    )


def _host_work(run: HostRun) -> HostWork:
    return HostWork(
        host=run.host,
        role="leader" if run.won or run.released_tokens else "backup",
        claimed_tokens=run.receipt.completion_tokens if run.receipt else None,
        counted_tokens=run.counted_tokens,
        delivered_tokens=run.released_tokens,
    )
