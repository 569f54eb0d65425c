"""Small state files of a host: written whole or not at all, readable by their owner only."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

from peerllm.peer.errors import ConfigurationError

T = TypeVar("T")

# Catalogue, limits and settings are a few kilobytes.
_MAXIMUM_BYTES = 1024 * 1024


def write_private(path: Path, raw: bytes) -> None:
    """Replace the file at once, with mode 0600. Raises OSError, which names it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # mkstemp's files have mode 0600.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            # A full disk names no file by itself.
            error.filename = str(path)
        raise


def write_state(path: Path, value: msgspec.Struct) -> None:
    """Write a value as JSON that a person can read.

    Raises OSError, and `ConfigurationError` for a file's name that is no text.
    """
    try:
        raw = msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise ConfigurationError(
            f"{path} cannot hold the name {error.object!r}, which is no UTF-8: rename what is "
            "called so"
        ) from None
    write_private(path, msgspec.json.format(raw, indent=2) + b"\n")


def read_state(path: Path, kind: type[T], *, maximum_bytes: int = _MAXIMUM_BYTES) -> T | None:
    """The value in a file, or None without a file. Raises `ConfigurationError` if damaged."""
    try:
        if path.stat().st_size > maximum_bytes:
            raise ConfigurationError(
                f"{path} has {path.stat().st_size} bytes, at most {maximum_bytes} are expected"
            )
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    # msgspec gives up on JSON that is nested deeper than Python's own stack.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error}): correct it or remove it"
        ) from None
