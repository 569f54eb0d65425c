"""The model catalogue: which files hosts may load."""

from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec

from peerllm.charter.spelling import ModelClass, ModelName, Sha256Hex, Version


class CatalogueModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that hosts may load, named by the SHA-256 of its GGUF file.

    `model_class` is what the tariff has a price for. `embedded`: the file comes with the software,
    so a host need not fetch it.
    """

    sha256: Sha256Hex
    model_class: ModelClass
    context_tokens: Annotated[int, msgspec.Meta(ge=16, le=10_000_000)]
    license: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    embedded: bool = False

    @property
    def digest(self) -> bytes:
        """The SHA-256 as 32 bytes, as it travels on the wire."""
        return bytes.fromhex(self.sha256)


class ModelCatalogue(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="model-catalogue/1",
):  # fmt: skip
    """The approved models by name."""

    version: Version = 1
    models: Mapping[ModelName, CatalogueModel]


def catalogue_faults(catalogue: ModelCatalogue) -> Iterator[str]:
    """Yield a sentence for each rule that the catalogue breaks."""
    named: dict[str, str] = {}
    for name, model in catalogue.models.items():
        if model.sha256 in named:
            yield f"{named[model.sha256]!r} and {name!r} are the same file; keep one name"
        named[model.sha256] = name
