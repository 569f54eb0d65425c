"""When a region may rise, and when it falls: the charter's thresholds as pure rules.

Months are calendar months in UTC, and only full ones count. Whatever step a region takes, its
record names the months it rests on, so that anyone can hold the step against the charter's rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from peerllm.charter.governance import FederationRule
from peerllm.charter.region_record import (
    STEPS,
    MonthFigures,
    RegionDecision,
    RegionRecord,
    RegionStep,
    ReturnNotice,
    Standing,
    standing_of,
    status_of,
)
from peerllm.charter.spelling import BASIS_POINTS

_DAY_US: Final = 24 * 3600 * 1_000_000
# A month to be seconded in, and a fortnight to spare.
_LONGEST_DRAFT_DAYS: Final = 45
# Machines that keep time by themselves may be minutes apart.
_CLOCKS_APART_US: Final = 10 * 60 * 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# What figures can bring about from each standing; anything else is decided without them.
_NEXT: Final[dict[Standing, tuple[RegionStep, ...]]] = {
    "local": ("activate",),
    "active": ("federate",),
    "federated": ("give-notice",),
    "under-notice": ("withdraw-notice", "return"),
    "suspended": (),
}


@dataclass(frozen=True, slots=True)
class StepRefused:
    """Why a region may not take a step now."""

    reason: str


def last_full_months(now_us: int, count: int) -> tuple[str, ...]:
    """Return the names of the last full months, oldest first: ("2026-08", "2026-09")."""
    moment = _EPOCH + timedelta(microseconds=now_us)
    first = moment.year * 12 + moment.month - 1 - count
    return tuple(f"{month // 12}-{month % 12 + 1:02}" for month in range(first, first + count))


def month_bounds(month: str) -> tuple[int, int]:
    """Return when a month begins and when the next one does, in epoch microseconds."""
    year, number = (int(part) for part in month.split("-"))
    after = (year + 1, 1) if number == 12 else (year, number + 1)
    begins, ends = datetime(year, number, 1, tzinfo=UTC), datetime(*after, 1, tzinfo=UTC)
    return (begins - _EPOCH) // _MICROSECOND, (ends - _EPOCH) // _MICROSECOND


def usd(nano_usd: int) -> str:
    """Return an amount for people, cents rounded down: 1_234_567_890_123 is "USD 1,234.56"."""
    return f"USD {nano_usd // 10**9:,}.{nano_usd % 10**9 // 10**7:02}"


def months_needed(rule: FederationRule) -> int:
    """Return how many full months the rule ever looks back."""
    return max(rule.active_months, rule.federated_months, rule.fall_months)


def carries(figures: MonthFigures, rule: FederationRule) -> bool:
    """Tell whether a month reaches both thresholds of a federated region."""
    return (
        figures.revenue_nano_usd >= rule.federated_revenue_nano_usd
        and figures.active_hosts >= rule.federated_hosts
    )


def is_below(figures: MonthFigures, rule: FederationRule) -> bool:
    """Tell whether a month is below what a federated region must keep of either threshold."""
    keep = rule.keep_basis_points
    return (
        figures.revenue_nano_usd * BASIS_POINTS < rule.federated_revenue_nano_usd * keep
        or figures.active_hosts * BASIS_POINTS < rule.federated_hosts * keep
    )


def next_steps(record: RegionRecord) -> tuple[RegionStep, ...]:
    """Return the steps that figures can bring about from where a region stands."""
    return _NEXT[standing_of(record)]


def due_step(
    record: RegionRecord, figures: Sequence[MonthFigures], rule: FederationRule, now_us: int
) -> RegionStep | None:
    """Return the step that the figures of the last full months bring about, if any.

    A step up is one the region may take; the others are what the rule demands.
    """
    for step in next_steps(record):
        if not list(step_faults(record, step, figures, rule, now_us)):
            return step
    return None


def open_region(name: str, *, contact: str, reason: str, now_us: int) -> RegionRecord:
    """Return the first record of a local community."""
    return RegionRecord(
        name=name,
        status="local",
        since_us=now_us,
        contact=contact,
        decisions=(RegionDecision(step="open", decided_at_us=now_us, reason=reason),),
    )


def take_step(  # noqa: PLR0913 - what a decision consists of, given by name
    record: RegionRecord,
    step: RegionStep,
    *,
    figures: Sequence[MonthFigures],
    rule: FederationRule,
    now_us: int,
    reason: str,
    delegated_keys: tuple[str, ...] = (),
    delegated_threshold: int = 0,
) -> RegionRecord | StepRefused:
    """Return a region's next record after a step, to be put to the vote.

    `figures` are those of the last full months, oldest first; the record keeps the ones that the
    step rests on.
    """
    for fault in step_faults(record, step, figures, rule, now_us):
        return StepRefused(fault)
    after = STEPS[standing_of(record), step]
    notice = None
    if after == "under-notice":
        notice = ReturnNotice(
            given_at_us=now_us, earliest_return_us=now_us + rule.fall_notice_days * _DAY_US
        )
    count = _months_of(record, step, rule)
    decision = RegionDecision(
        step=step, decided_at_us=now_us, reason=reason, figures=tuple(figures[-count:])[:count]
    )
    federated = status_of(after) == "federated"
    return msgspec.structs.replace(
        record,
        version=record.version + 1,
        status=status_of(after),
        since_us=record.since_us if status_of(after) == record.status else now_us,
        notice=notice,
        delegated_keys=(delegated_keys or record.delegated_keys) if federated else (),
        delegated_threshold=(delegated_threshold or record.delegated_threshold) if federated else 0,
        decisions=(*record.decisions, decision),
    )


def region_change_faults(
    old: RegionRecord | None, new: RegionRecord, rule: FederationRule, published_at_us: int
) -> Iterator[str]:
    """Yield a sentence for each rule broken by putting one record in place of another.

    A new record adds at most one decision to the old one's, and its figures must support it.
    `published_at_us`: when the change was proposed or seconded.
    """
    past = () if old is None else old.decisions
    if new.decisions[: len(past)] != past:
        yield f"the record of {new.name!r} rewrites decisions that were published"
        return
    added = new.decisions[len(past) :]
    for decision in added:
        yield from _date_faults(decision, published_at_us)
    if old is None:
        if len(added) != 1:
            yield f"region {new.name!r} is new: its first record holds the step 'open' alone"
        return
    if new.name != old.name or new.version <= old.version:
        yield (
            f"version {new.version} of {new.name!r} does not follow version {old.version} of"
            f" {old.name!r}"
        )
    if len(added) > 1:
        yield f"the record of {new.name!r} takes {len(added)} steps at once; take one"
    for decision in added[:1]:
        yield from step_faults(old, decision.step, decision.figures, rule, decision.decided_at_us)
    yield from _notice_faults(old, new, rule)


def _notice_faults(old: RegionRecord, new: RegionRecord, rule: FederationRule) -> Iterator[str]:
    """A notice is given for as long as the charter promises, and stays as it was given."""
    if new.decisions == old.decisions and new.notice != old.notice:
        yield f"the notice of {new.name!r} stays as it was given: only a step begins or ends one"
    if new.decisions[-1].step == "give-notice" and old.notice is None and new.notice is not None:
        days = (new.notice.earliest_return_us - new.notice.given_at_us) // _DAY_US
        if days < rule.fall_notice_days:
            yield f"a notice of {days} days is too short; give {rule.fall_notice_days}"


def _date_faults(decision: RegionDecision, published_at_us: int) -> Iterator[str]:
    age = published_at_us - decision.decided_at_us
    if age < -_CLOCKS_APART_US:
        yield f"the step {decision.step!r} is dated after it was proposed"
    if age > _LONGEST_DRAFT_DAYS * _DAY_US:
        yield (
            f"the step {decision.step!r} was drafted {age // _DAY_US} days before: draft it again,"
            " on fresh figures"
        )


def step_faults(
    record: RegionRecord,
    step: RegionStep,
    figures: Sequence[MonthFigures],
    rule: FederationRule,
    now_us: int,
) -> Iterator[str]:
    """Yield a sentence for each reason why a region may not take a step now."""
    standing = standing_of(record)
    if (standing, step) not in STEPS:
        yield f"region {record.name!r} is {standing}: the step {step!r} cannot be taken from there"
        return
    if now_us < record.decisions[-1].decided_at_us:
        yield f"the step {step!r} would be dated before the decision it follows; mend the clock"
        return
    count = _months_of(record, step, rule)
    months = tuple(figures[-count:])[:count]
    wanted = last_full_months(now_us, count)
    if tuple(month.month for month in months) != wanted:
        yield f"the step {step!r} rests on the figures of {', '.join(wanted)}, and on no others"
        return
    yield from _figure_faults(record, step, months, rule, now_us)


def _figure_faults(
    record: RegionRecord,
    step: RegionStep,
    months: Sequence[MonthFigures],
    rule: FederationRule,
    now_us: int,
) -> Iterator[str]:
    if step == "activate":
        yield from _too_few_hosts(months, rule)
    elif step == "federate":
        yield from _not_carried(months, rule)
    elif step in ("give-notice", "return"):
        for month in months:
            if not is_below(month, rule):
                yield f"{month.month} was not below what a federated region must keep"
        if step == "return" and record.notice and now_us < record.notice.earliest_return_us:
            yield f"the notice runs until {_day(record.notice.earliest_return_us)}"
    elif step == "withdraw-notice" and all(is_below(month, rule) for month in months):
        yield f"every month of {', '.join(month.month for month in months)} was below"


def _too_few_hosts(months: Sequence[MonthFigures], rule: FederationRule) -> Iterator[str]:
    for month in months:
        if month.active_hosts < rule.active_hosts:
            yield (
                f"{month.month} had {month.active_hosts} active hosts, an active region needs"
                f" {rule.active_hosts}"
            )


def _not_carried(months: Sequence[MonthFigures], rule: FederationRule) -> Iterator[str]:
    for month in months:
        if not carries(month, rule):
            yield (
                f"{month.month} had {usd(month.revenue_nano_usd)} of revenue and"
                f" {month.active_hosts} active hosts, a federated region needs"
                f" {usd(rule.federated_revenue_nano_usd)} and {rule.federated_hosts}"
            )


def _months_of(record: RegionRecord, step: RegionStep, rule: FederationRule) -> int:
    """On how many of the last full months a step rests."""
    match step:
        case "activate":
            # Who was suspended had no work: there are no figures to return by.
            return rule.active_months if record.status == "local" else 0
        case "federate":
            return rule.federated_months
        case "give-notice" | "withdraw-notice" | "return":
            return rule.fall_months
        case "open" | "suspend":
            return 0


def _day(moment_us: int) -> str:
    return f"{_EPOCH + timedelta(microseconds=moment_us):%Y-%m-%d}"
