"""`peerllm price`: what a steward, a customer and a school see, and what is refused."""

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from peerllm.charter.calculation import calculation_bytes, calculation_faults
from peerllm.charter.defaults import (
    FIRST_MODEL,
    first_catalogue,
    first_standard,
    first_tariff,
    first_terms,
)
from peerllm.charter.documents import Tariff, read_document
from peerllm.charter.errors import Malformed
from peerllm.charter.forecast import AnnouncedPrice, forecast, read_profile
from peerllm.charter.money_text import change, usd
from peerllm.charter.price_commands import price_app
from peerllm.charter.store import found_network
from peerllm.charter.tariff import TokenPrice
from peerllm.charter.tariff_rule import adjustment_faults, lowest_and_highest, next_tariff

PROFILE = {
    "people": 600,
    "requests_per_person_and_day": 10,
    "input_tokens_per_request": 700,
    "output_tokens_per_request": 250,
    "days_per_year": 190,
}


ADDRESS = "https://www.eia.gov/electricity/monthly/"
READ = [
    part
    for name in ("electricity", "hardware")
    for part in ("--published", f"{name}=2029-12-20", "--address", f"{name}={ADDRESS}")
]


@pytest.fixture
def price(network: Any) -> Any:
    at = network.founded_at.strftime("%Y-%m-%dT%H:%M:%S")

    def run(command: str, *arguments: object) -> Result:
        line = [command, str(network.folder), *map(str, arguments), "--at", at]
        return CliRunner().invoke(price_app, line)

    return run


def test_show_has_tiers_prices_and_what_redundancy_costs(price: Any) -> None:
    shown = price("show")
    assert shown.exit_code == 0, shown.output
    for words in ("enterprise", "96.00%", "0.04 USD per million", "nothing for the others"):
        assert words in " ".join(shown.stdout.split())
    values = json.loads(price("show", "--json").stdout)
    assert values["in_force"]["version"] == 1
    assert values["announced"] is None


@pytest.mark.parametrize("command", ["show", "explain"])
def test_what_a_tariff_says_is_shown_as_it_is(tmp_path: Path, command: str) -> None:
    said = "by the list [/EIA] \x1b[2J"
    first = first_tariff()
    source = msgspec.structs.replace(first.indices["electricity"], source=said)
    found_network(
        tmp_path / "public",
        terms=first_terms("home"),
        tariff=msgspec.structs.replace(
            first, redundancy=said, indices={**first.indices, "electricity": source}
        ),
        catalogue=first_catalogue(),
        standard=first_standard(),
        steward_keys_directory=tmp_path / "keys",
        now=datetime(2030, 1, 1, tzinfo=UTC),
        expires=datetime(2031, 1, 1, tzinfo=UTC),
    )
    line = [command, str(tmp_path / "public"), "--at", "2030-01-01"]
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(price_app, line)
    assert shown.exit_code == 0, shown.exception
    assert r"by the list [/EIA] \x1b[2J" in shown.stdout


def test_a_quote_is_the_upper_bound_and_its_parts(price: Any) -> None:
    tokens = ["--input-tokens", "800", "--output-tokens", "201", "--json"]
    values = json.loads(price("quote", FIRST_MODEL, *tokens, "--tier", "enterprise").stdout)
    assert values["upper_bound_nano_usd"] == 800 * 12_500_000 // 10**6 + 201 * 50
    assert values["host_share_nano_usd"] + values["margin_nano_usd"] == 20_050
    assert values["host_share_nano_usd"] == 19_248
    for model, tier, sentence in (
        ("gpt", "standard", "the catalogue has no model 'gpt'; it has: smollm2"),
        (FIRST_MODEL, "gold", "there is no tier 'gold'; there are: enterprise, school, standard"),
    ):
        refused = price("quote", model, *tokens, "--tier", tier)
        assert refused.exit_code == 1
        assert sentence in refused.stderr
    wrong = ["--input-tokens", "-1", "--output-tokens", "1"]
    assert price("quote", FIRST_MODEL, *wrong).exit_code == 2


