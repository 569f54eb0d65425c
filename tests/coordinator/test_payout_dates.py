"""The charter's interval of payouts: no batch before it is over, and what is overdue is shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.charter.promises import EscrowRule, PayoutRule
from peerllm.coordinator.payout import DAY_US, Payee, PayoutDates, due_after, due_days_passed
from peerllm.coordinator.payout_storage import (
    NothingToPay,
    PayoutExists,
    PayoutMade,
    PayoutOutcome,
    PayoutTooEarly,
)
from peerllm.coordinator.storage_file import StorageFile
from tests.coordinator.region_stage import USD, Clock, Region

ADA, BOB = "12D3KooWAda", "12D3KooWBob"
HOUR_US = DAY_US // 24
START = 1_000 * DAY_US + 15 * HOUR_US
# Nothing rests: what was earned is payable at once.
FREE = EscrowRule(hold_days=0, trusted_after_days=0, trusted_after_receipts=0, statement="Free.")
RESTS = EscrowRule(
    hold_days=10, trusted_after_days=3_650, trusted_after_receipts=9, statement="Rests."
)
PAYOUT = PayoutRule(minimum_nano_usd=20 * USD, every_days=30)
PAYER = Payee(name="PeerLLM e. V.", account="DE89370400440532013000")


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def region(tmp_path: Path, clock: Clock) -> Region:
    return Region(tmp_path / "coordinator.sqlite", clock)


@pytest.fixture
def storage(region: Region, clock: Clock) -> Iterator[StorageFile]:
    region.seat([ADA, BOB])
    with StorageFile(region.path, clock=clock) as file:
        file.payouts.set_payee(ADA, Payee(name="Ada", account="GB82WEST12345698765432"))
        yield file


def pay(storage: StorageFile, name: str, rule: EscrowRule = FREE) -> PayoutOutcome:
    return storage.payouts.pay(name, rule=rule, payout=PAYOUT, payer=PAYER, random=bytes)


def dates(storage: StorageFile, host: str = ADA, rule: EscrowRule = FREE) -> PayoutDates:
    return storage.payouts.dates(rule, PAYOUT, host)


def test_no_batch_is_drawn_before_the_interval_is_over(
    storage: StorageFile, region: Region, clock: Clock
) -> None:
    region.work(storage, [ADA], 100 * USD)
    first = pay(storage, "first")
    assert isinstance(first, PayoutMade)
    due = (START // DAY_US + 30) * DAY_US
    region.work(storage, [ADA], 100 * USD)
    for now in (START, START + DAY_US, due - 1):
        clock.now = now
        assert pay(storage, "second") == PayoutTooEarly("first", START, due)
        assert pay(storage, "first") == PayoutExists(first.batch)
    # The day counts, not the hour: a monthly job that runs a minute early is not refused.
    clock.now = due
    assert isinstance(pay(storage, "second"), PayoutMade)
    assert storage.ledger_check().balanced


def test_a_clock_that_jumps_draws_none_earlier(
    storage: StorageFile, region: Region, clock: Clock
) -> None:
    region.work(storage, [ADA], 100 * USD)
    clock.now += DAY_US
    assert isinstance(pay(storage, "a-day-ahead"), PayoutMade)
    region.work(storage, [ADA], 100 * USD)
    due = due_after(START + DAY_US, 30)
    for now in (START, START - 100 * DAY_US, 0, due - 1):
        clock.now = now
        early = pay(storage, "again")
        assert isinstance(early, PayoutTooEarly)
        assert early.due_us == due
        assert dates(storage) == PayoutDates(due)


def test_earnings_dated_after_their_payout_are_no_fault(
    storage: StorageFile, region: Region, clock: Clock
) -> None:
    """The clock was set back between an answer and the batch that paid it."""
    region.work(storage, [ADA], 100 * USD)
    clock.now -= 90 * DAY_US
    trusting = EscrowRule(
        hold_days=0, trusted_after_days=0, trusted_after_receipts=0, statement="Free."
    )
    outcome = pay(storage, "behind", trusting)
    assert isinstance(outcome, PayoutMade | NothingToPay)
    clock.now += 60 * DAY_US
    assert dates(storage).overdue_since_us is None


def test_what_could_have_been_paid_on_a_due_day_is_overdue_from_then_on(
    storage: StorageFile, region: Region, clock: Clock
) -> None:
    assert dates(storage) == PayoutDates(None)
    region.work(storage, [ADA, BOB], 100 * USD)
    due = (START // DAY_US + 30) * DAY_US
    assert dates(storage) == PayoutDates(due)
    clock.now = due + DAY_US - 1
    assert dates(storage) == PayoutDates(due)
    clock.now = due + DAY_US
    assert dates(storage) == PayoutDates(due, due)
    # Nobody knows whom to pay.
    assert dates(storage, BOB) == PayoutDates(due)
    clock.now = due + 200 * DAY_US
    assert dates(storage) == PayoutDates(due, due)
    made = pay(storage, "late")
    assert isinstance(made, PayoutMade)
    again = due_after(clock.now, 30)
    assert dates(storage) == PayoutDates(again)
    clock.now = again + 100 * DAY_US
    # Paid, and nothing earned since: nothing is owed.
    assert dates(storage) == PayoutDates(again)


def test_what_rests_on_a_due_day_is_owed_on_the_first_one_after(
    storage: StorageFile, region: Region, clock: Clock
) -> None:
    region.work(storage, [ADA], USD)
    clock.now = START + 25 * DAY_US
    region.work(storage, [ADA], 100 * USD)
    due = [due_after(START, 30, times) for times in (1, 2, 3)]
    clock.now = due[0] + 20 * DAY_US
    # Payable by now, and not yet on the due day that has passed.
    assert dates(storage, rule=RESTS) == PayoutDates(due[0])
    for now in (due[1] + DAY_US, due[2] + 300 * DAY_US):
        clock.now = now
        assert dates(storage, rule=RESTS) == PayoutDates(due[0], due[1])


@given(
    st.integers(0, 10**9), st.integers(1, 366), st.integers(0, 400 * DAY_US), st.integers(0, 2_000)
)
def test_due_days_are_counted_whole(minute: int, every: int, later: int, extra: int) -> None:
    last = minute * 60_000_000
    now = last + later + extra * DAY_US
    passed = due_days_passed(last, every, now)
    assert passed >= 0
    if passed:
        assert due_after(last, every, passed) + DAY_US <= now
    assert due_after(last, every, passed + 1) + DAY_US > now
    # At most a day less than the interval, by counting days.
    assert (every - 1) * DAY_US < due_after(last, every) - last <= every * DAY_US
