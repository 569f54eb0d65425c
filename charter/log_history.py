"""Whether a log only grew since a checkpoint, and the proof against it when it did not."""

import base64
from typing import Annotated, Final

import msgspec

from peerllm.charter.errors import AlteredLog, BadSignature, ForkedLog, Malformed, RolledBack
from peerllm.charter.log_checkpoint import Checkpoint, LogKeys, SignedCheckpoint, open_checkpoint
from peerllm.charter.log_notes import MAXIMUM_NOTE_BYTES
from peerllm.charter.log_tiles import LogFiles
from peerllm.charter.merkle import HASH_BYTES, MAXIMUM_PATH, verify_consistency

MAXIMUM_EVIDENCE_BYTES: Final = 4 * MAXIMUM_NOTE_BYTES
_NOTE = Annotated[str, msgspec.Meta(max_length=MAXIMUM_NOTE_BYTES)]
_HASH = Annotated[bytes, msgspec.Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]


class ForkEvidence(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="log-fork/1",
):  # fmt: skip
    """Two checkpoints of one key, and the proof that the later one has another past.

    `root_in_later` is the root that the later checkpoint's tree had at the earlier one's size, and
    `path` the consistency proof between the two.
    """

    earlier: _NOTE
    later: _NOTE
    root_in_later: _HASH
    path: Annotated[tuple[_HASH, ...], msgspec.Meta(max_length=MAXIMUM_PATH)]


def find_fork(
    files: LogFiles, earlier: SignedCheckpoint, later: SignedCheckpoint
) -> ForkEvidence | None:
    """Return None when the log of `later`, whose files these are, only grew since `earlier`.

    Returns the evidence when it did not. Raises RolledBack when it is smaller, and AlteredLog when
    the files are not those of `later`, so that they prove nothing.
    """
    old, new = earlier.checkpoint, later.checkpoint
    if new.size < old.size:
        raise RolledBack(
            f"this log has {new.size} entries and had {old.size} when it was last seen; get its"
            " newest files"
        )
    if new.size == old.size and new.root != old.root:
        # Two checkpoints of one size need no files to exclude each other.
        return _evidence(earlier, later, new.root, ())
    if files.root() != new.root:
        raise AlteredLog("the files do not add up to their checkpoint; get them again")
    root, path = files.root(old.size), files.consistency_path(old.size)
    if not verify_consistency(old.size, root, new.size, new.root, path):
        raise AlteredLog("the files contradict each other; get them again")
    if root == old.root:
        return None
    return _evidence(earlier, later, root, path)


def write_evidence(evidence: ForkEvidence) -> bytes:
    """Return the evidence as JSON for people and machines."""
    return msgspec.json.format(msgspec.json.encode(evidence), indent=2) + b"\n"


def verify_evidence(raw: bytes, keys: LogKeys, now_s: float) -> tuple[Checkpoint, Checkpoint]:
    """Return the two checkpoints of one key that, as these bytes prove, exclude each other.

    Raises Malformed or BadSignature when they prove nothing against that key.
    """
    if len(raw) > MAXIMUM_EVIDENCE_BYTES:
        raise Malformed(f"evidence has at most {MAXIMUM_EVIDENCE_BYTES} bytes, got {len(raw)}")
    try:
        evidence = msgspec.json.decode(raw, type=ForkEvidence)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("not evidence of a fork, as `peerllm log witness` writes it") from None
    log = LogKeys(keys.log)
    old = open_checkpoint(evidence.earlier.encode(), log, now_s).checkpoint
    new = open_checkpoint(evidence.later.encode(), log, now_s).checkpoint
    if evidence.root_in_later == old.root or not verify_consistency(
        old.size, evidence.root_in_later, new.size, new.root, evidence.path
    ):
        raise BadSignature("these two checkpoints do not exclude each other: there is no fork here")
    return old, new


def forked(evidence: ForkEvidence, kept_at: str) -> ForkedLog:
    """Return the error that shows both histories and says where the evidence is."""
    return ForkedLog(
        "FORK: the log's key signed two histories.\n"
        f"Seen before:\n{_shown(evidence.earlier)}\nNow:\n{_shown(evidence.later)}\n"
        f"At the size of the first, the second had the root"
        f" {base64.b64encode(evidence.root_in_later).decode()}.\n{kept_at}"
    )


def _evidence(
    earlier: SignedCheckpoint, later: SignedCheckpoint, root: bytes, path: tuple[bytes, ...]
) -> ForkEvidence:
    return ForkEvidence(
        earlier=earlier.note.encode().decode(),
        later=later.note.encode().decode(),
        root_in_later=root,
        path=path,
    )


def _shown(note: str) -> str:
    return "\n".join(f"  {line}" for line in note.splitlines()[:3])