def test_adjust_writes_a_tariff_that_the_rule_lets_through(
    price: Any, network: Any, tmp_path: Path
) -> None:
    result = price("adjust", "--value", "electricity=112500", *READ, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "0.04 USD -> 0.042 USD per million tokens (+5.00%)" in result.stdout
    new = read_document((tmp_path / "tariff.json").read_bytes(), Tariff)
    now = int(network.founded_at.timestamp() * 1_000_000)
    assert adjustment_faults(first_tariff(), new, now) == ()
    calculation = (tmp_path / "calculations" / "tariff-2.json").read_bytes()
    assert calculation == calculation_bytes(new)
    assert json.loads(calculation)["factor_numerator"] == 21
    published = {"calculations/tariff-2.json": calculation}
    assert list(calculation_faults(first_tariff(), new, published)) == []


def test_an_adjustment_is_voted_on_announced_and_then_in_force(
    price: Any, network: Any, tmp_path: Path
) -> None:
    adjusted = price("adjust", "--value", "hardware=110000", *READ, "--out", tmp_path / "new")
    assert adjusted.exit_code == 0
    files = {
        name: (tmp_path / "new" / name).read_bytes()
        for name in ("tariff.json", "calculations/tariff-2.json")
    }
    with pytest.raises(Malformed, match="is not published with it"):
        network.amend(tmp_path / "bare", {"tariff.json": files["tariff.json"]})
    ratified = network.amend(tmp_path / "draft", files)
    starts = network.founded_at + timedelta(days=38)
    assert ratified < starts
    seen = {}
    for moment in (ratified, starts - timedelta(seconds=1), starts):
        at = ["--at", moment.strftime("%Y-%m-%dT%H:%M:%S")]
        line = [str(network.folder), "--json", *at]
        shown = json.loads(CliRunner().invoke(price_app, ["show", *line]).stdout)
        seen[moment] = (shown["in_force"]["version"], shown["announced"] is not None)
    assert list(seen.values()) == [(1, True), (1, True), (2, False)]
    explained = CliRunner().invoke(price_app, ["explain", str(network.folder), *at])
    assert explained.exit_code == 0
    assert "says the same" in explained.stdout
    assert "+2.00%" in explained.stdout


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["electricity=115000"], "would move by +6.00%"),
        (["electricity=85000"], "would move by -6.00%"),
        (["oil=1"], "lists no index 'oil'; it lists: electricity, hardware"),
        (["hardware=1", "hardware=2"], "index 'hardware' is given twice"),
        (["electricity=1.5"], "--value takes NAME=WHOLE NUMBER"),
        (["electricity=-5"], "--value takes NAME=WHOLE NUMBER"),
        (["electricity=0"], ">= 1"),
        (["electricity=9999999999999"], "tariff:"),
    ],
)
def test_adjust_refuses_with_the_sentence_and_writes_nothing(
    price: Any, tmp_path: Path, values: list[str], sentence: str
) -> None:
    out = tmp_path / "out"
    given = [part for value in values for part in ("--value", value)]
    result = price("adjust", *given, *READ, "--out", out)
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert not out.exists()


def test_adjust_refuses_a_short_notice(price: Any, network: Any, tmp_path: Path) -> None:
    day = network.founded_at.strftime("%Y-%m-%d")
    value = ["--value", "electricity=101000", *READ, "--out", tmp_path / "out"]
    result = price("adjust", *value, "--from", day)
    assert result.exit_code == 1
    assert "at least 30 days' notice is due" in result.stderr


def test_adjust_refuses_a_mistyped_year(price: Any, tmp_path: Path) -> None:
    move = ("adjust", "--value", "electricity=112500", *READ, "--out", tmp_path / "new")
    refused = price(*move, "--from", "2072-02-10")
    assert refused.exit_code == 1
    assert "no other tariff could come before that" in refused.stderr
    assert not (tmp_path / "new").exists()
    assert price(*move, "--from", "2030-12-31").exit_code == 0


def test_explain_works_every_price_out_again(price: Any) -> None:
    values = json.loads(price("explain", "--json").stdout)
    assert values["agrees"]
    assert values["calculation"]["prices"][0]["base"] == 12_500_000
    assert "Factor: 1/1" in price("explain").stdout


