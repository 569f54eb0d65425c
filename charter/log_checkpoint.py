"""Checkpoints: what a log's key and its witnesses say the whole log is.

https://c2sp.org/tlog-checkpoint, without extension lines.
"""

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peerllm.charter.errors import BadSignature, Malformed, MissingDocument, NotWitnessed
from peerllm.charter.folder import read_file
from peerllm.charter.log_notes import (
    MAXIMUM_NOTE_BYTES,
    SignatureType,
    SignedNote,
    VerifierKey,
    cosigned_at,
    is_signed,
    parse_note,
)
from peerllm.charter.merkle import EMPTY_ROOT, HASH_BYTES

# Clocks that the network's time service keeps differ by less than a second; a home machine's may
# be minutes out. A cosignature from further ahead than this was made by a wrong clock or a liar.
CLOCK_TOLERANCE_S: Final = 300
_MAXIMUM_SIZE: Final = 2**63 - 1


@dataclass(frozen=True)
class Checkpoint:
    """The whole of a log at one moment: its name, how many entries, and their Merkle root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class LogKeys:
    """Whom a reader trusts: the log's key, witnesses, and how many of them must have cosigned."""

    log: VerifierKey
    witnesses: tuple[VerifierKey, ...] = ()
    required: int = 0

    def __post_init__(self) -> None:
        if self.log.type is not SignatureType.NOTE:
            raise Malformed(f"{self.log} is a witness's key; give the log's own")
        for witness in self.witnesses:
            if witness.type is not SignatureType.COSIGNATURE:
                raise Malformed(f"{witness} is not a witness's key")
        # One key under two names is one witness; it would count twice.
        distinct = {witness.public_key for witness in self.witnesses}
        if len(distinct) != len(self.witnesses):
            raise Malformed("the same witness's key is given twice")
        if not 0 <= self.required <= len(self.witnesses):
            raise Malformed(
                f"{self.required} witnesses are required, but {len(self.witnesses)} are known"
            )


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint whose signature was checked, and when which witness cosigned it (seconds)."""

    checkpoint: Checkpoint
    note: SignedNote
    cosigned: tuple[tuple[str, int], ...] = ()


def parse_checkpoint(text: str) -> Checkpoint:
    """Return the checkpoint in a note's text; raises Malformed."""
    lines = text.removesuffix("\n").split("\n")
    # At most 19 digits: Python refuses to read thousands of them.
    if len(lines) == 3 and lines[0] and re.fullmatch("[0-9]{1,19}", lines[1]):
        try:
            root = base64.b64decode(lines[2].encode("ascii"), validate=True)
        except ValueError:
            root = b""
        checkpoint = Checkpoint(lines[0], int(lines[1]), root)
        if (
            len(root) == HASH_BYTES
            and checkpoint.size <= _MAXIMUM_SIZE
            and checkpoint.text() == text
            and (checkpoint.size or root == EMPTY_ROOT)
        ):
            return checkpoint
    raise Malformed("not a checkpoint: three lines with the log's name, its size and its root")


def open_checkpoint(raw: bytes, keys: LogKeys, now_s: float) -> SignedCheckpoint:
    """Parse a checkpoint and check that whom it must be signed by has signed it.

    Signatures of unknown keys are ignored, as the specification demands. Raises Malformed,
    BadSignature, or NotWitnessed when cosignatures are too few or from the future.
    """
    note = parse_note(raw)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != keys.log.name:
        raise BadSignature(
            f"this is a checkpoint of the log {checkpoint.origin[:128]!r}, not of {keys.log.name!r}"
        )
    if not is_signed(note, keys.log):
        raise BadSignature(f"the checkpoint is not signed by the key {keys.log}; do not believe it")
    times = [(witness.name, cosigned_at(note, witness)) for witness in keys.witnesses]
    cosigned = tuple((name, seconds) for name, seconds in times if seconds is not None)
    for name, seconds in cosigned:
        if seconds > now_s + CLOCK_TOLERANCE_S:
            raise NotWitnessed(
                f"{name} cosigned {seconds - int(now_s)} s in the future; its clock or this"
                " machine's is wrong"
            )
    if len(cosigned) < keys.required:
        missing = sorted({witness.name for witness in keys.witnesses} - dict(cosigned).keys())
        raise NotWitnessed(
            f"{len(cosigned)} of the {keys.required} witnesses that must have cosigned the"
            f" checkpoint of {checkpoint.size} entries did; missing: {', '.join(missing)}"
        )
    return SignedCheckpoint(checkpoint, note, cosigned)


def read_checkpoint(path: Path, keys: LogKeys, now_s: float) -> SignedCheckpoint:
    """Read and check the checkpoint in a file. Raises as `open_checkpoint`, or MissingDocument."""
    try:
        raw = read_file(path, MAXIMUM_NOTE_BYTES + 1)
    except OSError as error:
        raise MissingDocument(f"cannot read the checkpoint {path}: {error.strerror}") from error
    return open_checkpoint(raw, keys, now_s)
