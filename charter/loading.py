"""Loading a charter: TUF's whole client workflow over a folder, then its typed documents.

The trust model is The Update Framework's (https://theupdateframework.github.io/specification):
a threshold of stewards signs, whoever copies the files cannot change, mix or roll them back.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    RepositoryError,
)
from tuf.api.metadata import (
    Metadata,
    Snapshot,
    TargetFile,
    Timestamp,
)
from tuf.ngclient.updater import Updater

from peerllm.charter.catalogue import ModelCatalogue
from peerllm.charter.errors import Malformed, MissingDocument, NotYetInForce, WrongClock
from peerllm.charter.folder import METADATA, TARGETS, FolderFetcher, read_bounded
from peerllm.charter.metadata import signed_at
from peerllm.charter.refusals import altered, refused
from peerllm.charter.region_loading import read_capacities
from peerllm.charter.region_record import LocalCapacity, RegionRecord
from peerllm.charter.standard import SafetyStandard
from peerllm.charter.steward_terms import term_ends
from peerllm.charter.stewards import Steward
from peerllm.charter.tariff import Tariff
from peerllm.charter.terms import CharterTerms
from peerllm.charter.versions import CharterVersion, read_version

_ROOT_FILE: Final = f"{METADATA}/1.root.json"
# Two machines that keep time by themselves may be minutes apart; a day is a wrong clock.
CLOCK_TOLERANCE: Final = timedelta(minutes=10)
_BEFORE_ANY_EXPIRY: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Charter:
    """A verified charter. `version` counts what the stewards have put in force, from 1.

    `threshold` of `stewards` must sign; at `expires_at` it ends unless a newer one is published, or
    its operator has made a newer timestamp. `capacities` are what federated regions have set
    themselves; `notices` say of the others why theirs does not count. `ballot` is the id of the
    proposal, or of the founding, that led to this version. `term_ends_us`: when the stewards' terms
    end, by public key; a term of before terms were dated is not in it.
    """

    terms: CharterTerms
    tariff: Tariff
    catalogue: ModelCatalogue
    standard: SafetyStandard
    calculations: Mapping[str, bytes]
    regions: Mapping[str, RegionRecord]
    capacities: Mapping[str, LocalCapacity]
    notices: tuple[str, ...]
    version: int
    ballot: str
    expires_at: datetime
    stewards: tuple[Steward, ...]
    threshold: int
    term_ends_us: Mapping[str, int]


def founding_root(directory: Path) -> bytes:
    """Return the root that a folder itself brings: trust on first use.

    Only for one's own network or after comparing its digest with the stewards by another way.
    Raises MissingDocument or Malformed.
    """
    try:
        return read_bounded(directory / _ROOT_FILE)
    except MissingDocument as error:
        raise MissingDocument(
            f"{directory} holds no charter: {_ROOT_FILE} cannot be read; found a network first or"
            " give another folder"
        ) from error


def load_charter(
    directory: Path,
    *,
    trusted_root: bytes | None,
    state_directory: Path | None,
    now: datetime,
) -> Charter:
    """Verify a charter's folder against the trusted root and return its documents.

    `state_directory` remembers what was seen, which is what a roll back is noticed by; each process
    needs its own, and None remembers nothing. With `trusted_root` None the root remembered there is
    trusted. Raises a CharterError that says which document is wrong in which way.
    """
    with _state(state_directory) as state:
        charter = verify_folder(directory, trusted_root, state, now).charter
    tariff = charter.tariff
    if tariff.prices_at(int(now.timestamp() * 1_000_000)) is None:
        first_us = tariff.history[0].valid_from_us if tariff.history else tariff.valid_from_us
        starts = datetime.fromtimestamp(first_us / 1_000_000, UTC)
        raise NotYetInForce(f"the tariff is in force from {starts.isoformat()} on, not before")
    return charter


@contextmanager
def _state(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="peerllm-charter-") as temporary:
        yield Path(temporary)


@dataclass(frozen=True, slots=True)
class Published:
    """What a folder publishes, verified: the version in force, and that it is the newest."""

    charter: Charter
    version: CharterVersion
    snapshot: Snapshot
    snapshot_raw: bytes
    timestamp: Timestamp


def verify_folder(
    directory: Path,
    trusted_root: bytes | None,
    state: Path,
    now: datetime,
    *,
    also_expired: bool = False,
    also_ahead: bool = False,
) -> Published:
    """Do what `load_charter` does, but accept a tariff that is not yet in force.

    `also_expired`: an expired charter is amended like any other; its age does not make its
    signatures worse. `also_ahead`: so is a timestamp that was made by a clock that was ahead.
    """
    metadata = state / METADATA
    metadata.mkdir(parents=True, exist_ok=True)
    if trusted_root is None and not (metadata / "root.json").exists():
        raise MissingDocument(
            "no root is trusted yet: give the network's root file, which its stewards publish"
        )
    fetcher = FolderFetcher(directory)
    try:
        updater = Updater(
            str(metadata),
            METADATA,
            target_dir=str(state / TARGETS),
            target_base_url=TARGETS,
            fetcher=fetcher,
            bootstrap=trusted_root,
        )
        # The clock is the caller's. TUF's client offers no public way to say so.
        updater._trusted_set.reference_time = _BEFORE_ANY_EXPIRY if also_expired else now
        updater.refresh()
        return _published(updater, metadata, None if also_ahead else now)
    except RepositoryError as error:
        raise refused(error, fetcher, metadata, now) from error
    except DownloadLengthMismatchError as error:
        raise altered(fetcher) from error
    except DownloadHTTPError as error:
        raise MissingDocument(f"{fetcher.latest} is missing from {directory}") from error
    except (DownloadError, OSError) as error:
        cause = error.__cause__ or error
        raise MissingDocument(f"{fetcher.latest or directory} cannot be read: {cause}") from error


def _published(updater: Updater, metadata: Path, now: datetime | None) -> Published:
    snapshot_raw = (metadata / "snapshot.json").read_bytes()
    snapshot = Metadata[Snapshot].from_bytes(snapshot_raw).signed
    timestamp = Metadata[Timestamp].from_file(str(metadata / "timestamp.json")).signed
    if now is not None:
        _require_clock(timestamp, now)

    def fetch(_name: str, target: TargetFile) -> bytes:
        return Path(updater.download_target(target)).read_bytes()

    version = read_version(
        (metadata / "root.json").read_bytes(), (metadata / "targets.json").read_bytes(), fetch
    )
    capacities, notices = read_capacities(updater, version, snapshot)
    parts = (version.root, version.targets, snapshot, timestamp)
    documents = version.documents
    charter = Charter(
        terms=documents.terms,
        tariff=documents.tariff,
        catalogue=documents.catalogue,
        standard=documents.standard,
        calculations=documents.calculations,
        regions=documents.regions,
        capacities=capacities,
        notices=notices,
        version=version.number,
        ballot=version.ballot,
        expires_at=min(part.expires for part in parts),
        stewards=version.signatories.stewards,
        threshold=version.signatories.threshold,
        term_ends_us=term_ends(version.signatories, version.documents.terms.leadership),
    )
    return Published(charter, version, snapshot, snapshot_raw, timestamp)


def _require_clock(timestamp: Timestamp, now: datetime) -> None:
    made = signed_at(timestamp)
    if made is None:
        raise Malformed("timestamp.json does not say when it was made; get a newer one")
    if made > now + CLOCK_TOLERANCE:
        raise WrongClock(
            f"timestamp.json was made at {made:%Y-%m-%d %H:%M:%S} UTC and it is"
            f" {now:%Y-%m-%d %H:%M:%S} UTC by this machine's clock; set the clock"
        )
