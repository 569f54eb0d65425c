"""The documents of a charter: integers only, one spelling on disk, rules checked."""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from peerllm.charter.catalogue import CatalogueModel, ModelCatalogue, catalogue_faults
from peerllm.charter.errors import Malformed
from peerllm.charter.region_record import (
    LocalCapacity,
    RegionRecord,
    capacity_faults,
    region_faults,
)
from peerllm.charter.spelling import (
    LEAST_HOST_SHARE_BASIS_POINTS,
    MAXIMUM_DOCUMENT_BYTES,
    document_name,
    percent,
    spelling,
)
from peerllm.charter.standard import (
    SAFETY_CATEGORIES,
    SafetyStandard,
    UncertainBand,
    standard_faults,
)
from peerllm.charter.tariff import Tariff, tariff_faults
from peerllm.charter.terms import CharterTerms, SeatRule, terms_faults

__all__ = [
    "LEAST_HOST_SHARE_BASIS_POINTS",
    "MAXIMUM_DOCUMENT_BYTES",
    "SAFETY_CATEGORIES",
    "CatalogueModel",
    "CharterTerms",
    "Document",
    "ModelCatalogue",
    "SafetyStandard",
    "SeatRule",
    "Tariff",
    "UncertainBand",
    "check_together",
    "document_name",
    "read_document",
    "write_document",
]

Document = TypeVar(
    "Document",
    CharterTerms,
    Tariff,
    ModelCatalogue,
    SafetyStandard,
    RegionRecord,
    LocalCapacity,
)


def write_document(document: Document) -> bytes:
    """Return the one spelling of a document: UTF-8 JSON, keys sorted, two spaces, a final newline.

    Raises Malformed when a value is out of bounds or breaks a rule of its own document.
    """
    raw = spelling(document)
    read_document(raw, type(document))
    return raw


def read_document(raw: bytes, kind: type[Document]) -> Document:
    """Parse and check one document; raises Malformed with a sentence that says what to mend."""
    name = document_name(kind)
    if len(raw) > MAXIMUM_DOCUMENT_BYTES:
        raise Malformed(f"{name}: {len(raw)} bytes, at most {MAXIMUM_DOCUMENT_BYTES} are allowed")
    try:
        document = msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"{name}: {error}") from error
    if spelling(document) != raw:
        raise Malformed(
            f"{name}: not in its one spelling (keys sorted, two spaces, whole numbers, every field"
            " once); write it with this software"
        )
    for fault in _own_faults(document):
        raise Malformed(f"{name}: {fault}")
    return document


def check_together(terms: CharterTerms, tariff: Tariff, catalogue: ModelCatalogue) -> None:
    """Check what no document can promise alone; raises Malformed."""
    for name, tier in tariff.tiers.items():
        if tier.host_share_basis_points < terms.minimum_host_share_basis_points:
            raise Malformed(
                f"tariff: hosts would get {percent(tier.host_share_basis_points)} in tier {name!r},"
                f" the charter promises them at least"
                f" {percent(terms.minimum_host_share_basis_points)}"
            )
    priced = {model_class for classes in tariff.prices.values() for model_class in classes}
    for model, entry in catalogue.models.items():
        if entry.model_class not in priced:
            raise Malformed(
                f"model-catalogue: {model!r} is of class {entry.model_class!r}, which no tier has a"
                " price for; give it a class of the tariff"
            )


def _own_faults(document: object) -> Iterator[str]:
    match document:
        case CharterTerms():
            yield from terms_faults(document)
        case Tariff():
            yield from tariff_faults(document)
        case ModelCatalogue():
            yield from catalogue_faults(document)
        case SafetyStandard():
            yield from standard_faults(document)
        case RegionRecord():
            yield from region_faults(document)
        case LocalCapacity():
            yield from capacity_faults(document)
