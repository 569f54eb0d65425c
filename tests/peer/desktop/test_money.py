from datetime import date

import msgspec
import pytest

from peerllm.peer.desktop.money import (
    PowerFault,
    PowerSettings,
    Price,
    cost,
    cost_per_million_tokens,
    energy_kwh,
    most_earned_usd,
    read_price,
    read_watts,
)
from peerllm.peer.desktop.overview_view import overview, round_steps
from peerllm.peer.desktop.price_list import prices_of
from peerllm.peer.desktop.state import Gone
from tests.peer.desktop.samples import DIGEST, NOW, seen

PRICE = Price(10_000_000, 40_000_000, 9_500)
TODAY = NOW.date()


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("", None),
        (" 0,32 ", 0.32),
        ("0", 0.0),
        ("-0.1", PowerFault("negative")),
        ("nan", PowerFault("no_number")),
        ("-inf", PowerFault("no_number")),
        ("free", PowerFault("no_number")),
        ("1e300", PowerFault("too_high")),
    ],
)
def test_an_electricity_price_is_read_as_people_type_it(text: str, price: object) -> None:
    assert read_price(text) == price


def test_watts_are_more_than_none() -> None:
    assert read_watts("65") == 65
    assert read_watts("0") == read_watts("-3") == PowerFault("not_positive")
    assert read_watts("") == PowerFault("no_number")
    assert read_watts("6000") == PowerFault("too_high")


def test_power_is_reckoned_from_speed_and_watts() -> None:
    power = PowerSettings(price_per_kwh=0.30, extra_watts=36)
    # A million tokens at 100 a second are 10,000 seconds at 36 watts: a tenth of a kWh.
    assert energy_kwh(1_000_000, 100, 36) == pytest.approx(0.1)
    assert cost_per_million_tokens(100, power) == pytest.approx(0.03)
    assert cost_per_million_tokens(0, power) is None
    assert cost(1, PowerSettings()) is None
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"price_per_kwh": -0.1}, PowerSettings)


def test_what_was_earned_is_at_most_the_hosts_share_of_the_price_list() -> None:
    # 100 prompt tokens of 10 nano-USD each and 50 of 40 are 3,000 nano-USD.
    assert most_earned_usd(100, 50, PRICE) == pytest.approx(3000e-9 * 0.95)


def test_the_overview_says_what_it_does_not_know() -> None:
    shown = overview(seen(), TODAY, PowerSettings(), {})
    assert shown.tiles[2].value == "not known"
    assert "price list" in shown.tiles[2].note
    assert [fact.value for fact in shown.facts[1:]] == ["not known yet by this host"] * 4
    assert len(shown.days) == 30
    assert shown.days[-1][0] == TODAY
    assert shown.days[-1][1] > 0
    assert shown.days[0][1] == 0


def test_earnings_are_an_estimate_and_net_of_power_even_below_zero() -> None:
    power = PowerSettings(price_per_kwh=0.30, extra_watts=60)
    shown = overview(seen(), TODAY, power, {DIGEST: PRICE})
    assert shown.tiles[2].value.startswith("≤ 0.0")
    assert "net of power: -" in shown.tiles[2].note
    assert "estimate" in shown.tiles[2].note
    euros = overview(seen(), TODAY, msgspec.structs.replace(power, currency="EUR"), {DIGEST: PRICE})
    assert "net" not in euros.tiles[2].note
    assert euros.tiles[3].value.endswith(" EUR")
    later = overview(seen(), date(2027, 3, 1), power, {DIGEST: PRICE})
    assert later.tiles[2].value == "0"
    assert {tile.value for tile in overview(Gone(1), TODAY, power, {}).tiles} == {"-"}


def test_prices_come_from_a_verified_charter_and_from_nothing_else() -> None:
    charter = {
        "version": 4,
        "tariff": {
            "tiers": {
                "economy": {"meaning": "later", "host_share_basis_points": 9500},
                "standard": {"meaning": "now", "host_share_basis_points": 9500},
            },
            "prices": {
                "economy": {"tiny": _price(1)},
                "standard": {"tiny": _price(3)},
                "gone": {"tiny": _price(9)},
            },
        },
        "catalogue": {
            "models": {
                "a": {"sha256": DIGEST, "model_class": "tiny"},
                "b": {"sha256": "0" * 64, "model_class": "unpriced"},
            }
        },
    }
    assert prices_of(msgspec.json.encode(charter)) == {DIGEST: Price(3, 3, 9500)}
    for raw in (b"", b"{}", b'{"tariff": 1}', b"Refused: the charter has expired"):
        assert prices_of(raw) == {}


def _price(nano_usd: int) -> dict[str, int]:
    return {"input_nano_usd_per_million": nano_usd, "output_nano_usd_per_million": nano_usd}


@pytest.mark.parametrize(
    ("top", "steps"),
    [
        (10, [0, 5, 10]),
        (4, [0, 1, 2, 3, 4]),
        (99, [0, 20, 40, 60, 80]),
        (32_000, [0, 10_000, 20_000, 30_000]),
    ],
)
def test_an_axis_is_labelled_with_round_numbers(top: int, steps: list[int]) -> None:
    assert round_steps(top) == steps
