"""A strike as its host gets it: the record, and the salt that opens its commitment in the log."""

from typing import Annotated, Final

import msgspec

from peerllm.charter.errors import Malformed
from peerllm.charter.log_entries import (
    Entry,
    HostId,
    MomentUs,
    RegionName,
    StrikeCommitment,
    commit_strike,
    opens_strike,
)
from peerllm.charter.promises import StrikeRule
from peerllm.charter.spelling import Sha256Hex, spelling

# The longest opening takes under a thousand bytes.
MAXIMUM_OPENING_BYTES: Final = 4_096

Word = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_-]{0,63}\Z")]
DispatchHex = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A strike was taken back, when and why."""

    at_us: MomentUs
    reason: Word


class StrikeRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a strike's commitment is made of.

    `number` is the coordinator's own, `evidence_sha256` the digest of what shows the violation.
    A strike that was withdrawn has two records, the second one with the withdrawal.
    """

    number: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    host: HostId
    region: RegionName
    rule: StrikeRule
    at_us: MomentUs
    evidence_sha256: Sha256Hex | None
    dispatch: DispatchHex | None = None
    withdrawn: Withdrawal | None = None


class StrikeOpening(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    tag_field="document",
    tag="strike-opening/1",
):
    """A record with its salt: whoever has both can tell which commitment is this strike's."""

    record: StrikeRecord
    salt: Sha256Hex
    commitment: Sha256Hex


_RECORDS: Final = msgspec.json.Encoder(order="sorted")
_OPENINGS: Final = msgspec.json.Decoder(StrikeOpening)


def opening_of(record: StrikeRecord, salt: bytes) -> StrikeOpening:
    """Return a record with its salt and commitment; the salt has 32 bytes."""
    return StrikeOpening(
        record=record, salt=salt.hex(), commitment=commit_strike(_RECORDS.encode(record), salt)
    )


def strike_entry(opening: StrikeOpening) -> Entry:
    """Return the public log's entry of a strike, or of its withdrawal."""
    record = opening.record
    return Entry(
        at_us=record.at_us if record.withdrawn is None else record.withdrawn.at_us,
        body=StrikeCommitment(region=record.region, commitment=opening.commitment),
    )


def write_opening(opening: StrikeOpening) -> bytes:
    """Return the file that a host is handed; raises Malformed when a value is out of its bounds."""
    raw = spelling(opening)
    read_opening(raw)
    return raw


def read_opening(raw: bytes) -> StrikeOpening:
    """Return the opening in a file; raises Malformed unless it opens the commitment it names."""
    if len(raw) > MAXIMUM_OPENING_BYTES:
        raise Malformed(
            f"a strike's file has at most {MAXIMUM_OPENING_BYTES} bytes, this one has more"
        )
    try:
        opening = _OPENINGS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed(
            "this is not a strike's file, or only a part of one; have the coordinator write it"
            " again (`peerllm coordinator strikes --out`)"
        ) from None
    record, salt = _RECORDS.encode(opening.record), bytes.fromhex(opening.salt)
    if not opens_strike(opening.commitment, record, salt):
        raise Malformed(
            f"record and salt do not make the commitment {opening.commitment}: the file was altered"
        )
    return opening
