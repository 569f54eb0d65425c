"""Putting a model file together from pieces that other hosts send: what to ask of whom.

Pure: no clock, no network, no disk. Every piece is checked on its own against the list of
pieces, and the list against the digest that the coordinator took from its own copy of the
file, so a holder that lies is known by its first lie and costs one piece at most
(docs/decisions/0007-model-exchange.md).
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

PIECE_BYTES: Final = 1024 * 1024
HASH_BYTES: Final = 32
# Its list is 2 MiB, the largest frame that is buffered anywhere.
MAXIMUM_PIECES: Final = 65_536
MAXIMUM_MODEL_BYTES: Final = MAXIMUM_PIECES * PIECE_BYTES
# The next piece is asked for before the last one is here, so that no round trip is idle.
PIECES_ON_THE_WAY: Final = 2
# Near the end a piece is asked of a second holder once the first has had so long.
DOUBLE_AFTER_SECONDS: Final = 5.0

Receipt = Literal["store", "surplus", "unasked", "lie"]


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """A model file as a coordinator vouches for it.

    `digest` is the SHA-256 of the file, by which it is named; `list_digest` that of its list
    of pieces.
    """

    digest: bytes
    file_bytes: int
    list_digest: bytes


@dataclass(frozen=True)
class PieceList:
    """The SHA-256 of every piece of a file, one after the other."""

    file_bytes: int
    hashes: bytes = field(repr=False)

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return len(self.hashes) // HASH_BYTES

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the list itself."""
        return hashlib.sha256(self.hashes).digest()

    def hash_of(self, index: int) -> bytes:
        """The SHA-256 that a piece must have."""
        return self.hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES]

    def bytes_of(self, index: int) -> int:
        """How long a piece is: all are equal but the last."""
        return min(PIECE_BYTES, self.file_bytes - index * PIECE_BYTES)


def pieces_in(file_bytes: int) -> int:
    """How many pieces a file of this size has."""
    return -(-file_bytes // PIECE_BYTES)


def read_list(hashes: bytes, facts: ModelFacts) -> PieceList | None:
    """The list of pieces in these bytes; None when it is not the one vouched for."""
    if len(hashes) != HASH_BYTES * pieces_in(facts.file_bytes):
        return None
    pieces = PieceList(facts.file_bytes, hashes)
    return pieces if pieces.digest == facts.list_digest else None


def summarise(read: Callable[[int], bytes]) -> tuple[ModelFacts, PieceList]:
    """What to vouch for in a file, given its `read`, in one pass. Raises OSError as `read` does.

    `read` must give whole pieces until the file ends, as a buffered file's does. Raises
    `ValueError` for a file that is empty or larger than `MAXIMUM_MODEL_BYTES`.
    """
    whole = hashlib.sha256()
    hashes, file_bytes = bytearray(), 0
    while piece := read(PIECE_BYTES):
        whole.update(piece)
        hashes += hashlib.sha256(piece).digest()
        file_bytes += len(piece)
        if file_bytes > MAXIMUM_MODEL_BYTES:
            raise ValueError(f"a model file has at most {MAXIMUM_MODEL_BYTES} bytes")
    if not file_bytes:
        raise ValueError("a model file is not empty")
    pieces = PieceList(file_bytes, bytes(hashes))
    facts = ModelFacts(digest=whole.digest(), file_bytes=file_bytes, list_digest=pieces.digest)
    return facts, pieces


class Assembly:
    """One file in the making. Holders are named by any string; `now` is in seconds.

    A piece is asked for (`assign`), arrives (`receive`) and is then on disk (`stored`); what a
    holder leaves undone goes to the others. Holders that lied are never asked again.
    """

    def __init__(self, facts: ModelFacts) -> None:
        self.facts = facts
        self.pieces: PieceList | None = None
        self.liars: set[str] = set()
        self._missing: set[int] = set()
        # Asked for or being written. Lowest first, so that the file grows without holes.
        self._unasked: set[int] = set()
        self._asked: dict[int, dict[str, float]] = {}
        self._next = 0

    @property
    def is_complete(self) -> bool:
        """Whether every piece is on disk."""
        return self.pieces is not None and not self._missing

    @property
    def stored_bytes(self) -> int:
        """How much of the file is on disk and right."""
        if self.pieces is None:
            return 0
        return self.facts.file_bytes - sum(map(self.pieces.bytes_of, self._missing))

    def offer_list(self, holder: str, hashes: bytes) -> PieceList | None:
        """The list of pieces as a holder gives it; None, and the holder a liar, if it is false."""
        pieces = read_list(hashes, self.facts)
        if pieces is None:
            self.liars.add(holder)
        return pieces

    def begin(self, pieces: PieceList, held: Iterable[int] = ()) -> None:
        """Start with a list that was found right and the pieces that are on disk already."""
        self.pieces = pieces
        self._missing = set(range(pieces.count)) - set(held)
        self._unasked = set(self._missing)
        self._next = 0

    def assign(self, holder: str, now: float) -> int | None:
        """The piece to ask of a holder now, if any; noted as asked."""
        if holder in self.liars:
            return None
        mine = sum(holder in askers for askers in self._asked.values())
        if mine >= PIECES_ON_THE_WAY:
            return None
        index = self._lowest_unasked()
        if index is None and not mine:
            index = self._slowest(now)
        if index is not None:
            self._unasked.discard(index)
            self._asked.setdefault(index, {})[holder] = now
        return index

    def receive(self, holder: str, index: int, digest: bytes) -> Receipt:
        """A piece with this SHA-256 has come from a holder: write it down only for "store"."""
        askers = self._asked.get(index, {})
        if holder not in askers or self.pieces is None:
            return "unasked"
        del askers[holder]
        if digest != self.pieces.hash_of(index):
            self.liars.add(holder)
            self._return(index)
            return "lie"
        if index not in self._missing:
            self._return(index)
            return "surplus"
        return "store"

    def stored(self, index: int) -> None:
        """A piece that `receive` wanted is on disk."""
        self._missing.discard(index)
        self._return(index)

    def not_stored(self, index: int) -> None:
        """A piece that `receive` wanted could not be written: it is missing as before."""
        self._return(index)

    def leave(self, holder: str) -> None:
        """A holder is gone: what was asked of it is asked of others."""
        for index in [index for index, askers in self._asked.items() if holder in askers]:
            del self._asked[index][holder]
            self._return(index)

    def _return(self, index: int) -> None:
        if not self._asked.get(index):
            self._asked.pop(index, None)
            if index in self._missing:
                self._unasked.add(index)
                self._next = min(self._next, index)

    def _lowest_unasked(self) -> int | None:
        if not self._unasked:
            return None
        while self._next not in self._unasked:
            self._next += 1
        return self._next

    def _slowest(self, now: float) -> int | None:
        """The piece that one holder has had longest, if that is long: a second may be quicker."""
        waiting = [
            (min(askers.values()), index)
            for index, askers in self._asked.items()
            if len(askers) == 1 and index in self._missing
        ]
        if not waiting:
            return None
        since, index = min(waiting)
        return index if now - since >= DOUBLE_AFTER_SECONDS else None
