"""Check a whole log from its public files alone: every entry hashed again, every file compared."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from peerllm.charter.errors import AlteredLog, Malformed
from peerllm.charter.folder import read_file
from peerllm.charter.log_checkpoint import LogKeys, SignedCheckpoint, read_checkpoint
from peerllm.charter.log_entries import Entry, kind_of, read_entry
from peerllm.charter.log_tiles import (
    CHECKPOINT,
    TILE_WIDTH,
    TILES,
    Level,
    LogFiles,
    pack_entries,
    tile_name,
)
from peerllm.charter.merkle import (
    full_subtrees,
    joined,
    leaf_hash,
    root_of_hashes,
    verify_inclusion,
)

_NAME: Final = re.compile("([0-9]{1,2}|entries)/((?:x[0-9]{3}/)*[0-9]{3})(?:[.]p/([0-9]{1,3}))?")


@dataclass(frozen=True)
class LogReport:
    """What was found in a log that is well: how much of what, and files that are no part of it."""

    signed: SignedCheckpoint
    entries_by_kind: dict[str, int]
    files: int
    total_bytes: int
    strangers: tuple[str, ...]


def verify_log(public: Path, keys: LogKeys, now_s: float) -> LogReport:
    """Check every byte of a log's public files against its signed checkpoint.

    Raises what `read_checkpoint` raises, and AlteredLog, which names the file, when anything is
    missing or not as it was published.
    """
    signed = read_checkpoint(public / CHECKPOINT, keys, now_s)
    check = _Check(public, signed)
    check.run()
    return LogReport(
        signed=signed,
        entries_by_kind=dict(sorted(check.kinds.items())),
        files=check.files + 1,
        total_bytes=check.total_bytes + len(signed.note.encode()),
        strangers=tuple(sorted(str(path) for paths in check.found.values() for path in paths)),
    )


@dataclass
class _Check:
    public: Path
    signed: SignedCheckpoint
    kinds: Counter[str] = field(default_factory=Counter)
    files: int = 0
    total_bytes: int = 0
    # Every file there is, by tile and width; what is left in the end is no part of the log.
    found: dict[tuple[Level, int], dict[Path, int]] = field(default_factory=dict)
    levels: list[list[bytes]] = field(default_factory=list)

    def run(self) -> None:
        for path, tile, width in _files(self.public):
            self.found.setdefault(tile, {})[path] = width
        size = self.signed.checkpoint.size
        bundles = LogFiles(self.public, size)
        for index in range(-(-size // TILE_WIDTH)):
            entries = bundles.bundle(index)
            for place, raw in enumerate(entries, index * TILE_WIDTH):
                self._count(place, raw)
                self._push(0, leaf_hash(raw), place)
            self._compare("entries", index, [pack_entries([raw]) for raw in entries])
        root = self._finish(size)
        if root != self.signed.checkpoint.root:
            raise AlteredLog(
                f"the {size} entries do not have the root that the log's key signed: this log was"
                " rewritten; ask for the files that the checkpoint was made of"
            )

    def _count(self, place: int, raw: bytes) -> None:
        try:
            self.kinds[kind_of(read_entry(raw))] += 1
        except Malformed as error:
            raise AlteredLog(
                f"entry {place} is none that this release of peerllm knows: {error}"
            ) from error

    def _push(self, level: int, one: bytes, place: int) -> None:
        if level == len(self.levels):
            self.levels.append([])
        hashes = self.levels[level]
        hashes.append(one)
        if len(hashes) == TILE_WIDTH:
            self._compare(level, place // TILE_WIDTH ** (level + 1), hashes)
            self.levels[level] = []
            self._push(level + 1, root_of_hashes(hashes), place)

    def _finish(self, size: int) -> bytes:
        for level, hashes in enumerate(self.levels):
            if hashes:
                self._compare(level, size // TILE_WIDTH ** (level + 1), hashes)
        return joined(
            [
                root_of_hashes(hashes[index << height : (index + 1) << height])
                for hashes in reversed(self.levels)
                for height, index in full_subtrees(0, len(hashes))
            ]
        )

    def _compare(self, level: Level, index: int, parts: list[bytes]) -> None:
        """Compare every file of a tile, the narrow ones too, with what it must hold."""
        present = self.found.get((level, index), {})
        if not {len(parts), TILE_WIDTH} & set(present.values()):
            raise AlteredLog(f"{tile_name(level, index, len(parts))} is missing; get it again")
        for path, width in list(present.items()):
            expected = b"".join(parts[:width])
            # A file that is wider than this checkpoint needs is of a later one; it begins alike.
            raw = read_file(path, len(expected) + (width <= len(parts)))
            if raw != expected:
                first = index * TILE_WIDTH ** (1 if level == "entries" else level + 1)
                raise AlteredLog(
                    f"{path.relative_to(self.public)} is not what the log's entries make: it, or"
                    f" the entries from {first} on, were altered"
                )
            if width <= len(parts):
                self.files += 1
                self.total_bytes += len(raw)
                del present[path]


def _files(public: Path) -> Iterator[tuple[Path, tuple[Level, int], int]]:
    """Yield every file with the tile and width that its name says, or -1 for none."""
    folder = public / TILES
    for path in public.rglob("*"):
        if path.is_dir() or path == public / CHECKPOINT:
            continue
        place: tuple[Level, int] = (-1, -1)
        width = -1
        named = (
            _NAME.fullmatch(path.relative_to(folder).as_posix()) if folder in path.parents else None
        )
        if named:
            index = int(named[2].replace("x", "").replace("/", ""))
            place = ("entries" if named[1] == "entries" else int(named[1]), index)
            width = int(named[3] or TILE_WIDTH)
        if not 0 < width <= TILE_WIDTH or path != public / tile_name(*place, width):
            place, width = (-1, -1), -1
        yield path, place, width


def read_entries(public: Path, signed: SignedCheckpoint, start: int) -> Iterator[tuple[int, Entry]]:
    """Yield index and entry from `start` on, each bundle proven to be under the checkpoint's root.

    Raises AlteredLog at the first bundle that is not.
    """
    checkpoint = signed.checkpoint
    files = LogFiles(public, checkpoint.size)
    for index in range(start // TILE_WIDTH, -(-checkpoint.size // TILE_WIDTH)):
        entries, first = files.bundle(index), index * TILE_WIDTH
        # The path from one leaf upwards is made of all the hashes of its tile: with it all stand.
        if tuple(map(leaf_hash, entries)) != files.tile(0, index) or not verify_inclusion(
            checkpoint.root, checkpoint.size, first, entries[0], files.inclusion_path(first)
        ):
            raise AlteredLog(
                f"{tile_name('entries', index, len(entries))} or its hashes were altered; get the"
                " files again"
            )
        for place, raw in enumerate(entries, first):
            if place >= start:
                yield place, read_entry(raw)
