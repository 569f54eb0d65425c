"""The state machine of a region's life, on figures alone."""

from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.charter.governance import FederationRule
from peerllm.charter.region_record import (
    STEPS,
    MonthFigures,
    RegionRecord,
    RegionStep,
    region_faults,
    standing_of,
)
from peerllm.charter.region_rules import (
    StepRefused,
    due_step,
    last_full_months,
    month_bounds,
    open_region,
    region_change_faults,
    take_step,
    usd,
)

RULE: Final = FederationRule(statement="as published")
REVENUE: Final = RULE.federated_revenue_nano_usd
KEY: Final = "ab" * 32
DAY_US: Final = 24 * 3600 * 1_000_000


def noon(month: str, day: int = 5) -> int:
    return month_bounds(month)[0] + (day - 1) * DAY_US + DAY_US // 2


def figures(now_us: int, *levels: int) -> tuple[MonthFigures, ...]:
    """The last full months at so many percent of both thresholds, oldest first."""
    return tuple(
        MonthFigures(
            month=month,
            revenue_nano_usd=REVENUE * level // 100,
            active_hosts=RULE.federated_hosts * level // 100,
            operators=1,
            rows_sha256="0" * 64,
        )
        for month, level in zip(last_full_months(now_us, len(levels)), levels, strict=True)
    )


def taken(record: RegionRecord, step: RegionStep, now_us: int, *levels: int) -> RegionRecord:
    after = take_step(
        record,
        step,
        figures=figures(now_us, *levels),
        rule=RULE,
        now_us=now_us,
        reason="by the rule",
        delegated_keys=(KEY,),
        delegated_threshold=1,
    )
    assert isinstance(after, RegionRecord), after
    assert list(region_faults(after)) == []
    assert list(region_change_faults(record, after, RULE, now_us)) == []
    return after


def refused(record: RegionRecord, step: RegionStep, now_us: int, *levels: int) -> str:
    after = take_step(
        record,
        step,
        figures=figures(now_us, *levels),
        rule=RULE,
        now_us=now_us,
        reason="because",
        delegated_keys=(KEY,),
        delegated_threshold=1,
    )
    assert isinstance(after, StepRefused), after
    return after.reason


@pytest.fixture(scope="module")
def local() -> RegionRecord:
    return open_region("bavaria", contact="c", reason="founded", now_us=noon("2026-01"))


@pytest.fixture(scope="module")
def active(local: RegionRecord) -> RegionRecord:
    return taken(local, "activate", noon("2026-02"), 10)


@pytest.fixture(scope="module")
def federated(active: RegionRecord) -> RegionRecord:
    return taken(active, "federate", noon("2026-06"), 100, 100, 100)


def test_months_are_full_and_in_utc() -> None:
    begins, ends = month_bounds("2026-02")
    assert ends - begins == 28 * DAY_US
    assert last_full_months(ends, 3) == ("2025-12", "2026-01", "2026-02")
    assert last_full_months(ends - 1, 1) == ("2026-01",)
    assert month_bounds("2026-12")[1] == month_bounds("2027-01")[0]


def test_five_active_hosts_make_a_community_active(
    local: RegionRecord, active: RegionRecord
) -> None:
    assert (active.status, active.version, active.since_us) == ("active", 2, noon("2026-02"))
    assert [month.month for month in active.decisions[-1].figures] == ["2026-01"]
    assert "4 active hosts, an active region needs 5" in refused(
        local, "activate", noon("2026-02"), 8
    )


def test_three_full_months_over_both_thresholds_federate(
    active: RegionRecord, federated: RegionRecord
) -> None:
    assert (federated.status, federated.delegated_keys) == ("federated", (KEY,))
    now_us = noon("2026-06")
    assert due_step(active, figures(now_us, 100, 100, 100), RULE, now_us) == "federate"
    for levels in ((99, 100, 100), (100, 99, 100), (100, 100, 99)):
        assert due_step(active, figures(now_us, *levels), RULE, now_us) is None
        assert "USD 49,500.00 of revenue and 49 active hosts" in refused(
            active, "federate", now_us, *levels
        )


def test_one_threshold_alone_does_not_federate(active: RegionRecord) -> None:
    now_us = noon("2026-06")
    for change in ({"active_hosts": 49}, {"revenue_nano_usd": REVENUE - 1}):
        months = figures(now_us, 100, 100, 100)
        poor = (*months[:2], msgspec.structs.replace(months[2], **change))
        assert due_step(active, poor, RULE, now_us) is None


def test_figures_of_other_months_or_too_few_support_nothing(active: RegionRecord) -> None:
    now_us = noon("2026-06")
    assert "rests on the figures of 2026-03, 2026-04, 2026-05" in refused(
        active, "federate", now_us, 100, 100
    )
    stale = figures(noon("2026-05"), 100, 100, 100)
    assert due_step(active, stale, RULE, now_us) is None


def test_three_months_below_bring_notice_and_three_more_the_return(
    federated: RegionRecord,
) -> None:
    now_us = noon("2026-09")
    assert due_step(federated, figures(now_us, 79, 79, 80), RULE, now_us) is None
    assert due_step(federated, figures(now_us, 79, 79, 79), RULE, now_us) == "give-notice"
    warned = taken(federated, "give-notice", now_us, 79, 79, 79)
    assert warned.notice is not None
    assert (warned.status, warned.since_us) == ("federated", federated.since_us)
    assert warned.notice.earliest_return_us == now_us + 90 * DAY_US
    assert warned.delegated_keys == (KEY,)

    later = noon("2026-12", 3)
    assert "notice runs until 2026-12-04" in refused(warned, "return", later, 79, 79, 79)
    later = noon("2026-12", 4)
    returned = taken(warned, "return", later, 79, 79, 79)
    assert (returned.status, returned.notice, returned.delegated_keys) == ("active", None, ())
    assert returned.delegated_threshold == 0


