"""What the files of a host's models are: read before loading, and watched while they serve."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
import trio

from peerllm.peer.benchmark import BenchmarkError, build, measure
from peerllm.peer.catalogue import WantedModel
from peerllm.peer.configuration import UNMEASURED_SLOTS
from peerllm.peer.engine import EngineSettings, default_threads
from peerllm.peer.errors import ConfigurationError, ModelError
from peerllm.peer.measurements import Measurement, Measurements
from peerllm.peer.memory import MemoryNeed
from peerllm.peer.models import DigestCache, ModelFile, check_model, shape_of
from peerllm.peer.serving_memory import serving_memory
from peerllm.peer.tuning import hardware


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


class Measure(Protocol):
    """Measures a model on this machine; see `peerllm.peer.benchmark.measure`."""

    async def __call__(
        self, model: ModelFile, *, slots: int, threads: int, digest_cache: Path
    ) -> Measurement:
        """What is best. Raises `ModelError` or `BenchmarkError`."""


class ModelFiles(Protocol):
    """Looks at model files, in threads."""

    async def read(self, wanted: WantedModel) -> KnownModel:
        """Check and hash the file, which takes long at first. Raises `ModelError`."""

    async def sign(self, path: Path) -> FileSign | None:
        """The file's sign now; None when it is gone."""


@dataclass(frozen=True)
class DiskModelFiles:
    """The model files of one host.

    `slots` or `threads` 0 takes what was measured to be best on this machine, and measures
    first where that is not known. `on_tuning` is told the name of a model when that begins.
    """

    data_directory: Path
    digest_cache: Path
    slots: int
    context_tokens: int
    threads: int = 0
    on_tuning: Callable[[str], None] = lambda _name: None
    measure: Measure = measure

    async def read(self, wanted: WantedModel) -> KnownModel:
        """See `ModelFiles`."""
        # Hashing the largest models takes minutes; stopping the host must not wait for it.
        known = await trio.to_thread.run_sync(self._read, wanted, abandon_on_cancel=True)
        if (self.slots and self.threads) or self._measured(known.settings.model):
            return known
        await self._tune(known.settings.model)
        return await trio.to_thread.run_sync(self._read, wanted, abandon_on_cancel=True)

    def _measured(self, model: ModelFile) -> Measurement | None:
        measurements = Measurements(self.data_directory)
        return measurements.valid(model.digest, build=build(model.legacy), hardware=hardware())

    async def _tune(self, model: ModelFile) -> None:
        self.on_tuning(model.name)
        # A model that is too slow to be measured, or says nothing, is served as it is. So is one
        # whose figures a full disk does not take: the next start measures it again.
        with suppress(BenchmarkError, OSError):
            measurement = await self.measure(
                model, slots=self.slots, threads=self.threads, digest_cache=self.digest_cache
            )
            Measurements(self.data_directory).remember(model.digest, measurement)

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
        model = ModelFile(wanted.name, wanted.path, digest, wanted.legacy)
        measured = self._measured(model)
        slots = self.slots or _fitting(
            measured.slots if measured else UNMEASURED_SLOTS,
            lambda slots: serving_memory(
                shape, wanted.legacy, slots=slots, context_tokens=self.context_tokens
            ),
        )
        settings = EngineSettings(
            model=model,
            digest_cache=self.digest_cache,
            slots=slots,
            context_tokens=self.context_tokens,
            threads=self.threads or (measured.threads if measured else default_threads()),
        )
        need = serving_memory(shape, wanted.legacy, slots=slots, context_tokens=self.context_tokens)
        return KnownModel(settings, need, sign)


def _fitting(slots: int, need: Callable[[int], MemoryNeed]) -> int:
    """So many slots, or as many as leave the owner half of the machine's memory."""
    allowed = psutil.virtual_memory().total // 2
    while slots > 1 and need(slots).total > allowed:
        slots -= 1
    return slots


def _sign(path: Path) -> FileSign | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return FileSign(found.st_ino, found.st_size, found.st_mtime_ns)
