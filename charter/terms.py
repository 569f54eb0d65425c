"""The charter's terms: how the network works, whoever runs it."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import msgspec

from peerllm.charter.governance import (
    AmendmentRule,
    FederationRule,
    LeadershipClause,
    amendment_faults,
    leadership_faults,
)
from peerllm.charter.promises import (
    EscrowRule,
    MarginBase,
    PayoutRule,
    SeatPolicy,
    Statement,
    StrikePolicy,
    Tier,
    TierName,
    seat_policy_faults,
    tier_faults,
)
from peerllm.charter.spelling import (
    BASIS_POINTS,
    LEAST_HOST_SHARE_BASIS_POINTS,
    BasisPoints,
    Version,
    share_faults,
)

_NETWORK_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class SeatRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may stand beside whom, and how many seats one operator may hold for one model.

    Networks are compared by IPv4 /24 and IPv6 /48 prefix; the loopback range is one machine that
    its owner tests on and counts as no network.
    """

    distinct_operators_per_race: bool = True
    distinct_networks_per_race: bool = True
    maximum_seats_per_operator: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 64


class CharterTerms(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="charter-terms/1",
):  # fmt: skip
    """How the network works, whoever runs it.

    `exposure_basis_points` bounds the share of one request's chunks that one operator may see; it
    holds once at least `exposure_minimum_operators` operators can serve the request's model.
    `hedge`: the backup of a race starts late instead of at once. The statements are written for
    people; the numbers beside them are what the software obeys.
    """

    network: str
    version: Version = 1
    principles: Annotated[tuple[Statement, ...], msgspec.Meta(min_length=1, max_length=50)]
    no_guaranteed_earnings: Statement
    minimum_host_share_basis_points: BasisPoints = LEAST_HOST_SHARE_BASIS_POINTS
    race_size: Annotated[int, msgspec.Meta(ge=1, le=4)] = 2
    hedge: bool = False
    exposure_basis_points: Annotated[int, msgspec.Meta(ge=1, le=BASIS_POINTS)] = 5_000
    exposure_minimum_operators: Annotated[int, msgspec.Meta(ge=2, le=1_000)] = 4
    seat_rule: SeatRule = SeatRule()
    margin_base: MarginBase
    tiers: Annotated[Mapping[TierName, Tier], msgspec.Meta(max_length=20)]
    strikes: StrikePolicy
    seats: SeatPolicy
    escrow: EscrowRule
    payout: PayoutRule = PayoutRule()
    federation: FederationRule
    amendments: Mapping[str, AmendmentRule]
    leadership: LeadershipClause


def terms_faults(terms: CharterTerms) -> Iterator[str]:
    """Yield a sentence for each rule that the terms break."""
    if not _NETWORK_NAME.fullmatch(terms.network):
        yield (
            f"{terms.network[:80]!r} cannot name a network: take 1 to 63 small letters,"
            " digits and hyphens"
        )
    yield from share_faults(terms.minimum_host_share_basis_points)
    yield from tier_faults(terms.tiers)
    yield from seat_policy_faults(terms.seats)
    yield from amendment_faults(terms.amendments)
    yield from leadership_faults(terms.leadership)
    rule, days = terms.amendments.get("stewards"), terms.leadership.term_days
    if rule is not None and days <= rule.notice_days:
        yield (
            f"a steward's term of {days} days is over before a vote on stewards is, which takes"
            f" {rule.notice_days} days"
        )
