"""The models this machine has: a small file of what was added, by SHA-256."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from peerllm.peer.errors import PeerError
from peerllm.peer.files import read_state, write_state
from peerllm.peer.gguf import read_shape
from peerllm.peer.models import EMBEDDED_MODEL, DigestCache, ModelFile, embedded_model_path, name_of

_VERSION: Final = 1

DigestHex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
ModelName = Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,128}$")]


class CatalogueError(PeerError):
    """A model that is not in the local catalogue, or cannot be put there."""


class BenchmarkResult(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine does with a model; rates in thousandths of a token per second."""

    threads: int
    slots: int
    prefill_milli: int
    decode_milli: int
    # All slots together.
    decode_all_milli: int
    # Of the inference library; figures of another release are not believed.
    build: str


class CatalogueModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model on this machine."""

    name: ModelName
    path: str
    file_bytes: Annotated[int, Meta(ge=0)]
    architecture: str
    parameters: int
    trained_context_tokens: int
    cache_bytes_per_token: int
    benchmark: BenchmarkResult | None = None


class _CatalogueFile(msgspec.Struct, frozen=True, kw_only=True):
    version: Annotated[int, Meta(ge=_VERSION, le=_VERSION)] = _VERSION
    models: dict[DigestHex, CatalogueModel] = {}


class LocalCatalogue:
    """Reads and writes the catalogue file. Raises `ConfigurationError` when it is damaged."""

    def __init__(self, data_directory: Path) -> None:
        self._path = data_directory / "models.json"
        self._cache = DigestCache(data_directory / "model-digests.json")

    def models(self) -> dict[str, CatalogueModel]:
        """What was added, by digest (hexadecimal)."""
        found = read_state(self._path, _CatalogueFile)
        return dict(found.models) if found else {}

    def add(self, path: Path, name: str | None = None) -> tuple[str, CatalogueModel]:
        """Read, hash and enter a model file; again is no fault. Raises `ModelError`."""
        path = path.absolute()
        shape = read_shape(path)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        digest = self._cache.digest(path).hex()
        models = self.models()
        before = models.get(digest)
        wanted = name or (before.name if before else name_of(path))
        if any(known.name == wanted for other, known in models.items() if other != digest):
            raise CatalogueError(
                f"another model is already called {wanted!r}: give this one another --name"
            )
        model = CatalogueModel(
            name=wanted,
            path=str(path),
            file_bytes=path.stat().st_size,
            architecture=shape.architecture,
            parameters=shape.parameters,
            trained_context_tokens=shape.trained_context_tokens,
            cache_bytes_per_token=shape.cache_bytes_per_token,
            benchmark=before.benchmark if before else None,
        )
        try:
            msgspec.convert(msgspec.to_builtins(model), CatalogueModel)
        except msgspec.ValidationError:
            raise CatalogueError(
                f"a model's name has 1 to 128 letters, digits, dots, dashes; got {wanted!r}"
            ) from None
        self._write(models | {digest: model})
        return digest, model

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
        path = Path(self.models()[digest].path)
        read_shape(path)
        return DigestCache(None).digest(path).hex() == digest

    def remove(self, digest: str) -> None:
        """Forget a model; its file stays."""
        self._write({other: model for other, model in self.models().items() if other != digest})

    def remember(self, digest: str, benchmark: BenchmarkResult) -> None:
        """Keep what was measured."""
        models = self.models()
        model = msgspec.structs.replace(models[digest], benchmark=benchmark)
        self._write(models | {digest: model})

    def add_embedded(self) -> None:
        """Enter the model that the installation brings, unless it is known. Raises `ModelError`."""
        if EMBEDDED_MODEL.digest.hex() not in self.models():
            self.add(embedded_model_path(), EMBEDDED_MODEL.name)

    def model_file(self, digest: str) -> ModelFile:
        """A model as the engine takes it."""
        model = self.models()[digest]
        return ModelFile(model.name, Path(model.path), bytes.fromhex(digest))

    def _write(self, models: dict[str, CatalogueModel]) -> None:
        write_state(self._path, _CatalogueFile(models=models))


def find_model(data_directory: Path, wanted: str | None) -> Path | None:
    """The file meant by a path, or by a name or digest of the catalogue; None stays None.

    Raises `CatalogueError`.
    """
    if wanted is None:
        return None
    # A name has no separator, so what looks like a path is one, whether or not it is there.
    if Path(wanted).is_file() or Path(wanted).name != wanted:
        return Path(wanted)
    return Path(LocalCatalogue(data_directory).find(wanted)[1].path)


def measured_threads(data_directory: Path, digest: bytes, build: str) -> int | None:
    """The thread count that was fastest for this model with this build, if measured."""
    model = LocalCatalogue(data_directory).models().get(digest.hex())
    if model is None or model.benchmark is None or model.benchmark.build != build:
        return None
    return model.benchmark.threads
