"""What ledger and receipts say of regions: revenue, active hosts and demand, with their rows.

A customer's charge belongs to regions in proportion to what their hosts were paid for it, to the
nano-USD: all regions together with what nobody claimed make up all charges. Where a host was seated
when it worked decides, not where it is seated now. Times are the coordinator's own.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from sqlite_utils import Database

from peerllm.charter.region_record import MonthFigures
from peerllm.charter.region_rules import month_bounds
from peerllm.charter.seat_rules import DAY_US, HOUR_US
from peerllm.coordinator.errors import StorageError
from peerllm.coordinator.ledger import HOST_PREFIX, UNCLAIMED_ACCOUNT
from peerllm.coordinator.seat_history import SeatHistory
from peerllm.coordinator.settlement import split
from peerllm.coordinator.storage_schema import io_errors, open_database
from peerllm.crypto.encoding import decode_canonical
from peerllm.crypto.errors import DecodingError
from peerllm.crypto.receipt import Receipt
from peerllm.crypto.signed import MAXIMUM_BLOB_BYTES, read_blob

# The part of the revenue that no host claimed; no region's name has brackets.
UNCLAIMED: Final = "(unclaimed)"

# Clocks of machines that are kept in time differ by less; a clock wrong by a day does not.
_CLOCK_TOLERANCE_US: Final = 5 * 60 * 1_000_000

_FIRST_DAY: Final = date(1970, 1, 1).toordinal()

COLUMNS: Final = (
    "kind",
    "month",
    "region",
    "reservation",
    "host",
    "operator",
    "day",
    "receipt",
    "charge_nano_usd",
    "paid_nano_usd",
    "part_nano_usd",
)


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """A region's part of one customer's charge, by what its hosts were paid of it; nano-USD."""

    reservation_id: str
    region: str
    charge: int
    paid: int
    part: int


@dataclass(frozen=True, slots=True)
class DayRow:
    """A UTC day (days since 1970) on which a host was paid for work, and its first such receipt."""

    host: str
    operator: str
    region: str
    day: int
    receipt: bytes


@dataclass(frozen=True, slots=True)
class MonthBook:
    """All that one full month's figures rest on, of every region."""

    month: str
    charges: tuple[ChargeRow, ...]
    days: tuple[DayRow, ...]
    active_days: int

    def revenue(self) -> Counter[str]:
        """Nano-USD by region; with the parts that are no region's they sum to all charges."""
        sums: Counter[str] = Counter()
        for row in self.charges:
            sums[row.region] += row.part
        return sums

    def active_hosts(self) -> Counter[str]:
        """Hosts by region that were paid on enough days there.

        A host counts in one region at most, the one in which it worked on most days.
        """
        return Counter(region for _, region in self._active())

    def operators(self, region: str) -> frozenset[str]:
        """Who ran a region's active hosts."""
        active = set(self._active())
        return frozenset(
            row.operator
            for row in self.days
            if row.region == region and (row.host, region) in active
        )

    def _active(self) -> Iterator[tuple[str, str]]:
        worked: dict[str, Counter[str]] = defaultdict(Counter)
        for row in self.days:
            worked[row.host][row.region] += 1
        for host, regions in worked.items():
            days, region = max((days, region) for region, days in regions.items())
            if days >= self.active_days:
                yield host, region

    def rows(self, region: str) -> str:
        """The rows behind a region's figures as CSV, the same for the same ledger to the byte."""
        text = io.StringIO()
        lines = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        lines.writeheader()
        common = {"month": self.month, "region": region}
        for charge in self.charges:
            if charge.region == region:
                lines.writerow(
                    common
                    | {
                        "kind": "charge",
                        "reservation": charge.reservation_id,
                        "charge_nano_usd": charge.charge,
                        "paid_nano_usd": charge.paid,
                        "part_nano_usd": charge.part,
                    }
                )
        for day in self.days:
            if day.region == region:
                lines.writerow(
                    common
                    | {
                        "kind": "day",
                        "host": day.host,
                        "operator": day.operator,
                        "day": date.fromordinal(_FIRST_DAY + day.day).isoformat(),
                        "receipt": day.receipt.hex(),
                    }
                )
        return text.getvalue()

    def figures(self, region: str) -> MonthFigures:
        """What a region's record keeps of the month."""
        return MonthFigures(
            month=self.month,
            revenue_nano_usd=self.revenue()[region],
            active_hosts=self.active_hosts()[region],
            operators=len(self.operators(region)),
            rows_sha256=sha256(self.rows(region).encode()).hexdigest(),
        )


