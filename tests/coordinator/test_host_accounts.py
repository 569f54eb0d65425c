"""What a coordinator tells a host of its account, from a real database."""

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import trio
from region_stage import USD, Clock, Region
from trio.testing import MockClock

from peerllm.charter.defaults import first_terms
from peerllm.charter.loading import Charter
from peerllm.charter.region_rules import month_bounds, open_region
from peerllm.coordinator.host_accounts import QUESTION_SECONDS, HostAccounts
from peerllm.coordinator.host_statement import DatedAmount, releases
from peerllm.coordinator.payout import DAY_US, HostBooks, Payee, standing
from peerllm.coordinator.payout_storage import PayoutMade
from peerllm.coordinator.storage_file import StorageFile
from peerllm.overlay.account_messages import Account, AccountNotTold, EarnedDay, PaidOut, Release
from peerllm.overlay.messages import coordinator_message, to_bytes

ADA, BOB = "12D3KooWAda", "12D3KooWBob"
TERMS = first_terms("home")
START_US = month_bounds("2026-09")[0]
PAYER = Payee(name="PeerLLM e. V.", account="DE89370400440532013000")


def charter(**terms: Any) -> Charter:
    """A charter as far as accounts look at it: its terms and one region's record."""
    record = open_region("bavaria", contact="Straße 1, ada@example", reason="begun", now_us=1)
    made = SimpleNamespace(
        terms=msgspec.structs.replace(TERMS, **terms), regions={"bavaria": record}
    )
    return cast("Charter", made)


@pytest.fixture
def region(tmp_path: Path) -> Region:
    made = Region(tmp_path / "coordinator.sqlite", Clock(START_US))
    made.seat([ADA, BOB])
    return made


def accounts_of(region: Region, given: Charter | None = None) -> HostAccounts:
    return HostAccounts(
        region.path, given or charter(), clock=trio.current_time, now_us=region.clock
    )


async def told(region: Region, host: str, given: Charter | None = None) -> Account:
    answer = await accounts_of(region, given).answer(host, "bavaria")
    assert isinstance(answer, Account)
    # As the host takes it: within all bounds.
    assert coordinator_message(to_bytes(answer)) == answer
    return answer


async def test_a_host_is_told_what_it_earned_and_when_it_comes_free(region: Region) -> None:
    with StorageFile(region.path, clock=region.clock) as storage:
        for day, charge in ((0, 100 * USD), (5, 40 * USD), (5, 20 * USD)):
            region.clock.now = START_US + day * DAY_US + 7
            region.work(storage, [ADA], charge)
        region.work(storage, [BOB], 10_000 * USD)
        region.clock.now = START_US + 31 * DAY_US
        storage.payouts.set_payee(ADA, Payee(name="Ada", account="GB82WEST12345698765432"))
        paid = storage.payouts.pay(
            "2026-10", rule=TERMS.escrow, payout=TERMS.payout, payer=PAYER, random=bytes
        )
        assert isinstance(paid, PayoutMade)
    account = await told(region, ADA)
    assert (account.earned, account.paid_out) == (152 * USD, 95 * USD)
    assert (account.balance, account.in_escrow) == (57 * USD, 57 * USD)
    assert account.releases == [Release(at_us=START_US + 35 * DAY_US + 7, amount=57 * USD)]
    assert account.payouts == [
        PaidOut(batch="2026-10", at_us=START_US + 31 * DAY_US, amount=95 * USD)
    ]
    assert account.trusted_from_us == START_US + 90 * DAY_US + 7
    assert (account.trusted, account.receipts_missing) == (False, 997)
    assert (account.minimum_payout, account.payout_every_days) == (20 * USD, 30)
    assert account.payout_due_us == START_US + 61 * DAY_US
    assert account.payout_overdue_since_us is None
    # The first day lies 31 days back, and is told no more.
    assert account.days == [EarnedDay(begins_us=START_US + 5 * DAY_US, amount=57 * USD)]
    assert account.as_of_us == region.clock.now
    # The same numbers as the statement's.
    with StorageFile(region.path, clock=region.clock, read_only=True) as storage:
        shown = storage.payouts.standing(TERMS.escrow, ADA)
    assert shown is not None
    assert (shown[0].balance, shown[1].resting) == (account.balance, account.in_escrow)
    assert shown[1].next_release_us == account.releases[0].at_us


