from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.charter.region_record import (
    STEPS,
    LocalCapacity,
    MonthFigures,
    RegionDecision,
    RegionRecord,
    RegionStep,
    ReturnNotice,
    Standing,
    capacity_faults,
    region_faults,
    standing_of,
    status_of,
)
from peerllm.charter.spelling import spelling

KEY = "ab" * 32


def decision(step: RegionStep, at: int) -> RegionDecision:
    return RegionDecision(step=step, decided_at_us=at, reason="by the rule")


LOCAL = RegionRecord(
    name="bavaria",
    status="local",
    since_us=1,
    contact="hosts@bavaria.example",
    decisions=(decision("open", 1),),
)
FEDERATED = msgspec.structs.replace(
    LOCAL,
    status="federated",
    since_us=3,
    delegated_keys=(KEY,),
    delegated_threshold=1,
    decisions=(decision("open", 1), decision("activate", 2), decision("federate", 3)),
)
CAPACITY = LocalCapacity(
    region="bavaria", seats={"smollm2-135m-instruct": 3}, target_utilisation_basis_points=7_000
)


def changed(record: RegionRecord, **values: Any) -> RegionRecord:
    return msgspec.structs.replace(record, **values)


def test_good_records_have_no_faults() -> None:
    assert list(region_faults(LOCAL)) == []
    assert list(region_faults(FEDERATED)) == []
    assert list(capacity_faults(CAPACITY, FEDERATED)) == []


def test_a_record_is_read_as_it_was_written() -> None:
    notice = ReturnNotice(given_at_us=4, earliest_return_us=9)
    figures = MonthFigures(
        month="2026-08", revenue_nano_usd=5, active_hosts=1, operators=1, rows_sha256="0" * 64
    )
    given = RegionDecision(step="give-notice", decided_at_us=4, reason="below", figures=(figures,))
    record = changed(FEDERATED, notice=notice, decisions=(*FEDERATED.decisions, given))
    assert list(region_faults(record)) == []
    assert msgspec.json.decode(spelling(record), type=RegionRecord) == record
    assert msgspec.json.decode(spelling(CAPACITY), type=LocalCapacity) == CAPACITY


@dataclass
class Bad:
    record: RegionRecord
    says: str


@pytest.mark.parametrize(
    "bad",
    [
        Bad(changed(LOCAL, status="active"), "lead to 'local'"),
        Bad(changed(LOCAL, since_us=2), "lead to 'local' since 1"),
        Bad(changed(LOCAL, delegated_keys=(KEY,)), "only a federated region has delegated keys"),
        Bad(changed(FEDERATED, delegated_keys=()), "needs at least one delegated key"),
        Bad(changed(FEDERATED, delegated_keys=(KEY, KEY)), "named twice"),
        Bad(changed(FEDERATED, delegated_threshold=2), "2 of 1 delegated keys"),
        Bad(changed(FEDERATED, delegated_threshold=0), "0 of 1 delegated keys"),
        Bad(
            changed(LOCAL, notice=ReturnNotice(given_at_us=1, earliest_return_us=2)),
            "only a federated region can be under notice",
        ),
        Bad(
            changed(FEDERATED, notice=ReturnNotice(given_at_us=4, earliest_return_us=5)),
            "the decisions say notice at None",
        ),
        Bad(
            changed(LOCAL, decisions=(decision("open", 1), decision("federate", 2))),
            "is local cannot take the step 'federate'",
        ),
        Bad(changed(LOCAL, decisions=(decision("activate", 1),)), "is new cannot take"),
        Bad(
            changed(FEDERATED, decisions=(*FEDERATED.decisions, decision("return", 4))),
            "is federated cannot take the step 'return'",
        ),
        Bad(
            changed(
                LOCAL,
                status="active",
                since_us=0,
                decisions=(decision("open", 1), decision("activate", 0)),
            ),
            "dated before",
        ),
        Bad(changed(LOCAL, contact=" "), "contact is blank"),
        Bad(
            changed(
                LOCAL, decisions=(RegionDecision(step="open", decided_at_us=1, reason="a\nb"),)
            ),
            "reason of the step 'open' is blank or cannot",
        ),
        Bad(changed(LOCAL, contact="a\x1b[2J"), "contact is blank or holds"),
    ],
)
def test_a_broken_rule_is_named(bad: Bad) -> None:
    assert any(bad.says in fault for fault in region_faults(bad.record)), list(
        region_faults(bad.record)
    )


@pytest.mark.parametrize("field", ["prices", "thresholds_milli", "host_share_basis_points"])
def test_a_region_has_no_room_for_prices_or_safety(field: str) -> None:
    for document in (CAPACITY, FEDERATED):
        plain = msgspec.json.decode(spelling(document))
        plain[field] = 1
        with pytest.raises(msgspec.ValidationError, match=f"unknown field `{field}`"):
            msgspec.json.decode(msgspec.json.encode(plain), type=type(document))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seats", {"m": -1}),
        ("seats", {"m": 10**30}),
        ("seats", {"../m": 1}),
        ("target_utilisation_basis_points", 0),
        ("target_utilisation_basis_points", 10_001),
        ("region", "../x"),
        ("region", "bavaria\n"),
        ("version", 0),
    ],
)
def test_values_out_of_bounds_are_refused(field: str, value: object) -> None:
    plain = msgspec.json.decode(spelling(CAPACITY)) | {field: value}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(plain), type=LocalCapacity)


def test_capacity_is_a_federated_regions_own() -> None:
    assert any("only a federated" in fault for fault in capacity_faults(CAPACITY, LOCAL))
    other = changed(FEDERATED, name="tyrol")
    assert any("not of 'tyrol'" in fault for fault in capacity_faults(CAPACITY, other))
    empty = msgspec.structs.replace(CAPACITY, seats={})
    assert any("names no model" in fault for fault in capacity_faults(empty))


@given(st.lists(st.sampled_from(sorted({step for _, step in STEPS})), min_size=1, max_size=12))
def test_a_life_is_accepted_exactly_when_each_step_may_follow(steps: list[RegionStep]) -> None:
    standing: Standing | None = None
    reached: list[tuple[Standing, int]] = []
    for at, step in enumerate(steps, start=1):
        standing = STEPS.get((standing, step))
        if standing is None:
            break
        reached.append((standing, at))
    last, since = reached[-1] if reached else ("local", 1)
    status = status_of(last)
    for before, at in reversed(reached):
        if status_of(before) != status:
            break
        since = at
    notice = ReturnNotice(given_at_us=reached[-1][1], earliest_return_us=99) if reached else None
    record = RegionRecord(
        name="r",
        status=status,
        since_us=since,
        contact="c",
        notice=notice if last == "under-notice" else None,
        delegated_keys=(KEY,) if status == "federated" else (),
        delegated_threshold=1 if status == "federated" else 0,
        decisions=tuple(decision(step, at) for at, step in enumerate(steps, start=1)),
    )
    assert (list(region_faults(record)) == []) == (standing is not None)
    assert standing_of(record) == last
