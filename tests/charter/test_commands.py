import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from peerllm.charter.commands import charter_app
from peerllm.charter.defaults import FIRST_MODEL


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(charter_app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "charter"
    result = _run("found", folder, "--network", "home", "--keys", tmp_path / "keys")
    assert result.exit_code == 0, result.output
    assert str(folder / "metadata" / "1.root.json") in result.output
    return folder


def test_verify_says_one_sentence_and_succeeds(folder: Path) -> None:
    result = _run("verify", folder, "--root", folder / "metadata" / "1.root.json")
    assert result.exit_code == 0
    assert result.stdout.startswith("The charter of home, version 1, is signed by at least 2 of 3")
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""


def test_without_a_root_it_says_what_it_trusts(folder: Path) -> None:
    result = _run("verify", folder)
    assert result.exit_code == 0
    assert "Trusting the folder's own root, SHA-256 " in result.stderr


def test_verify_fails_with_one_sentence(folder: Path) -> None:
    [tariff] = (folder / "targets").glob("*.tariff.json")
    tariff.write_bytes(tariff.read_bytes().replace(b"40000000", b"40000001"))
    result = _run("verify", folder, "--root", folder / "metadata" / "1.root.json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Refused: ")
    assert result.stderr.count("\n") == 1
    assert "tariff.json is not what the stewards signed" in result.stderr


@pytest.mark.parametrize("command", ["verify", "show"])
def test_a_missing_charter_or_root_fails(folder: Path, tmp_path: Path, command: str) -> None:
    assert _run(command, tmp_path / "nowhere").exit_code == 1
    result = _run(command, folder, "--root", tmp_path / "no-root.json")
    assert result.exit_code == 1
    assert "no-root.json" in result.stderr


def test_show_is_readable(folder: Path) -> None:
    result = _run("show", folder)
    assert result.exit_code == 0
    for words in (
        "Charter of home",
        "95% of every charge",
        "recused steward",
        FIRST_MODEL,
        "0.040 USD",
        "self harm",
    ):
        assert words in result.stdout


def test_show_as_json_is_the_whole_charter(folder: Path) -> None:
    shown = json.loads(_run("show", folder, "--json").stdout)
    assert shown["version"] == 1
    assert shown["terms"]["network"] == "home"
    assert shown["tariff"]["prices"]["school"]["small"]["output_nano_usd_per_million"] == 40_000_000
    assert shown["standard"]["thresholds_milli"]["minors"] == 550
    assert len(shown["catalogue"]["models"][FIRST_MODEL]["sha256"]) == 64


@pytest.mark.parametrize(
    "options",
    [
        ["--network", "My Net"],
        ["--network", "\udcff"],
        ["--network", "home", "--threshold", "4"],
    ],
)
def test_a_network_that_cannot_be_is_not_founded(tmp_path: Path, options: list[str]) -> None:
    result = _run("found", tmp_path / "new", "--keys", tmp_path / "keys", *options)
    assert result.exit_code == 1
    assert result.stderr.startswith("Refused: ")
    assert not (tmp_path / "new").exists()
