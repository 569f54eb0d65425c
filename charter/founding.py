"""Founding a network and amending its charter: what stewards do, with their keys at hand."""

import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import (  # type: ignore[attr-defined]  # re-exported tacitly
    CryptoSigner,
)
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (  # type: ignore[attr-defined]  # re-exported without saying so
    TOP_LEVEL_ROLE_NAMES,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from peerllm.charter.documents import (
    CharterTerms,
    Document,
    ModelCatalogue,
    SafetyStandard,
    Tariff,
    check_together,
    document_name,
    write_document,
)
from peerllm.charter.errors import (
    AlreadyFounded,
    MissingDocument,
    RolledBack,
    TooFewSignatures,
)
from peerllm.charter.folder import METADATA, TARGETS, put_file
from peerllm.charter.loading import verify_folder
from peerllm.crypto.identity import Identity

Part = TypeVar("Part", Root, Targets, Snapshot, Timestamp)

STEWARDS: Final = ("steward-1", "steward-2", "steward-3")
THRESHOLD: Final = 2
_HASHES: Final = ["sha256"]
# An expired charter is amended like any other: its age does not make its signatures worse.
_BEFORE_ANY_EXPIRY: Final = datetime.min.replace(tzinfo=UTC)


def found_network(  # noqa: PLR0913 - four documents, given by name
    directory: Path,
    *,
    terms: CharterTerms,
    tariff: Tariff,
    catalogue: ModelCatalogue,
    standard: SafetyStandard,
    steward_keys_directory: Path,
    threshold: int = THRESHOLD,
    expires: datetime,
    stewards: Sequence[str] = STEWARDS,
) -> bytes:
    """Write a new network's signed charter and return the root that everybody is to trust.

    Every steward's key is taken from, or made in, `steward_keys_directory` as NAME.key (0600).
    Raises AlreadyFounded, Malformed, KeyFileError, and ValueError for an impossible threshold.
    """
    if len(set(stewards)) != len(stewards) or not 1 <= threshold <= len(stewards):
        raise ValueError(f"{threshold} of the stewards {', '.join(stewards)} cannot be a threshold")
    if (directory / METADATA / "timestamp.json").exists():
        raise AlreadyFounded(f"{directory} already holds a charter; amend it or take another one")
    documents = _spellings(terms, tariff, catalogue, standard)
    # Keys are made only now, so that a refused document leaves none behind.
    signers = [
        _signer(Identity.load_or_create(steward_keys_directory / f"{name}.key"))
        for name in stewards
    ]
    root = Root(expires=expires.astimezone(UTC), consistent_snapshot=True)
    for role in sorted(TOP_LEVEL_ROLE_NAMES):
        for signer in signers:
            root.add_key(signer.public_key, role)
        root.roles[role].threshold = threshold
    return _publish(directory, root, signers, documents, version=1)


def amend_network(  # noqa: PLR0913 - four documents, given by name
    directory: Path,
    *,
    trusted_root: bytes,
    steward_keys: Sequence[Path],
    expires: datetime,
    terms: CharterTerms | None = None,
    tariff: Tariff | None = None,
    catalogue: ModelCatalogue | None = None,
    standard: SafetyStandard | None = None,
) -> None:
    """Publish a charter's next version; without any document it only lives on until `expires`.

    What is there is verified first, so stewards never sign what somebody else put there. A document
    that is given must have a higher version than the one it replaces (RolledBack). Raises
    TooFewSignatures when these keys do not reach the threshold; nothing is published then.
    """
    with tempfile.TemporaryDirectory(prefix="peerllm-charter-") as temporary:
        state = Path(temporary)
        old = verify_folder(directory, trusted_root, state, _BEFORE_ANY_EXPIRY)
        root = Metadata[Root].from_file(str(state / METADATA / "root.json")).signed
    documents = _spellings(
        _newer(old.terms, terms),
        _newer(old.tariff, tariff),
        _newer(old.catalogue, catalogue),
        _newer(old.standard, standard),
    )
    signers = [_signer(_steward(path)) for path in steward_keys]
    # The root ends with the rest, so it is renewed with the rest.
    root.version += 1
    root.expires = expires.astimezone(UTC)
    _publish(directory, root, signers, documents, version=old.version + 1)


def _publish(
    directory: Path,
    root: Root,
    signers: Sequence[CryptoSigner],
    documents: dict[str, bytes],
    *,
    version: int,
) -> bytes:
    """Sign everything, then write it; the timestamp last, since readers follow it to the rest."""
    expires = root.expires
    files = {
        name: TargetFile.from_data(name, content, _HASHES) for name, content in documents.items()
    }
    root_raw = _signed(root, root, signers)
    targets_raw = _signed(Targets(version, expires=expires, targets=files), root, signers)
    targets_meta = MetaFile.from_data(version, targets_raw, _HASHES)
    snapshot = Snapshot(version, expires=expires, meta={"targets.json": targets_meta})
    snapshot_raw = _signed(snapshot, root, signers)
    snapshot_meta = MetaFile.from_data(version, snapshot_raw, _HASHES)
    timestamp = Timestamp(version, expires=expires, snapshot_meta=snapshot_meta)
    timestamp_raw = _signed(timestamp, root, signers)

    for name, content in documents.items():
        digest = files[name].hashes["sha256"]
        put_file(directory / TARGETS / f"{digest}.{name}", content)
    metadata = directory / METADATA
    put_file(metadata / f"{root.version}.root.json", root_raw)
    put_file(metadata / f"{version}.targets.json", targets_raw)
    put_file(metadata / f"{version}.snapshot.json", snapshot_raw)
    put_file(metadata / "timestamp.json", timestamp_raw)
    return root_raw


def _signed(part: Part, root: Root, signers: Sequence[CryptoSigner]) -> bytes:
    metadata = Metadata(part)
    for signer in signers:
        metadata.sign(signer, append=True)
    try:
        root.verify_delegate(part.type, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError as error:
        raise TooFewSignatures(
            f"{error}; give the key files of as many stewards of this network as must sign"
        ) from error
    return metadata.to_bytes()


def _signer(steward: Identity) -> CryptoSigner:
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(steward.seed))


def _steward(path: Path) -> Identity:
    if not path.exists():
        raise MissingDocument(f"there is no steward's key file {path}")
    return Identity.load_or_create(path)


def _spellings(
    terms: CharterTerms, tariff: Tariff, catalogue: ModelCatalogue, standard: SafetyStandard
) -> dict[str, bytes]:
    check_together(terms, tariff, catalogue)
    return {
        _file_name(CharterTerms): write_document(terms),
        _file_name(Tariff): write_document(tariff),
        _file_name(ModelCatalogue): write_document(catalogue),
        _file_name(SafetyStandard): write_document(standard),
    }


def _newer(old: Document, new: Document | None) -> Document:
    if new is None:
        return old
    if new.version <= old.version:
        raise RolledBack(
            f"{document_name(type(new))} {new.version} must be newer than the published"
            f" {old.version}; raise its version"
        )
    return new


def _file_name(kind: type[Document]) -> str:
    return f"{document_name(kind)}.json"