def test_a_good_month_ends_the_notice(federated: RegionRecord) -> None:
    warned = taken(federated, "give-notice", noon("2026-09"), 0, 0, 0)
    now_us = noon("2026-10")
    assert due_step(warned, figures(now_us, 0, 0, 0), RULE, now_us) is None
    assert due_step(warned, figures(now_us, 0, 0, 80), RULE, now_us) == "withdraw-notice"
    calm = taken(warned, "withdraw-notice", now_us, 0, 0, 80)
    assert (standing_of(calm), calm.since_us) == ("federated", federated.since_us)


def test_a_suspended_region_loses_its_keys_and_comes_back_active(federated: RegionRecord) -> None:
    suspended = taken(federated, "suspend", noon("2026-07"))
    assert (suspended.status, suspended.delegated_keys) == ("suspended", ())
    assert due_step(suspended, (), RULE, noon("2026-08")) is None
    assert taken(suspended, "activate", noon("2026-08")).status == "active"
    assert "cannot be taken" in refused(suspended, "federate", noon("2026-08"), 100, 100, 100)


def test_a_clock_set_back_takes_no_step(active: RegionRecord) -> None:
    early = active.decisions[-1].decided_at_us - 1
    assert "mend the clock" in refused(active, "suspend", early)


def test_a_record_that_was_tampered_with_does_not_follow(
    active: RegionRecord, federated: RegionRecord
) -> None:
    def faults(new: RegionRecord, old: RegionRecord | None = active) -> str:
        return " ".join(region_change_faults(old, new, RULE, new.decisions[-1].decided_at_us))

    decision = federated.decisions[-1]
    replace = msgspec.structs.replace
    poor = replace(decision.figures[0], active_hosts=49)
    lied = replace(decision, figures=(poor, *decision.figures[1:]))
    assert "49 active hosts" in faults(replace(federated, decisions=(*active.decisions, lied)))
    assert "on no others" in faults(
        replace(federated, decisions=(*active.decisions, replace(decision, figures=())))
    )
    rewritten = replace(federated.decisions[0], reason="another")
    assert "rewrites" in faults(replace(federated, decisions=(rewritten, *federated.decisions[1:])))
    assert "does not follow" in faults(replace(federated, version=active.version))
    assert "does not follow" in faults(replace(federated, name="tyrol"))
    assert "is new" in faults(federated, None)
    assert "2 steps at once" in faults(
        taken(federated, "suspend", noon("2026-07")),
    )
    hurried = taken(federated, "give-notice", noon("2026-09"), 0, 0, 0)
    assert hurried.notice is not None
    short = replace(hurried.notice, earliest_return_us=hurried.notice.given_at_us + DAY_US)
    assert "a notice of 1 days" in faults(replace(hurried, notice=short), federated)
    # Nor later, by a record that takes no step: the region was promised its 90 days.
    cut = replace(hurried, version=hurried.version + 1, notice=short)
    assert "stays as it was given" in faults(cut, hurried)
    assert faults(replace(hurried, version=hurried.version + 1, contact="new"), hurried) == ""


def test_a_draft_is_neither_of_the_future_nor_stale(
    active: RegionRecord, federated: RegionRecord
) -> None:
    at_us = federated.decisions[-1].decided_at_us
    for days, says in ((0, ""), (45, ""), (46, "drafted 46 days before"), (-1, "after it was")):
        faults = list(region_change_faults(active, federated, RULE, at_us + days * DAY_US))
        assert (says in " ".join(faults)) if says else faults == []


def test_amounts_are_read_by_people() -> None:
    assert usd(0) == "USD 0.00"
    assert usd(50_000 * 10**9) == "USD 50,000.00"
    assert usd(1_234_567_890_123) == "USD 1,234.56"


LEVELS = st.lists(st.sampled_from((0, 50, 79, 80, 99, 100, 100, 150)), min_size=1, max_size=24)


@settings(max_examples=60)
@given(levels=LEVELS, keep=st.integers(0, 10_000), fall_months=st.integers(1, 4))
def test_a_life_by_the_rule_always_obeys_the_rule(
    levels: list[int], keep: int, fall_months: int
) -> None:
    rule = msgspec.structs.replace(RULE, keep_basis_points=keep, fall_months=fall_months)
    record = open_region("r", contact="c", reason="founded", now_us=noon("2026-01"))
    past = [0] * 6
    for number, level in enumerate(levels):
        past.append(level)
        month = f"{2026 + (number + 1) // 12}-{(number + 1) % 12 + 1:02}"
        now_us = noon(month)
        months = figures(now_us, *past[-6:])
        step = due_step(record, months, rule, now_us)
        # Whatever is not due is refused, except what stewards decide without figures.
        for other in sorted({step for _, step in STEPS} - {"suspend", "open", step}):
            free = record.status == "suspended" and other == "activate"
            outcome = take_step(
                record, other, figures=months, rule=rule, now_us=now_us, reason="try"
            )
            assert free or isinstance(outcome, StepRefused)
        if step is None:
            continue
        after = take_step(
            record,
            step,
            figures=months,
            rule=rule,
            now_us=now_us,
            reason="by the rule",
            delegated_keys=(KEY,),
            delegated_threshold=1,
        )
        assert isinstance(after, RegionRecord)
        assert list(region_faults(after)) == []
        assert list(region_change_faults(record, after, rule, now_us)) == []
        if after.status == "federated" and record.status != "federated":
            assert min(past[-3:]) >= 100
        if record.status == "federated" and after.status != "federated":
            assert all(level * 100 < keep for level in past[-fall_months:])
        record = after
