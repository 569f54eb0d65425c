"""Who gets what of a charge: pure, exact, independent of the order in which hosts are listed.

The hosts' pool is split over the request's chunks by weight and, within a chunk, between those
whose tokens were released and the backups that ran beside them. Rounding is by largest
remainder (Hamilton's method), ties broken by name, so every split sums exactly.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from peerllm.coordinator.errors import LedgerError
from peerllm.coordinator.ledger import (
    BASIS_POINTS,
    LOWEST_HOST_SHARE_BASIS_POINTS,
    MARGIN_ACCOUNT,
    UNCLAIMED_ACCOUNT,
    Leg,
    check_amount,
    host_account,
)

TOKENS_PER_PRICE = 1_000_000

Role = Literal["leader", "backup"]


class TokenPrice(Protocol):
    """What the tariff asks for a model, in nano-USD per million tokens."""

    @property
    def input_nano_usd_per_million(self) -> int:
        """Price of a million prompt tokens."""

    @property
    def output_nano_usd_per_million(self) -> int:
        """Price of a million completion tokens."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How a charge is split: the tariff's shares and the charter's least host share."""

    host_share_basis_points: int
    backup_share_basis_points: int
    minimum_host_share_basis_points: int = LOWEST_HOST_SHARE_BASIS_POINTS

    def __post_init__(self) -> None:
        for name in ("host_share", "backup_share", "minimum_host_share"):
            value = getattr(self, f"{name}_basis_points")
            if not 0 <= value <= BASIS_POINTS:
                raise LedgerError(f"{name} of {value} basis points is not within 0..{BASIS_POINTS}")


@dataclass(frozen=True, slots=True)
class HostWork:
    """What one host did for one chunk.

    `claimed_tokens` is what its verified receipt says, None without one; `counted_tokens` what
    the coordinator itself counted of its stream; `delivered_tokens` how many were released.
    """

    host: str
    role: Role
    claimed_tokens: int | None
    counted_tokens: int
    delivered_tokens: int

    def __post_init__(self) -> None:
        if min(self.claimed_tokens or 0, self.counted_tokens, self.delivered_tokens) < 0:
            raise LedgerError(f"host {self.host} with a negative number of tokens")

    @property
    def payable_tokens(self) -> int:
        """What the receipt claims, as far as the coordinator counted it."""
        return min(self.claimed_tokens or 0, self.counted_tokens)

    @property
    def payable_released_tokens(self) -> int:
        """What was released of the payable tokens."""
        return min(self.delivered_tokens, self.payable_tokens)


@dataclass(frozen=True, slots=True)
class ChunkWork:
    """One chunk's weight within the request (its tokens, as a rule) and who worked on it."""

    weight: int
    deliveries: tuple[HostWork, ...]

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise LedgerError(f"a chunk of weight {self.weight}: weights are never negative")


@dataclass(frozen=True, slots=True)
class Settlement:
    """A charge and its payees, in nano-USD: the legs sum to the charge, each is above zero."""

    charge: int
    host_share: int
    margin: int
    legs: tuple[Leg, ...]

    @property
    def unclaimed(self) -> int:
        """The part of the hosts' pool that no valid receipt claims."""
        return sum(leg.amount for leg in self.legs if leg.account == UNCLAIMED_ACCOUNT)

    def paid_to(self, host: str) -> int:
        """What the host with this peer id gets."""
        account = host_account(host)
        return sum(leg.amount for leg in self.legs if leg.account == account)


@dataclass(frozen=True, slots=True)
class HostShareTooLow:
    """Refused: the tariff gives hosts less than the charter promises them."""

    host_share_basis_points: int
    minimum_host_share_basis_points: int


