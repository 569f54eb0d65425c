"""Which host gets a chunk: the rules of eligibility and ranking, as a pure function.

Two hosts are sampled from the best group and the less loaded of them is taken ("power of two
choices", Mitzenmacher 2001): always taking the single best host would send every coordinator's
work to the same machine between two heartbeats.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What the registry knows of one live host, for one model.

    `network` is None where a prefix says nothing (loopback): such hosts are told apart by their
    operator alone.
    """

    host: str
    operator: str
    network: str | None
    dedicated: bool
    free_slots: int
    slots: int
    first_token_seconds: float
    error_rate: float
    suspended: bool = False


@dataclass(frozen=True, kw_only=True)
class RaceRule:
    """The charter's rule for who may race whom. A host never races itself, whatever it says."""

    distinct_operators: bool = True
    distinct_networks: bool = True


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """How many of a request's chunks each operator has been shown, against its share's bound."""

    shown: Mapping[str, int] = field(default_factory=dict)
    chunks: int = 1
    bound_basis_points: int = 10_000

    def exceeded_by(self, operator: str) -> bool:
        """Whether one more chunk would put the operator over its bound."""
        return (self.shown.get(operator, 0) + 1) * 10_000 > self.bound_basis_points * self.chunks


def choose(
    candidates: Sequence[Candidate],
    *,
    racing: Collection[Candidate],
    rule: RaceRule,
    exposure: Exposure,
    sample: random.Random,
    excluded: Collection[str] = (),
    dedicated: bool = False,
) -> Candidate | None:
    """Choose one more host for a race in which `racing` already run; None when nobody may.

    The exposure bound yields when no host within it is free: an answer from a more exposed
    operator is better than none, and identifiers are removed in either case.
    """
    eligible = [
        candidate
        for candidate in candidates
        if candidate.dedicated is dedicated
        and candidate.free_slots > 0
        and not candidate.suspended
        and candidate.host not in excluded
        and not _related(candidate, racing, rule)
    ]
    within = [c for c in eligible if not exposure.exceeded_by(c.operator)]
    return _sample(within or eligible, _badness(exposure), sample)


def _badness(exposure: Exposure) -> Callable[[Candidate], tuple[float, float, float, int]]:
    """Lower is better: load first, then errors, then speed, then what the operator has seen."""
    return lambda c: (
        round(1 - c.free_slots / c.slots, 1),
        round(c.error_rate, 1),
        round(c.first_token_seconds, 1),
        exposure.shown.get(c.operator, 0),
    )


def _sample(
    eligible: Sequence[Candidate],
    badness: Callable[[Candidate], tuple[float, float, float, int]],
    sample: random.Random,
) -> Candidate | None:
    if not eligible:
        return None
    ranked = sorted(eligible, key=lambda c: (badness(c), c.host))
    best = ranked[: max(2, len(ranked) // 2)]
    drawn = sample.sample(best, min(2, len(best)))
    return min(drawn, key=badness)


def _related(candidate: Candidate, racing: Collection[Candidate], rule: RaceRule) -> bool:
    return any(
        candidate.host == other.host
        or (rule.distinct_operators and candidate.operator == other.operator)
        or (
            rule.distinct_networks
            and candidate.network is not None
            and candidate.network == other.network
        )
        for other in racing
    )
