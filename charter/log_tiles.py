"""The public log's files, and every root and proof read from them.

https://c2sp.org/tlog-tiles: leaf hashes lie in tiles of 256, the roots of full tiles in tiles one
level up, entries in bundles of 256, each with its length before it. A file that is full never
changes; the last one of each level has its width in its name.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from peerllm.charter.errors import AlteredLog
from peerllm.charter.folder import read_file
from peerllm.charter.log_entries import MAXIMUM_ENTRY_BYTES
from peerllm.charter.merkle import (
    HASH_BYTES,
    Range,
    consistency_ranges,
    full_subtrees,
    inclusion_ranges,
    joined,
    leaf_hash,
    root_of_hashes,
)

TILE_WIDTH: Final = 256
TILE_LEVELS: Final = 8  # Merkle levels in a tile: 2**8 hashes.
CHECKPOINT: Final = "checkpoint"
TILES: Final = "tile"
_LENGTH_BYTES: Final = 2
_MAXIMUM_BUNDLE_BYTES: Final = TILE_WIDTH * (_LENGTH_BYTES + MAXIMUM_ENTRY_BYTES)

Level = int | Literal["entries"]


def tile_name(level: Level, index: int, width: int) -> str:
    """Return a tile's or bundle's path below the public folder: "tile/0/x001/234.p/17"."""
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"{TILES}/{level}/{'/'.join(groups)}{partial}"


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """Yield level, index and width of every tile of a log of this size; bundles are as level 0."""
    level, hashes = 0, size
    while hashes:
        full, rest = divmod(hashes, TILE_WIDTH)
        yield from ((level, index, TILE_WIDTH) for index in range(full))
        if rest:
            yield level, full, rest
        level, hashes = level + 1, full


def pack_entries(entries: Sequence[bytes]) -> bytes:
    """Return entries with their lengths before them, as they stand in a bundle."""
    return b"".join(len(raw).to_bytes(_LENGTH_BYTES) + raw for raw in entries)


def unpack_entries(packed: bytes) -> list[bytes] | None:
    """Return the entries of a bundle, or None when it does not end where an entry does."""
    entries, place, end = list[bytes](), 0, len(packed)
    while place < end:
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(packed[place:start])
        entries.append(packed[start:place])
    return entries if place == end else None


class LogFiles:
    """Reads one public folder as the log of `size` entries; checks shapes, not signatures.

    Every method raises AlteredLog when a file is missing or not of its size. What it returns is
    only as good as the files: compare a root with a signed checkpoint before believing it.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder: Final = folder
        self.size: Final = size
        # A proof in a log of millions touches nine tiles; runs of proofs mostly the same ones.
        self._tile = lru_cache(maxsize=64)(self._read_tile)

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first `size` entries, or over all."""
        return self._root((0, self.size if size is None else size))

    def inclusion_path(self, index: int) -> tuple[bytes, ...]:
        """Return the proof that entry `index` is in the log. Raises IndexError if it is not."""
        return tuple(map(self._root, inclusion_ranges(index, self.size)))

    def consistency_path(self, old_size: int) -> tuple[bytes, ...]:
        """Return the proof that the log grew from `old_size` entries. Raises IndexError."""
        return tuple(map(self._root, consistency_ranges(old_size, self.size)))

    def entry(self, index: int) -> bytes:
        """Return the bytes of one entry. Raises IndexError when there is no such entry."""
        if not 0 <= index < self.size:
            raise IndexError(f"a log of {self.size} entries has no entry {index}")
        return self.bundle(index // TILE_WIDTH)[index % TILE_WIDTH]

    def find(self, entry: bytes) -> int | None:
        """Return the index of the first entry with these bytes, or None."""
        wanted = leaf_hash(entry)
        for index in range(-(-self.size // TILE_WIDTH)):
            hashes = self.tile(0, index)
            if wanted in hashes:
                return index * TILE_WIDTH + hashes.index(wanted)
        return None

    def tile(self, level: int, index: int) -> tuple[bytes, ...]:
        """Return the hashes of a tile, as many as there are in a log of this size."""
        return self._tile(level, index)

    def bundle(self, index: int) -> list[bytes]:
        """Return the entries of a bundle, as many as there are in a log of this size."""
        width = self._width(0, index)
        raw, name = self._read("entries", index, width, _MAXIMUM_BUNDLE_BYTES)
        entries = unpack_entries(raw)
        if entries is None or len(entries) < width:
            raise AlteredLog(f"{name} is not a bundle of {width} entries; get the files again")
        return entries[:width]

    def _read_tile(self, level: int, index: int) -> tuple[bytes, ...]:
        width = self._width(level, index)
        raw, name = self._read(level, index, width, TILE_WIDTH * HASH_BYTES)
        if len(raw) < width * HASH_BYTES or len(raw) % HASH_BYTES:
            raise AlteredLog(f"{name} is not a tile of {width} hashes; get the files again")
        return tuple(
            raw[place : place + HASH_BYTES] for place in range(0, width * HASH_BYTES, HASH_BYTES)
        )

    def _read(self, level: Level, index: int, width: int, maximum: int) -> tuple[bytes, str]:
        # A log that has grown since may have dropped the narrower file; the full one begins alike.
        for candidate in dict.fromkeys((width, TILE_WIDTH)):
            name = tile_name(level, index, candidate)
            try:
                raw = read_file(self.folder / name, maximum + 1)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise AlteredLog(f"cannot read {name}: {error.strerror}") from error
            if len(raw) > maximum:
                raise AlteredLog(f"{name} has more than {maximum} bytes; get the files again")
            return raw, name
        raise AlteredLog(f"{tile_name(level, index, width)} is missing; get the files again")

    def _width(self, level: int, index: int) -> int:
        return min(TILE_WIDTH, (self.size >> (TILE_LEVELS * level)) - index * TILE_WIDTH)

    def _root(self, covered: Range) -> bytes:
        return joined([self._node(*subtree) for subtree in full_subtrees(*covered)])

    def _node(self, level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_LEVELS)
        first = index << height
        hashes = self.tile(tile_level, first // TILE_WIDTH)
        start = first % TILE_WIDTH
        return root_of_hashes(hashes[start : start + (1 << height)])
