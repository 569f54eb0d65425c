"""The documents of a charter: integers only, one spelling on disk, rules checked."""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from peerllm.charter.catalogue import CatalogueModel, ModelCatalogue, catalogue_faults
from peerllm.charter.errors import Malformed
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
from peerllm.charter.tariff import (
    MAXIMUM_NANO_USD_PER_TOKEN,
    ModelPrice,
    Tariff,
    tariff_faults,
)
from peerllm.charter.terms import CharterTerms, SeatRule, terms_faults

__all__ = [
    "LEAST_HOST_SHARE_BASIS_POINTS",
    "MAXIMUM_DOCUMENT_BYTES",
    "MAXIMUM_NANO_USD_PER_TOKEN",
    "SAFETY_CATEGORIES",
    "CatalogueModel",
    "CharterTerms",
    "Document",
    "ModelCatalogue",
    "ModelPrice",
    "SafetyStandard",
    "SeatRule",
    "Tariff",
    "UncertainBand",
    "check_together",
    "document_name",
    "read_document",
    "write_document",
]

Document = TypeVar("Document", CharterTerms, Tariff, ModelCatalogue, SafetyStandard)


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
    if tariff.host_share_basis_points < terms.minimum_host_share_basis_points:
        raise Malformed(
            f"tariff: hosts would get {percent(tariff.host_share_basis_points)}, the charter"
            f" promises them at least {percent(terms.minimum_host_share_basis_points)}"
        )
    for model in tariff.prices:
        if model not in catalogue.models:
            raise Malformed(
                f"tariff: {model!r} has a price but is not in the model catalogue; add it there or"
                " take the price out"
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