def charge_of(price: TokenPrice, *, prompt_tokens: int, completion_tokens: int) -> int:
    """What a request costs, in nano-USD, from tokens the coordinator counted itself.

    Rounded down once, over the whole request: nobody pays more than the published price, and more
    tokens or a higher price never cost less.
    """
    if prompt_tokens < 0 or completion_tokens < 0:
        raise LedgerError(f"{prompt_tokens} prompt and {completion_tokens} completion tokens")
    charge = (
        prompt_tokens * price.input_nano_usd_per_million
        + completion_tokens * price.output_nano_usd_per_million
    ) // TOKENS_PER_PRICE
    check_amount(charge, "a charge")
    return charge


def settle(
    charge: int, shares: Shares, chunks: Sequence[ChunkWork]
) -> Settlement | HostShareTooLow:
    """Split a charge over hosts, unclaimed pool and network margin.

    The pool is rounded up, so hosts never get less than their share. What no valid receipt
    claims stays in the pool, on an account of its own: it never becomes margin.
    """
    check_amount(charge, "a charge")
    minimum = max(shares.minimum_host_share_basis_points, LOWEST_HOST_SHARE_BASIS_POINTS)
    if shares.host_share_basis_points < minimum:
        return HostShareTooLow(shares.host_share_basis_points, minimum)
    pool = -(-charge * shares.host_share_basis_points // BASIS_POINTS)
    paid: Counter[str] = Counter()
    for chunk, part in _split_over_chunks(pool, chunks):
        for host, amount in _split_within_chunk(part, shares, chunk).items():
            paid[host_account(host)] += amount
    paid[UNCLAIMED_ACCOUNT] = pool - paid.total()
    paid[MARGIN_ACCOUNT] = charge - pool
    legs = tuple(Leg(account, paid[account]) for account in sorted(paid) if paid[account] > 0)
    return Settlement(charge=charge, host_share=pool, margin=charge - pool, legs=legs)


def split(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Split `total` in proportion to the weights by largest remainder; {} if all are zero.

    The parts sum to `total` exactly. Equal remainders are served in the order of the names.
    """
    whole = sum(weights.values())
    if whole == 0:
        return {}
    parts = {name: total * weight // whole for name, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda name: (-(total * weights[name] % whole), name))
    for name in by_remainder[: total - sum(parts.values())]:
        parts[name] += 1
    return parts


def _split_over_chunks(pool: int, chunks: Sequence[ChunkWork]) -> list[tuple[ChunkWork, int]]:
    # Named by their rank in a canonical order, so that a tie never hangs on the caller's order.
    ranked = sorted(chunks, key=_canonical)
    weights = {f"{rank:09d}": chunk.weight for rank, chunk in enumerate(ranked)}
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    parts = split(pool, weights)
    return [(chunk, parts[name]) for chunk, name in zip(ranked, weights, strict=True)]


def _canonical(chunk: ChunkWork) -> tuple[int, list[tuple[str, str, int, int, int]]]:
    return chunk.weight, sorted(
        (
            work.host,
            work.role,
            -1 if work.claimed_tokens is None else work.claimed_tokens,
            work.counted_tokens,
            work.delivered_tokens,
        )
        for work in chunk.deliveries
    )


def _split_within_chunk(part: int, shares: Shares, chunk: ChunkWork) -> dict[str, int]:
    """One chunk's part by host; what is missing from the sum is unclaimed."""
    released: Counter[str] = Counter()
    backed_up: Counter[str] = Counter()
    worked: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for work in chunk.deliveries:
        if work.claimed_tokens is None:
            continue
        released[work.host] += work.payable_released_tokens
        worked[work.host] += work.payable_tokens
        answered[work.host] = 1
        if work.role == "backup":
            backed_up[work.host] += work.payable_tokens
    for_backups = part * shares.backup_share_basis_points // BASIS_POINTS
    paid = Counter(split(for_backups, backed_up))
    # The rest falls to those who were released; had they no receipt, to those who worked beside
    # them. An honestly empty answer has no token to share by: its hosts share equally.
    nobody_worked = not any(work.counted_tokens for work in chunk.deliveries)
    for weights in (released, worked, answered if nobody_worked else {}):
        if any(weights.values()):
            paid.update(split(part - paid.total(), weights))
            break
    return dict(paid)