async def test_a_payout_that_is_overdue_is_told(region: Region) -> None:
    with StorageFile(region.path, clock=region.clock) as storage:
        region.work(storage, [ADA], 100 * USD)
        storage.payouts.set_payee(ADA, Payee(name="Ada", account="GB82WEST12345698765432"))
    region.clock.now = START_US + 61 * DAY_US
    account = await told(region, ADA)
    assert account.payout_due_us == account.payout_overdue_since_us == START_US + 30 * DAY_US


async def test_one_that_never_earned_has_an_empty_account(region: Region) -> None:
    account = await told(region, ADA)
    assert (account.earned, account.balance, account.trusted_from_us) == (0, 0, None)
    assert (account.releases, account.payouts, account.days, account.strikes) == ([], [], [], [])


async def test_strikes_are_told_with_the_time_to_appeal(region: Region) -> None:
    with StorageFile(region.path, clock=region.clock) as storage:
        storage.record_strike(ADA, "wrong_model")
        region.clock.now += 200 * DAY_US
        storage.record_strike(BOB, "forged_receipt")
        storage.record_strike(ADA, "überholt 規則")
        for _ in range(15):
            region.clock.now += 1
            storage.record_strike(ADA, "forged_receipt")
    account = await told(region, ADA)
    assert len(account.strikes) == 16
    first, last = account.strikes[0], account.strikes[-1]
    assert (first.rule, first.weight) == ("forged_receipt", 3)
    assert first.appeal_until_us == first.at_us + 30 * DAY_US
    assert (last.rule, last.weight) == ("?berholt ??", 0)
    assert account.suspension_weight == 3
    region.clock.now = START_US + 180 * DAY_US
    # Too old to count, and still told.
    with StorageFile(region.path, clock=region.clock) as storage:
        storage.record_strike(BOB, "wrong_model")
    assert [strike.weight for strike in (await told(region, BOB)).strikes] == [2, 3]
    with StorageFile(region.path, clock=region.clock) as storage:
        storage.withdraw_strike(storage.strikes(BOB)[0].number, "appeal_granted")
    last, first = (await told(region, BOB)).strikes
    assert (last.weight, first.weight) == (2, 0)
    # The clock was set back since it was recorded.
    assert first.withdrawn_at_us == first.at_us
    with StorageFile(region.path, clock=region.clock) as storage:
        storage.appeal_strike(storage.strikes(BOB)[1].number, TERMS.strikes)
    by_itself = region.clock.now + 14 * DAY_US
    region.clock.now = by_itself - 1
    (last, _) = (await told(region, BOB)).strikes
    assert (last.weight, last.decide_by_us, last.withdrawn_at_us) == (2, by_itself, None)
    region.clock.now = by_itself
    # Granted, though nothing has written it down yet.
    (last, _) = (await told(region, BOB)).strikes
    assert (last.weight, last.withdrawn_at_us) == (0, by_itself)


