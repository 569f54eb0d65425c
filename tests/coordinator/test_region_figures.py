"""Figures of regions from a real database: whole to the nano-USD, and never rewritten."""

import csv
import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from region_stage import DIGEST, USD, Clock, Region

from peerllm.charter.governance import FederationRule
from peerllm.charter.region_record import MonthFigures, RegionRecord
from peerllm.charter.region_rules import (
    due_step,
    last_full_months,
    month_bounds,
    open_region,
    take_step,
)
from peerllm.charter.seat_rules import DAY_US, HOUR_US
from peerllm.coordinator.accounts import SignedReceipt
from peerllm.coordinator.errors import NameRefusedError, StorageError, StorageVersionError
from peerllm.coordinator.region_figures import (
    UNCLAIMED,
    ChargeRow,
    MonthBook,
    open_region_ledger,
)
from peerllm.coordinator.seat_history import DEDICATED, UNSEATED
from peerllm.coordinator.settlement import split
from peerllm.coordinator.storage_file import StorageFile

RULE = FederationRule(statement="as published")
HOSTS = [f"host-{number:02}" for number in range(50)]


@pytest.fixture
def region(tmp_path: Path) -> Region:
    return Region(tmp_path / "coordinator.sqlite", Clock(month_bounds("2026-01")[0]))


def book(region: Region, month: str) -> MonthBook:
    """The month's book, read as soon as the month is over."""
    region.clock.now = max(region.clock.now, month_bounds(month)[1])
    with open_region_ledger(region.path, region.clock.now) as ledger:
        return ledger.month(month, RULE.active_days_per_month)


def latest(region: Region, count: int) -> list[MonthFigures]:
    months = last_full_months(region.clock.now, count)
    return [book(region, month).figures("bavaria") for month in months]


def test_three_months_over_the_thresholds_federate_and_one_below_does_not(region: Region) -> None:
    region.seat(HOSTS)
    record = open_region("bavaria", contact="c", reason="founded", now_us=region.clock.now)
    for month in ("2026-01", "2026-02", "2026-03"):
        region.month(month, HOSTS, 50_000 * USD)
    book(region, "2026-03")
    now_us, months = region.clock.now, latest(region, 3)
    assert [one.revenue_nano_usd for one in months] == [50_000 * USD] * 3
    assert [one.active_hosts for one in months] == [50] * 3
    active = take_step(
        record, "activate", figures=months, rule=RULE, now_us=now_us, reason="five hosts"
    )
    assert isinstance(active, RegionRecord)
    assert due_step(active, months, RULE, now_us) == "federate"

    region.month("2026-04", HOSTS, 50_000 * USD - 1)
    region.month("2026-05", HOSTS[1:], 50_000 * USD)
    book(region, "2026-05")
    with StorageFile(region.path, clock=region.clock) as storage:
        assert storage.ledger_check().balanced
    april, may = latest(region, 2)
    assert (april.revenue_nano_usd, april.active_hosts) == (50_000 * USD - 1, 50)
    assert (may.revenue_nano_usd, may.active_hosts, may.operators) == (50_000 * USD, 49, 49)
    assert due_step(active, [*months[1:], april], RULE, month_bounds("2026-04")[1]) is None
    assert due_step(active, [months[2], april, may], RULE, region.clock.now) is None


def test_a_charge_belongs_to_regions_as_their_hosts_were_paid(region: Region) -> None:
    region.seat(["a", "b"])
    region.name = "tyrol"
    region.seat(["c"])
    region.seat(["d"], dedicated=True)
    region.clock.now += DAY_US
    with StorageFile(region.path, clock=region.clock) as storage:
        # 95 go to hosts: 30 unclaimed, and 13 to each of a, b, c, d, stranger.
        region.work(storage, ["a", "b", "c", "d", "stranger"], 100, unclaimed=30)
        region.work(storage, [], 7, unclaimed=7)
    january = book(region, "2026-01")
    by_region = {row.region: row.part for row in january.charges if row.charge == 100}
    assert by_region == {"bavaria": 27, "tyrol": 14, DEDICATED: 14, UNSEATED: 14, UNCLAIMED: 31}
    assert january.revenue().total() == 107
    assert january.revenue()[UNCLAIMED] == 38


def test_moving_to_another_region_rewrites_nothing(region: Region) -> None:
    region.seat(["a"])
    region.month("2026-01", ["a"], 1_000)
    before = book(region, "2026-01")
    region.name = "tyrol"
    region.seat(["a"])
    region.month("2026-02", ["a"], 500)
    region.clock.now += 1
    with StorageFile(region.path, clock=region.clock) as storage:
        storage.unseat("a")
    assert book(region, "2026-01") == before
    assert before.revenue() == Counter(bavaria=1_000)
    assert before.active_hosts() == Counter(bavaria=1)
    assert before.operators("bavaria") == {"operator-a"}
    assert before.operators("tyrol") == frozenset()
    assert book(region, "2026-02").revenue() == Counter(tyrol=500)
    with open_region_ledger(region.path, region.clock.now) as ledger:
        assert ledger.regions() == ("bavaria", "tyrol")


def test_an_active_host_was_paid_on_ten_days_of_one_region(region: Region) -> None:
    region.seat(["a", "b"])
    region.month("2026-01", ["a"], 1_000, days=9)
    region.month("2026-01", ["b"], 1_000, days=12)
    region.name = "tyrol"
    region.clock.now = month_bounds("2026-01")[0] + 13 * DAY_US
    region.seat(["b"])
    with StorageFile(region.path, clock=region.clock) as storage:
        for _ in range(13):
            region.clock.now += DAY_US
            region.work(storage, ["b"], 10)
            # Unpaid work, however often, makes no host active.
            storage.record_receipts([SignedReceipt("a", region.requests.to_bytes(16), b"late")])
    assert book(region, "2026-01").active_hosts() == Counter(tyrol=1)


