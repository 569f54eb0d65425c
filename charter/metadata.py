"""TUF's metadata of a charter: which roles there are, what each lists, and who must have signed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from securesystemslib.signer import (
    CryptoSigner,
    Signature,
)
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from peerllm.charter.errors import TooFewSignatures
from peerllm.charter.region_record import RegionRecord
from peerllm.charter.stewards import Signatories, tuf_key
from peerllm.crypto.identity import Identity

Part = TypeVar("Part", Root, Targets, Snapshot, Timestamp)

HASHES: Final = ["sha256"]
# Fields of our own in TUF's metadata, which other readers pass over.
_BALLOT_FIELD: Final = "x-peerllm-ballot"
_SIGNED_AT_FIELD: Final = "x-peerllm-signed-at"


def region_role(region: str) -> str:
    """Return the name of the role that a federated region signs by."""
    return f"region-{region}"


def targets_of(
    files: Mapping[str, bytes],
    regions: Mapping[str, RegionRecord],
    *,
    version: int,
    expires: datetime,
    ballot: str,
) -> Targets:
    """Return what stewards sign to put these documents in force, decided by a ballot's id."""
    return Targets(
        version=version,
        expires=expires,
        targets={
            name: TargetFile.from_data(name, content, HASHES)
            for name, content in sorted(files.items())
        },
        delegations=_delegations(regions),
        unrecognized_fields={_BALLOT_FIELD: ballot},
    )


def ballot_of(targets: Targets) -> str:
    """Return the id of the proposal that these targets put in force."""
    return str(targets.unrecognized_fields.get(_BALLOT_FIELD, ""))


def capacity_targets(name: str, content: bytes, *, version: int, expires: datetime) -> Targets:
    """Return what a federated region signs to set its own capacity."""
    targets = {name: TargetFile.from_data(name, content, HASHES)}
    return Targets(version=version, expires=expires, targets=targets)


def snapshot_of(
    previous: Snapshot | None,
    targets: Targets,
    targets_raw: bytes,
    regions: Mapping[str, tuple[int, bytes]],
) -> Snapshot:
    """Return a snapshot of these targets and of the versions and bytes of regions' metadata.

    Regions that `previous` knew stay listed, since TUF's clients refuse a snapshot that forgets.
    """
    meta = {} if previous is None else dict(previous.meta)
    meta["targets.json"] = MetaFile.from_data(targets.version, targets_raw, HASHES)
    for region, (version, raw) in regions.items():
        meta[f"{region_role(region)}.json"] = MetaFile.from_data(version, raw, HASHES)
    version = 1 if previous is None else previous.version + 1
    return Snapshot(version=version, expires=targets.expires, meta=meta)


def timestamp_of(
    previous: Timestamp | None,
    snapshot_version: int,
    snapshot_raw: bytes,
    *,
    now: datetime,
    expires: datetime,
) -> Timestamp:
    """Return a fresh timestamp, which also says when it was made."""
    return Timestamp(
        version=1 if previous is None else previous.version + 1,
        expires=_whole_seconds(expires),
        snapshot_meta=MetaFile.from_data(snapshot_version, snapshot_raw, HASHES),
        unrecognized_fields={_SIGNED_AT_FIELD: _whole_seconds(now).isoformat()},
    )


def signed_at(timestamp: Timestamp) -> datetime | None:
    """Return when a timestamp says that it was made."""
    try:
        moment = datetime.fromisoformat(str(timestamp.unrecognized_fields[_SIGNED_AT_FIELD]))
    except (KeyError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None


def moment_of(epoch_us: int) -> datetime:
    """Return an epoch time in microseconds as TUF writes it, in whole seconds."""
    return datetime.fromtimestamp(epoch_us // 1_000_000, UTC)


def signature_of(part: Part, key: Identity) -> str:
    """Return a key's signature, in hex, over a part of the metadata."""
    signature: str = _signer(key).sign(Metadata(part).signed_bytes).signature
    return signature


def is_signature(part: Part, public_key: str, signature: str) -> bool:
    """Tell whether a signature in hex over a part is this key's."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(
            bytes.fromhex(signature), Metadata(part).signed_bytes
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def with_signatures(part: Part, signatures: Mapping[str, str]) -> bytes:
    """Return the file of a part with signatures in hex by public key in hex."""
    metadata = Metadata(part)
    for public_key, signature in sorted(signatures.items()):
        keyid = tuf_key(public_key).keyid
        metadata.signatures[keyid] = Signature(keyid, signature)
    return metadata.to_bytes()


def signed_by(part: Part, *keys: Identity) -> bytes:
    """Return the file of a part signed by these keys."""
    return with_signatures(part, {key.public_key.hex(): signature_of(part, key) for key in keys})


def with_another(metadata: Metadata[Targets], key: Identity) -> bytes:
    """Return the file of signed metadata with one key's signature added."""
    metadata.sign(_signer(key), append=True)
    return metadata.to_bytes()


def require_threshold(raw: bytes, role: str, root: Root) -> None:
    """Raise TooFewSignatures unless as many of the role's keys have signed as the root demands."""
    metadata: Metadata[Root] = Metadata.from_bytes(raw)
    try:
        root.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError as error:
        good = len(
            root.get_verification_result(role, metadata.signed_bytes, metadata.signatures).signed
        )
        raise TooFewSignatures(
            f"{role}.json carries {good} of the {root.roles[role].threshold} good signatures that"
            f" it needs by root {root.version}"
        ) from error


def signatories_signing(raw: bytes, signatories: Signatories) -> set[str]:
    """Return the public keys of the stewards whose good signatures a file carries."""
    metadata: Metadata[Targets] = Metadata.from_bytes(raw)
    signatures = {keyid: signature.signature for keyid, signature in metadata.signatures.items()}
    return {
        steward.public_key
        for steward in signatories.stewards
        if is_signature(
            metadata.signed,
            steward.public_key,
            signatures.get(tuf_key(steward.public_key).keyid, ""),
        )
    }


def _delegations(regions: Mapping[str, RegionRecord]) -> Delegations | None:
    keys: dict[str, Key] = {}
    roles: dict[str, DelegatedRole] = {}
    for name, record in sorted(regions.items()):
        if record.status != "federated":
            continue
        own = {key.keyid: key for key in map(tuf_key, record.delegated_keys)}
        keys |= own
        roles[region_role(name)] = DelegatedRole(
            name=region_role(name),
            keyids=sorted(own),
            threshold=record.delegated_threshold,
            terminating=True,
            # The record itself is not in this folder: no region can sign its own standing.
            paths=[f"regions/{name}/*.json"],
        )
    return Delegations(keys=keys, roles=roles) if roles else None


def _signer(key: Identity) -> CryptoSigner:
    return CryptoSigner(Ed25519PrivateKey.from_private_bytes(key.seed))


def _whole_seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)
