import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.charter.defaults import (
    FIRST_MODEL,
    first_catalogue,
    first_standard,
    first_tariff,
    first_terms,
)
from peerllm.charter.documents import (
    MAXIMUM_DOCUMENT_BYTES,
    SAFETY_CATEGORIES,
    CatalogueModel,
    CharterTerms,
    ModelCatalogue,
    SafetyStandard,
    Tariff,
    UncertainBand,
    check_together,
    read_document,
    write_document,
)
from peerllm.charter.errors import Malformed

FIRST: list[Any] = [first_terms("home"), first_tariff(), first_catalogue(), first_standard()]
replace = msgspec.structs.replace


def test_first_documents_promise_what_was_decided() -> None:
    terms, tariff = first_terms("home"), first_tariff()
    assert (terms.minimum_host_share_basis_points, terms.race_size) == (9_500, 2)
    assert terms.seat_rule.distinct_operators_per_race
    standard = tariff.prices["standard"]["small"]
    assert standard.input_nano_usd_per_million == 10_000_000
    assert standard.output_nano_usd_per_million == 40_000_000
    assert tariff.tiers["standard"].host_share_basis_points == 9_500
    assert tariff.backup_share_basis_points == 2_000
    assert first_standard().thresholds_milli == dict.fromkeys(SAFETY_CATEGORIES, 550)
    assert first_standard().answer_margin_milli == 200
    check_together(terms, tariff, first_catalogue())


def test_a_standard_of_before_uncertain_bands_is_read_and_spelled_as_it_was() -> None:
    old = SafetyStandard(thresholds_milli=dict.fromkeys(SAFETY_CATEGORIES, 600))
    raw = write_document(old)
    assert b"band" not in raw
    assert read_document(raw, SafetyStandard) == old


@pytest.mark.parametrize(
    ("bands", "fault"),
    [
        ({"hate": UncertainBand(from_milli=551, certain_milli=800)}, "must hold the threshold 550"),
        ({"hate": UncertainBand(from_milli=300, certain_milli=549)}, "must hold the threshold 550"),
        ({"love": UncertainBand(from_milli=300, certain_milli=800)}, "belongs to no threshold"),
        ({"hate": UncertainBand(from_milli=0, certain_milli=800)}, "from_milli"),
        ({"hate": UncertainBand(from_milli=300, certain_milli=1_001)}, "certain_milli"),
    ],
)
def test_an_uncertain_band_holds_a_threshold(bands: dict[str, UncertainBand], fault: str) -> None:
    with pytest.raises(Malformed, match=fault):
        write_document(replace(first_standard(), bands_milli=bands))


@pytest.mark.parametrize("document", FIRST, ids=lambda document: type(document).__name__)
def test_documents_survive_and_have_one_spelling(document: Any) -> None:
    raw = write_document(document)
    assert read_document(raw, type(document)) == document
    for other in (
        raw + b"\n",
        raw.replace(b"  ", b"\t"),
        json.dumps(json.loads(raw)).encode(),
        raw.replace(b'"version": 1', b'"version": 1,\n  "version": 1'),
    ):
        assert other != raw
        with pytest.raises(Malformed, match="one spelling"):
            read_document(other, type(document))


@given(st.data())
def test_altered_bytes_are_a_document_or_malformed(data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(FIRST))
    raw = bytearray(write_document(document))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    kind: Any = type(document)
    try:
        read = read_document(bytes(raw), kind)
    except Malformed:
        return
    assert write_document(read) == raw


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (first_terms("My Net"), "cannot name a network"),
        (first_terms(""), "cannot name a network"),
        (
            replace(first_terms("home"), minimum_host_share_basis_points=9_499),
            "charter-terms: a host share of 94.99% is below 95.00%",
        ),
        (replace(first_terms("home"), race_size=0), "race_size"),
        (replace(first_terms("home"), version=0), "version"),
        (replace(first_terms("home"), exposure_basis_points=10_001), "exposure_basis_points"),
        (replace(first_tariff(), backup_share_basis_points=10_001), "backup_share_basis_points"),
        (
            SafetyStandard(thresholds_milli={"sexual": 500}),
            "safety-standard: the category 'overall' has no threshold",
        ),
        (
            SafetyStandard(thresholds_milli={**first_standard().thresholds_milli, "odd": 500}),
            "unknown category 'odd'",
        ),
        (
            SafetyStandard(thresholds_milli={**first_standard().thresholds_milli, "hate": 0}),
            "the threshold of 'hate' is 0, it must be from 1 to 1000",
        ),
        (
            ModelCatalogue(
                models=dict.fromkeys(
                    ["a", "b"],
                    CatalogueModel(
                        sha256="0" * 64, model_class="small", context_tokens=99, license="MIT"
                    ),
                )
            ),
            "'a' and 'b' are the same file",
        ),
        (
            ModelCatalogue(
                models={
                    "a": CatalogueModel(
                        sha256="F" * 64, model_class="small", context_tokens=99, license="MIT"
                    )
                }
            ),
            "sha256",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_breaks_a_rule_is_neither_written_nor_read(document: Any, sentence: str) -> None:
    with pytest.raises(Malformed, match=sentence):
        write_document(document)
    raw = msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"
    with pytest.raises(Malformed, match=sentence):
        read_document(raw, type(document))


def test_numbers_are_whole() -> None:
    raw = write_document(first_tariff())
    with pytest.raises(Malformed, match=r"tariff: Expected `int`, got `float`"):
        read_document(raw.replace(b'"version": 1', b'"version": 1.0'), Tariff)


def test_documents_cannot_stand_in_for_each_other() -> None:
    tag, other = b"safety-standard/1", b"charter-terms/1"
    raw = write_document(first_standard())
    with pytest.raises(Malformed, match=r"\$\.document"):
        read_document(raw.replace(tag, other), SafetyStandard)
    with pytest.raises(Malformed, match=r"\$\.document"):
        read_document(raw.replace(tag, b"safety-standard/2"), SafetyStandard)
    with pytest.raises(Malformed, match="charter-terms"):
        read_document(raw, CharterTerms)


def test_fields_nobody_knows_are_refused() -> None:
    raw = write_document(first_terms("home"))
    with pytest.raises(Malformed, match="unknown field"):
        read_document(raw.replace(b'"hedge"', b'"wedge"'), CharterTerms)


def test_size_is_bounded() -> None:
    with pytest.raises(Malformed, match="at most"):
        read_document(bytes(MAXIMUM_DOCUMENT_BYTES + 1), Tariff)


def test_a_model_needs_a_class_with_a_price() -> None:
    model = replace(first_catalogue().models[FIRST_MODEL], model_class="huge")
    with pytest.raises(Malformed, match="'huge', which no tier has a price for"):
        check_together(first_terms("home"), first_tariff(), ModelCatalogue(models={"a": model}))


def test_a_tariff_keeps_the_charters_host_share() -> None:
    terms = replace(first_terms("home"), minimum_host_share_basis_points=9_700)
    with pytest.raises(Malformed, match=r"95\.00% in tier 'standard'.*at least 97\.00%"):
        check_together(terms, first_tariff(), first_catalogue())


def test_a_models_digest_is_its_sha256() -> None:
    model = first_catalogue().models[FIRST_MODEL]
    assert model.digest.hex() == model.sha256
    assert len(model.digest) == 32
