"""How the tariff may move: along its listed indices, announced, slowly, never backwards in time.

A price may stand at most 5% from every price that was in force for it during the 90 days before,
so small moves cannot add up to a large one.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import msgspec

from peerllm.charter.catalogue import ModelCatalogue
from peerllm.charter.spelling import BASIS_POINTS
from peerllm.charter.tariff import (
    IndexReading,
    PastPrices,
    Tariff,
    as_past,
    moved_prices,
    price_name,
    published_day,
    sides,
)

DAY_US: Final = 86_400_000_000
# A third of a quarter: a school can still plan, and stop, before a higher price counts.
NOTICE_DAYS: Final = 30
QUARTER_DAYS: Final = 90
LARGEST_MOVE_BASIS_POINTS: Final = 500
# Indices that are published once a year must do; what is older is not the latest value.
OLDEST_READING_DAYS: Final = 400


def adjustment_faults(old: Tariff, new: Tariff, published_at_us: int) -> tuple[str, ...]:
    """Return what forbids `new` to follow `old`, one sentence each; empty when nothing does.

    `published_at_us` is when the new tariff became public. Both must be free of `tariff_faults`,
    which is what checks that prices are what the published indices make of them.
    """
    return (
        *_order_faults(old, new, published_at_us),
        *_ground_faults(old, new),
        *_reading_faults(old, new, published_at_us),
        *_move_faults(old, new),
    )


def history_after(old: Tariff, valid_from_us: int) -> tuple[PastPrices, ...]:
    """Return the history that a tariff in force from `valid_from_us` must carry after `old`.

    Everything that was in force during the 90 days before it; older prices bind nobody.
    """
    entries = (*old.history, as_past(old))
    begins = valid_from_us - QUARTER_DAYS * DAY_US
    ends = [entry.valid_from_us for entry in entries[1:]] + [valid_from_us]
    return tuple(entry for entry, end in zip(entries, ends, strict=True) if end > begins)


def lowest_and_highest(reference: int) -> tuple[int, int]:
    """Return the prices within 5% of a reference: bounds rounded towards it."""
    step = LARGEST_MOVE_BASIS_POINTS
    lowest = -(-reference * (BASIS_POINTS - step) // BASIS_POINTS)
    return lowest, reference * (BASIS_POINTS + step) // BASIS_POINTS


def next_tariff(
    old: Tariff,
    values: Mapping[str, int],
    valid_from_us: int,
    readings: Mapping[str, IndexReading] = MappingProxyType({}),
) -> Tariff:
    """Return the tariff that new index values make of the old one; its faults are not checked."""
    indices = {
        name: msgspec.structs.replace(
            index,
            value=values.get(name, index.value),
            reading=readings.get(name, index.reading),
        )
        for name, index in old.indices.items()
    }
    return msgspec.structs.replace(
        old,
        version=old.version + 1,
        valid_from_us=valid_from_us,
        indices=indices,
        prices=moved_prices(old.base_prices, indices),
        history=history_after(old, valid_from_us),
    )


def class_faults(old: ModelCatalogue, new: ModelCatalogue) -> tuple[str, ...]:
    """Return what forbids a catalogue to follow: a model priced anew by changing its class."""
    return tuple(
        f"model {name!r} would move from class {old.models[name].model_class!r} to"
        f" {model.model_class!r}, and so to another price; list it under a new name instead"
        for name, model in new.models.items()
        if name in old.models and model.model_class != old.models[name].model_class
    )


def _order_faults(old: Tariff, new: Tariff, published_at_us: int) -> Iterator[str]:
    if new.version != old.version + 1:
        yield f"tariff {new.version} cannot follow tariff {old.version}; number it next"
    if published_at_us < old.valid_from_us:
        yield (
            f"tariff {old.version} is announced and not in force yet; what is announced is not"
            " overtaken"
        )
    if new.valid_from_us <= old.valid_from_us:
        yield (
            f"tariff {new.version} would count from before tariff {old.version} does; no price is"
            " changed afterwards"
        )
    if new.valid_from_us < published_at_us:
        yield "its prices would count from before they were published; prices are never retroactive"
    elif _changed(old, new) and new.valid_from_us < published_at_us + NOTICE_DAYS * DAY_US:
        days = (new.valid_from_us - published_at_us) // DAY_US
        yield f"its prices change after {days} days; at least {NOTICE_DAYS} days' notice is due"
    if new.history != history_after(old, new.valid_from_us):
        yield (
            f"its history leaves out, adds or alters prices of the {QUARTER_DAYS} days before it;"
            " carry them over as published"
        )


def _changed(old: Tariff, new: Tariff) -> bool:
    given = dict(sides(new.prices))
    return any(given.get(key) != price for key, price in sides(old.prices))


def _ground_faults(old: Tariff, new: Tariff) -> Iterator[str]:
    """Base prices and indices are what a move is measured by: they do not move themselves."""
    bases = dict(sides(new.base_prices))
    for key, base in sides(old.base_prices):
        if key not in bases:
            yield f"{price_name(key)} is left out; take its models out of the catalogue instead"
        elif bases[key] != base:
            yield f"{price_name(key)} has another base price; only listed indices move a price"
    for name in sorted({*old.indices, *new.indices}):
        before, after = old.indices.get(name), new.indices.get(name)
        if before is None or after is None:
            index = before or after
            if index is not None and index.value != index.base_value:
                yield (
                    f"index {name!r} enters or leaves away from its base value, which would move"
                    " prices; let it do so at its base value"
                )
        elif msgspec.structs.replace(after, value=before.value, reading=before.reading) != before:
            yield f"index {name!r} has another source, unit, base value or weight than published"


def _reading_faults(old: Tariff, new: Tariff, published_at_us: int) -> Iterator[str]:
    """A value moves with the day and place of its publication, and never back to an older one."""
    today = datetime.fromtimestamp(published_at_us // 1_000_000, UTC).date()
    for name in sorted(old.indices.keys() & new.indices.keys()):
        before, after = old.indices[name], new.indices[name]
        if (after.value, after.reading) == (before.value, before.reading):
            continue
        day = None if after.reading is None else published_day(after.reading)
        former = None if before.reading is None else published_day(before.reading)
        if day is None:
            yield f"index {name!r} does not say on which day and where its value was published"
        elif day > today:
            yield f"index {name!r} has a value published on {day}, which is still to come"
        elif (today - day).days > OLDEST_READING_DAYS:
            yield (
                f"index {name!r} has a value published on {day}, more than {OLDEST_READING_DAYS}"
                " days ago: take the latest"
            )
        elif former is not None and day < former:
            yield (
                f"index {name!r} goes back to a value published on {day}; the tariff has one of"
                f" {former} already"
            )


def _move_faults(old: Tariff, new: Tariff) -> Iterator[str]:
    given = dict(sides(new.prices))
    told = set()
    # The nearest first: what people compare with is the price they pay now.
    for past in reversed(history_after(old, new.valid_from_us)):
        for key, reference in sides(past.prices):
            price = given.get(key)
            if price is None or key in told:
                continue
            lowest, highest = lowest_and_highest(reference)
            if not lowest <= price <= highest:
                told.add(key)
                yield (
                    f"{price_name(key)} would move by {_move(reference, price)} against version"
                    f" {past.version}, in force within the {QUARTER_DAYS} days before; at most"
                    f" {LARGEST_MOVE_BASIS_POINTS // 100}% a quarter is allowed, {lowest} to"
                    f" {highest} nano-USD per million tokens"
                )


def _move(reference: int, price: int) -> str:
    if not reference:
        return f"{price} nano-USD from zero"
    hundredths = abs(price - reference) * BASIS_POINTS // reference
    sign = "+" if price > reference else "-"
    return f"{sign}{hundredths // 100}.{hundredths % 100:02}%"
