"""How the tariff may move; every refusal says what is wrong."""

from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.charter.defaults import first_catalogue, first_tariff
from peerllm.charter.spelling import spelling
from peerllm.charter.tariff import (
    CostIndex,
    IndexReading,
    Tariff,
    moved_prices,
    sides,
    tariff_faults,
)
from peerllm.charter.tariff_rule import (
    DAY_US,
    adjustment_faults,
    class_faults,
    history_after,
    lowest_and_highest,
    next_tariff,
)

replace = msgspec.structs.replace
NOW = 20_000 * DAY_US
FIRST = first_tariff(valid_from_us=NOW - 400 * DAY_US)


# 2024-10-04, the day on which these tests publish.
TODAY = date.fromordinal(date(1970, 1, 1).toordinal() + 20_000)


def reading(days_ago: int = 3, sha256: str | None = None) -> IndexReading:
    day = TODAY - timedelta(days=days_ago)
    return IndexReading(published=day.isoformat(), address="https://example.org/i", sha256=sha256)


def moved(old: Tariff, days: int, **values: int) -> Tariff:
    return next_tariff(old, values, NOW + days * DAY_US, dict.fromkeys(values, reading()))


def faults(old: Tariff, new: Tariff, published: int = NOW) -> str:
    assert list(tariff_faults(new)) == []
    return "\n".join(adjustment_faults(old, new, published))


def test_five_percent_by_index_with_notice_is_allowed() -> None:
    # 40% of a price follows electricity: 12.5% more of it is 5% more of the price.
    new = moved(FIRST, 30, electricity=112_500)
    assert faults(FIRST, new) == ""
    assert new.prices["standard"]["small"].input_nano_usd_per_million == 10_500_000
    assert new.version == 2
    assert new.history[0].prices == FIRST.prices
    assert faults(FIRST, moved(FIRST, 30, electricity=87_500)) == ""


def test_six_percent_is_refused() -> None:
    told = faults(FIRST, moved(FIRST, 30, electricity=115_000))
    assert "the input price of 'small' in tier 'standard' would move by +6.00%" in told
    assert "at most 5% a quarter is allowed, 9500000 to 10500000" in told
    assert "-6.00%" in faults(FIRST, moved(FIRST, 30, electricity=85_000))


def test_small_moves_do_not_add_up_within_a_quarter() -> None:
    second = moved(FIRST, 30, electricity=108_000)
    third = moved(second, 60, electricity=116_000)
    assert faults(FIRST, second) == ""
    assert "version 1, in force within the 90 days before" in faults(
        second, third, NOW + 30 * DAY_US
    )
    # Ninety days after the first move its price alone binds.
    later = moved(second, 120, electricity=116_000)
    assert faults(second, later, NOW + 90 * DAY_US) == ""
    assert [past.version for past in later.history] == [2]
    # Up and down again is two moves as well.
    assert "would move by -" in faults(second, moved(second, 60, electricity=90_000))


def test_notice_and_order() -> None:
    new = moved(FIRST, 29, electricity=101_000)
    assert "its prices change after 29 days; at least 30 days' notice" in faults(FIRST, new)
    assert "never retroactive" in faults(FIRST, moved(FIRST, -1, electricity=101_000))
    announced = moved(FIRST, 60)
    earlier = replace(moved(announced, 40), history=announced.history)
    sooner = adjustment_faults(announced, earlier, NOW)
    assert "tariff 2 is announced and not in force yet" in sooner[0]
    assert "would count from before tariff 2 does" in sooner[1]
    assert "number it next" in faults(FIRST, replace(moved(FIRST, 30), version=3))
    # What moves no price needs no notice.
    assert faults(FIRST, moved(FIRST, 0)) == ""


def test_a_history_is_carried_over_as_published() -> None:
    second = moved(FIRST, 30, electricity=108_000)
    assert "its history leaves out" in faults(second, replace(moved(second, 60), history=()))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"base": 10_400_000}, "has another base price; only listed indices move a price"),
        ({"weight_basis_points": 3_000}, "another source, unit, base value or weight"),
        ({"base_value": 99_000}, "another source, unit, base value or weight"),
        ({"source": "My cousin"}, "another source, unit, base value or weight"),
        ({"drop": "small"}, "is left out; take its models out of the catalogue instead"),
        ({"add": 101_000}, "index 'water' enters or leaves away from its base value"),
    ],
)
def test_only_listed_indices_move_a_price(changes: dict[str, Any], sentence: str) -> None:
    new = moved(FIRST, 30)
    indices, base = dict(new.indices), {tier: dict(of) for tier, of in new.base_prices.items()}
    if "base" in changes:
        base["school"]["small"] = replace(
            base["school"]["small"], input_nano_usd_per_million=changes["base"]
        )
    elif "drop" in changes:
        del base["school"]["small"]
    elif "add" in changes:
        indices["water"] = CostIndex(
            source="s", unit="u", base_value=100_000, value=changes["add"], weight_basis_points=100
        )
    else:
        indices["electricity"] = replace(indices["electricity"], **changes)
    new = replace(new, indices=indices, base_prices=base, prices=moved_prices(base, indices))
    assert sentence in faults(FIRST, new)