def test_what_an_index_was_read_from_is_signed_and_can_be_checked(
    price: Any, network: Any, tmp_path: Path
) -> None:
    saved, copy, draft = tmp_path / "epm.csv", tmp_path / "copy.csv", tmp_path / "draft"
    saved.write_bytes(b"2029-10,106000\n")
    copy.write_bytes(saved.read_bytes())
    value = ("--value", "electricity=106000", *READ[:4])
    source = ("--source-file", f"electricity={saved}", "--out", tmp_path / "new")
    assert price("adjust", *value, *source).exit_code == 0
    reading = {
        "published": "2029-12-20",
        "address": ADDRESS,
        "sha256": hashlib.sha256(saved.read_bytes()).hexdigest(),
    }
    files = {
        name: (tmp_path / "new" / name).read_bytes()
        for name in ("tariff.json", "calculations/tariff-2.json")
    }
    assert all(
        json.loads(raw)["indices"]["electricity"]["reading"] == reading for raw in files.values()
    )
    # Another digest than the published calculation has is no proposal.
    forged = files["tariff.json"].replace(reading["sha256"].encode(), b"0" * 64)
    with pytest.raises(Malformed, match="is not the calculation"):
        network.propose(tmp_path / "forged", {**files, "tariff.json": forged})
    network.propose(draft, files)

    def explain(place: Path, *arguments: object) -> Result:
        line = ["explain", str(place), *map(str, arguments), "--at", "2030-02-20"]
        return CliRunner().invoke(price_app, line)

    # Before anybody signs the draft, and from the public files once it is in force.
    told = explain(draft, "--source-file", f"electricity={copy}")
    assert told.exit_code == 0, told.output
    assert (
        f"electricity: published 2029-12-20, {ADDRESS}, document SHA-256 {reading['sha256']}"
        in (told.stdout)
    )
    assert "+2.40%" in told.stdout
    network.ratify(draft, network.decided(draft, now=network.founded_at))
    checked = explain(network.folder, "--json", "--source-file", f"electricity={copy}")
    assert json.loads(checked.stdout)["sources"] == {"electricity": True}
    copy.write_bytes(b"2029-10,105000\n")
    for arguments, sentence in (
        (f"electricity={copy}", "is not the document that index 'electricity' was read from"),
        (f"hardware={copy}", "has no digest of a source document of index 'hardware'"),
        (f"electricity={tmp_path / 'missing'}", "is no file"),
        (f"electricity={tmp_path}", "is no file"),
        (f"oil={copy}", "lists no index 'oil'"),
        ("electricity", "takes electricity=..."),
    ):
        refused = explain(network.folder, "--source-file", arguments)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert sentence in refused.stderr


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([], "give --published electricity=DAY"),
        (["--published", "electricity=2029-12-20"], "give --address electricity=..."),
        (["--published", "electricity=2030-01-02", *READ[2:4]], "which is still to come"),
        (["--published", "electricity=2028-01-01", *READ[2:4]], "more than 400 days ago"),
        (["--published", "electricity=1-1-2030", *READ[2:4]], "a day is written 2026-11-20"),
        (["--published", "electricity=2029-02-30", *READ[2:4]], "a day is written 2026-11-20"),
        (["--published", "electricity=-5", *READ[2:4]], "a day is written 2026-11-20"),
        (["--published", "electricity=", *READ[2:4]], "with something after the sign"),
        (READ[2:4], "--address electricity needs --published electricity=DAY"),
        (["--source-file", "electricity=/etc/hostname"], "--source-file electricity needs"),
        ([*READ[:4], "--source-file", "electricity=/dev/null"], "is no file"),
        ([*READ[:4], *READ[:2]], "is given twice"),
        (["--published", "electricity=2029-12-20", "--address", "electricity=" + "x" * 501], "500"),
    ],
)
def test_a_reading_that_is_none_is_refused(
    price: Any, tmp_path: Path, given: list[str], sentence: str
) -> None:
    out = tmp_path / "out"
    result = price("adjust", "--value", "electricity=101000", *given, "--out", out)
    assert (result.exit_code, result.stdout) == (1, "")
    assert sentence in result.stderr
    assert not out.exists()


def test_prices_do_not_move_without_their_calculation() -> None:
    old = first_tariff()
    new = next_tariff(old, {"hardware": 101_000}, 10**15)
    name = "calculations/tariff-2.json"
    assert f"{name} is not published with it" in next(calculation_faults(old, new, {}))
    assert "is not the calculation" in next(calculation_faults(old, new, {name: b"{}"}))
    assert list(calculation_faults(old, next_tariff(old, {}, 10**15), {})) == []


