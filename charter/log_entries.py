"""What stands in the public log: typed entries, one spelling each, never content.

An entry names a host by its peer id only, and a strike by a salted commitment that its host and the
coordinator can open but nobody can guess.
"""

import hashlib
import hmac
import re
from typing import Annotated, Final, Literal, get_args

import msgspec

from peerllm.charter.errors import Malformed
from peerllm.charter.spelling import YEAR_2100_US, Sha256Hex, Version

# The largest kind below takes under 500 bytes. The bound keeps a bundle of 256 under 1 MiB.
MAXIMUM_ENTRY_BYTES: Final = 2_048
SALT_BYTES: Final = 32

MomentUs = Annotated[int, msgspec.Meta(ge=0, le=YEAR_2100_US)]
RegionName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]
RecordId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")]
TierName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,31}\Z")]
HostId = Annotated[str, msgspec.Meta(pattern=r"\A12D3Koo[1-9A-HJ-NP-Za-km-z]{45}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
NanoUsd = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

_PLACE: Final = re.compile(r" - at `(\$[a-z0-9_.\[\]]{0,64})`$")


class _Body(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    pass


class CharterVersion(_Body, frozen=True, kw_only=True, tag="charter-version"):
    """A charter came into force; the digest is of the metadata that binds its documents."""

    version: Version
    sha256: Sha256Hex


class TariffVersion(_Body, frozen=True, kw_only=True, tag="tariff-version"):
    """A tariff was published, in force from `valid_from_us`."""

    version: Version
    sha256: Sha256Hex
    valid_from_us: MomentUs


class PayoutBatch(_Body, frozen=True, kw_only=True, tag="payout-batch"):
    """A batch of payouts; each host can prove its own against the Merkle root (hexadecimal)."""

    region: RegionName
    batch: RecordId
    payouts: Count
    total_nano_usd: NanoUsd
    root: Sha256Hex


class TierChange(_Body, frozen=True, kw_only=True, tag="tier-change"):
    """A host rose or fell to another tier."""

    region: RegionName
    host: HostId
    before: TierName
    after: TierName


class StrikeCommitment(_Body, frozen=True, kw_only=True, tag="strike-commitment"):
    """A strike was recorded; `opens_strike` tells which, to who has its record and salt."""

    region: RegionName
    commitment: Sha256Hex


class FallbackWindow(_Body, frozen=True, kw_only=True, tag="fallback-window"):
    """Dedicated hosts served requests that the community could not, and how many."""

    region: RegionName
    from_us: MomentUs
    until_us: MomentUs
    requests: Count


class RegionDecision(_Body, frozen=True, kw_only=True, tag="region-decision"):
    """A region has a new record, whose digest this is; it names the rows behind the decision."""

    region: RegionName
    decision: Literal["community", "active", "federated", "suspended"]
    sha256: Sha256Hex


class BallotEvent(_Body, frozen=True, kw_only=True, tag="ballot"):
    """A step in the life of a ballot; the digest is of the signed paper of that step."""

    ballot: RecordId
    step: Literal["proposed", "seconded", "opened", "voted", "closed", "ratified", "rejected"]
    sha256: Sha256Hex


EntryBody = (
    CharterVersion
    | TariffVersion
    | PayoutBatch
    | TierChange
    | StrikeCommitment
    | FallbackWindow
    | RegionDecision
    | BallotEvent
)

KINDS: Final = tuple(str(body.__struct_config__.tag) for body in get_args(EntryBody))


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry: when it happened, in epoch microseconds, and what."""

    at_us: MomentUs
    body: EntryBody


_READER: Final = msgspec.json.Decoder(Entry)
_WRITER: Final = msgspec.json.Encoder(order="sorted")


def kind_of(entry: Entry) -> str:
    """Return the name of an entry's kind: "payout-batch"."""
    return str(entry.body.__struct_config__.tag)


def write_entry(entry: Entry) -> bytes:
    """Return the one spelling of an entry: compact JSON with sorted keys.

    Raises Malformed when a value is out of its bounds.
    """
    raw = _WRITER.encode(entry)
    read_entry(raw)
    return raw


def read_entry(raw: bytes) -> Entry:
    """Return the entry that these bytes are the one spelling of; raises Malformed."""
    entry = read_loosely(raw)
    if _WRITER.encode(entry) != raw:
        raise Malformed("an entry is not in its one spelling: compact JSON with sorted keys")
    return entry


def read_loosely(raw: bytes) -> Entry:
    """Return an entry that a person typed, in any spacing and order; raises Malformed."""
    if len(raw) > MAXIMUM_ENTRY_BYTES:
        raise Malformed(f"an entry has {len(raw)} bytes, at most {MAXIMUM_ENTRY_BYTES} are allowed")
    try:
        entry = _READER.decode(raw)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        problem = f"wrong type, name or size at {place[1] if place else '$'}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = "it is not JSON"
    else:
        if not isinstance(entry.body, FallbackWindow) or entry.body.from_us <= entry.body.until_us:
            return entry
        problem = "its window ends before it begins"
    raise Malformed(f"not an entry of the log: {problem}; `peerllm log append --help` shows one")


def commit_strike(record: bytes, salt: bytes) -> str:
    """Return the commitment to a strike's record, in hexadecimal; the salt is 32 random bytes.

    The salt stays with the coordinator and the host: without it a guess cannot be checked.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes, got {len(salt)}")
    return hashlib.sha256(b"peerllm/strike-commitment\0" + salt + record).hexdigest()


def opens_strike(commitment: str, record: bytes, salt: bytes) -> bool:
    """Tell whether this record and salt are what the commitment was made of."""
    return len(salt) == SALT_BYTES and hmac.compare_digest(
        commit_strike(record, salt).encode(), commitment.encode()
    )
