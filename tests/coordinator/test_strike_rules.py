"""Strikes suspend a seat by the charter's weights, with the way back, and nothing else does."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.charter.default_terms import first_terms
from peerllm.charter.seat_rules import DAY_US
from peerllm.charter.strike_record import opening_of, strike_entry
from peerllm.coordinator.accounts import SeatPause, Strike, StrikeKnown, StrikeWithdrawn
from peerllm.coordinator.appeal_rules import appeal_until_us
from peerllm.coordinator.seats_in_force import SeatsInForce
from peerllm.coordinator.storage import open_storage
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.strike_rules import (
    Suspension,
    opening,
    suspension,
    weight_of,
    withdrawal_opening,
)
from peerllm.crypto.identity import Identity

POLICY = first_terms("tests").strikes
START = 1_000 * DAY_US
COUNTED_US = POLICY.counted_days * DAY_US
HOST = Identity.from_seed(b"h" * 32).peer_id


def strike(day: int, rule: str, number: int = 1) -> Strike:
    return Strike(HOST, rule, None, START + day * DAY_US, number)


def test_too_little_weight_suspends_nobody() -> None:
    light = [strike(0, "malformed_frame"), strike(1, "overstated_tokens")]
    assert suspension(light, POLICY, START + DAY_US) is None
    assert suspension([], POLICY, START) is None


def test_a_suspension_ends_when_enough_strikes_count_no_more() -> None:
    given_ = [strike(0, "malformed_frame"), strike(2, "wrong_model"), strike(5, "malformed_frame")]
    now_us = START + 6 * DAY_US
    # 1 + 2 reach three on day 2; without the first, 2 + 1 still do.
    until_us = START + 2 * DAY_US + COUNTED_US
    assert suspension(given_, POLICY, now_us) == Suspension(START + 2 * DAY_US, until_us, 4)
    assert suspension(reversed(given_), POLICY, now_us) == suspension(given_, POLICY, now_us)
    assert suspension(given_, POLICY, until_us - 1) is not None
    assert suspension(given_, POLICY, until_us) is None


def test_what_was_withdrawn_or_left_the_terms_weighs_nothing() -> None:
    forged = strike(0, "forged_receipt")
    assert weight_of(forged, POLICY, START) == 3
    assert weight_of(replace(forged, withdrawn_at_us=START), POLICY, START) == 0
    assert weight_of(replace(forged, rule="once_a_rule"), POLICY, START) == 0
    assert weight_of(forged, POLICY, START + COUNTED_US) == 0
    assert appeal_until_us(forged, POLICY) == START + 30 * DAY_US
    # A clock set back makes no strike count less.
    assert weight_of(forged, POLICY, START - DAY_US) == 3


@given(
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(sorted(POLICY.weights))), max_size=8),
    st.integers(0, 600),
)
def test_a_suspension_lasts_exactly_as_long_as_it_says(
    given_: list[tuple[int, str]], day: int
) -> None:
    strikes = [strike(at, rule) for at, rule in given_ if at <= day]
    now_us = START + day * DAY_US
    found = suspension(strikes, POLICY, now_us)
    weight = sum(weight_of(one, POLICY, now_us) for one in strikes)
    assert (found is not None) == (weight >= POLICY.suspension_weight)
    if found is not None:
        assert found.since_us <= now_us < found.until_us
        assert suspension(strikes, POLICY, found.until_us - 1) is not None
        assert suspension(strikes, POLICY, found.until_us) is None


async def test_a_suspended_host_keeps_its_seat_and_comes_back(tmp_path: Path) -> None:
    now = [START]
    async with open_storage(tmp_path / "db.sqlite", clock=lambda: now[0]) as storage:
        await storage.seat(HOST, "ada", "community", [bytes(32)])
        seats = SeatsInForce(storage, 5, strike_policy=POLICY, now_us=lambda: now[0])
        await storage.record_strike(HOST, "wrong_model")
        await seats.refresh()
        assert seats.current[HOST].pause is None
        now[0] += DAY_US
        await storage.record_strike(HOST, "wrong_answer")
        with StorageFile(tmp_path / "db.sqlite", clock=lambda: now[0]) as administration:
            administration.pause_seat(HOST, "slow", 3)
            await seats.refresh()
            suspended = SeatPause("suspended", START + DAY_US, START + COUNTED_US)
            assert seats.current[HOST].pause == suspended
            administration.resume_seat(HOST)
            await seats.refresh()
            assert seats.current[HOST].pause == suspended
            assert isinstance(administration.withdraw_strike(2, "appeal_granted"), Strike)
            await seats.refresh()
            assert seats.current[HOST].pause is None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordinator.sqlite"


def test_the_same_evidence_counts_once_and_a_withdrawal_is_for_good(path: Path) -> None:
    now = [START]
    with StorageFile(path, clock=lambda: now[0]) as storage:
        storage.seat(HOST, "ada", "community", [], region="north")
        storage.unseat(HOST)
        first = storage.record_strike(
            HOST, "wrong_model", evidence_sha256=b"e" * 32, random=lambda size: b"s" * size
        )
        assert first == Strike(
            HOST, "wrong_model", None, START, 1, "north", b"e" * 32, b"s" * 32, None, None
        )
        assert isinstance(first, Strike)
        again = storage.record_strike(HOST, "wrong_model", evidence_sha256=b"e" * 32)
        assert again == StrikeKnown(1)
        assert withdrawal_opening(first) is None
        assert storage.withdraw_strike(9, "appeal_granted") is None
        now[0] -= DAY_US
        withdrawn = storage.withdraw_strike(1, "appeal_granted")
        # Not before it was recorded.
        assert withdrawn == replace(first, withdrawn_at_us=START, withdrawal="appeal_granted")
        assert storage.withdraw_strike(1, "again") == StrikeWithdrawn(1, START)
        assert storage.strikes() == storage.strikes(HOST) == (withdrawn,)
        assert storage.record_strike(HOST, "wrong_model", evidence_sha256=b"e" * 32) == StrikeKnown(
            1
        )
        assert isinstance(withdrawn, Strike)
        # What was handed out and taken down of the strike stays what it was.
        assert opening(withdrawn) == opening(first)
        back = withdrawal_opening(withdrawn)
        assert back is not None
        assert back == opening_of(back.record, b"s" * 32)
        assert strike_entry(back) != strike_entry(opening(first))
        assert "ssss" not in repr(first)


def test_no_process_changes_or_deletes_a_strike(path: Path) -> None:
    with StorageFile(path, clock=lambda: START) as storage:
        storage.record_strike(HOST, "wrong_model")
    plain = sqlite3.connect(path)
    for change in (
        "DELETE FROM strikes",
        "UPDATE strikes SET rule = 'malformed_frame'",
        "UPDATE strikes SET salt = zeroblob(32), withdrawn_at_us = 1, withdrawal = 'x'",
        "UPDATE strikes SET withdrawn_at_us = 1",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            plain.execute(change)
    plain.execute("UPDATE strikes SET withdrawn_at_us = 1, withdrawal = 'x'")
    with pytest.raises(sqlite3.IntegrityError, match="once"):
        plain.execute("UPDATE strikes SET withdrawn_at_us = 2")
    plain.close()
