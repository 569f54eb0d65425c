"""The price list as a document: prices are what base prices and indices make of them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.charter.defaults import first_tariff
from peerllm.charter.documents import Tariff, read_document, write_document
from peerllm.charter.errors import Malformed
from peerllm.charter.tariff import (
    MAXIMUM_NANO_USD_PER_MILLION,
    CostIndex,
    PastPrices,
    PriceTier,
    TokenPrice,
    moved_prices,
)

replace = msgspec.structs.replace
FIRST = first_tariff()
amounts = st.integers(0, MAXIMUM_NANO_USD_PER_MILLION // 4)
prices = st.builds(
    TokenPrice, input_nano_usd_per_million=amounts, output_nano_usd_per_million=amounts
)
indices = st.builds(
    CostIndex,
    source=st.just("A published figure"),
    unit=st.just("points"),
    base_value=st.integers(100, 1_000),
    value=st.integers(1, 400),
    weight_basis_points=st.integers(0, 5_000),
)


def standard(input_amount: int, output_amount: int) -> dict[str, dict[str, TokenPrice]]:
    price = TokenPrice(
        input_nano_usd_per_million=input_amount, output_nano_usd_per_million=output_amount
    )
    return FIRST.prices | {"standard": {"small": price}}  # type: ignore[operator]


@settings(max_examples=40)
@given(
    st.dictionaries(st.sampled_from(["small", "large-2", "9"]), prices, max_size=3),
    st.dictionaries(st.sampled_from(["power", "chips"]), indices, max_size=2),
    st.integers(9_500, 10_000),
)
def test_every_tariff_within_bounds_survives(
    classes: dict[str, TokenPrice], found: dict[str, CostIndex], share: int
) -> None:
    base = {"standard": classes}
    tariff = replace(
        FIRST,
        tiers={"standard": PriceTier(meaning="Everybody.", host_share_basis_points=share)},
        base_prices=base,
        indices=found,
        prices=moved_prices(base, found),
    )
    assert read_document(write_document(tariff), Tariff) == tariff


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (
            replace(FIRST, prices=standard(10_000_001, 40_000_000)),
            "the input price of 'small' in tier 'standard' is 10000001 .* make 10000000",
        ),
        (replace(FIRST, prices=standard(-1, 1)), "input_nano_usd_per_million"),
        (replace(FIRST, prices=standard(1, 10**13 + 1)), "output_nano_usd_per_million"),
        (replace(FIRST, prices={"standard": FIRST.prices["standard"]}), "prices are given for"),
        (
            replace(FIRST, tiers=dict(FIRST.tiers, school=replace(
                FIRST.tiers["school"], host_share_basis_points=9_000))),
            "tier 'school': a host share of 90.00% is below 95.00%",
        ),
        (
            replace(FIRST, tiers={"gold": FIRST.tiers["school"]},
                    base_prices={"gold": {}}, prices={"gold": {}}),
            "there is no tier 'standard'",
        ),
        (
            replace(FIRST, indices={
                name: replace(index, weight_basis_points=6_000)
                for name, index in FIRST.indices.items()
            }),
            "weights add up to 120.00%",
        ),
        (
            replace(FIRST, indices={"electricity": replace(
                FIRST.indices["electricity"], value=10**12, weight_basis_points=10_000)}),
            "the indices take a price below zero or above",
        ),
        (
            replace(FIRST, history=(
                PastPrices(version=3, valid_from_us=0, prices=FIRST.prices),)),
            "version 1's prices do not follow version 3's",
        ),
        (replace(FIRST, quote_lifetime_seconds=1), "quote_lifetime_seconds"),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_not_written(document: Any, sentence: str) -> None:
    with pytest.raises(Malformed, match=sentence):
        write_document(document)


def test_announced_prices_wait_for_their_day() -> None:
    past = PastPrices(version=1, valid_from_us=50, prices={"standard": {}})
    tariff = replace(FIRST, version=2, valid_from_us=100, history=(past,))
    assert tariff.prices_at(49) is None
    assert tariff.in_force_at(99) == past
    assert tariff.prices_at(100) == FIRST.prices
