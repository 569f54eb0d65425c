"""Who decides, and how: amendments, the stewards' mix, and what makes a region federated."""

import fractions
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import msgspec

from peerllm.charter.promises import Days, NanoUsd, Statement
from peerllm.charter.spelling import BasisPoints

# What a proposal may change; "stewards" is their list, their keys and the online key.
AMENDABLE_KINDS: Final = (
    "charter-terms",
    "tariff",
    "model-catalogue",
    "safety-standard",
    "region",
    "stewards",
)

InterestName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9-]{0,31}\Z")]


class Fraction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the votes, in whole numbers: `numerator` of `denominator`."""

    numerator: Annotated[int, msgspec.Meta(ge=0, le=1_000)]
    denominator: Annotated[int, msgspec.Meta(ge=1, le=1_000)]

    def reached_by(self, part: int, whole: int) -> bool:
        """Tell whether `part` of `whole` is at least this fraction."""
        return part * self.denominator >= whole * self.numerator

    @property
    def exactly(self) -> fractions.Fraction:
        """The same part as a number, to compare it with others."""
        return fractions.Fraction(self.numerator, self.denominator)

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"


class AmendmentRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one kind of document is changed.

    Votes are cast for `notice_days` from the seconding on; nothing is ratified before they ended.
    `quorum`: which part of the stewards who need not recuse themselves must have voted.
    `supermajority`: which part of the votes for or against must be for it.
    """

    notice_days: Annotated[int, msgspec.Meta(ge=1, le=366)]
    quorum: Fraction
    supermajority: Fraction


class LeadershipClause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose interests the stewards stand for, so that no side decides alone.

    `interests` must each have a steward; no interest holds more than `largest_part` of the seats.
    `recusal` says when a steward does not vote.
    """

    interests: tuple[InterestName, ...]
    largest_part: Fraction
    term_days: Days = 730
    statement: Statement
    recusal: Statement


class FederationRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a local community becomes an active region, and an active one a federated region.

    Figures are computed from ledger and receipts. A host is active in a month in which it was paid
    for work on at least `active_days_per_month` days (UTC). A region that falls below
    `keep_basis_points` of a threshold for `fall_months` full months is given `fall_notice_days` of
    notice before it loses its standing.
    """

    active_days_per_month: Annotated[int, msgspec.Meta(ge=1, le=28)] = 10
    active_hosts: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 5
    active_months: Annotated[int, msgspec.Meta(ge=1, le=120)] = 1
    federated_revenue_nano_usd: NanoUsd = 50_000 * 10**9
    federated_hosts: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 50
    federated_months: Annotated[int, msgspec.Meta(ge=1, le=120)] = 3
    keep_basis_points: BasisPoints = 8_000
    fall_months: Annotated[int, msgspec.Meta(ge=1, le=120)] = 3
    fall_notice_days: Days = 90
    statement: Statement


def amendment_faults(rules: Mapping[str, AmendmentRule]) -> Iterator[str]:
    """Yield a sentence for each kind without a rule, and for rules that decide nothing."""
    for kind in AMENDABLE_KINDS:
        if kind not in rules:
            yield f"there is no amendment rule for {kind!r}"
    for kind, rule in rules.items():
        if kind not in AMENDABLE_KINDS:
            yield f"{kind!r} is nothing that can be amended; take one of {AMENDABLE_KINDS}"
        for name, part in (("quorum", rule.quorum), ("supermajority", rule.supermajority)):
            if part.numerator > part.denominator:
                yield f"the {name} of {kind!r} is {part}, more than all votes"
        # At one half a tie would pass.
        if 2 * rule.supermajority.numerator <= rule.supermajority.denominator:
            yield f"the supermajority of {kind!r} is {rule.supermajority}, it must exceed one half"


def leadership_faults(clause: LeadershipClause) -> Iterator[str]:
    """Yield a sentence when the clause names no interests or one twice."""
    if not clause.interests or len(set(clause.interests)) != len(clause.interests):
        yield f"the leadership clause must name each interest once, got {clause.interests}"
    if clause.largest_part.numerator > clause.largest_part.denominator:
        yield f"the largest part of one interest is {clause.largest_part}, more than all seats"
