"""Private key files: made whole or not at all, readable by their owner only."""

import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from peerllm.crypto.errors import KeyFileError

_HEADER: Final = "peerllm-ed25519-1"
_CHECKSUM_CHARACTERS: Final = 16
_MAXIMUM_BYTES: Final = 256


def read_seed(path: Path) -> bytes:
    """Return the 32-byte seed kept in a key file.

    Raises FileNotFoundError, or KeyFileError when others may read the file or it is damaged.
    """
    return _parse(read_private_file(path, _MAXIMUM_BYTES), path)


def read_private_file(path: Path, maximum_bytes: int) -> bytes:
    """Return a private file's content, at most one byte more than `maximum_bytes` of it.

    Raises FileNotFoundError, or KeyFileError when it is no plain file or others may read it.
    """
    # Opened without following a link and judged by its descriptor: what is checked is what is read.
    # Non-blocking, because opening a named pipe would wait for a writer.
    flags = os.O_RDONLY
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyFileError(f"cannot open key file {path}: {error.strerror}") from error
    try:
        _require_private_file(os.fstat(descriptor), path)
        return os.read(descriptor, maximum_bytes + 1)
    finally:
        os.close(descriptor)


def create_seed_file(path: Path, seed: bytes) -> None:
    """Write a new key file with mode 0600; raises FileExistsError: a key is never overwritten."""
    create_private_file(path, _content(seed))


def create_private_file(path: Path, content: bytes) -> None:
    """Write a new file with mode 0600; after a crash it is there whole or not at all.

    Raises FileExistsError when the file exists, or another OSError; each names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(draft, flags, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, fails when the name is taken: of two writers one wins.
        os.link(draft, path)
    except OSError as error:
        # A full disk names no file by itself.
        error.filename = str(path)
        raise
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def _require_private_file(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"key file {path} is not a regular file; move it away")
    # Windows has no such bits; there the folder's access list decides.
    if os.name == "posix" and status.st_mode & 0o077:
        raise KeyFileError(
            f"key file {path} has mode {stat.S_IMODE(status.st_mode):04o}, so others may have read"
            f" it; make a new key, or run: chmod 600 {path}"
        )


def _parse(raw: bytes, path: Path) -> bytes:
    parts = raw.decode("ascii", errors="replace").split(" ")
    try:
        seed = bytes.fromhex(parts[1]) if len(parts) == 3 else b""
    except ValueError:
        seed = b""
    if len(seed) != 32 or raw != _content(seed):
        raise KeyFileError(f"key file {path} is damaged; restore it from a copy or move it away")
    return seed


def _content(seed: bytes) -> bytes:
    return f"{_HEADER} {seed.hex()} {_checksum(seed)}\n".encode("ascii")


def _checksum(seed: bytes) -> str:
    return hashlib.sha256(b"peerllm/key-file\0" + seed).hexdigest()[:_CHECKSUM_CHARACTERS]


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
