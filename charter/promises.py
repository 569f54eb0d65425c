"""What the charter promises to hosts: tiers, the margin, escrow, payouts, strikes and seats."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

import msgspec

from peerllm.charter.spelling import BasisPoints

# A charter is read by people: long enough for a paragraph, too short for a book.
Statement = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
TierName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9-]{0,31}\Z")]
StrikeRule = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_]{0,63}\Z")]
NanoUsd = Annotated[int, msgspec.Meta(ge=0, le=10**18)]
Days = Annotated[int, msgspec.Meta(ge=0, le=3_650)]

# The tier every host begins in; a charter without it would promise newcomers nothing.
FIRST_TIER: Final = "community"


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A class of hosts and of the seats they hold.

    `commitment` is what a host of this tier owes, `treatment` what it gets for it. Prices and
    payouts by tier stand in the tariff.
    """

    commitment: Statement
    treatment: Statement


class MarginBase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which sum hosts get their share and the network its margin.

    "charge-after-tax": the charge without the taxes collected with it, before the payment
    processor's fee, which is shown as a line of its own and borne by the network's margin.
    """

    basis: Literal["charge-after-tax"] = "charge-after-tax"
    statement: Statement


class EscrowRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a newcomer's pay, which rests in escrow, is released.

    Each earning rests `hold_days`; a host is trusted, and its earnings rest no longer, after
    `trusted_after_days` since its first settled receipt and `trusted_after_receipts` of them.
    """

    hold_days: Days = 30
    trusted_after_days: Days = 90
    trusted_after_receipts: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 1_000
    statement: Statement


class PayoutRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which balance, in nano-USD, and how often hosts are paid; less is carried over."""

    minimum_nano_usd: NanoUsd = 20 * 10**9
    every_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 30


class StrikePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which violations are strikes, how heavy, how long they count, and how to appeal.

    A host whose strikes of the last `counted_days` weigh `suspension_weight` or more is suspended.
    An appeal is lodged within `appeal_days` and decided within `decision_days`, by people who did
    not record the strike; an appeal not decided in time has succeeded.
    """

    weights: Mapping[StrikeRule, Annotated[int, msgspec.Meta(ge=1, le=100)]]
    suspension_weight: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 3
    counted_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 180
    appeal_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 30
    decision_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 14
    statement: Statement


class SeatPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many seats a region offers for a model, and why a seat may be paused.

    Seats cover the demand times the redundancy (the charter's race size) at `target_utilisation`.
    More are offered when utilisation stays above `grow_above`, fewer when it stays below
    `shrink_below`, both for `steady_days`; in between nothing changes. All shares in basis points.
    `offer_days`: how long a seat offered to the first on the waiting list is kept for it.
    """

    target_utilisation_basis_points: Annotated[int, msgspec.Meta(ge=100, le=10_000)] = 6_000
    grow_above_basis_points: BasisPoints = 7_500
    shrink_below_basis_points: BasisPoints = 4_000
    steady_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 14
    minimum_seats_per_model: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 3
    offer_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 14
    statement: Statement


def seat_policy_faults(policy: SeatPolicy) -> Iterator[str]:
    """Yield a sentence when the bounds of utilisation are not in order."""
    bounds = (
        policy.shrink_below_basis_points,
        policy.target_utilisation_basis_points,
        policy.grow_above_basis_points,
    )
    if not bounds[0] < bounds[1] < bounds[2]:
        yield (
            "seats must shrink below a lower utilisation than their target and grow above a higher"
            f" one, got {bounds[0]}, {bounds[1]} and {bounds[2]} basis points"
        )


def tier_faults(tiers: Mapping[str, Tier]) -> Iterator[str]:
    """Yield a sentence when the tier of newcomers is missing."""
    if FIRST_TIER not in tiers:
        yield f"there must be a tier {FIRST_TIER!r}: every host begins in it"