def test_the_rows_add_up_to_the_figures_and_stay_the_same(region: Region) -> None:
    region.seat(HOSTS[:3])
    region.month("2026-01", HOSTS[:3], 12_345)
    january = book(region, "2026-01")
    text = january.rows("bavaria")
    rows = list(csv.DictReader(text.splitlines()))
    assert sum(int(row["part_nano_usd"]) for row in rows if row["kind"] == "charge") == 12_345
    days = Counter(row["host"] for row in rows if row["kind"] == "day")
    assert days == Counter(dict.fromkeys(HOSTS[:3], 10))
    assert {row["day"] for row in rows if row["kind"] == "day"} >= {"2026-01-01", "2026-01-10"}
    assert january.figures("bavaria") == book(region, "2026-01").figures("bavaria")
    assert january.figures("bavaria").rows_sha256 != january.figures("tyrol").rows_sha256
    assert "customers" not in text


@given(
    st.lists(
        st.tuples(
            st.integers(1, 10**14),
            st.dictionaries(
                st.sampled_from(("bavaria", "tyrol", UNCLAIMED, DEDICATED)),
                st.integers(1, 10**14),
                min_size=1,
            ),
        ),
        max_size=8,
    )
)
def test_all_regions_together_make_up_all_charges(
    requests: list[tuple[int, Mapping[str, int]]],
) -> None:
    rows = [
        ChargeRow(f"request-{number}", payee, charge, paid[payee], part)
        for number, (charge, paid) in enumerate(requests)
        for payee, part in split(charge, paid).items()
    ]
    month = MonthBook("2026-01", tuple(rows), (), 10)
    assert month.revenue().total() == sum(charge for charge, _ in requests)
    assert min(month.revenue().values(), default=0) >= 0


def test_a_month_that_is_not_over_or_a_clock_that_is_off_is_refused(region: Region) -> None:
    region.seat(["a"])
    region.month("2026-01", ["a"], 100)
    ends = month_bounds("2026-01")[1]
    with (
        open_region_ledger(region.path, ends - 1) as ledger,
        pytest.raises(StorageError, match="not over"),
    ):
        ledger.month("2026-01", 10)
    behind = open_region_ledger(region.path, region.clock.now - DAY_US)
    with pytest.raises(StorageError, match="86400 seconds ahead of this machine's clock"):
        behind.__enter__()


def test_a_database_of_another_version_or_none_is_refused(region: Region, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere"):
        open_region_ledger(tmp_path / "nowhere", 0).__enter__()
    plain = sqlite3.connect(region.path)
    plain.execute("PRAGMA user_version = 1")
    plain.close()
    with pytest.raises(StorageVersionError, match="has version 1"):
        open_region_ledger(region.path, region.clock.now).__enter__()
    torn = tmp_path / "torn.sqlite"
    torn.touch(mode=0o600)
    torn.write_bytes(region.path.read_bytes()[:5_000])
    with pytest.raises(StorageError):
        open_region_ledger(torn, region.clock.now).__enter__()


@pytest.mark.parametrize("name", ["(unclaimed)", "", "../x", "North", "a" * 64, "a\n"])
def test_no_seat_is_in_a_region_that_cannot_be(region: Region, name: str) -> None:
    with (
        StorageFile(region.path, clock=region.clock) as storage,
        pytest.raises(NameRefusedError, match="cannot name a region"),
    ):
        storage.seat("a", "ada", "community", [DIGEST], region=name)


def test_demand_is_the_busiest_hour_of_useful_streams(region: Region) -> None:
    region.seat(["a"])
    noon = region.clock.now + DAY_US + 12 * HOUR_US
    with StorageFile(region.path, clock=region.clock) as storage:

        def ended(at_us: int, claimed: int, open_for: int, outcome: str = "complete") -> None:
            region.clock.now = at_us
            receipts = [region.receipt("a", seconds=claimed, outcome=outcome)]
            open_us = open_for * 1_000_000
            region.work(storage, ["a"], 100, receipts=receipts, opened_us_ago=open_us)

        ended(noon - 1, 1_800, 1_800)
        ended(noon + 600 * 1_000_000, 1_200, 1_300)
        # Whoever claims more than the request was open is believed that much only.
        ended(noon + 1_200 * 1_000_000, 80_000, 60)
        ended(noon + 1_300 * 1_000_000, 900, 900, "cancelled")
    region.clock.now = noon + 2 * DAY_US
    with open_region_ledger(region.path, region.clock.now) as ledger:
        assert ledger.busiest_hours("bavaria", 3) == {DIGEST: [0, 2_400 * 1_000_000, 0]}
        assert ledger.busiest_hours("tyrol", 3) == {}


def test_a_receipt_that_cannot_be_read_is_no_demand_but_an_error(region: Region) -> None:
    region.seat(["a"])
    with StorageFile(region.path, clock=region.clock) as storage:
        region.work(storage, ["a"], 100, receipts=[SignedReceipt("a", bytes(16), b"torn")])
    region.clock.now += DAY_US
    with (
        open_region_ledger(region.path, region.clock.now) as ledger,
        pytest.raises(StorageError, match="receipt of a in the database cannot be read"),
    ):
        ledger.busiest_hours("bavaria", 14)
