"""The tariff: the public price list and the rule by which hosts share what is paid.

Prices are whole nano-USD (10**-9 US dollars) per million tokens: fine enough that a move of a few
hundredths of a percent is a whole number, and nothing is ever a fraction.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Final

import msgspec

from peerllm.charter.spelling import (
    BASIS_POINTS,
    LEAST_HOST_SHARE_BASIS_POINTS,
    YEAR_2100_US,
    BasisPoints,
    ModelClass,
    Name,
    Sha256Hex,
    Version,
    percent,
    share_faults,
)

# 10,000 US dollars per million tokens; whatever is above is a slip of the pen.
MAXIMUM_NANO_USD_PER_MILLION: Final = 10**13
TOKENS_PER_PRICE: Final = 1_000_000
# The tier of every account that nobody gave another one.
STANDARD_TIER: Final = "standard"

EpochUs = Annotated[int, msgspec.Meta(ge=0, le=YEAR_2100_US)]
NanoUsdPerMillion = Annotated[int, msgspec.Meta(ge=0, le=MAXIMUM_NANO_USD_PER_MILLION)]
Sentence = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
# 90 days: what a quote may at most hold against the tariff.
QuoteSeconds = Annotated[int, msgspec.Meta(ge=60, le=7_776_000)]


class TokenPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a customer pays, in nano-USD per million tokens."""

    input_nano_usd_per_million: NanoUsdPerMillion
    output_nano_usd_per_million: NanoUsdPerMillion


# By tier and, within it, by model class.
PriceTable = Mapping[Name, Mapping[ModelClass, TokenPrice]]


class PriceTier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a kind of customer is promised, and the pool of hosts that serve it.

    `host_share_basis_points` of each charge of this tier is its hosts' pool: a tier that pays hosts
    more pays it out of its own charges.
    """

    meaning: Sentence
    host_share_basis_points: BasisPoints = LEAST_HOST_SHARE_BASIS_POINTS


class IndexReading(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Where an index's latest value comes from.

    `published`: the day on which its source published it. `address`: where. `sha256`: digest of the
    document as it was saved, for whoever holds it too.
    """

    published: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
    address: Sentence
    sha256: Sha256Hex | None = None


class CostIndex(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True,
    # A tariff of before readings were signed keeps its spelling.
    omit_defaults=True,
):  # fmt: skip
    """A published cost that prices follow, at its base value and at its latest one.

    `weight_basis_points` is the part of a price that moves with it. A value that has moved has a
    `reading`.
    """

    source: Sentence
    unit: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    base_value: Annotated[int, msgspec.Meta(ge=1, le=10**12)]
    value: Annotated[int, msgspec.Meta(ge=1, le=10**12)]
    weight_basis_points: BasisPoints
    reading: IndexReading | None = None


class PastPrices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An earlier version's prices, in force from `valid_from_us` until the next one's."""

    version: Version
    valid_from_us: EpochUs
    prices: PriceTable


class Tariff(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="tariff/2",
):  # fmt: skip
    """The public price list and the published rule by which hosts share what is paid.

    `prices` must be what `moved_price` makes of `base_prices` and `indices`, so the document is its
    own published calculation. `history` holds the earlier prices that a move is measured against;
    before `valid_from_us` the last of them are in force.

    A tier's host share of every charge goes to hosts. Of each chunk's pool,
    `backup_share_basis_points` are shared by the backups with a valid receipt in proportion to the
    tokens they delivered, and the rest by those whose tokens were released.
    """

    version: Version = 1
    valid_from_us: EpochUs = 0
    tiers: Annotated[Mapping[Name, PriceTier], msgspec.Meta(min_length=1, max_length=20)]
    indices: Annotated[Mapping[Name, CostIndex], msgspec.Meta(max_length=20)]
    base_prices: PriceTable
    prices: PriceTable
    history: Annotated[tuple[PastPrices, ...], msgspec.Meta(max_length=100)] = ()
    backup_share_basis_points: BasisPoints = 2_000
    quote_lifetime_seconds: QuoteSeconds = 2_592_000
    redundancy: Sentence

    def prices_at(self, now_us: int) -> PriceTable | None:
        """Return the prices in force at a moment; None before the first of them."""
        found = self.in_force_at(now_us)
        return None if found is None else found.prices

    def in_force_at(self, now_us: int) -> PastPrices | None:
        """Return the prices in force at a moment with their version; None before the first."""
        for past in reversed((*self.history, as_past(self))):
            if past.valid_from_us <= now_us:
                return past
        return None


def as_past(tariff: Tariff) -> PastPrices:
    """Return a tariff's own prices as a later tariff remembers them."""
    return PastPrices(
        version=tariff.version, valid_from_us=tariff.valid_from_us, prices=tariff.prices
    )


