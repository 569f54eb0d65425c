"""Appeals against strikes by the charter's times: pure rules on dates.

An appeal that nobody decides in time has succeeded. What the charter in force said when the appeal
was taken down counts for it, so no later charter and no later decision takes that back.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal

from peerllm.charter.promises import StrikePolicy
from peerllm.charter.seat_rules import DAY_US
from peerllm.coordinator.accounts import Strike

# The word in the withdrawal of a strike whose appeal was not decided in time.
NOT_DECIDED: Final = "appeal_not_decided"

NoAppeal = Literal["withdrawn", "appealed", "early", "ahead", "late"]
NoDismissal = Literal["withdrawn", "no appeal", "dismissed", "same person", "clock"]


@dataclass(frozen=True, slots=True)
class AppealRefused:
    """Nothing was written: the strike stands as it did."""

    strike: Strike
    because: NoAppeal


@dataclass(frozen=True, slots=True)
class DismissalRefused:
    """Nothing was written: the appeal stands as it did."""

    strike: Strike
    because: NoDismissal


def appeal_until_us(strike: Strike, policy: StrikePolicy) -> int:
    """Until when its host may appeal against a strike."""
    return strike.recorded_at_us + policy.appeal_days * DAY_US


def is_due(strike: Strike, now_us: int) -> bool:
    """Whether an appeal has succeeded because its time is over and nobody decided."""
    return (
        strike.decide_by_us is not None
        and now_us >= strike.decide_by_us
        and strike.dismissed_at_us is None
        and strike.withdrawn_at_us is None
    )


def as_of(strike: Strike, now_us: int) -> Strike:
    """The strike as the charter has it now, whether or not that is written down already."""
    if not is_due(strike, now_us):
        return strike
    return replace(
        strike,
        withdrawn_at_us=strike.decide_by_us,
        withdrawal=NOT_DECIDED,
        withdrawal_written=False,
    )


def appealed(
    strike: Strike, policy: StrikePolicy, received_us: int, now_us: int
) -> Strike | AppealRefused:
    """The strike with an appeal that came in at `received_us` and is taken down now.

    The time to decide runs from when it came in. What is taken down when that is over already has
    succeeded at this moment, not in a past that may be published.
    """
    because: NoAppeal | None = None
    if strike.withdrawn_at_us is not None:
        because = "withdrawn"
    elif strike.appealed_at_us is not None:
        because = "appealed"
    elif received_us > now_us:
        because = "ahead"
    elif received_us < strike.recorded_at_us:
        because = "early"
    elif received_us >= appeal_until_us(strike, policy):
        because = "late"
    if because is not None:
        return AppealRefused(strike, because)
    decide_by_us = max(received_us + policy.decision_days * DAY_US, now_us)
    return as_of(replace(strike, appealed_at_us=received_us, decide_by_us=decide_by_us), now_us)


def dismissed(strike: Strike, by: str, now_us: int, latest_us: int) -> Strike | DismissalRefused:
    """The strike after its appeal was decided against; `latest_us` is the newest date in the books.

    A clock that stands before it has been set back, and could make a late decision a timely one.
    """
    because: NoDismissal | None = None
    if strike.withdrawn_at_us is not None:
        because = "withdrawn"
    elif strike.appealed_at_us is None:
        because = "no appeal"
    elif strike.dismissed_at_us is not None:
        because = "dismissed"
    elif strike.recorded_by == by:
        because = "same person"
    elif now_us < latest_us:
        because = "clock"
    if because is not None:
        return DismissalRefused(strike, because)
    return replace(strike, dismissed_at_us=now_us, dismissed_by=by)