def test_an_index_may_enter_at_its_base_value() -> None:
    new = moved(FIRST, 0)
    water = CostIndex(source="s", unit="u", base_value=7, value=7, weight_basis_points=100)
    assert faults(FIRST, replace(new, indices=dict(new.indices, water=water))) == ""


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (None, "index 'electricity' does not say on which day and where"),
        (reading(-1), "published on 2024-10-05, which is still to come"),
        (reading(401), "published on 2023-08-30, more than 400 days ago"),
        (reading(30_000), "more than 400 days ago"),
    ],
)
def test_a_value_moves_with_the_day_and_place_of_its_publication(
    given: IndexReading | None, sentence: str
) -> None:
    readings = {} if given is None else {"electricity": given}
    new = next_tariff(FIRST, {"electricity": 101_000}, NOW + 30 * DAY_US, readings)
    assert sentence in faults(FIRST, new)
    assert faults(FIRST, moved(FIRST, 30, electricity=101_000)) == ""


def test_no_value_goes_back_to_an_older_one_nor_loses_its_reading() -> None:
    second, then = moved(FIRST, 30, electricity=101_000), NOW + 31 * DAY_US
    for days_ago, sentence in ((4, "goes back to a value published on 2024-09-30"), (3, "")):
        third = next_tariff(
            second, {"electricity": 99_000}, then + 30 * DAY_US, {"electricity": reading(days_ago)}
        )
        assert sentence in faults(second, third, then)
        assert bool(sentence) == bool(faults(second, third, then))
    kept = next_tariff(second, {"hardware": 100_000}, then + 30 * DAY_US)
    assert faults(second, kept, then) == ""
    bare = dict(kept.indices)
    bare["electricity"] = replace(bare["electricity"], reading=None)
    assert "does not say" in faults(second, replace(kept, indices=bare), then)


@pytest.mark.parametrize("day", ["2030-02-30", "2030-00-01", "0000-01-01"])
def test_a_day_is_one_of_the_calendar(day: str) -> None:
    indices = dict(FIRST.indices)
    indices["electricity"] = replace(
        indices["electricity"], reading=replace(reading(), published=day)
    )
    assert f"{day} is no day of the calendar" in "".join(
        tariff_faults(replace(FIRST, indices=indices))
    )


def test_a_tariff_of_before_readings_keeps_its_spelling() -> None:
    assert b"reading" not in spelling(FIRST)
    with_one = spelling(moved(FIRST, 30, electricity=101_000))
    assert with_one.count(b'"reading"') == 1
    assert b"sha256" not in with_one


def test_a_model_keeps_its_class() -> None:
    old = first_catalogue()
    name, model = next(iter(old.models.items()))
    new = replace(old, models={name: replace(model, model_class="large")})
    assert class_faults(old, old) == ()
    assert "list it under a new name instead" in class_faults(old, new)[0]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(25, 70), st.integers(80_000, 125_000)), max_size=12))
def test_whatever_is_accepted_no_price_moves_beyond_five_percent_in_a_quarter(
    steps: list[tuple[int, int]],
) -> None:
    accepted, day = [FIRST], 30
    for days, value in steps:
        day += days
        readings = {"electricity": reading(days_ago=25 - day)}
        new = next_tariff(accepted[-1], {"electricity": value}, NOW + day * DAY_US, readings)
        if not adjustment_faults(accepted[-1], new, new.valid_from_us - 30 * DAY_US):
            accepted.append(new)
    for number, new in enumerate(accepted):
        prices = dict(sides(new.prices))
        begins = new.valid_from_us - 90 * DAY_US
        for place, old in enumerate(accepted[:number]):
            if accepted[place + 1].valid_from_us > begins:
                for key, reference in sides(old.prices):
                    lowest, highest = lowest_and_highest(reference)
                    assert lowest <= prices[key] <= highest
                    assert 20 * abs(prices[key] - reference) <= reference
        if number:
            assert new.history == history_after(accepted[number - 1], new.valid_from_us)
