"""The operator's side of the public log: take entries down, publish them, sign what was published.

`pending/` holds entries that are taken down and not yet published, one file a batch, so that who
appends need not hold the log's key. `public/` is what everybody gets. A crash leaves whole files
and drafts; drafts are dropped when the log is opened next.
"""

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from peerllm.charter.errors import (
    AlreadyFounded,
    AlteredLog,
    Malformed,
    MissingDocument,
    RolledBack,
)
from peerllm.charter.folder import put_file, sync_folders
from peerllm.charter.log_checkpoint import (
    Checkpoint,
    LogKeys,
    SignedCheckpoint,
    open_checkpoint,
    read_checkpoint,
)
from peerllm.charter.log_edge import RightEdge
from peerllm.charter.log_entries import Entry, write_entry
from peerllm.charter.log_lock import sole_writer
from peerllm.charter.log_notes import (
    SignatureType,
    SignedNote,
    VerifierKey,
    check_name,
    parse_verifier_key,
    sign_note,
)
from peerllm.charter.log_tiles import (
    CHECKPOINT,
    TILE_WIDTH,
    TILES,
    Level,
    LogFiles,
    pack_entries,
    tile_name,
    unpack_entries,
)
from peerllm.charter.merkle import EMPTY_ROOT, leaf_hash
from peerllm.crypto.identity import Identity

PUBLIC: Final = "public"
KEY_NAME: Final = "log.vkey"
_PENDING: Final = "pending"
_SIGNED: Final = "last-signed"
_PUBLISHING: Final = "publishing"
_LOCK: Final = "lock"
_DIGEST_BYTES: Final = 32
_BATCH: Final = re.compile(r"([0-9]{16})-([0-9]{1,5})")
# How `put_file` names what it has not finished.
_DRAFT: Final = re.compile(r"\..+\.[0-9a-f]{16}")
# A batch is one file, written and synced as one: this many of the largest entries take 20 MB.
MAXIMUM_BATCH: Final = 10_000
# The operator's own files bear no cosignature that could be from the future.
_NO_CLOCK: Final = 0.0


def create_log(folder: Path, origin: str, identity: Identity) -> VerifierKey:
    """Make an empty log named `origin` and return the public key to hand out.

    Raises AlreadyFounded when the folder has a log, and Malformed when the name cannot be one.
    """
    check_new_log(folder, origin)
    key = VerifierKey(origin, SignatureType.NOTE, identity.public_key)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _PENDING).mkdir(exist_ok=True)
    put_file(folder / PUBLIC / CHECKPOINT, _sign(Checkpoint(origin, 0, EMPTY_ROOT), key, identity))
    # Last, because with it the folder counts as a log.
    put_file(folder / KEY_NAME, f"{key}\n".encode())
    sync_folders(folder, folder / PUBLIC)
    return key


def check_new_log(folder: Path, origin: str) -> None:
    """Raise what `create_log` raises, before a key is made for a log that cannot be."""
    check_name(origin)
    if (folder / KEY_NAME).exists() or (folder / PUBLIC / TILES).exists():
        raise AlreadyFounded(f"{folder} already holds a log; take another folder")


