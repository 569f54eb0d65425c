"""The stewards' commands, as three of them and an operator run them on files alone."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from peerllm.charter.commands import charter_app
from peerllm.charter.document_set import STANDARD_FILE
from peerllm.charter.log import create_log, open_log
from peerllm.crypto.identity import Identity

PASSPHRASE = "correct horse battery"
BEGIN, SECONDED, EARLY, END = "2030-01-01", "2030-01-02", "2030-01-15", "2030-01-16"


def run(*arguments: object, code: int = 0, keyboard: str | None = None) -> Result:
    result = CliRunner().invoke(
        charter_app,
        [str(argument) for argument in arguments],
        input=keyboard,
        env={"PEERLLM_PASSPHRASE": PASSPHRASE, "COLUMNS": "200"},
    )
    assert result.exit_code == code, result.output
    return result


def refused(*arguments: object) -> str:
    """Run what must be refused; give the one sentence that says why."""
    result = run(*arguments, code=1)
    sentence = result.stderr.splitlines()[-1]
    assert sentence.startswith("Refused: ")
    return sentence


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network of Ada, Ben and Cai, founded by their public keys."""
    folder = tmp_path_factory.mktemp("stewards")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("peerllm.charter.key_files.SCRYPT_LOG2_N", 10)
        for name, interest in (("ada", "hosts"), ("ben", "customers"), ("cai", "operator")):
            run("key", "new", f"{name}.key", "--name", name, "--interest", interest)
        run("key", "new", "operator.key", "--online")
        stewards = [
            part for name in ("ada", "ben", "cai") for part in ("--steward", f"{name}.public.json")
        ]
        online = ("--online-key", "operator.public.json")
        run("init", "founding", "--network", "home", *stewards, *online, "--at", BEGIN)
        for name in ("ada", "ben", "cai"):
            run("tally", "founding", "--at", BEGIN, code=1)
            sign("founding", name, BEGIN)
        run("tally", "founding", "--at", BEGIN)
        ratify("founding", BEGIN)
    return folder


