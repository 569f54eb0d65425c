"""All documents of one version of a charter, by file name and as typed values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from peerllm.charter.calculation import calculation_faults
from peerllm.charter.catalogue import ModelCatalogue
from peerllm.charter.documents import check_together, read_document
from peerllm.charter.errors import Malformed, MissingDocument
from peerllm.charter.region_record import RegionRecord
from peerllm.charter.region_rules import region_change_faults
from peerllm.charter.spelling import MAXIMUM_DOCUMENT_BYTES
from peerllm.charter.standard import SafetyStandard
from peerllm.charter.tariff import Tariff
from peerllm.charter.tariff_rule import adjustment_faults, class_faults
from peerllm.charter.terms import CharterTerms

TERMS_FILE: Final = "charter-terms.json"
TARIFF_FILE: Final = "tariff.json"
CATALOGUE_FILE: Final = "model-catalogue.json"
STANDARD_FILE: Final = "safety-standard.json"
MAIN_FILES: Final = (TERMS_FILE, TARIFF_FILE, CATALOGUE_FILE, STANDARD_FILE)
_Numbered = CharterTerms | Tariff | ModelCatalogue | SafetyStandard | RegionRecord
_CALCULATIONS: Final = "calculations/"
_REGIONS: Final = "regions/"


@dataclass(frozen=True, slots=True)
class DocumentSet:
    """The documents that the stewards sign. `calculations` are the published files of a tariff."""

    terms: CharterTerms
    tariff: Tariff
    catalogue: ModelCatalogue
    standard: SafetyStandard
    regions: Mapping[str, RegionRecord]
    calculations: Mapping[str, bytes]


def region_file(region: str) -> str:
    """Return the name of a region's record."""
    return f"{_REGIONS}{region}.json"


def capacity_file(region: str) -> str:
    """Return the name of the capacity that a federated region signs by itself."""
    return f"{_REGIONS}{region}/capacity.json"


def read_document_set(files: Mapping[str, bytes]) -> DocumentSet:
    """Read and check a version's documents, each alone and all together.

    Raises MissingDocument or Malformed with a sentence that names the document.
    """
    for name in MAIN_FILES:
        if name not in files:
            raise MissingDocument(f"the stewards have signed no {name}; ask them to publish one")
    regions: dict[str, RegionRecord] = {}
    calculations: dict[str, bytes] = {}
    for name, raw in files.items():
        if name.startswith(_REGIONS):
            record = read_document(raw, RegionRecord)
            if region_file(record.name) != name:
                raise Malformed(f"{name} is the record of another region, {record.name!r}")
            regions[record.name] = record
        elif name.startswith(_CALCULATIONS):
            if len(raw) > MAXIMUM_DOCUMENT_BYTES:
                raise Malformed(f"{name} has {len(raw)} bytes, at most {MAXIMUM_DOCUMENT_BYTES}")
            calculations[name] = raw
        elif name not in MAIN_FILES:
            raise Malformed(f"{name!r} is no file of a charter")
    documents = DocumentSet(
        terms=read_document(files[TERMS_FILE], CharterTerms),
        tariff=read_document(files[TARIFF_FILE], Tariff),
        catalogue=read_document(files[CATALOGUE_FILE], ModelCatalogue),
        standard=read_document(files[STANDARD_FILE], SafetyStandard),
        regions=regions,
        calculations=calculations,
    )
    check_together(documents.terms, documents.tariff, documents.catalogue)
    return documents


def succession_faults(
    old: DocumentSet, new: DocumentSet, published_at_us: int
) -> Iterator[tuple[str, str]]:
    """Yield the file and a sentence for each rule that forbids `new` to follow `old`.

    `published_at_us`: when the stewards made the change public, from which notice is counted.
    """
    if new.terms.network != old.terms.network:
        yield TERMS_FILE, f"a network keeps its name, which is {old.terms.network!r}"
    yield from _version_faults(old, new)
    if new.tariff != old.tariff:
        for fault in adjustment_faults(old.tariff, new.tariff, published_at_us):
            yield TARIFF_FILE, fault
        for fault in calculation_faults(old.tariff, new.tariff, new.calculations):
            yield TARIFF_FILE, fault
    for fault in class_faults(old.catalogue, new.catalogue):
        yield CATALOGUE_FILE, fault
    for name, record in new.regions.items():
        if (before := old.regions.get(name)) != record:
            for fault in region_change_faults(
                before, record, new.terms.federation, published_at_us
            ):
                yield region_file(name), fault


def _version_faults(old: DocumentSet, new: DocumentSet) -> Iterator[tuple[str, str]]:
    pairs: list[tuple[str, _Numbered, _Numbered]] = [
        (TERMS_FILE, old.terms, new.terms),
        (TARIFF_FILE, old.tariff, new.tariff),
        (CATALOGUE_FILE, old.catalogue, new.catalogue),
        (STANDARD_FILE, old.standard, new.standard),
    ]
    pairs += [
        (region_file(name), old.regions[name], record)
        for name, record in new.regions.items()
        if name in old.regions
    ]
    for name, before, after in pairs:
        if after != before and after.version <= before.version:
            yield (
                name,
                f"version {after.version} must be newer than the published {before.version};"
                " raise its version",
            )