def log_key(folder: Path) -> VerifierKey:
    """Return the public key of the log in an operator's folder. Raises MissingDocument."""
    try:
        return parse_verifier_key((folder / KEY_NAME).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MissingDocument(f"{folder} holds no log; make one with `peerllm log init`") from error


@contextmanager
def open_log(folder: Path) -> Iterator["LogWriter"]:
    """Open a log for writing until the block ends; only one process may at a time.

    Raises BusyLog, MissingDocument, AlteredLog, or BadSignature when the files are another log's.
    """
    key = log_key(folder)
    with sole_writer(folder / _LOCK):
        writer = LogWriter(folder, key, _published(folder, key))
        writer.recover()
        yield writer


@dataclass
class LogWriter:
    """A log opened for writing.

    `size` counts the entries there are, published or pending; `told` has a sentence for each thing
    that was put right.
    """

    folder: Path
    key: VerifierKey
    published: SignedCheckpoint
    size: int = 0
    told: list[str] = field(default_factory=list)

    def append(self, entries: Sequence[Entry]) -> range:
        """Take entries down, all or none, and return their indices; on disk when it returns.

        They can be proven after the next `publish`. Raises Malformed, with nothing taken down.
        """
        if len(entries) > MAXIMUM_BATCH:
            raise Malformed(f"{len(entries)} entries at once, at most {MAXIMUM_BATCH} are allowed")
        taken = range(self.size, self.size + len(entries))
        if entries:
            packed = pack_entries([write_entry(entry) for entry in entries])
            path = self.folder / _PENDING / f"{taken.start:016}-{len(entries)}"
            put_file(path, sha256(packed).digest() + packed)
            sync_folders(path.parent)
            self.size = taken.stop
        return taken

    def missing(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return those of these entries that are neither published nor pending, in order.

        Raises Malformed for one that could not be taken down, AlteredLog when files are damaged.
        """
        wanted = {leaf_hash(write_entry(entry)): entry for entry in entries}
        files = LogFiles(self._public, self.published.checkpoint.size)
        for index in range(-(-files.size // TILE_WIDTH)):
            for known in files.tile(0, index):
                wanted.pop(known, None)
        after = files.size
        for start, count, path in self._batches():
            for raw in _pending_entries(start, count, path, after=after):
                wanted.pop(leaf_hash(raw), None)
            after = start + count
        return list(wanted.values())

    def publish(self, identity: Identity) -> SignedCheckpoint:
        """Publish what is pending under a new signed checkpoint, and return it.

        With nothing pending the checkpoint stays as it is. Raises BadSignature when the identity
        is not the log's, AlteredLog when files were changed, and RolledBack when this log has
        signed more than its files and pending entries make.
        """
        if identity.public_key != self.key.public_key:
            # Refused by the signature's own check, before a file is touched.
            _sign(self.published.checkpoint, self.key, identity)
        marker, batches = self.folder / _PUBLISHING, self._batches()
        if not batches:
            self._require_signed(LogFiles(self._public, self.published.checkpoint.size))
            marker.unlink(missing_ok=True)
            return self.published
        marker.touch()
        before = self.published.checkpoint.size
        tiles = RightEdge(LogFiles(self._public, before), self.published.checkpoint.root)
        for start, count, path in batches:
            tiles.add(_pending_entries(start, count, path, after=tiles.size))
        written = tiles.finish()
        files = LogFiles(self._public, tiles.size)
        self._require_signed(files)
        checkpoint = Checkpoint(self.key.name, tiles.size, files.root())
        raw = _sign(checkpoint, self.key, identity)
        sync_folders(*written)
        put_file(self.folder / _SIGNED, raw)
        sync_folders(self.folder)
        put_file(self._public / CHECKPOINT, raw)
        sync_folders(self._public)
        self.published = _published(self.folder, self.key)
        self._drop([path for _, _, path in batches])
        _drop_outgrown(self._public, before, tiles.size)
        marker.unlink()
        return self.published

    def add_cosignatures(
        self, note: SignedNote, witnesses: Sequence[VerifierKey], now_s: float
    ) -> int:
        """Take over what these witnesses signed under the published checkpoint; return how many.

        Raises BadSignature when the note is not of that checkpoint or a cosignature is wrong, and
        NotWitnessed when one is from the future.
        """
        if note.text != self.published.note.text:
            raise Malformed("these cosignatures are of another checkpoint than the published one")
        keys = LogKeys(self.key, tuple(witnesses))
        ids = {(witness.name, witness.key_id) for witness in witnesses}
        new = [one for one in note.signatures if (one.name, one.key_id) in ids]
        merged = self.published.note.with_signatures(*new).encode()
        self.published = open_checkpoint(merged, keys, now_s)
        put_file(self._public / CHECKPOINT, merged)
        sync_folders(self._public)
        return len(new)

    def recover(self) -> None:
        """Put right what a crash left; says so in `told`."""
        drafts = [*_drafts(self.folder.glob(".*")), *_drafts((self.folder / _PENDING).glob(".*"))]
        if (self.folder / _PUBLISHING).exists():
            drafts += _drafts(self._public.rglob(".*"))
            self.told.append(
                "publishing was interrupted; the next checkpoint takes it up where it was"
            )
        if drafts:
            self._drop(drafts)
            self.told.append(
                f"{len(drafts)} half-written {'file' if len(drafts) == 1 else 'files'} of an"
                " interrupted run dropped; nothing in them was ever confirmed to anyone"
            )
        size = self.published.checkpoint.size
        done = [path for start, count, path in self._batches() if start + count <= size]
        if done:
            self._drop(done)
            self.told.append(f"{len(done)} batches were already published and are dropped")
        self.size = max([size, *(start + count for start, count, _ in self._batches())])

    @property
    def _public(self) -> Path:
        return self.folder / PUBLIC

    def _batches(self) -> list[tuple[int, int, Path]]:
        """Return start, count and file of what is pending, in order and without a gap."""
        found = []
        for path in (self.folder / _PENDING).glob("[!.]*"):
            named = _BATCH.fullmatch(path.name)
            if not named:
                raise AlteredLog(f"{path} is not a batch of pending entries; move it away")
            found.append((int(named[1]), int(named[2]), path))
        found.sort()
        return found

    def _require_signed(self, files: LogFiles) -> None:
        """Refuse to go on from anything but what this key has signed before."""
        path = self.folder / _SIGNED
        if not path.exists():
            return
        signed = read_checkpoint(path, LogKeys(self.key), _NO_CLOCK).checkpoint
        if signed.size > files.size or files.root(signed.size) != signed.root:
            raise RolledBack(
                f"this log has signed {signed.size} entries that are not the ones in its files and"
                f" pending; to sign would fork it: bring the files of that checkpoint back ({path})"
            )

    def _drop(self, paths: Sequence[Path]) -> None:
        for path in paths:
            path.unlink()
        sync_folders(self.folder / _PENDING)


def _published(folder: Path, key: VerifierKey) -> SignedCheckpoint:
    return read_checkpoint(folder / PUBLIC / CHECKPOINT, LogKeys(key), _NO_CLOCK)


def _sign(checkpoint: Checkpoint, key: VerifierKey, identity: Identity) -> bytes:
    text = checkpoint.text()
    return SignedNote(text, (sign_note(text, key, identity),)).encode()


def _pending_entries(start: int, count: int, path: Path, after: int) -> list[bytes]:
    if start != after:
        raise AlteredLog(
            f"the pending entries from {after} on are missing, {path.name} follows; bring the file"
            " back from a copy"
        )
    raw = path.read_bytes()
    packed = raw[_DIGEST_BYTES:]
    entries = unpack_entries(packed)
    if sha256(packed).digest() != raw[:_DIGEST_BYTES] or entries is None or len(entries) != count:
        raise AlteredLog(
            f"{path} is damaged: the {count} entries from {start} on cannot be published; bring the"
            " file back from a copy"
        )
    return entries


def _drafts(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if _DRAFT.fullmatch(path.name)]


def _drop_outgrown(public: Path, before: int, size: int) -> None:
    """Drop the narrow forms of tiles that are full now; the full one begins as each of them did."""
    level, old, new = 0, before, size
    while old:
        index, rest = divmod(old, TILE_WIDTH)
        if rest and new // TILE_WIDTH > index:
            names: list[Level] = [level, "entries"] if level == 0 else [level]
            for name in names:
                shutil.rmtree((public / tile_name(name, index, 1)).parent, ignore_errors=True)
        level, old, new = level + 1, index, new // TILE_WIDTH
