"""What the region commands look at: the charter in force, the ledger, and a region in both."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from peerllm.charter.command_options import chosen_root, reckoned
from peerllm.charter.errors import CharterError
from peerllm.charter.loading import Charter
from peerllm.charter.region_record import RegionRecord
from peerllm.charter.region_rules import last_full_months
from peerllm.charter.seat_rules import SeatNeed, seat_need
from peerllm.charter.store import load_charter
from peerllm.coordinator.accounts import Seat, WaitingHost, check_region
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.region_figures import MonthBook, RegionLedger, open_region_ledger
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.storage_schema import DATABASE_FILE
from peerllm.crypto.errors import CryptoError

Region = Annotated[str, typer.Argument(help="Name of the region.", metavar="REGION")]
Data = Annotated[Path, typer.Option("--data-directory", help="Folder of the coordinator's state.")]
CharterFolder = Annotated[
    Path, typer.Option("--charter-directory", help="Public folder of the network.")
]

# What a command refuses with one sentence; anything else is a bug.
EXPECTED: Final = (CoordinatorError, CharterError, CryptoError)


class UnknownRegionError(CoordinatorError):
    """No record of the charter and no seat names the region."""


class SeatRefusedError(CoordinatorError):
    """The charter's rules, or where a region or host stands, forbid what was asked."""


@dataclass(frozen=True, slots=True)
class RegionView:
    """The charter as verified and the ledger at one moment; times in epoch microseconds."""

    charter: Charter
    ledger: RegionLedger
    database: Path
    now_us: int

    @property
    def regions(self) -> tuple[str, ...]:
        """Every region that the charter or a seat knows, by name."""
        return tuple(sorted({*self.charter.regions, *self.ledger.regions()}))

    def record(self, region: str) -> RegionRecord | None:
        """The region's record; None for hosts that no record has been published of yet."""
        check_region(region)
        if region not in self.regions:
            known = ", ".join(self.regions) or "none"
            raise UnknownRegionError(
                f"there is no region {region!r}: no record and no seat names it; known: {known}"
            )
        return self.charter.regions.get(region)

    def published(self, region: str) -> RegionRecord:
        """The region's record; raises UnknownRegionError when none has been published."""
        record = self.record(region)
        if record is None:
            raise UnknownRegionError(
                f"region {region!r} has no record yet; draft one with: peerllm region open"
            )
        return record

    def months(self, count: int) -> tuple[MonthBook, ...]:
        """The books of the last full months, oldest first."""
        days = self.charter.terms.federation.active_days_per_month
        return tuple(
            self.ledger.month(month, days) for month in last_full_months(self.now_us, count)
        )

    def storage(self) -> StorageFile:
        """The database opened for writing, under the clock of this view."""
        return StorageFile(self.database, clock=lambda: self.now_us)

    def names(self) -> Mapping[bytes, str]:
        """Models' names by digest; a model that left the catalogue keeps its digest's beginning."""
        return {model.digest: name for name, model in self.charter.catalogue.models.items()}

    def digest(self, model: str) -> bytes:
        """The digest of a model of the catalogue."""
        found = self.charter.catalogue.models.get(model)
        if found is None:
            known = ", ".join(sorted(self.charter.catalogue.models))
            raise CoordinatorError(f"there is no model {model!r} in the catalogue; it has {known}")
        return found.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSeats:
    """One model's seats in a region: what is needed, offered, held and waited for."""

    model: str
    digest: bytes
    need: SeatNeed
    held: int
    paused: int
    waiting: int


@dataclass(frozen=True, slots=True)
class RegionSeats:
    """A region's seats, model by model, its seated hosts and its waiting list."""

    models: tuple[ModelSeats, ...]
    hosts: tuple[Seat, ...]
    line: tuple[WaitingHost, ...]


def seats_of(view: RegionView, region: str) -> RegionSeats:
    """Work out a region's seats: from its own capacity where it is federated, else from demand."""
    view.record(region)
    policy = view.charter.terms.seats
    capacity = view.charter.capacities.get(region)
    with StorageFile(view.database, clock=lambda: view.now_us, read_only=True) as storage:
        # What the network runs itself is called upon when no seat can serve; it holds none.
        hosts = tuple(
            seat for seat in storage.seats() if seat.region == region and seat.tier == "community"
        )
        offered, line = storage.seats_offered(region), storage.waiting(region)
    busy = view.ledger.busiest_hours(region, policy.steady_days)
    models = []
    for name, model in sorted(view.charter.catalogue.models.items()):
        digest = model.digest
        holders = [seat for seat in hosts if digest in seat.digests]
        by_itself = None if capacity is None else capacity.seats.get(name, 0)
        need = seat_need(
            busy.get(digest, [0] * policy.steady_days),
            redundancy=view.charter.terms.race_size,
            offered=offered.get(digest, 0) if by_itself is None else by_itself,
            policy=policy,
            target_utilisation_basis_points=(
                None if capacity is None else capacity.target_utilisation_basis_points
            ),
        )
        models.append(
            ModelSeats(
                model=name,
                digest=digest,
                need=need,
                held=len(holders),
                paused=sum(seat.pause is not None for seat in holders),
                waiting=sum(entry.digest == digest for entry in line),
            )
        )
    return RegionSeats(tuple(models), hosts, line)


def require_offering(view: RegionView, region: str) -> None:
    """Raise SeatRefusedError when a region may not offer seats."""
    if view.published(region).status == "suspended":
        raise SeatRefusedError(f"region {region!r} is suspended: it offers no new seats")


@contextmanager
def region_view(
    data_directory: Path, charter_directory: Path, root: Path | None, at: datetime | None
) -> Iterator[RegionView]:
    """Verify the charter and open the ledger; raises a CharterError or StorageError."""
    now = reckoned(at)
    now_us = int(now.timestamp() * 1_000_000)
    charter = load_charter(
        charter_directory,
        trusted_root=chosen_root(charter_directory, root),
        state_directory=None,
        now=now,
    )
    database = data_directory / DATABASE_FILE
    with open_region_ledger(database, now_us, check_clock=at is None) as ledger:
        yield RegionView(charter, ledger, database, now_us)


def moment(moment_us: int) -> str:
    """Return a moment for people, in UTC."""
    return f"{datetime.fromtimestamp(moment_us / 1_000_000, UTC):%Y-%m-%d %H:%M}"
