"""What the files of a host's models are: read before loading, and watched while they serve."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from peerllm.peer.benchmark import build
from peerllm.peer.catalogue import WantedModel, measured_threads
from peerllm.peer.engine import EngineSettings, default_threads
from peerllm.peer.errors import ConfigurationError, ModelError
from peerllm.peer.memory import MemoryNeed
from peerllm.peer.models import DigestCache, ModelFile, check_model, shape_of
from peerllm.peer.serving_memory import serving_memory


@dataclass(frozen=True)
class FileSign:
    """By which a changed file is noticed without reading it."""

    inode: int
    size: int
    modified_ns: int


@dataclass(frozen=True)
class KnownModel:
    """A whole model file, what its engine is to be told, and the memory that will take."""

    settings: EngineSettings
    need: MemoryNeed
    sign: FileSign | None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the file."""
        return self.settings.model.digest


class ModelFiles(Protocol):
    """Looks at model files, in threads."""

    async def read(self, wanted: WantedModel) -> KnownModel:
        """Check and hash the file, which takes long at first. Raises `ModelError`."""

    async def sign(self, path: Path) -> FileSign | None:
        """The file's sign now; None when it is gone."""


@dataclass(frozen=True)
class DiskModelFiles:
    """The model files of one host.

    `threads` 0 takes what was measured to be fastest, else leaves a core to the machine.
    """

    data_directory: Path
    digest_cache: Path
    slots: int
    context_tokens: int
    threads: int = 0

    async def read(self, wanted: WantedModel) -> KnownModel:
        """See `ModelFiles`."""
        # Hashing the largest models takes minutes; stopping the host must not wait for it.
        return await trio.to_thread.run_sync(self._read, wanted, abandon_on_cancel=True)

    async def sign(self, path: Path) -> FileSign | None:
        """See `ModelFiles`."""
        return await trio.to_thread.run_sync(_sign, path, abandon_on_cancel=True)

    def _read(self, wanted: WantedModel) -> KnownModel:
        try:
            return self._read_whole(wanted)
        except ConfigurationError as error:
            raise ModelError("unloadable", str(error)) from None
        except (OSError, ValueError) as error:
            # ValueError: a name that no file can have.
            why = error.strerror if isinstance(error, OSError) else "no file has such a name"
            raise ModelError(
                "missing_file", f"the model file {wanted.path} cannot be read: {why}"
            ) from None

    def _read_whole(self, wanted: WantedModel) -> KnownModel:
        # Opening a pipe would wait for whoever writes into it.
        if wanted.path.exists() and not wanted.path.is_file():
            raise ModelError("not_gguf", f"{wanted.path} is not a file")
        # Before the hash: a file that changes while it is read shows another sign afterwards.
        sign = _sign(wanted.path)
        cache = DigestCache(self.digest_cache)
        shape = (
            check_model(wanted.path, wanted.digest, cache, wanted.legacy)
            if wanted.digest
            # Before the hash, which takes long: most wrong files are seen by their first bytes.
            else shape_of(wanted.path, wanted.legacy)
        )
        digest = wanted.digest or cache.digest(wanted.path)
        if not shape.has_chat_template:
            raise ModelError(
                "no_chat_template", f"{wanted.path} carries no chat template, it cannot converse"
            )
        settings = EngineSettings(
            model=ModelFile(wanted.name, wanted.path, digest, wanted.legacy),
            digest_cache=self.digest_cache,
            slots=self.slots,
            context_tokens=self.context_tokens,
            threads=self.threads
            or measured_threads(self.data_directory, digest, build(wanted.legacy))
            or default_threads(),
        )
        need = serving_memory(
            shape, wanted.legacy, slots=self.slots, context_tokens=self.context_tokens
        )
        return KnownModel(settings, need, sign)


def _sign(path: Path) -> FileSign | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return FileSign(found.st_ino, found.st_size, found.st_mtime_ns)
