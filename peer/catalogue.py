"""The models this machine has: a small file of what was added, by SHA-256."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from peerllm.crypto.errors import LockFileError, LockTaken
from peerllm.crypto.process_lock import taken_lock
from peerllm.peer.errors import ConfigurationError, PeerError
from peerllm.peer.files import read_state, write_state
from peerllm.peer.legacy_format import LegacyFormat
from peerllm.peer.models import (
    EMBEDDED_MODEL,
    DigestCache,
    ModelFile,
    check_model,
    embedded_model_path,
    name_of,
    shape_of,
)

_VERSION: Final = 1
# A change takes as long as the disk takes for a small file; a failing one takes seconds.
_PATIENCE_SECONDS: Final = 10.0

DigestHex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
ModelName = Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,128}$")]


class CatalogueError(PeerError):
    """A model that is not in the local catalogue, or cannot be put there."""


class CatalogueModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model on this machine."""

    name: ModelName
    path: str
    file_bytes: Annotated[int, Meta(ge=0)]
    architecture: str
    parameters: int
    trained_context_tokens: int
    cache_bytes_per_token: int
    # How its owner said the file is to be read; None is a GGUF file, for llama.cpp.
    legacy: LegacyFormat | None = None


class _CatalogueFile(msgspec.Struct, frozen=True, kw_only=True):
    version: Annotated[int, Meta(ge=_VERSION, le=_VERSION)] = _VERSION
    models: dict[DigestHex, CatalogueModel] = {}


class LocalCatalogue:
    """Reads and writes the catalogue file. Raises `ConfigurationError` when it is damaged.

    A running host and commands change it side by side: each change is made to what the others
    have left, or refused with `ConfigurationError`.
    """

    def __init__(self, data_directory: Path) -> None:
        self._path = data_directory / "models.json"
        self._cache = DigestCache(data_directory / "model-digests.json")

    def models(self) -> dict[str, CatalogueModel]:
        """What was added, by digest (hexadecimal)."""
        found = read_state(self._path, _CatalogueFile)
        return dict(found.models) if found else {}

    def add(
        self,
        path: Path,
        name: str | None = None,
        *,
        legacy: LegacyFormat | None = None,
        digest: bytes | None = None,
    ) -> tuple[str, CatalogueModel]:
        """Read, hash and enter a model file; again is no fault.

        `legacy` says how to read a file that is not GGUF. `digest` is what the file must
        have. Raises `ModelError`.
        """
        path = path.absolute()
        shape = check_model(path, digest, self._cache, legacy) if digest else shape_of(path, legacy)
        found = self._cache.digest(path).hex()
        size = path.stat().st_size
        with self._changing() as models:
            before = models.get(found)
            wanted = name or (before.name if before else name_of(path))
            if any(known.name == wanted for other, known in models.items() if other != found):
                raise CatalogueError(
                    f"another model is already called {wanted!r}: give this one another --name"
                )
            model = CatalogueModel(
                name=wanted,
                path=str(path),
                file_bytes=size,
                architecture=shape.architecture,
                parameters=shape.parameters,
                trained_context_tokens=shape.trained_context_tokens,
                cache_bytes_per_token=shape.cache_bytes_per_token,
                legacy=legacy,
            )
            try:
                msgspec.convert(msgspec.to_builtins(model), CatalogueModel)
            except msgspec.ValidationError:
                raise CatalogueError(
                    f"a model's name has 1 to 128 letters, digits, dots, dashes; got {wanted!r}"
                ) from None
            models[found] = model
        return found, model

    def find(self, wanted: str) -> tuple[str, CatalogueModel]:
        """The model of this name, or whose digest begins so. Raises `CatalogueError`."""
        models = self.models()
        found = [item for item in models.items() if item[1].name == wanted]
        if not found and len(wanted) >= 4:
            found = [item for item in models.items() if item[0].startswith(wanted.lower())]
        if len(found) != 1:
            how = "no model" if not found else f"{len(found)} models"
            names = ", ".join(sorted(model.name for model in models.values())) or "none"
            raise CatalogueError(f"{how} called {wanted!r}; in the catalogue: {names}")
        return found[0]

    def verify(self, digest: str) -> bool:
        """Whether the file still has this digest; read anew, whatever was remembered.

        Raises `ModelError` when it cannot be read or is no model any more.
        """
        model = self.models()[digest]
        path = Path(model.path)
        shape_of(path, model.legacy)
        return DigestCache(None).digest(path).hex() == digest

    def remove(self, digest: str) -> None:
        """Forget a model; its file stays."""
        with self._changing() as models:
            models.pop(digest, None)

    def add_embedded(self) -> None:
        """Enter the model that the installation brings, unless it is known. Raises `ModelError`."""
        if EMBEDDED_MODEL.digest.hex() not in self.models():
            self.add(embedded_model_path(), EMBEDDED_MODEL.name)

    def model_file(self, digest: str) -> ModelFile:
        """A model as the engine takes it."""
        model = self.models()[digest]
        return ModelFile(model.name, Path(model.path), bytes.fromhex(digest), model.legacy)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, CatalogueModel]]:
        """The models, to be changed; kept unless the block raises."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            lock = taken_lock(self._path.with_suffix(".lock"), patience_seconds=_PATIENCE_SECONDS)
        except LockTaken:
            raise ConfigurationError(
                f"another program is changing {self._path}: try again when it has ended"
            ) from None
        except LockFileError as error:
            raise ConfigurationError(str(error)) from None
        with lock:
            models = self.models()
            yield models
            write_state(self._path, _CatalogueFile(models=models))


@dataclass(frozen=True)
class WantedModel:
    """A model that a host is to serve. Without a digest it is whatever the file is now."""

    name: str
    path: Path
    digest: bytes | None = None
    # How to read a file that is not GGUF.
    legacy: LegacyFormat | None = None


def is_file(path: Path) -> bool:
    """Whether a file is there, as far as can be seen; also for a name no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def find_model(data_directory: Path, wanted: str) -> WantedModel:
    """The model meant by a path, or by a name or digest of the catalogue.

    Models of the catalogue, and the embedded one, must be what they were when they were
    entered; a path stands for the file that is there. Raises `CatalogueError`, and
    `ModelError` when the embedded model is not installed.
    """
    # A name has no separator, so what looks like a path is one, whether or not it is there.
    if is_file(Path(wanted)) or Path(wanted).name != wanted:
        return WantedModel(name_of(Path(wanted)), Path(wanted))
    try:
        digest, model = LocalCatalogue(data_directory).find(wanted)
    except CatalogueError:
        if wanted == EMBEDDED_MODEL.name:
            return embedded_model()
        raise
    return WantedModel(model.name, Path(model.path), bytes.fromhex(digest), model.legacy)


def find_models(data_directory: Path, wanted: Sequence[str]) -> tuple[WantedModel, ...]:
    """The models a host is to serve; the embedded one when none is named.

    Naming one twice is no fault. Raises what `find_model` does, and `CatalogueError` when
    two of them have one name.
    """
    if not wanted:
        return (embedded_model(),)
    found = tuple(dict.fromkeys(find_model(data_directory, one) for one in wanted))
    names = [model.name for model in found]
    for name in names:
        if names.count(name) > 1:
            raise CatalogueError(
                f"two models are called {name!r}: give one of them another name with "
                "peerllm model add FILE --name"
            )
    return found


def embedded_model() -> WantedModel:
    """The model that the installation brings. Raises `ModelError` when it does not."""
    return WantedModel(EMBEDDED_MODEL.name, embedded_model_path(), EMBEDDED_MODEL.digest)