async def test_a_host_appeals_against_its_own_strikes_only(region: Region) -> None:
    with StorageFile(region.path, clock=region.clock) as storage:
        storage.record_strike(ADA, "wrong_model")
        storage.record_strike(BOB, "wrong_model")
    accounts = accounts_of(region)

    async def appealed(strike: int) -> list[int | None]:
        answer = await accounts.appeal(ADA, strike, "bavaria")
        assert isinstance(answer, Account)
        with StorageFile(region.path, clock=region.clock, read_only=True) as storage:
            return [one.appealed_at_us for one in storage.strikes()]

    # Another's, and one that is none.
    assert await appealed(2) == await appealed(99) == [None, None]
    began = region.clock.now
    assert await appealed(1) == [began, None]
    region.clock.now += DAY_US
    assert await appealed(1) == [began, None]
    (strike,) = (await told(region, ADA)).strikes
    assert (strike.number, strike.decide_by_us) == (1, began + 14 * DAY_US)
    # Too late: the charter's days are over.
    region.clock.now += 40 * DAY_US
    answer = await accounts.appeal(BOB, 2, "bavaria")
    assert isinstance(answer, Account)
    assert (answer.strikes[0].decide_by_us, answer.strikes[0].weight) == (None, 2)


async def test_an_appeal_that_cannot_be_written_is_said_to_be_so(region: Region) -> None:
    accounts = accounts_of(region)
    region.path.chmod(0o644)
    assert await accounts.appeal(ADA, 1, "bavaria") == AccountNotTold(reason="unavailable")


async def test_the_region_is_told_with_its_full_months_and_the_thresholds(region: Region) -> None:
    region.month("2026-07", [ADA, BOB], 300 * USD)
    region.month("2026-09", [ADA], 100 * USD)
    region.clock.now = month_bounds("2026-10")[0] + DAY_US
    bavaria = (await told(region, ADA)).region
    assert (bavaria.name, bavaria.status, bavaria.contact) == (
        "bavaria",
        "local",
        "Stra?e 1, ada@example",
    )
    assert [month.begins_us for month in bavaria.months] == [
        month_bounds(name)[0] for name in ("2026-07", "2026-08", "2026-09")
    ]
    assert [month.revenue for month in bavaria.months] == [0, 0, 100 * USD]
    assert [month.active_hosts for month in bavaria.months] == [0, 0, 1]
    assert (bavaria.active_hosts_needed, bavaria.federated_hosts_needed) == (5, 50)
    assert bavaria.federated_revenue_needed == 50_000 * USD


async def test_a_region_without_a_record_and_a_wrong_clock_hide_no_money(region: Region) -> None:
    with StorageFile(region.path, clock=region.clock) as storage:
        region.work(storage, [ADA], 100 * USD)
    region.clock.now -= DAY_US
    accounts = accounts_of(region)
    answer = await accounts.answer(ADA, "elsewhere")
    assert isinstance(answer, Account)
    assert answer.earned == 95 * USD
    assert (answer.region.status, answer.region.months) == ("", [])


