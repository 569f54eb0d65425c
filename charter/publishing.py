"""Writing a charter's public folder with the online key, in an order that survives a crash.

Readers follow the root to the timestamp and from there to the rest. So everything new is written
beside the old first, then the timestamp, then the root: up to the timestamp the old version is in
force. New targets are signed by the old root's threshold too, so that after the timestamp they are
good even without the new root; ratifying again writes what is missing.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from peerllm.charter.document_set import capacity_file
from peerllm.charter.documents import read_document
from peerllm.charter.errors import BadSignature, Expired, Malformed, RolledBack, TooFewSignatures
from peerllm.charter.folder import METADATA, TARGETS, put_file
from peerllm.charter.loading import Published, verify_folder
from peerllm.charter.log_lock import sole_writer
from peerllm.charter.metadata import (
    capacity_targets,
    region_role,
    require_threshold,
    signed_by,
    snapshot_of,
    timestamp_of,
    with_another,
)
from peerllm.charter.region_record import LocalCapacity, capacity_faults
from peerllm.charter.versions import CharterVersion, digest
from peerllm.crypto.identity import Identity

TIMESTAMP: Final = f"{METADATA}/timestamp.json"
_LOCK: Final = ".lock"
_NOT_THE_ONLINE_KEY: Final = (
    "the online key given is not the one that the stewards have named; give the operator's key file"
)


@dataclass(frozen=True, slots=True)
class OnlineKeys:
    """The operator's key, and the one before it while a change of this key is ratified.

    What they sign now is good until `timestamp_expires`.
    """

    current: Identity
    timestamp_expires: datetime
    former: Identity | None = None

    @property
    def all(self) -> tuple[Identity, ...]:
        """Every key at hand."""
        return (self.current,) if self.former is None else (self.current, self.former)


@contextmanager
def sole_publisher(directory: Path) -> Iterator[None]:
    """Hold a public folder from reading what is in force to writing what follows.

    A refresh that overtook a ratification would vouch for the old version under the new root, and
    every reader would refuse the folder for good. Raises BusyLog when another command holds it.
    """
    metadata = directory / METADATA
    if not metadata.is_dir():
        # Nothing is published yet that could be overtaken.
        yield
        return
    with sole_writer(metadata / _LOCK):
        yield


def verified(
    directory: Path, trusted_root: bytes, now: datetime, *, also_ahead: bool = False
) -> Published:
    """Return what a folder publishes, also when its time is over; raises a CharterError.

    `also_ahead`: also when its timestamp was made by a clock that was ahead.
    """
    with tempfile.TemporaryDirectory(prefix="peerllm-charter-") as temporary:
        return verify_folder(
            directory,
            trusted_root,
            Path(temporary),
            now,
            also_expired=True,
            also_ahead=also_ahead,
        )


def require_online_key(version: CharterVersion, online: OnlineKeys) -> None:
    """Raise BadSignature unless a key at hand is the operator's by this version."""
    if version.signatories.online_key not in {key.public_key.hex() for key in online.all}:
        raise BadSignature(_NOT_THE_ONLINE_KEY)


def publish_version(
    directory: Path,
    version: CharterVersion,
    *,
    previous: tuple[Snapshot, Timestamp] | None,
    old_root: Root | None,
    online: OnlineKeys,
    now: datetime,
) -> None:
    """Write a version that its stewards have signed; the parts of `previous` are followed on.

    Raises TooFewSignatures when an online key is not the one that the version's root names.
    """
    snapshot, timestamp = previous or (None, None)
    new_snapshot = snapshot_of(snapshot, version.targets, version.targets_raw, {})
    snapshot_raw = signed_by(new_snapshot, *online.all)
    timestamp_raw = _timestamp(timestamp, new_snapshot, snapshot_raw, online, now)
    for raw, role in ((snapshot_raw, Snapshot.type), (timestamp_raw, Timestamp.type)):
        _require_online(raw, role, version.root)
    for name, content in version.files.items():
        put_file(directory / TARGETS / hashed_name(name, digest(content)), content)
    metadata = directory / METADATA
    put_file(metadata / f"{version.number}.targets.json", version.targets_raw)
    put_file(metadata / f"{new_snapshot.version}.snapshot.json", snapshot_raw)
    last = [
        (directory / TIMESTAMP, timestamp_raw),
        (metadata / f"{version.root.version}.root.json", version.root_raw),
    ]
    if old_root is None or not _reaches(timestamp_raw, Timestamp.type, old_root):
        # The old root cannot vouch for the new timestamp (a founding, a lost online key).
        last.reverse()
    for path, raw in last:
        put_file(path, raw)


def refresh(
    directory: Path,
    *,
    trusted_root: bytes,
    online: OnlineKeys,
    now: datetime,
    also_ahead: bool = False,
) -> datetime:
    """Sign a fresh timestamp over what is in force and return until when it is good.

    `also_ahead`: also in place of one that was made by a clock that was ahead, which every reader
    refuses until that moment has come.

    Raises a CharterError when the folder is not well or the key is not the network's.
    """
    with sole_publisher(directory):
        published = verified(directory, trusted_root, now, also_ahead=also_ahead)
        version, snapshot = published.version, published.snapshot
        ends = version.root.expires
        if ends <= now:
            raise Expired(
                f"the charter itself ended at {ends}; its stewards must propose to renew it"
            )
        raw = _timestamp(published.timestamp, snapshot, published.snapshot_raw, online, now)
        _require_online(raw, Timestamp.type, version.root)
        put_file(directory / TIMESTAMP, raw)
    return online.timestamp_expires


