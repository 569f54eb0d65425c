import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from peerllm.charter.log import log_key
from peerllm.charter.log_commands import log_app
from tests.charter.log_stage import (
    no_waiting_for_the_disk,  # noqa: F401 - for every test here
    rewritten,
)

ENTRY = {
    "at_us": 1_790_000_000_000_000,
    "body": {
        "kind": "payout-batch",
        "region": "eu-north",
        "batch": "2026-11",
        "payouts": 3,
        "total_nano_usd": 12_000_000_000,
        "root": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    },
}


def _run(*arguments: object, given: str | None = None) -> Result:
    result = CliRunner().invoke(log_app, [str(argument) for argument in arguments], input=given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def _refused(*arguments: object, given: str | None = None) -> str:
    result = _run(*arguments, given=given)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Refused: ")
    return result.stderr


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of one name with three published entries, as its operator types it."""
    folder, key = tmp_path / "log", tmp_path / "log.key"
    assert _run("init", folder, "--origin", "log.example/home", "--key", key).exit_code == 0
    (tmp_path / "entry.json").write_text(json.dumps(ENTRY, indent=2))
    assert _run("append", folder, tmp_path / "entry.json").exit_code == 0
    strike = {"kind": "strike-commitment", "region": "eu-north", "commitment": "0" * 64}
    more = json.dumps([{"at_us": number, "body": strike} for number in range(2)])
    assert _run("append", folder, given=more).stdout == (
        "Taken down: 2, from number 1 on; not yet published.\n"
    )
    shown = _run("checkpoint", folder, "--key", key, "--json")
    assert json.loads(shown.stdout)["size"] == 3
    return folder


def test_an_operator_a_witness_a_host_and_a_reader(log: Path, tmp_path: Path) -> None:
    vkey, seen = log / "log.vkey", tmp_path / "seen"
    witness = ["witness", log / "public", "--log-key", vkey, "--key", tmp_path / "w.key"]
    witness += ["--name", "witness.example/one", "--state", seen, "--out", tmp_path / "cosigned"]
    first = _run(*witness, "--first")
    assert first.exit_code == 0, first.stderr
    own = first.stderr.splitlines()[0].removeprefix("Cosigned as ")
    (tmp_path / "w.vkey").write_text(own)
    assert (tmp_path / "cosigned").read_bytes() == seen.read_bytes()
    assert json.loads(_run(*witness, "--json").stdout)["witness"] == own

    unwitnessed = _refused("verify", log / "public", "--key", vkey, "--witness", own)
    assert "missing: witness.example/one" in unwitnessed
    collected = ["--collect", tmp_path / "cosigned", "--witness", tmp_path / "w.vkey"]
    assert "cosigned by witness.example/one on 20" in _run("checkpoint", log, *collected).stdout

    # On another machine: an empty folder, the public files and two keys.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(log / "public", elsewhere / "public")
    key = vkey.read_text().strip()
    trust = ["--key", key, "--witness", own]
    verified = _run("verify", elsewhere / "public", *trust)
    assert verified.exit_code == 0
    for words in ("log.example/home has 3 entries", "Every entry was hashed again", "payout-batch"):
        assert words in verified.stdout
    report = json.loads(_run("verify", elsewhere / "public", *trust, "--json").stdout)
    assert report["kinds"] == {"payout-batch": 1, "strike-commitment": 2}
    assert report["cosigned"][0]["witness"] == "witness.example/one"

    proof = elsewhere / "payout.tlog-proof"
    made = _run("prove", elsewhere / "public", "0", *trust, "--out", proof)
    assert (made.exit_code, made.stdout) == (0, "")
    by_content = _run("prove", log / "public", "--entry", tmp_path / "entry.json", *trust)
    assert by_content.stdout == proof.read_text()
    assert json.loads(_run("prove", log / "public", "0", *trust, "--json").stdout) == {
        "index": 0,
        "proof": proof.read_text(),
    }
    shutil.rmtree(elsewhere / "public")
    proven = _run("verify", "--proof", proof, *trust)
    assert proven.stdout.startswith('Entry 0 is in the log: {"at_us":1790000000000000,')
    assert json.loads(_run("verify", "--proof", proof, *trust, "--json").stdout)["entry"] == ENTRY


def test_entries_are_listed_for_people_and_machines(log: Path) -> None:
    key = ["--key", log / "log.vkey"]
    shown = _run("entries", log / "public", *key).stdout
    assert ENTRY["body"]["root"][:20] in shown.replace("\n", "")  # type: ignore[index]
    assert "2026-09-21 14:13:20" in shown
    strikes = _run("entries", log / "public", *key, "--kind", "strike-commitment", "--json").stdout
    assert [json.loads(line)["index"] for line in strikes.splitlines()] == [1, 2]
    one = _run("entries", log / "public", *key, "--from", "1", "--limit", "1", "--json").stdout
    assert [json.loads(line)["index"] for line in one.splitlines()] == [1]
    assert _run("entries", log / "public", *key, "--from", "9", "--json").stdout == ""


def test_a_rewritten_log_is_shown_by_reader_and_witness(log: Path, tmp_path: Path) -> None:
    # The operator's key, another past: what a reader kept is enough to show it.
    key = log / "log.vkey"
    kept = tmp_path / "kept"
    kept.write_bytes((log / "public" / "checkpoint").read_bytes())
    assert _run("verify", log / "public", "--key", key, "--since", kept).exit_code == 0
    fork = tmp_path / "fork"
    _run("init", fork, "--origin", "log.example/home", "--key", tmp_path / "log.key")
    _run("append", fork, given=json.dumps([{**ENTRY, "at_us": number} for number in range(5)]))
    _run("checkpoint", fork, "--key", tmp_path / "log.key")
    assert _run("verify", fork / "public", "--key", key).exit_code == 0
    shown = _refused("verify", fork / "public", "--key", key, "--since", kept)
    assert "FORK: the log's key signed two histories" in shown
    evidence = tmp_path / "kept.fork-5.json"
    proven = _run("verify", "--evidence", evidence, "--key", key)
    assert proven.exit_code == 0
    assert "signed a log of 3 entries and one of 5 that does not begin with it" in proven.stdout
    as_json = json.loads(_run("verify", "--evidence", evidence, "--key", key, "--json").stdout)
    assert as_json == {"forked": True, "earlier_size": 3, "later_size": 5}
    # Another log's key of the same name proves nothing by it.
    other = log_key(rewritten(tmp_path / "other", 0, 1))
    assert "not signed by the key" in _refused("verify", "--evidence", evidence, "--key", other)


def test_bad_input_is_refused_with_a_sentence(log: Path, tmp_path: Path) -> None:
    public, key, private = log / "public", log / "log.vkey", tmp_path / "log.key"
    (tmp_path / "garbage").write_bytes(bytes(range(256)))
    (tmp_path / "garbage").chmod(0o600)
    before = {path: path.read_bytes() for path in log.rglob("*") if path.is_file()}
    other = tmp_path / "other.key"
    for sentence, *arguments in (
        ("already holds a log", "init", log, "--origin", "x", "--key", private),
        ("a key's name", "init", tmp_path / "new", "--origin", "two words", "--key", private),
        ("holds no log", "append", tmp_path / "nowhere", tmp_path / "entry.json"),
        ("not JSON", "append", log, tmp_path / "garbage"),
        ("No such file", "append", log, tmp_path / "no.json"),
        ("there is no key file", "checkpoint", log, "--key", other),
        ("is damaged", "checkpoint", log, "--key", tmp_path / "garbage"),
        ("not a signed note", "checkpoint", log, "--collect", tmp_path / "garbage",
         "--witness", "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"),
        ("not a public key", "verify", public, "--key", tmp_path / "garbage"),
        ("not a public key", "verify", public, "--key", "a+b+c"),
        ("No such file", "verify", public, "--key", tmp_path / "no.vkey"),
        ("cannot read the checkpoint", "verify", tmp_path, "--key", key),
        ("not a proof", "verify", "--proof", tmp_path / "garbage", "--key", key),
        ("not evidence", "verify", "--evidence", tmp_path / "garbage", "--key", key),
        ("not a signed note", "verify", public, "--key", key, "--since", tmp_path / "garbage"),
        ("there is no number 3", "prove", public, "3", "--key", key),
        ("not JSON", "prove", public, "--entry", tmp_path / "garbage", "--key", key),
        ("there is no key file", "witness", public, "--log-key", key, "--key", other,
         "--name", "w", "--state", tmp_path / "seen"),
    ):  # fmt: skip
        assert sentence in _refused(*arguments), arguments
    assert "not an entry" in _refused("append", log, given=json.dumps([ENTRY, {"at_us": 1}]))
    missing = json.dumps({**ENTRY, "at_us": 5})
    assert "no such entry" in _refused("prove", public, "--entry", "-", "--key", key, given=missing)
    assert {path: path.read_bytes() for path in log.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "seen").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "--key", "KEY"],
        ["verify", "PUBLIC", "--proof", "p", "--key", "KEY"],
        ["verify", "--proof", "p", "--since", "s", "--key", "KEY"],
        ["verify", "PUBLIC"],
        ["prove", "PUBLIC", "--key", "KEY"],
        ["prove", "PUBLIC", "1", "--entry", "e", "--key", "KEY"],
        ["checkpoint", "LOG"],
        ["checkpoint", "LOG", "--key", "k", "--collect", "c", "--witness", "w"],
        ["checkpoint", "LOG", "--collect", "c"],
        ["entries", "PUBLIC", "--key", "KEY", "--limit", "0"],
        ["entries", "PUBLIC", "--key", "KEY", "--kind", "rumour"],
    ],
)
def test_wrong_usage_ends_with_2(log: Path, arguments: list[str]) -> None:
    places = {"LOG": log, "PUBLIC": log / "public", "KEY": log / "log.vkey"}
    assert _run(*(places.get(argument, argument) for argument in arguments)).exit_code == 2


@pytest.mark.parametrize(
    "command", ["init", "append", "checkpoint", "verify", "prove", "witness", "entries"]
)
def test_every_command_shows_an_example(command: str) -> None:
    shown = _run(command, "--help").stdout
    assert f"peerllm log {command}" in shown
    assert "--json" in shown


def test_what_a_crash_left_is_told_on_standard_error(log: Path, tmp_path: Path) -> None:
    (log / "pending" / ".0000000000000003-1.0123456789abcdef").write_bytes(b"half")
    result = _run("append", log, tmp_path / "entry.json", "--json")
    assert json.loads(result.stdout) == {"first": 3, "count": 1}
    assert result.stderr.startswith("1 half-written file of an interrupted run dropped")


def test_a_log_that_cannot_be_leaves_no_key_behind(tmp_path: Path) -> None:
    key = tmp_path / "new.key"
    misnamed = _run("init", tmp_path / "log", "--origin", "two words", "--key", key)
    assert misnamed.exit_code == 1
    assert not key.exists()
    assert not (tmp_path / "log").exists()
    _run("init", tmp_path / "log", "--origin", "x", "--key", tmp_path / "log.key")
    again = _run("init", tmp_path / "log", "--origin", "x", "--key", key)
    assert again.exit_code == 1
    assert not key.exists()
