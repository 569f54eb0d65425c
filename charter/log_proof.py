"""Proof that one entry is in the public log, in one file that needs nothing but the log's key.

https://c2sp.org/tlog-proof; the entry itself rides in the `extra` line.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peerllm.charter.errors import AlteredLog, Malformed, MissingDocument
from peerllm.charter.log_checkpoint import (
    LogKeys,
    SignedCheckpoint,
    open_checkpoint,
    read_checkpoint,
)
from peerllm.charter.log_entries import MAXIMUM_ENTRY_BYTES, Entry, read_entry
from peerllm.charter.log_notes import MAXIMUM_NOTE_BYTES
from peerllm.charter.log_tiles import CHECKPOINT, LogFiles
from peerllm.charter.merkle import MAXIMUM_PATH, verify_inclusion

_HEADER: Final = "c2sp.org/tlog-proof@v1"
# A note, 63 hashes of 45 characters, and an entry in base64 with the words around it.
MAXIMUM_PROOF_BYTES: Final = MAXIMUM_NOTE_BYTES + 45 * MAXIMUM_PATH + 2 * MAXIMUM_ENTRY_BYTES


@dataclass(frozen=True)
class ProvenEntry:
    """An entry that is in the log, where, and the checkpoint it was proven under."""

    index: int
    entry: Entry
    signed: SignedCheckpoint


def prove_entry(public: Path, index: int, keys: LogKeys, now_s: float) -> bytes:
    """Return the proof that entry `index` is in the log whose public files these are.

    The files are checked on the way: raises what `verify_proof` and `read_checkpoint` raise,
    AlteredLog when the proof would not hold, and MissingDocument when there is no such entry.
    """
    signed = read_checkpoint(public / CHECKPOINT, keys, now_s)
    files = LogFiles(public, signed.checkpoint.size)
    if not 0 <= index < files.size:
        raise MissingDocument(f"this log has {files.size} entries; there is no number {index}")
    path = files.inclusion_path(index)
    hashes = "".join(f"{base64.b64encode(step).decode()}\n" for step in path)
    extra = base64.b64encode(files.entry(index)).decode()
    proof = f"{_HEADER}\nextra {extra}\nindex {index}\n{hashes}\n".encode() + signed.note.encode()
    verify_proof(proof, keys, now_s)
    return proof


def verify_proof(raw: bytes, keys: LogKeys, now_s: float) -> ProvenEntry:
    """Return the entry that the proof proves to be in the log of these keys.

    Raises Malformed, BadSignature, NotWitnessed, or AlteredLog when the entry is not under the
    checkpoint's root.
    """
    if len(raw) > MAXIMUM_PROOF_BYTES:
        raise Malformed(f"a proof has at most {MAXIMUM_PROOF_BYTES} bytes, got {len(raw)}")
    head, _, note = raw.partition(b"\n\n")
    entry, index, path = _read_head(head)
    signed = open_checkpoint(note, keys, now_s)
    checkpoint = signed.checkpoint
    if not verify_inclusion(checkpoint.root, checkpoint.size, index, entry, path):
        raise AlteredLog(
            f"this does not prove that its entry is number {index} of the {checkpoint.size} in the"
            " log"
        )
    return ProvenEntry(index, read_entry(entry), signed)


def _read_head(head: bytes) -> tuple[bytes, int, list[bytes]]:
    try:
        header, extra, place, *hashes = head.decode("ascii").split("\n")
        entry = _from_base64(extra.removeprefix("extra "))
        index = int(place.removeprefix("index "))
        path = [_from_base64(step) for step in hashes]
    except ValueError:
        header = ""
    else:
        if f"{header}\n{extra}\n{place}" == f"{_HEADER}\n{_extra(entry)}\nindex {index}":
            return entry, index, path
    raise Malformed(
        f'not a proof of an entry: it begins with the line "{_HEADER}", then its entry, index and'
        " hashes"
    )


def _extra(entry: bytes) -> str:
    return f"extra {base64.b64encode(entry).decode()}"


def _from_base64(text: str) -> bytes:
    """Return the bytes; raises ValueError when this is not their one spelling."""
    raw = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError
    return raw