def test_a_forecast_bounds_the_year(price: Any, tmp_path: Path) -> None:
    profile = tmp_path / "school.json"
    profile.write_text(json.dumps(PROFILE))
    model = ["--model", FIRST_MODEL, "--tier", "school"]
    values = json.loads(price("forecast", profile, *model, "--json").stdout)
    assert values["requests"] == 1_140_000
    assert values["at_todays_price_nano_usd"] == 1_140_000 * 17_000
    year = forecast(read_profile(profile.read_bytes()), first_tariff().prices["school"]["small"])
    assert values["worst_case_nano_usd"] == year.worst_case
    # Four rises of 5% within the year, the last days of use at the highest price.
    assert year.at_todays_price < year.worst_case < year.at_todays_price * 105**4 // 100**4
    highest = 10_000_000
    for day, risen in year.worst_prices[1:]:
        highest = lowest_and_highest(highest)[1]
        assert (day - 30) % 90 == 0
        assert risen.input_nano_usd_per_million == highest
    assert "19.38 USD" in price("forecast", profile, *model).stdout


def test_a_forecast_counts_what_is_announced(price: Any, network: Any, tmp_path: Path) -> None:
    profile = tmp_path / "school.json"
    profile.write_text(json.dumps(PROFILE | {"days_per_year": 365}))
    assert (
        price("adjust", "--value", "hardware=125000", *READ, "--out", tmp_path / "new").exit_code
        == 0
    )
    files = {
        name: (tmp_path / "new" / name).read_bytes()
        for name in ("tariff.json", "calculations/tariff-2.json")
    }
    # The 5% that are announced for 38 days after the founding; the next follow a quarter later.
    ratified = network.amend(tmp_path / "draft", files)
    day = 38 - (ratified - network.founded_at).days
    at = ratified.strftime("%Y-%m-%d")
    line = ["forecast", str(network.folder), str(profile), "--model", FIRST_MODEL, "--at", at]
    values = json.loads(CliRunner().invoke(price_app, [*line, "--json"]).stdout)
    prices = [
        (each["from_day"], each["price"]["input_nano_usd_per_million"])
        for each in values["worst_prices"]
    ]
    assert prices == [
        *((0, 10_000_000), (day, 10_500_000), (day + 90, 11_025_000)),
        *((day + 180, 11_576_250), (day + 270, 12_155_062)),
    ]
    assert 0 < day < 30


@pytest.mark.parametrize(("announced", "day"), [(10_500_000, 0), (9_500_000, 20), (9_900_000, 50)])
def test_no_price_of_the_rule_is_above_the_worst(announced: int, day: int) -> None:
    def of(nano_usd: int) -> TokenPrice:
        return TokenPrice(input_nano_usd_per_million=nano_usd, output_nano_usd_per_million=nano_usd)

    profile = read_profile(json.dumps(PROFILE | {"days_per_year": 365}).encode())
    worst = dict(forecast(profile, of(10_000_000), AnnouncedPrice(day, of(announced))).worst_prices)
    by_day = [worst[max(begins for begins in worst if begins <= each)] for each in range(365)]
    # The boldest stewards: each tariff as soon as the last one counts, as dear as it may be.
    prices = [10_000_000] * (90 + day) + [announced] * 30
    while len(prices) < 455:
        prices += [lowest_and_highest(min(prices[-90:]))[1]] * 30
    for each, price in zip(by_day, prices[90:], strict=False):
        assert price <= each.input_nano_usd_per_million


def test_a_profile_that_is_no_profile_is_not_read_whole(price: Any, tmp_path: Path) -> None:
    (tmp_path / "disk.img").touch()
    os.truncate(tmp_path / "disk.img", 2**40)
    refused = price("forecast", tmp_path / "disk.img", "--model", FIRST_MODEL)
    assert refused.exit_code == 1
    assert "disk.img has more than 1048576 bytes" in refused.stderr


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"people": 0}',
        json.dumps(PROFILE | {"people": 10**9}).encode(),
        json.dumps(PROFILE | {"pupils": 1}).encode(),
        json.dumps(PROFILE | {"days_per_year": 366}).encode(),
    ],
)
def test_a_profile_that_cannot_be_is_a_sentence(raw: bytes) -> None:
    with pytest.raises(Malformed, match="the usage profile"):
        read_profile(raw)


def test_amounts_as_people_read_them() -> None:
    assert usd(1_500_000_000) == "1.50 USD"
    assert usd(-1) == "-0.000000001 USD"
    assert usd(1_234_567_000_000_000) == "1,234,567.00 USD"
    assert (change(100, 105), change(100, 94), change(0, 1)) == ("+5.00%", "-6.00%", "new")
