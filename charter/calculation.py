"""The published calculation of a tariff, for anyone to work out again."""

from collections.abc import Iterator, Mapping

import msgspec

from peerllm.charter.spelling import Version, spelling
from peerllm.charter.tariff import (
    CostIndex,
    EpochUs,
    Tariff,
    index_factor,
    sides,
)

FORMULA = (
    "price = base price x (1 + sum over the indices of weight x (value / base value - 1)), rounded"
    " down to the nano-USD per million tokens"
)


class PriceLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One price in nano-USD per million tokens; `before` is None where there was none."""

    tier: str
    model_class: str
    side: str
    base: int
    before: int | None
    after: int


class TariffCalculation(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="tariff-calculation/1",
):  # fmt: skip
    """How a tariff's prices came about. The factor is `factor_numerator` / `factor_denominator`."""

    tariff_version: Version
    valid_from_us: EpochUs
    formula: str
    indices: Mapping[str, CostIndex]
    factor_numerator: int
    factor_denominator: int
    prices: tuple[PriceLine, ...]


def calculation_of(tariff: Tariff) -> TariffCalculation:
    """Work a tariff's prices out from its own base prices and indices."""
    factor = index_factor(tariff.indices)
    before = dict(sides(tariff.history[-1].prices)) if tariff.history else {}
    base = dict(sides(tariff.base_prices))
    return TariffCalculation(
        tariff_version=tariff.version,
        valid_from_us=tariff.valid_from_us,
        formula=FORMULA,
        indices=tariff.indices,
        factor_numerator=factor.numerator,
        factor_denominator=factor.denominator,
        prices=tuple(
            PriceLine(
                tier=key[0],
                model_class=key[1],
                side=key[2],
                base=base[key],
                before=before.get(key),
                after=price,
            )
            for key, price in sorted(sides(tariff.prices))
        ),
    )


def calculation_file(tariff: Tariff) -> str:
    """Return the name under which a tariff's calculation is published."""
    return f"calculations/tariff-{tariff.version}.json"


def calculation_bytes(tariff: Tariff) -> bytes:
    """Return the one spelling of a tariff's calculation."""
    return spelling(calculation_of(tariff))


def calculation_faults(
    old: Tariff, new: Tariff, calculations: Mapping[str, bytes]
) -> Iterator[str]:
    """Yield a sentence when prices move without the published calculation that makes them so."""
    if dict(sides(old.prices)) == dict(sides(new.prices)):
        return
    name = calculation_file(new)
    if name not in calculations:
        yield f"its prices differ, but {name} is not published with it"
    elif calculations[name] != calculation_bytes(new):
        yield f"{name} is not the calculation that its base prices and indices make"
