"""When strikes suspend a host's seat, and when it comes back: the charter's terms as pure rules.

Only violations with evidence are strikes. Underperformance never is one: it pauses a seat at most.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from peerllm.charter.promises import StrikePolicy
from peerllm.charter.seat_rules import DAY_US
from peerllm.charter.strike_record import (
    StrikeOpening,
    StrikeRecord,
    Withdrawal,
    opening_of,
)
from peerllm.coordinator.accounts import Strike


@dataclass(frozen=True, slots=True)
class Suspension:
    """A host gets no work from `since_us` until enough of its strikes count no more."""

    since_us: int
    until_us: int
    weight: int


def weight_of(strike: Strike, policy: StrikePolicy, now_us: int) -> int:
    """What a strike weighs now; 0 when withdrawn, too old, or of a rule no longer in the terms."""
    if strike.withdrawn_at_us is not None or now_us >= _counts_until(strike, policy):
        return 0
    return policy.weights.get(strike.rule, 0)


def suspension(strikes: Iterable[Strike], policy: StrikePolicy, now_us: int) -> Suspension | None:
    """The suspension that one host's strikes make, None while they weigh too little."""
    weighed = [(one, weight_of(one, policy, now_us)) for one in strikes]
    counting = sorted(
        ((one, weight) for one, weight in weighed if weight),
        key=lambda pair: pair[0].recorded_at_us,
    )
    total = sum(weight for _, weight in counting)
    if total < policy.suspension_weight:
        return None
    reached = 0
    for one, weight in counting:
        reached += weight
        if reached >= policy.suspension_weight:
            since_us = one.recorded_at_us
            break
    left = total
    for one, weight in counting:
        left -= weight
        if left < policy.suspension_weight:
            until_us = _counts_until(one, policy)
            break
    return Suspension(since_us, until_us, total)


def opening(strike: Strike) -> StrikeOpening:
    """What a host is handed of a strike: its record as it was recorded, and the salt."""
    return opening_of(_record(strike, None), strike.salt)


def withdrawal_opening(strike: Strike) -> StrikeOpening | None:
    """The same of its withdrawal, None while the strike stands."""
    if strike.withdrawn_at_us is None or strike.withdrawal is None:
        return None
    withdrawn = Withdrawal(at_us=strike.withdrawn_at_us, reason=strike.withdrawal)
    return opening_of(_record(strike, withdrawn), strike.salt)


def _counts_until(strike: Strike, policy: StrikePolicy) -> int:
    return strike.recorded_at_us + policy.counted_days * DAY_US


def _record(strike: Strike, withdrawn: Withdrawal | None) -> StrikeRecord:
    return StrikeRecord(
        number=strike.number,
        host=strike.peer_id,
        region=strike.region,
        rule=strike.rule,
        at_us=strike.recorded_at_us,
        evidence_sha256=None if strike.evidence_sha256 is None else strike.evidence_sha256.hex(),
        dispatch=None if strike.dispatch_id is None else strike.dispatch_id.hex(),
        withdrawn=withdrawn,
    )
