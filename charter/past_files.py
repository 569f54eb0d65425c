"""What a public folder keeps of its past beside its versions: superseded snapshots and capacities.

No promise rests on these any more. They are checked so that a folder is either whole or refused,
and nobody need judge by hand which altered byte matters.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import (
    Signature,
)
from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import (
    Key,
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from peerllm.charter.errors import AlteredDocument, BadSignature, Malformed
from peerllm.charter.folder import METADATA, TARGETS, read_bounded
from peerllm.charter.publishing import TIMESTAMP, hashed_name

_TARGETS_FILE = "targets.json"


def check_past_files(directory: Path, roots: Sequence[Root]) -> None:
    """Check every signature on roots, targets and snapshots, and every file that snapshots list.

    `roots` are all of the network's, which are verified. Raises a CharterError that names the file.
    """
    keys = {keyid: key for root in roots for keyid, key in root.keys.items()}
    metadata = directory / METADATA
    for root in roots:
        for role in (Root.type, Targets.type):
            _require_good(metadata / f"{root.version}.{role}.json", keys)
    timestamp = _require_good(directory / TIMESTAMP, keys)
    if not isinstance(timestamp, Timestamp):
        raise Malformed(f"{directory / TIMESTAMP} is not a timestamp")
    for number in range(1, timestamp.snapshot_meta.version + 1):
        path = metadata / f"{number}.snapshot.json"
        snapshot = _require_good(path, keys)
        if not isinstance(snapshot, Snapshot) or snapshot.version != number:
            raise Malformed(f"{path} is not snapshot {number}")
        _require_listed(directory, snapshot)


def _require_listed(directory: Path, snapshot: Snapshot) -> None:
    for name, meta in snapshot.meta.items():
        path = directory / METADATA / f"{meta.version}.{name}"
        raw = read_bounded(path)
        try:
            meta.verify_length_and_hashes(raw)
            if name == _TARGETS_FILE:
                # Its files are those of a version, which are checked with it.
                continue
            for target_name, target in Metadata[Targets].from_bytes(raw).signed.targets.items():
                path = directory / TARGETS / hashed_name(target_name, target.hashes["sha256"])
                target.verify_length_and_hashes(read_bounded(path))
        except LengthOrHashMismatchError as error:
            raise AlteredDocument(f"{path} is not what was published; get it again") from error


def _require_good(path: Path, keys: Mapping[str, Key]) -> object:
    """Return what a file holds; refuse it for any signature that is wrong or of nobody."""
    try:
        metadata: Metadata[Root] = Metadata.from_bytes(read_bounded(path))
    except DeserializationError as error:
        raise Malformed(f"{path} is not a TUF metadata file; get it again") from error
    for keyid, signature in metadata.signatures.items():
        if not _is_good(keys.get(keyid), signature, metadata.signed_bytes):
            raise BadSignature(
                f"{path} carries a signature that is wrong or of nobody; get it again"
            )
    return metadata.signed


def _is_good(key: Key | None, signature: Signature, signed: bytes) -> bool:
    # In capital letters a signature is the same, but not what was published.
    if key is None or signature.signature != signature.signature.lower():
        return False
    try:
        key.verify_signature(signature, signed)
    except UnverifiedSignatureError:
        return False
    return True
