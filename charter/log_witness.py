"""A witness: someone apart from the operator who cosigns a log only as long as it just grows.

All it keeps is the last checkpoint that it cosigned, in one file; all it needs is the log's public
files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peerllm.charter.errors import AlreadyFounded, MissingDocument
from peerllm.charter.folder import put_file, sync_folders
from peerllm.charter.log_checkpoint import LogKeys, SignedCheckpoint, read_checkpoint
from peerllm.charter.log_history import find_fork, forked, write_evidence
from peerllm.charter.log_lock import sole_writer
from peerllm.charter.log_notes import SignatureType, SignedNote, VerifierKey, cosign_note
from peerllm.charter.log_tiles import CHECKPOINT, LogFiles
from peerllm.crypto.identity import Identity

_EVIDENCE: Final = "fork"


@dataclass(frozen=True)
class Witness:
    """Who cosigns which log, and the file that remembers the last checkpoint cosigned."""

    name: str
    identity: Identity
    log: VerifierKey
    state: Path

    @property
    def key(self) -> VerifierKey:
        """The public key to hand out."""
        return VerifierKey(self.name, SignatureType.COSIGNATURE, self.identity.public_key)

    def cosign(self, public: Path, now_s: float, *, first: bool = False) -> SignedNote:
        """Return the log's checkpoint with this witness's cosignature, and remember it.

        `first` must be said once, when nothing is remembered yet: a state that was lost must not
        pass for a log never seen. Raises ForkedLog, with the evidence written beside the state;
        RolledBack when the log is smaller than it was; AlteredLog when the files do not make the
        checkpoint; NotWitnessed when the clock stands before the last cosignature; and whatever
        `read_checkpoint` raises. Nothing is remembered then.
        """
        self.state.parent.mkdir(parents=True, exist_ok=True)
        with sole_writer(self.state.with_name(f"{self.state.name}.lock")):
            before = self._remembered(now_s, first=first)
            shown = read_checkpoint(public / CHECKPOINT, LogKeys(self.log), now_s)
            last = 0
            if before:
                self._require_growth(public, before, shown)
                [(_, last)] = before.cosigned
            else:
                # The first sight is believed, but only of a log whose files are all of a piece.
                find_fork(LogFiles(public, shown.checkpoint.size), shown, shown)
            # A clock a little behind the last time must not date this one before it.
            seconds = max(int(now_s), last)
            cosignature = cosign_note(shown.note.text, self.key, self.identity, seconds)
            # Only what was checked is passed on: the log's own signature and this one.
            log = (self.log.name, self.log.key_id)
            own = [one for one in shown.note.signatures if (one.name, one.key_id) == log]
            remembered = SignedNote(shown.note.text, (*own, cosignature))
            # Remembered before it is handed out: a crash costs a cosignature, never the memory.
            put_file(self.state, remembered.encode())
            sync_folders(self.state.parent)
            return remembered

    def _remembered(self, now_s: float, *, first: bool) -> SignedCheckpoint | None:
        if not self.state.exists():
            if first:
                return None
            raise MissingDocument(
                f"{self.state} is not there, so nothing is known of this log's past; say that this"
                " is the first time, or bring the file back"
            )
        if first:
            raise AlreadyFounded(
                f"{self.state} remembers this log already; this is not the first time"
            )
        return read_checkpoint(self.state, LogKeys(self.log, (self.key,), 1), now_s)

    def _require_growth(
        self, public: Path, before: SignedCheckpoint, shown: SignedCheckpoint
    ) -> None:
        evidence = find_fork(LogFiles(public, shown.checkpoint.size), before, shown)
        if evidence is None:
            return
        kept = self.state.with_name(f"{self.state.name}.{_EVIDENCE}-{shown.checkpoint.size}.json")
        put_file(kept, write_evidence(evidence))
        sync_folders(kept.parent)
        raise forked(evidence, f"The evidence is in {kept}: publish it. Nothing was cosigned.")
