"""A model file on its way: kept in part beside its list of pieces, so that nothing is lost.

What is on disk is never believed: pieces are hashed again after every interruption, so no
record of them has to be in step with the file. Nothing here is named by a peer.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import trio

from peerllm.overlay.model_pieces import (
    HASH_BYTES,
    PIECE_BYTES,
    ModelFacts,
    PieceList,
    pieces_in,
    read_list,
)
from peerllm.peer.errors import ModelError, PeerError
from peerllm.peer.files import write_private
from peerllm.peer.gguf import read_shape

FetchFault = Literal[
    "unknown_model",
    "too_often",
    "not_connected",
    "no_holders",
    "no_space",
    "disk_failed",
    "digest_mismatch",
    "not_a_model",
]
# For the host's own small files beside the model.
_SPARE_BYTES: Final = 64 * 1024 * 1024


class FetchError(PeerError):
    """A model cannot be fetched; the message is one sentence for the owner."""

    def __init__(self, reason: FetchFault, sentence: str) -> None:
        super().__init__(sentence)
        self.reason: FetchFault = reason


class PartialModel:
    """The files of one fetch. Every method raises `FetchError` when the disk fails it."""

    def __init__(self, directory: Path, facts: ModelFacts) -> None:
        self.facts = facts
        self.path: Final = directory / f"{facts.digest.hex()}.gguf"
        self._partial: Final = self.path.with_suffix(".partial")
        self._list: Final = self.path.with_suffix(".pieces")
        # One write at a time: a file has one position.
        self._lock = trio.Lock()

    async def is_here(self) -> bool:
        """Whether the whole file is here already, left by a fetch that was cut at its end."""
        return self.path.is_file() and await self._digest(self.path) == self.facts.digest

    async def saved_list(self) -> PieceList | None:
        """The list of pieces that an interrupted fetch has left."""
        try:
            if self._list.stat().st_size != HASH_BYTES * pieces_in(self.facts.file_bytes):
                return None
            return read_list(await trio.to_thread.run_sync(self._list.read_bytes), self.facts)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from None

    async def begin(self, pieces: PieceList, on_checked: Callable[[int], None]) -> set[int]:
        """Keep the list, make room, and find the pieces that are here by hashing them.

        `on_checked` is told how many bytes have been looked at.
        """
        try:
            await trio.to_thread.run_sync(self._open, pieces)
            held = set()
            for index in range(pieces.count):
                digest = await trio.to_thread.run_sync(self._digest_of_piece, index)
                if digest is None:
                    break
                if digest == pieces.hash_of(index):
                    held.add(index)
                on_checked(min(self.facts.file_bytes, (index + 1) * PIECE_BYTES))
        except OSError as error:
            raise self._failed(error) from None
        return held

    async def write(self, index: int, data: bytes) -> None:
        """Put one piece in its place."""
        async with self._lock:
            try:
                await trio.to_thread.run_sync(self._write, index, data)
            except OSError as error:
                raise self._failed(error) from None

    async def finish(self) -> Path:
        """Check the whole file, and give it its name only then."""
        found = await self._digest(self._partial)
        if found != self.facts.digest:
            self.discard()
            raise FetchError(
                "digest_mismatch",
                f"the pieces make a file with the SHA-256 {found.hex()}, not "
                f"{self.facts.digest.hex()}: the coordinator's list of them is wrong; "
                "tell its operator. Nothing was kept",
            )
        try:
            await trio.to_thread.run_sync(read_shape, self._partial)
        except ModelError as error:
            self.discard()
            raise FetchError(
                "not_a_model",
                f"the file came as it should, but cannot be used: {error}. Nothing was kept",
            ) from None
        try:
            await trio.to_thread.run_sync(self._settle)
        except OSError as error:
            raise self._failed(error) from None
        return self.path

    def discard(self) -> None:
        """Remove what is here in part."""
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)
            self._list.unlink(missing_ok=True)

    def _open(self, pieces: PieceList) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self._list, pieces.hashes)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(self._partial, flags, 0o600)
        try:
            here = os.fstat(descriptor).st_size
            if here > self.facts.file_bytes:
                os.ftruncate(descriptor, self.facts.file_bytes)
        finally:
            os.close(descriptor)
        wanted = max(0, self.facts.file_bytes - here) + _SPARE_BYTES
        free = shutil.disk_usage(self.path.parent).free
        if free < wanted:
            raise FetchError(
                "no_space",
                f"{self.path.parent} has {free // 10**6} MB free, {wanted // 10**6} MB are "
                "needed: make room and fetch again; what is here already is kept",
            )

    def _digest_of_piece(self, index: int) -> bytes | None:
        with self._partial.open("rb") as file:
            file.seek(index * PIECE_BYTES)
            data = file.read(PIECE_BYTES)
        return hashlib.sha256(data).digest() if data else None

    def _write(self, index: int, data: bytes) -> None:
        with self._partial.open("r+b") as file:
            file.seek(index * PIECE_BYTES)
            file.write(data)

    async def _digest(self, path: Path) -> bytes:
        whole = hashlib.sha256()

        def add(start: int) -> bool:
            with path.open("rb") as file:
                file.seek(start)
                data = file.read(PIECE_BYTES)
            whole.update(data)
            return bool(data)

        start = 0
        try:
            # Piece by piece, so that it can be stopped.
            while await trio.to_thread.run_sync(add, start):
                start += PIECE_BYTES
        except OSError as error:
            raise self._failed(error) from None
        return whole.digest()

    def _settle(self) -> None:
        with self._partial.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(self._partial, self.path)
        self._list.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> FetchError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return FetchError(
                "no_space",
                f"the disk of {self.path.parent} is full: make room and fetch again; "
                "what is here already is kept",
            )
        return FetchError(
            "disk_failed",
            f"{self.path.parent} cannot be used ({error.strerror}): what is here is kept",
        )