class RegionLedger:
    """Reads a coordinator's database at one moment, whoever writes meanwhile."""

    def __init__(self, database: Database, now_us: int, *, check_clock: bool) -> None:
        self._database = database
        self._now_us = now_us
        self._seats = SeatHistory(self._rows("SELECT * FROM seat_history ORDER BY since_us, entry"))
        if check_clock:
            self._refuse_a_wrong_clock()

    def _rows(self, sql: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        with io_errors("reading the database"):
            rows: Iterator[tuple[Any, ...]] = self._database.execute(sql, parameters)
            yield from rows

    def _refuse_a_wrong_clock(self) -> None:
        ((latest,),) = self._rows(
            "SELECT MAX((SELECT COALESCE(MAX(recorded_at_us), 0) FROM receipts),"
            " (SELECT COALESCE(MAX(recorded_at_us), 0) FROM transfers))"
        )
        if latest > self._now_us + _CLOCK_TOLERANCE_US:
            raise StorageError(
                f"the ledger's latest entry is {(latest - self._now_us) // 1_000_000} seconds ahead"
                " of this machine's clock: set the clock, or no month can be told from another"
            )

    def regions(self) -> tuple[str, ...]:
        """Every region that a host was ever seated in, by name."""
        return self._seats.regions

    def operators(self, region: str, at_us: int) -> dict[str, str]:
        """Who ran the hosts that were seated in a region at a moment, by host."""
        return {
            host: self._seats.operator_of(host, at_us)
            for host in self._seats.hosts
            if self._seats.region_of(host, at_us) == region
        }

    def month(self, month: str, active_days: int) -> MonthBook:
        """Read one full month. `active_days`: on how many days an active host was paid for work."""
        begins, ends = month_bounds(month)
        if ends > self._now_us:
            raise StorageError(f"the month {month} is not over; only full months count")
        return MonthBook(
            month=month,
            charges=tuple(self._charges(begins, ends)),
            days=tuple(self._days(begins, ends)),
            active_days=active_days,
        )

    def _charges(self, begins: int, ends: int) -> Iterator[ChargeRow]:
        legs = self._rows(
            "SELECT reservation_id, charge, credit_account, transfers.amount, recorded_at_us"
            " FROM reservations JOIN transfers USING (reservation_id)"
            " WHERE state = 'posted' AND closed_at_us >= ? AND closed_at_us < ?"
            " AND credit_account GLOB ? ORDER BY reservation_id, credit_account",
            begins,
            ends,
            HOST_PREFIX + "*",
        )
        for (reservation_id, charge), its_legs in groupby(legs, key=itemgetter(0, 1)):
            paid: Counter[str] = Counter()
            for _, _, account, amount, recorded_at_us in its_legs:
                paid[self._payee(account, recorded_at_us)] += amount
            for region, part in sorted(split(charge, paid).items()):
                yield ChargeRow(reservation_id, region, charge, paid[region], part)

    def _payee(self, account: str, at_us: int) -> str:
        if account == UNCLAIMED_ACCOUNT:
            return UNCLAIMED
        return self._seats.region_of(account.removeprefix(HOST_PREFIX), at_us)

    def _days(self, begins: int, ends: int) -> Iterator[DayRow]:
        paid = self._rows(
            "SELECT host, dispatch_id, receipts.recorded_at_us FROM receipts JOIN transfers"
            " ON transfers.reservation_id = receipts.reservation_id"
            " AND transfers.credit_account = ? || host"
            " WHERE receipts.recorded_at_us >= ? AND receipts.recorded_at_us < ?"
            " ORDER BY host, receipts.recorded_at_us, dispatch_id",
            HOST_PREFIX,
            begins,
            ends,
        )
        seen: set[tuple[str, str, int]] = set()
        for host, dispatch_id, recorded_at_us in paid:
            region, day = self._seats.region_of(host, recorded_at_us), recorded_at_us // DAY_US
            if (host, region, day) not in seen:
                seen.add((host, region, day))
                operator = self._seats.operator_of(host, recorded_at_us)
                yield DayRow(host, operator, region, day, dispatch_id)

    def busiest_hours(self, region: str, days: int) -> dict[bytes, list[int]]:
        """How long, in microseconds of useful streams, each model's busiest hour of a day was.

        By model digest, for the last full UTC days, oldest first. Useful are the streams that were
        finished and paid; a stream counts for no longer than its request was open here.
        """
        ends = self._now_us // DAY_US * DAY_US
        begins = ends - days * DAY_US
        hours: dict[bytes, Counter[int]] = defaultdict(Counter)
        for host, raw, opened_at_us, recorded_at_us in self._rows(
            "SELECT host, raw, opened_at_us, receipts.recorded_at_us FROM receipts"
            " JOIN reservations USING (reservation_id)"
            " JOIN transfers ON transfers.reservation_id = reservations.reservation_id"
            " AND transfers.credit_account = ? || host"
            # A stream of the last hour of the day before may end in the first one of these days.
            " WHERE receipts.recorded_at_us >= ? AND opened_at_us < ?",
            HOST_PREFIX,
            begins,
            ends,
        ):
            receipt = read_receipt(host, raw)
            if receipt.outcome != "complete":
                continue
            if self._seats.region_of(host, recorded_at_us) != region:
                continue
            began = max(opened_at_us, recorded_at_us - receipt.duration_us)
            hours[receipt.model_digest].update(_by_hour(began, recorded_at_us))
        first = begins // HOUR_US
        return {
            digest: [
                max(busy[first + 24 * day + hour] for hour in range(24)) for day in range(days)
            ]
            for digest, busy in hours.items()
        }


@contextmanager
def open_region_ledger(
    path: Path, now_us: int, *, check_clock: bool = True
) -> Iterator[RegionLedger]:
    """Open a coordinator's database to read figures from it; raises StorageError.

    `check_clock`: refuse when entries are later than `now_us`, which then is no machine's clock
    to tell months by. Without it, one may reckon as at a moment that has passed.
    """
    database = open_database(path, read_only=True)
    try:
        with database.atomic():
            yield RegionLedger(database, now_us, check_clock=check_clock)
    finally:
        database.close()


def read_receipt(host: str, raw: bytes) -> Receipt:
    """The receipt in signed bytes that the database keeps; raises StorageError."""
    blob = read_blob(raw)
    try:
        if blob is not None:
            return decode_canonical(blob.body, Receipt, maximum_bytes=MAXIMUM_BLOB_BYTES)
    except DecodingError:
        pass
    raise StorageError(f"a receipt of {host} in the database cannot be read; restore a good copy")


def _by_hour(began_us: int, ended_us: int) -> Mapping[int, int]:
    """How much of a span falls into each hour since 1970."""
    parts = {}
    for hour in range(began_us // HOUR_US, ended_us // HOUR_US + 1):
        parts[hour] = min(ended_us, (hour + 1) * HOUR_US) - max(began_us, hour * HOUR_US)
    return parts
