"""Loading a charter: TUF's whole client workflow over a folder, then four typed documents.

The trust model is The Update Framework's (https://theupdateframework.github.io/specification):
a threshold of stewards signs, whoever copies the files cannot change, mix or roll them back.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import (  # type: ignore[attr-defined]  # re-exported without saying so
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError
from tuf.ngclient.updater import Updater

from peerllm.charter.documents import (
    MAXIMUM_DOCUMENT_BYTES,
    CharterTerms,
    Document,
    ModelCatalogue,
    SafetyStandard,
    Tariff,
    check_together,
    document_name,
    read_document,
)
from peerllm.charter.errors import (
    AlteredDocument,
    BadSignature,
    CharterError,
    Expired,
    Malformed,
    MissingDocument,
    NotYetInForce,
    RolledBack,
    TooFewSignatures,
)
from peerllm.charter.folder import METADATA, TARGETS, FolderFetcher

_ROOT_FILE: Final = f"{METADATA}/1.root.json"
# How TUF's client words it: "timestamp was signed by 1/2 keys".
_THRESHOLD: Final = re.compile(r"/([0-9]+) keys")


@dataclass(frozen=True, slots=True)
class Charter:
    """A verified charter. `version` counts what has been published, from 1.

    `threshold` of `stewards` must sign; at `expires_at` it ends unless a newer one is published.
    """

    terms: CharterTerms
    tariff: Tariff
    catalogue: ModelCatalogue
    standard: SafetyStandard
    version: int
    expires_at: datetime
    stewards: int
    threshold: int


def founding_root(directory: Path) -> bytes:
    """Return the root that a folder itself brings: trust on first use.

    Only for one's own network or after comparing its digest with the stewards by another way.
    Raises MissingDocument.
    """
    try:
        return (directory / _ROOT_FILE).read_bytes()
    except OSError as error:
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
        charter = verify_folder(directory, trusted_root, state, now)
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


def verify_folder(
    directory: Path, trusted_root: bytes | None, state: Path, now: datetime
) -> Charter:
    """Do what `load_charter` does, but accept a tariff that is not yet in force."""
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
        updater._trusted_set.reference_time = now
        updater.refresh()
        charter = _read_documents(updater, metadata)
    except RepositoryError as error:
        raise _refused(error, fetcher) from error
    except DownloadLengthMismatchError as error:
        raise _altered(fetcher) from error
    except DownloadHTTPError as error:
        raise MissingDocument(f"{fetcher.latest} is missing from {directory}") from error
    except (DownloadError, OSError) as error:
        cause = error.__cause__ or error
        raise MissingDocument(f"{fetcher.latest or directory} cannot be read: {cause}") from error
    check_together(charter.terms, charter.tariff, charter.catalogue)
    return charter


def _read_documents(updater: Updater, metadata: Path) -> Charter:
    root = Metadata[Root].from_file(str(metadata / "root.json")).signed
    targets = Metadata[Targets].from_file(str(metadata / "targets.json")).signed
    snapshot = Metadata[Snapshot].from_file(str(metadata / "snapshot.json")).signed
    timestamp = Metadata[Timestamp].from_file(str(metadata / "timestamp.json")).signed
    return Charter(
        terms=_document(updater, CharterTerms),
        tariff=_document(updater, Tariff),
        catalogue=_document(updater, ModelCatalogue),
        standard=_document(updater, SafetyStandard),
        version=timestamp.version,
        expires_at=min(part.expires for part in (root, targets, snapshot, timestamp)),
        stewards=len(root.roles[Targets.type].keyids),
        threshold=root.roles[Targets.type].threshold,
    )


def _document(updater: Updater, kind: type[Document]) -> Document:
    file_name = f"{document_name(kind)}.json"
    target = updater.get_targetinfo(file_name)
    if target is None:
        raise MissingDocument(f"the stewards have signed no {file_name}; ask them to publish one")
    if target.length > MAXIMUM_DOCUMENT_BYTES:
        raise Malformed(
            f"{file_name} has {target.length} bytes, at most {MAXIMUM_DOCUMENT_BYTES} are allowed"
        )
    return read_document(Path(updater.download_target(target)).read_bytes(), kind)


def _refused(error: RepositoryError, fetcher: FolderFetcher) -> CharterError:
    name = fetcher.latest or "the trusted root"
    match error:
        case UnsignedMetadataError():
            return _unsigned(error, name, fetcher.latest_raw)
        case ExpiredMetadataError():
            return Expired(f"the charter has expired ({error}); ask the stewards for a newer one")
        case BadVersionNumberError():
            return RolledBack(
                f"{name} is older than what was seen before, or does not belong to the rest"
                f" ({error}); get the newest charter"
            )
        case LengthOrHashMismatchError():
            return _altered(fetcher)
        case DeserializationError():
            return Malformed(f"{name} is not a TUF metadata file; get it again")
        case _:
            return Malformed(f"{name}: {error}")


def _altered(fetcher: FolderFetcher) -> AlteredDocument:
    return AlteredDocument(f"{fetcher.latest} is not what the stewards signed; get it again")


def _unsigned(error: UnsignedMetadataError, name: str, raw: bytes) -> BadSignature:
    """Tell missing signatures from wrong ones; TUF's client only says how many were good."""
    present = len(Metadata[Root].from_bytes(raw).signatures) if raw else 0
    threshold = _THRESHOLD.search(str(error))
    if threshold and present < int(threshold[1]):
        return TooFewSignatures(
            f"{name} carries {present} of the {threshold[1]} stewards' signatures it needs; do not"
            " use this charter"
        )
    return BadSignature(
        f"{name} has signatures that are wrong or not the stewards' ({error}); do not use this"
        " charter"
    )