async def test_months_are_read_once(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = accounts_of(region)
    before = await accounts.answer(ADA, "bavaria")
    monkeypatch.setattr(
        "peerllm.coordinator.host_accounts.open_region_ledger",
        lambda *_: pytest.fail("full months were read again"),
    )
    assert await accounts.answer(BOB, "bavaria") == before


async def test_another_charter_counts_from_the_next_answer_on(region: Region) -> None:
    accounts = accounts_of(region)
    payout = msgspec.structs.replace(TERMS.payout, minimum_nano_usd=5 * USD)
    accounts.charter = charter(payout=payout)
    answer = await accounts.answer(ADA, "bavaria")
    assert isinstance(answer, Account)
    assert answer.minimum_payout == 5 * USD


async def test_books_that_cannot_be_read_are_said_to_be_unavailable(region: Region) -> None:
    accounts = accounts_of(replace(region, path=region.path.with_name("other.sqlite")))
    region.path.unlink()
    answer = await HostAccounts(
        region.path, charter(), clock=trio.current_time, now_us=region.clock
    ).answer(ADA, "bavaria")
    assert answer == AccountNotTold(reason="unavailable")
    assert isinstance(await accounts.answer(ADA, "bavaria"), Account)


async def test_a_host_may_ask_once_a_minute_whoever_else_does(
    region: Region, autojump_clock: MockClock
) -> None:
    accounts = accounts_of(region)
    assert accounts.may_ask(ADA)
    assert not accounts.may_ask(ADA)
    assert accounts.may_ask(BOB)
    await trio.sleep(QUESTION_SECONDS - 1)
    assert not accounts.may_ask(ADA)
    await trio.sleep(1)
    assert accounts.may_ask(ADA)


async def test_a_host_may_appeal_every_ten_seconds(
    region: Region, autojump_clock: MockClock
) -> None:
    accounts = accounts_of(region)
    assert accounts.may_appeal(ADA)
    assert not accounts.may_appeal(ADA)
    assert accounts.may_appeal(BOB)
    await trio.sleep(10)
    assert accounts.may_appeal(ADA)


async def test_the_answer_is_worked_out_in_another_thread(region: Region) -> None:
    threads = []

    def now_us() -> int:
        threads.append(threading.current_thread())
        return region.clock.now

    accounts = HostAccounts(region.path, charter(), clock=trio.current_time, now_us=now_us)
    await accounts.answer(ADA, "bavaria")
    assert threads
    assert threading.current_thread() not in threads


class SlowDisk:
    """Stands for books that take as long as a test wants."""

    def __init__(self, clock: Clock) -> None:
        self.reached, self.let_go = threading.Event(), threading.Event()
        self._clock = clock

    def now_us(self) -> int:
        self.reached.set()
        assert self.let_go.wait(10)
        return self._clock.now


async def test_a_question_that_is_given_up_is_left_at_once(region: Region) -> None:
    disk = SlowDisk(region.clock)
    accounts = HostAccounts(region.path, charter(), clock=trio.current_time, now_us=disk.now_us)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accounts.answer, ADA, "bavaria")
        await trio.to_thread.run_sync(disk.reached.wait)
        nursery.cancel_scope.cancel()
    assert not disk.let_go.is_set()
    disk.let_go.set()
    assert isinstance(await accounts.answer(BOB, "bavaria"), Account)


async def test_an_answer_that_takes_too_long_is_unavailable(
    region: Region, autojump_clock: MockClock
) -> None:
    disk = SlowDisk(region.clock)
    accounts = HostAccounts(region.path, charter(), clock=trio.current_time, now_us=disk.now_us)
    try:
        answer = await accounts.answer(ADA, "bavaria")
    finally:
        disk.let_go.set()
    assert answer == AccountNotTold(reason="unavailable")


def books(**fields: Any) -> HostBooks:
    plain: dict[str, Any] = {
        "host": ADA,
        "earned": 100,
        "rested": 40,
        "paid": 0,
        "receipts": 0,
        "first_receipt_us": 0,
        "oldest_resting_us": 10 * DAY_US,
    }
    return HostBooks(**(plain | fields))


RESTING = [DatedAmount(40 * DAY_US, 25), DatedAmount(45 * DAY_US, 35)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, RESTING),
        # Full trust comes first: all of it is free with it.
        (
            {"receipts": 1_000, "first_receipt_us": -48 * DAY_US},
            [DatedAmount(40 * DAY_US, 25), DatedAmount(42 * DAY_US, 35)],
        ),
        ({"receipts": 1_000, "first_receipt_us": -60 * DAY_US}, [DatedAmount(30 * DAY_US, 60)]),
        ({"receipts": 999, "first_receipt_us": -60 * DAY_US}, RESTING),
        ({"receipts": 1_000, "first_receipt_us": -90 * DAY_US}, []),
        # Paid out ahead, as a rule of before allowed.
        ({"paid": 70}, [DatedAmount(45 * DAY_US, 30)]),
    ],
)
def test_escrow_comes_free_by_the_rule(fields: dict[str, Any], expected: list[DatedAmount]) -> None:
    found = books(**fields)
    shown = standing(found, TERMS.escrow, 11 * DAY_US)
    dated = releases(found, shown, RESTING)
    assert list(dated) == expected
    assert sum(one.amount for one in dated) == shown.resting