def sign_capacity(
    published: Published, content: bytes, key: Identity, *, expires: datetime, before: bytes | None
) -> bytes:
    """Return a federated region's metadata for its capacity, signed with one of its keys.

    `before` is the same as another key of the region signed it; its signatures are kept. Raises
    Malformed when the charter does not let this region set this capacity, BadSignature when the key
    is not the region's.
    """
    capacity = _capacity(published, content)
    record = published.charter.regions[capacity.region]
    if key.public_key.hex() not in record.delegated_keys:
        raise BadSignature(f"this key is none of region {capacity.region!r}'s delegated keys")
    if before is None:
        version = _region_version(published, capacity.region) + 1
        targets = capacity_targets(
            capacity_file(capacity.region), content, version=version, expires=expires
        )
        return signed_by(targets, key)
    metadata = _region_metadata(before)
    expected = capacity_targets(
        capacity_file(capacity.region),
        content,
        version=metadata.signed.version,
        expires=metadata.signed.expires,
    )
    if metadata.signed != expected:
        raise Malformed("the file to be signed with is of another capacity")
    return with_another(metadata, key)


def publish_capacity(
    directory: Path,
    content: bytes,
    region_raw: bytes,
    *,
    trusted_root: bytes,
    online: OnlineKeys,
    now: datetime,
) -> LocalCapacity:
    """Publish a capacity that its region has signed; nothing else of the charter changes.

    Raises a CharterError when the region's threshold has not signed exactly this.
    """
    with sole_publisher(directory):
        published = verified(directory, trusted_root, now)
        return _publish_capacity(directory, published, content, region_raw, online, now)


def _publish_capacity(
    directory: Path,
    published: Published,
    content: bytes,
    region_raw: bytes,
    online: OnlineKeys,
    now: datetime,
) -> LocalCapacity:
    capacity = _capacity(published, content)
    targets = _region_metadata(region_raw).signed
    name, role = capacity_file(capacity.region), region_role(capacity.region)
    version = _region_version(published, capacity.region)
    if targets.version != version + 1:
        raise RolledBack(f"{role}.json has version {targets.version}, {version + 1} is next")
    if targets.expires <= now:
        raise Expired(
            f"the region's signatures ended at {targets.expires:%Y-%m-%d %H:%M} UTC; its keys must"
            " sign the capacity again"
        )
    if targets != capacity_targets(name, content, version=targets.version, expires=targets.expires):
        raise Malformed(f"{role}.json was not signed for this capacity, or for more than it")
    metadata = Metadata[Targets].from_bytes(region_raw)
    try:
        published.version.targets.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError as error:
        raise TooFewSignatures(f"threshold not met: {error}") from error
    snapshot = snapshot_of(
        published.snapshot,
        published.version.targets,
        published.version.targets_raw,
        {capacity.region: (targets.version, region_raw)},
    )
    snapshot_raw = signed_by(snapshot, *online.all)
    timestamp_raw = _timestamp(published.timestamp, snapshot, snapshot_raw, online, now)
    for raw, online_role in ((snapshot_raw, Snapshot.type), (timestamp_raw, Timestamp.type)):
        _require_online(raw, online_role, published.version.root)
    put_file(directory / TARGETS / hashed_name(name, digest(content)), content)
    put_file(directory / METADATA / f"{targets.version}.{role}.json", region_raw)
    put_file(directory / METADATA / f"{snapshot.version}.snapshot.json", snapshot_raw)
    put_file(directory / TIMESTAMP, timestamp_raw)
    return capacity


def _timestamp(
    previous: Timestamp | None,
    snapshot: Snapshot,
    snapshot_raw: bytes,
    online: OnlineKeys,
    now: datetime,
) -> bytes:
    fresh = timestamp_of(
        previous, snapshot.version, snapshot_raw, now=now, expires=online.timestamp_expires
    )
    return signed_by(fresh, *online.all)


def _require_online(raw: bytes, role: str, root: Root) -> None:
    if not _reaches(raw, role, root):
        raise BadSignature(_NOT_THE_ONLINE_KEY)


def _reaches(raw: bytes, role: str, root: Root) -> bool:
    try:
        require_threshold(raw, role, root)
    except TooFewSignatures:
        return False
    return True


def hashed_name(name: str, sha256: str) -> str:
    """Return where TUF's clients look for a target: its digest before the last part of its name."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{sha256}.{last}"


def _capacity(published: Published, content: bytes) -> LocalCapacity:
    capacity = read_document(content, LocalCapacity)
    record = published.charter.regions.get(capacity.region)
    if record is None:
        raise Malformed(f"there is no region {capacity.region!r} in this charter")
    for fault in capacity_faults(capacity, record):
        raise Malformed(f"region-capacity: {fault}")
    old = published.charter.capacities.get(capacity.region)
    if old is not None and capacity.version <= old.version:
        raise RolledBack(
            f"region-capacity {capacity.version} must be newer than the published {old.version};"
            " raise its version"
        )
    return capacity


def _region_version(published: Published, region: str) -> int:
    listed = published.snapshot.meta.get(f"{region_role(region)}.json")
    return 0 if listed is None else listed.version


def _region_metadata(raw: bytes) -> Metadata[Targets]:
    try:
        metadata: Metadata[Targets] = Metadata.from_bytes(raw)
    except DeserializationError as error:
        raise Malformed("the region's signed file is not TUF metadata; get it again") from error
    if metadata.signed.type != Targets.type:
        raise Malformed("the region's signed file holds another kind of metadata")
    return metadata