def index_factor(indices: Mapping[str, CostIndex]) -> Fraction:
    """Return 1 + the sum of weight x (value / base value - 1) over the indices, exactly."""
    return 1 + sum(
        (
            Fraction(index.weight_basis_points, BASIS_POINTS)
            * Fraction(index.value - index.base_value, index.base_value)
            for index in indices.values()
        ),
        Fraction(0),
    )


def moved_price(base: int, factor: Fraction) -> int:
    """Return base x factor, rounded down to the nano-USD: in the customer's favour."""
    return base * factor.numerator // factor.denominator


def moved_prices(base_prices: PriceTable, indices: Mapping[str, CostIndex]) -> PriceTable:
    """Return every price that the indices make of the base prices."""
    factor = index_factor(indices)
    return {
        tier: {
            model_class: TokenPrice(
                input_nano_usd_per_million=moved_price(base.input_nano_usd_per_million, factor),
                output_nano_usd_per_million=moved_price(base.output_nano_usd_per_million, factor),
            )
            for model_class, base in classes.items()
        }
        for tier, classes in base_prices.items()
    }


def sides(prices: PriceTable) -> Iterator[tuple[tuple[str, str, str], int]]:
    """Yield every single price as ((tier, model class, "input" or "output"), nano-USD)."""
    for tier, classes in prices.items():
        for model_class, price in classes.items():
            yield (tier, model_class, "input"), price.input_nano_usd_per_million
            yield (tier, model_class, "output"), price.output_nano_usd_per_million


def tariff_faults(tariff: Tariff) -> Iterator[str]:
    """Yield a sentence for each rule that the tariff breaks."""
    for name, tier in tariff.tiers.items():
        for fault in share_faults(tier.host_share_basis_points):
            yield f"tier {name!r}: {fault}"
    if STANDARD_TIER not in tariff.tiers:
        yield f"there is no tier {STANDARD_TIER!r}, which accounts have unless given another"
    yield from _table_faults(tariff)
    weights = sum(index.weight_basis_points for index in tariff.indices.values())
    if weights > BASIS_POINTS:
        yield f"the indices' weights add up to {percent(weights)}, more than the whole price"
    for name, index in tariff.indices.items():
        if index.reading is not None and published_day(index.reading) is None:
            yield f"index {name!r}: {index.reading.published} is no day of the calendar"
    yield from _history_faults(tariff)


def published_day(reading: IndexReading) -> date | None:
    """Return the day on which a value was published; None when there is no such day."""
    try:
        return date.fromisoformat(reading.published)
    except ValueError:
        return None


def _table_faults(tariff: Tariff) -> Iterator[str]:
    for what, table in (("base prices", tariff.base_prices), ("prices", tariff.prices)):
        if set(table) != set(tariff.tiers):
            yield f"{what} are given for {_named(table)}, but the tiers are {_named(tariff.tiers)}"
            return
    if not _within_bounds(tariff):
        yield (
            "the indices take a price below zero or above"
            f" {MAXIMUM_NANO_USD_PER_MILLION} nano-USD per million tokens"
        )
        return
    due = dict(sides(moved_prices(tariff.base_prices, tariff.indices)))
    given = dict(sides(tariff.prices))
    for key in sorted(due.keys() ^ given.keys()):
        yield f"{price_name(key)} is in only one of the base prices and the prices"
    for key in sorted(due.keys() & given.keys()):
        if due[key] != given[key]:
            yield (
                f"{price_name(key)} is {given[key]} nano-USD per million tokens; base price and"
                f" indices make {due[key]}"
            )


def _within_bounds(tariff: Tariff) -> bool:
    factor = index_factor(tariff.indices)
    bound = MAXIMUM_NANO_USD_PER_MILLION
    return all(0 <= moved_price(base, factor) <= bound for _, base in sides(tariff.base_prices))


def _history_faults(tariff: Tariff) -> Iterator[str]:
    entries = (*tariff.history, as_past(tariff))
    for older, newer in pairwise(entries):
        if newer.version <= older.version or newer.valid_from_us <= older.valid_from_us:
            yield (
                f"version {newer.version}'s prices do not follow version {older.version}'s; the"
                " history goes from old to new"
            )


def price_name(key: tuple[str, str, str]) -> str:
    """Return what people call one price: "the input price of 'small' in tier 'school'"."""
    tier, model_class, side = key
    return f"the {side} price of {model_class!r} in tier {tier!r}"


def _named(names: Mapping[str, object]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
