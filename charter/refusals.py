"""Why TUF's client refused a charter, said so that a person knows what happened and what to do."""

import re
from datetime import datetime
from pathlib import Path
from typing import Final

from tuf.api.exceptions import (
    BadVersionNumberError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import (
    Metadata,
    Root,
)
from tuf.api.serialization import DeserializationError

from peerllm.charter.errors import (
    AlteredDocument,
    BadSignature,
    CharterError,
    Expired,
    Frozen,
    Malformed,
    RevokedKey,
    RolledBack,
    TooFewSignatures,
)
from peerllm.charter.folder import FolderFetcher

# How TUF's client words it: "timestamp was signed by 1/2 keys".
_THRESHOLD: Final = re.compile(r"(\w[\w-]*) was signed by [0-9]+/([0-9]+) keys")


def refused(
    error: RepositoryError, fetcher: FolderFetcher, trusted: Path, now: datetime
) -> CharterError:
    """Return the room's own error; `trusted` is the folder of metadata verified so far."""
    name = fetcher.latest or "the trusted root"
    match error:
        case UnsignedMetadataError():
            return _unsigned(error, name, fetcher.latest_raw, trusted)
        case ExpiredMetadataError() if "timestamp" in str(error):
            return Frozen(
                f"frozen: {name} has ended ({error}; it is {now:%Y-%m-%d %H:%M} UTC by this"
                " machine's clock). Either this is an old copy, or the operator has stopped to"
                " vouch for it; get the newest"
            )
        case ExpiredMetadataError():
            return Expired(f"the charter has expired ({error}); ask the stewards for a newer one")
        case BadVersionNumberError():
            return RolledBack(
                f"rolled back: {name} is older than what was seen before, or does not belong to"
                f" the rest ({error}); get the newest charter"
            )
        case LengthOrHashMismatchError():
            return altered(fetcher)
        case DeserializationError():
            return Malformed(f"{name} is not a TUF metadata file; get it again")
        case _:
            return Malformed(f"{name}: {error}")


def altered(fetcher: FolderFetcher) -> AlteredDocument:
    """Return that the file read last is not the signed one."""
    return AlteredDocument(f"{fetcher.latest} is not what the stewards signed; get it again")


def _unsigned(error: UnsignedMetadataError, name: str, raw: bytes, trusted: Path) -> BadSignature:
    """Tell missing, revoked and wrong signatures apart; TUF's client only counts the good ones."""
    present = set(Metadata[Root].from_bytes(raw).signatures) if raw else set()
    found = _THRESHOLD.search(str(error))
    root = _current_root(trusted)
    if found and root is not None:
        revoked = present & _earlier_keys(trusted, root) - set(root.keys)
        if revoked:
            return RevokedKey(
                f"revoked key: {name} is signed with a key that root {root.version} no longer has"
                f" ({', '.join(sorted(keyid[:8] for keyid in revoked))}); do not use this charter"
            )
    if found and len(present) < int(found[2]):
        return TooFewSignatures(
            f"threshold not met: {name} carries {len(present)} of the {found[2]} signatures that"
            " it needs; do not use this charter"
        )
    return BadSignature(
        f"{name} has signatures that are wrong or not the stewards' ({error}); do not use this"
        " charter"
    )


def _current_root(trusted: Path) -> Root | None:
    path = trusted / "root.json"
    return Metadata[Root].from_file(str(path)).signed if path.exists() else None


def _earlier_keys(trusted: Path, current: Root) -> set[str]:
    """Return the ids of all keys of the roots that led, each signed by the last, to this one."""
    history = trusted / "root_history"
    keys: set[str] = set()
    for version in range(1, current.version):
        path = history / f"{version}.root.json"
        if path.exists():
            keys |= set(Metadata[Root].from_file(str(path)).signed.keys)
    return keys
