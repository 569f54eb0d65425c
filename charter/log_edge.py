"""How the public log's files grow: entries in, full tiles and bundles out."""

from collections.abc import Sequence
from pathlib import Path

from peerllm.charter.errors import AlteredLog
from peerllm.charter.folder import put_file
from peerllm.charter.log_tiles import TILE_WIDTH, Level, LogFiles, pack_entries, tile_name
from peerllm.charter.merkle import leaf_hash, root_of_hashes


class RightEdge:
    """A log that grows: what is not yet full at each level, and the files that it fills.

    Raises AlteredLog when the files do not add up to `root`, so that nothing is built on them.
    """

    def __init__(self, files: LogFiles, root: bytes) -> None:
        self._folder = files.folder
        self.size = files.size
        if files.root() != root:
            raise AlteredLog(
                "the public files do not add up to the log's own checkpoint; bring them back from a"
                " copy before anything is published"
            )
        self._levels: list[list[bytes]] = []
        hashes = files.size
        while hashes:
            full, rest = divmod(hashes, TILE_WIDTH)
            self._levels.append(list(files.tile(len(self._levels), full)) if rest else [])
            hashes = full
        last = files.size // TILE_WIDTH
        self._bundle = files.bundle(last) if files.size % TILE_WIDTH else []
        if self._levels and [leaf_hash(raw) for raw in self._bundle] != self._levels[0]:
            raise AlteredLog(
                f"{tile_name('entries', last, len(self._bundle))} is not what was published; bring"
                " it back from a copy"
            )
        self._folders: set[Path] = set()

    def add(self, entries: Sequence[bytes]) -> None:
        """Let the log grow by these entries, writing what becomes full."""
        for raw in entries:
            self._bundle.append(raw)
            if len(self._bundle) == TILE_WIDTH:
                self._put("entries", self.size // TILE_WIDTH, pack_entries(self._bundle))
                self._bundle = []
            self._push(0, leaf_hash(raw))
            self.size += 1

    def finish(self) -> list[Path]:
        """Write what is not full and return the folders that were written to."""
        if self._bundle:
            self._put(
                "entries", self.size // TILE_WIDTH, pack_entries(self._bundle), len(self._bundle)
            )
        for level, hashes in enumerate(self._levels):
            if hashes:
                index = self.size // TILE_WIDTH ** (level + 1)
                self._put(level, index, b"".join(hashes), len(hashes))
        return sorted(self._folders)

    def _push(self, level: int, one: bytes) -> None:
        if level == len(self._levels):
            self._levels.append([])
        hashes = self._levels[level]
        hashes.append(one)
        if len(hashes) == TILE_WIDTH:
            self._put(level, self.size // TILE_WIDTH ** (level + 1), b"".join(hashes))
            self._levels[level] = []
            self._push(level + 1, root_of_hashes(hashes))

    def _put(self, level: Level, index: int, content: bytes, width: int = TILE_WIDTH) -> None:
        path = self._folder / tile_name(level, index, width)
        put_file(path, content)
        # A new folder is itself an entry of the one above it.
        self._folders.update(
            folder for folder in path.parents if folder.is_relative_to(self._folder)
        )
