"""What this host lets others fetch, and whom: files of its catalogue, hosts introduced to it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from peerllm.overlay.messages import Introduce
from peerllm.overlay.model_pieces import (
    MAXIMUM_MODEL_BYTES,
    PIECE_BYTES,
    PieceList,
    summarise,
)
from peerllm.peer.catalogue import LocalCatalogue
from peerllm.peer.errors import ConfigurationError

# What a hello can name; a home's disk holds fewer.
_MAXIMUM_FILES: Final = 64
# A coordinator names a host to at most eight others at once, for a quarter of an hour each.
_MAXIMUM_GUESTS: Final = 1024
_LONGEST_SECONDS: Final = 3600.0


class Guests:
    """The hosts that may fetch now, and what. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[tuple[str, bytes], float] = {}

    def admit(self, introduction: Introduce) -> None:
        """Admit a host as long as the coordinator says, an hour at most."""
        now = self._clock()
        self._until = {guest: until for guest, until in self._until.items() if until > now}
        guest = (introduction.peer_id, introduction.digest)
        self._until.pop(guest, None)
        while len(self._until) >= _MAXIMUM_GUESTS:
            del self._until[min(self._until, key=self._until.__getitem__)]
        self._until[guest] = now + min(introduction.valid_us / 1e6, _LONGEST_SECONDS)

    def admits(self, peer_id: str, digest: bytes | None = None) -> bool:
        """Whether a host may fetch this file now; without a digest, any file."""
        now = self._clock()
        return any(
            peer == peer_id and digest in (None, known) and until > now
            for (peer, known), until in self._until.items()
        )


@dataclass(frozen=True)
class _File:
    path: Path
    size: int
    modified_ns: int


class SharedModels:
    """The files of the local catalogue, each hashed before it is offered to anyone.

    What goes out is compared with those hashes once more: a host whose disk fails says that
    it has no such piece, and is not taken for a liar.
    """

    def __init__(self, data_directory: Path) -> None:
        self._catalogue = LocalCatalogue(data_directory)
        self._known: dict[_File, tuple[bytes, PieceList]] = {}
        self._shared: dict[bytes, tuple[_File, PieceList]] = {}

    @property
    def digests(self) -> list[bytes]:
        """The files that can be fetched from here."""
        return sorted(self._shared)

    async def look(self, *, share: bool) -> bool:
        """Bring what is shared in line with the catalogue; whether that changed anything.

        Hashes what is new, which takes a second or two for a gigabyte.
        """
        before = self.digests
        listed = await trio.to_thread.run_sync(self._listed) if share else {}
        known, shared = {}, {}
        for digest, file in listed.items():
            summary = self._known.get(file) or await trio.to_thread.run_sync(
                _summary_of, file, abandon_on_cancel=True
            )
            if summary is not None:
                known[file] = summary
                if summary[0] == digest:
                    shared[digest] = (file, summary[1])
        self._known, self._shared = known, shared
        return self.digests != before

    async def hashes(self, digest: bytes) -> bytes | None:
        """The hashes of a file's pieces."""
        entry = self._shared.get(digest)
        return entry[1].hashes if entry else None

    async def piece(self, digest: bytes, index: int) -> bytes | None:
        """One piece, if it is still what was hashed."""
        entry = self._shared.get(digest)
        if entry is None or index >= entry[1].count:
            return None
        file, pieces = entry
        data = await trio.to_thread.run_sync(_read_piece, file.path, index)
        return data if hashlib.sha256(data).digest() == pieces.hash_of(index) else None

    def _listed(self) -> dict[bytes, _File]:
        try:
            models = self._catalogue.models()
        except (ConfigurationError, OSError):
            # Said where the owner looks at the catalogue; there is nothing to share.
            return {}
        found = {}
        for digest, model in sorted(models.items())[:_MAXIMUM_FILES]:
            try:
                status = Path(model.path).stat()
            except OSError:
                continue
            if status.st_size > MAXIMUM_MODEL_BYTES:
                # Has no list of pieces; found out by reading, it would be read at every look.
                continue
            found[bytes.fromhex(digest)] = _File(
                Path(model.path), status.st_size, status.st_mtime_ns
            )
        return found


def _summary_of(file: _File) -> tuple[bytes, PieceList] | None:
    try:
        with file.path.open("rb") as opened:
            facts, pieces = summarise(opened.read)
    except (OSError, ValueError):
        return None
    return facts.digest, pieces


def _read_piece(path: Path, index: int) -> bytes:
    try:
        with path.open("rb") as opened:
            opened.seek(index * PIECE_BYTES)
            return opened.read(PIECE_BYTES)
    except OSError:
        return b""