@pytest.fixture
def place(founded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copied = Path(shutil.copytree(founded, tmp_path / "stewards"))
    monkeypatch.chdir(copied)
    return copied


def sign(draft: str, name: str, at: str, vote: str = "yes") -> Result:
    return run("sign", draft, "--key", f"{name}.key", "--vote", vote, "--no-confirm", "--at", at)


def ratify(draft: str, at: str, *options: object, code: int = 0) -> Result:
    key = ("--online-key", "operator.key", "--timestamp-days", 30)
    return run("ratify", draft, "public", *key, "--at", at, *options, code=code)


def new_standard(margin: int = 150) -> Path:
    shown = json.loads(run("show", "public", "--json", "--at", BEGIN).stdout)["standard"]
    shown |= {"version": 2, "answer_margin_milli": margin}
    Path("new").mkdir()
    Path("new", STANDARD_FILE).write_text(json.dumps(shown, indent=2, sort_keys=True) + "\n")
    return Path("new")


def proposed(*options: object) -> Result:
    return run(
        *("propose", "public", "draft", "--key", "ada.key", "--summary", "A smaller margin"),
        *("--documents", new_standard(), "--at", BEGIN, *options),
    )


def test_a_change_goes_from_hand_to_hand_and_into_the_log(place: Path) -> None:
    log_key = Identity.from_seed(b"l" * 32)
    create_log(place / "public" / "log", "home.example/log", log_key)
    assert "answer_margin_milli" in proposed().stdout
    assert (
        "Vote until 2030-01-16 00:00:00"
        in run("second", "draft", "--key", "ben.key", "--at", SECONDED).stdout
    )
    # Cai signs on a machine that has a copy of the draft and the key, and nothing else.
    (place / "offline").mkdir()
    shutil.copytree("draft", "offline/draft")
    shutil.move("cai.key", "offline/cai.key")
    shown = sign("offline/draft", "offline/cai", SECONDED).stdout
    assert "A smaller margin" in shown
    assert "150" in shown
    shutil.copytree("offline/draft", "draft", dirs_exist_ok=True)
    sign("draft", "ada", SECONDED)
    assert (
        "too early: the notice of 14 days ends at 2030-01-16"
        in ratify("draft", EARLY, code=1).stderr
    )
    assert "version 2" in ratify("draft", END).stdout
    verified = json.loads(run("verify", "public", "--json", "--at", END).stdout)
    assert [each["version"] for each in verified["versions"]] == [1, 2]
    assert verified["versions"][1]["tally"]["by_choice"]["yes"] == ["ada", "cai"]
    [difference] = [
        each
        for each in json.loads(run("diff", "public", "--json", "--at", END).stdout)
        if each["place"] == "answer_margin_milli"
    ]
    assert (difference["before"], difference["after"]) == ("200", "150")
    with open_log(place / "public" / "log") as log:
        assert log.size == 2


def test_a_lost_key_is_rotated_out(place: Path) -> None:
    run("key", "new", "ben2.key", "--name", "ben", "--interest", "customers")
    rotation = run(
        *("rotate", "public", "draft", "--key", "ada.key", "--remove", "ben"),
        *("--add", "ben2.public.json", "--summary", "Ben lost his key", "--at", BEGIN, "--json"),
    )
    assert json.loads(rotation.stdout)["rule"]["notice_days"] == 3
    run("second", "draft", "--key", "cai.key", "--at", BEGIN)
    for name in ("ada", "cai"):
        sign("draft", name, BEGIN)
    ratify("draft", "2030-01-04")
    stewards = json.loads(run("show", "public", "--json", "--at", "2030-01-04").stdout)["stewards"]
    fresh = json.loads(Path("ben2.public.json").read_text())
    assert fresh in stewards
    assert len(stewards) == 3


def test_a_tally_is_ready_only_when_ratify_would_find_enough_signatures(place: Path) -> None:
    run("key", "new", "dan.key", "--name", "dan", "--interest", "customers")
    run(
        *("rotate", "public", "draft", "--key", "ada.key", "--remove", "ben"),
        *("--add", "dan.public.json", "--summary", "Dan follows Ben", "--at", BEGIN),
    )
    run("second", "draft", "--key", "cai.key", "--at", BEGIN)
    sign("draft", "ada", BEGIN)
    sign("draft", "ben", BEGIN, "abstain")
    sign("draft", "cai", BEGIN, "abstain")
    # The same steward's signatures twice, as when copies of a draft are joined by hand.
    shutil.copy("draft/signatures/ada.json", "draft/signatures/ada (2).json")
    sign("draft", "dan", BEGIN)
    end = "2030-01-04"
    # Enough for the stewards to be, too few of those in force.
    shown = json.loads(run("tally", "draft", "--json", "--at", end, code=1).stdout)
    assert (shown["tally"]["outcome"], shown["ready"]) == ("passed", False)
    assert shown["signed_by"] == ["ada", "dan"]
    text = run("tally", "draft", "--at", end, code=1).stdout
    assert "2 of the stewards in force and 2 of those to be must sign" in text
    assert "carries 1 of the 2" in ratify("draft", end, code=1).stderr


def test_nothing_is_signed_without_a_yes_at_the_keyboard(place: Path) -> None:
    proposed()
    run("second", "draft", "--key", "ben.key", "--at", SECONDED)
    ask = ("sign", "draft", "--key", "ada.key", "--vote", "no", "--at", SECONDED)
    assert "nothing was signed" in run(*ask, code=1, keyboard="n\n").stderr
    assert run(*ask, code=1, keyboard="").stderr
    assert not Path("draft/votes").exists()
    run(*ask, keyboard="y\n")
    assert "Ballot: open" in run("tally", "draft", "--at", SECONDED, code=1).stdout


def test_what_a_steward_is_shown_cannot_hide_itself(place: Path) -> None:
    nasty = "\x1b[8mhidden\x1b[0m [bold]b[/bold] \u202eevil"
    shown = run(
        *("propose", "public", "draft", "--key", "ada.key", "--summary", nasty, "--at", BEGIN)
    ).stdout
    assert "\x1b[8m" not in shown
    assert "\u202e" not in shown
    for part in (r"\x1b[8mhidden", "[bold]b[/bold]", r"\u202eevil"):
        assert part in shown


def test_refusals_are_one_sentence_and_change_nothing(place: Path) -> None:
    proposed()
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    draft_options = ("--no-confirm", "--at", SECONDED)
    Path("other").mkdir()
    shutil.copy("ada.key", "other/ada.key")
    Path("other/ada.key").chmod(0o644)
    for arguments, sentence in (
        (("second", "draft", "--key", "ada.key", "--at", SECONDED), "their own"),
        (("second", "draft", "--key", "nobody.key"), "no key file nobody.key"),
        (("second", "public", "--key", "ben.key"), "public is no draft"),
        (("sign", "draft", "--key", "ben.key", "--vote", "yes", *draft_options), "seconded"),
        (("sign", "draft", "--key", "other/ada.key", "--vote", "yes", *draft_options), "0644"),
        (("sign", "draft", "--key", "operator.key", "--vote", "no", *draft_options), "no steward"),
        (("ratify", "draft", "public", "--online-key", "operator.key", "--at", END), "seconded"),
        (("refresh", "public", "--online-key", "ada.key", "--at", END), "not the one"),
        (("refresh", "nowhere", "--online-key", "operator.key"), "holds no charter"),
        (("diff", "public", "--to", 9, "--at", BEGIN), "there are 1 versions, not 9"),
        (("verify", "public", "--at", "2029-12-31"), "set the clock"),
        (("verify", "public", "--at", "2030-02-01"), "frozen"),
        (("verify", "public", "--at", "2099-02-01"), "--at must lie from"),
        (("verify", "public", "--root", "ada.public.json"), "not a TUF metadata file"),
        (("propose", "public", "draft", "--key", "ada.key", "--summary", "x", "--at", BEGIN),
         "not an empty folder"),
        (("propose", "public", "d", "--key", "ada.key", "--summary", "x", "--documents", "draft",
          "--at", BEGIN), "no file of a charter"),
        (("rotate", "public", "d", "--key", "ada.key", "--summary", "x", "--remove", "dan",
          "--at", BEGIN), "no steward is called dan"),
        (("key", "new", "ada.key", "--name", "ada", "--interest", "hosts"), "never overwritten"),
        (("key", "show", "nothing.key"), "cannot be read"),
    ):  # fmt: skip
        assert sentence in refused(*arguments)
    after = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    assert {path: raw for path, raw in after.items() if "other" not in path.parts} == before
    run("key", "new", "x.key", code=2)
    run("verify", "public", "--at", "yesterday", code=2)
    run("sign", "draft", "--key", "ada.key", "--vote", "perhaps", code=2)


def test_a_wrong_passphrase_is_said_so(place: Path) -> None:
    Path("passphrase").write_text("quite another one\n")
    Path("passphrase").chmod(0o600)
    options = ("--passphrase-file", "passphrase", "--at", BEGIN)
    assert "the passphrase does not open ada.key" in refused(
        "propose", "public", "draft", "--key", "ada.key", "--summary", "x", *options
    )
    Path("passphrase").chmod(0o644)
    assert "others may have read it" in refused(
        "propose", "public", "draft", "--key", "ada.key", "--summary", "x", *options
    )


def test_key_files_are_shown_without_a_passphrase(place: Path) -> None:
    for path in ("ada.key", "ada.public.json"):
        assert run("key", "show", path).stdout.startswith("ada, for hosts: ")
    public = json.loads(run("key", "show", "operator.key", "--json").stdout)["public_key"]
    assert public in run("key", "show", "operator.public.json").stdout
    # A public file that was lost is made again.
    for name in ("ada", "operator"):
        shown = run("key", "show", f"{name}.key", "--json").stdout
        assert shown == Path(f"{name}.public.json").read_text()
