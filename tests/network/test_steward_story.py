"""A network's first years as its stewards live them: every step is a command, every date is given.

Each steward has a machine of their own, a folder with one private key in it. Drafts are carried
there and back as files; only the operator's folder is ever published.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from peerllm.charter.defaults import FIRST_MODEL
from peerllm.cli.main import application
from tests.coordinator.region_stage import USD, Clock, Region

STEWARDS = {"ada": "hosts", "ben": "customers", "cai": "operator"}
DECEMBER_2024_US = 1_733_011_200_000_000
HOSTS = [f"host-{number:02}" for number in range(50)]


@dataclass
class Said:
    """What a command printed and how it ended."""

    code: int
    text: str
    stdout: str


@dataclass
class Stage:
    """The machines of the story: one folder each, and what is public."""

    folder: Path
    public: Path
    data: Path
    log: Path

    def run(self, *words: object) -> Said:
        done = CliRunner().invoke(application, [str(word) for word in words])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        text = " ".join((done.stdout + done.stderr).split())
        return Said(done.exit_code, text, done.stdout)

    def well(self, *words: object) -> str:
        said = self.run(*words)
        assert said.code == 0, said.text
        return said.text

    def upper_bound(self, at: str) -> int:
        """What a million tokens of input cost, in nano-USD."""
        said = self.run(
            *("price", "quote", self.public, FIRST_MODEL, "--json", "--at", at),
            *("--input-tokens", 1_000_000, "--output-tokens", 0),
        )
        bound: int = json.loads(said.stdout)["upper_bound_nano_usd"]
        return bound

    def refused(self, *words: object) -> str:
        before = files_of(self.public)
        said = self.run(*words)
        assert said.code == 1, said.text
        assert files_of(self.public) == before
        return said.text

    def machine(self, steward: str) -> Path:
        machine = self.folder / f"machine-of-{steward}"
        machine.mkdir(exist_ok=True)
        return machine

    def key(self, steward: str) -> Path:
        return self.machine(steward) / f"{steward}.key"

    def carry(self, draft: Path, steward: str, *words: object) -> str:
        """Take a draft to a steward's machine, let it be signed there, bring it back."""
        there = self.machine(steward) / draft.name
        shutil.copytree(draft, there)
        said = self.well("charter", words[0], there, "--key", self.key(steward), *words[1:])
        shutil.rmtree(draft)
        shutil.move(there, draft)
        return said

    def vote(self, draft: Path, at: str, voters: Sequence[str] = tuple(STEWARDS)) -> None:
        for steward in voters:
            self.carry(draft, steward, "sign", "--vote", "yes", "--no-confirm", "--at", at)

    def ratification(self, draft: Path, at: str) -> tuple[object, ...]:
        key = self.folder / "operator" / "online.key"
        return (
            *("charter", "ratify", draft, self.public, "--online-key", key),
            *("--log", self.log, "--timestamp-days", 400, "--at", at),
        )

    def amend(self, documents: Path, summary: str, dates: tuple[str, str, str]) -> None:
        """Propose, second and vote on the first date, then ratify; too early is refused."""
        first, early, ratified = dates
        draft = self.folder / f"draft-{documents.name}"
        self.well(
            *("charter", "propose", self.public, draft, "--documents", documents),
            *("--key", self.key("ada"), "--summary", summary, "--at", first),
        )
        self.carry(draft, "ben", "second", "--at", first)
        self.vote(draft, first)
        assert "notice" in self.refused(*self.ratification(draft, early))
        self.well(*self.ratification(draft, ratified))


def files_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setenv("PEERLLM_PASSPHRASE", "correct horse battery staple")
    stage = Stage(tmp_path, tmp_path / "public", tmp_path / "coordinator", tmp_path / "log")
    stage.data.mkdir(mode=0o700)
    (tmp_path / "operator").mkdir()
    return stage


def test_the_story_of_a_network(stage: Stage) -> None:
    found(stage)
    move_the_tariff(stage)
    federate(stage, opened_region(stage))
    rotate_a_lost_key(stage)
    verify_on_a_different_machine(stage)


def found(stage: Stage) -> None:
    operator = stage.folder / "operator"
    for steward, interest in STEWARDS.items():
        stage.well(
            *("charter", "key", "new", stage.key(steward)),
            *("--name", steward, "--interest", interest),
        )
        shutil.copy(stage.key(steward).with_suffix(".public.json"), operator)
    stage.well("charter", "key", "new", operator / "online.key", "--online", "--name", "operator")
    stage.well("log", "init", stage.log, "--key", operator / "log.key", "--origin", "log.example/1")
    draft = stage.folder / "founding"
    public_keys = [("--steward", operator / f"{name}.public.json") for name in STEWARDS]
    stage.well(
        *("charter", "init", draft, "--network", "example"),
        *(word for pair in public_keys for word in pair),
        *("--online-key", operator / "online.public.json"),
        *("--days", 3_000, "--at", "2024-11-01"),
    )
    stage.vote(draft, "2024-11-01T09:00:00", ["ada"])
    stage.public.mkdir()
    assert "1 of" in stage.refused(*stage.ratification(draft, "2024-11-01T10:00:00"))
    stage.vote(draft, "2024-11-01T11:00:00", ["ben", "cai"])
    assert "version 1" in stage.well(*stage.ratification(draft, "2024-11-01T12:00:00"))


def move_the_tariff(stage: Stage) -> None:
    drafted = stage.folder / "tariff"
    source = stage.folder / "epm.csv"
    source.write_bytes(b"electricity,2024-09,106000\n")
    adjust = (
        *("price", "adjust", stage.public, "--out", drafted, "--at", "2024-11-02"),
        *("--published", "electricity=2024-10-24", "--source-file", f"electricity={source}"),
        *("--address", "electricity=https://www.eia.gov/electricity/monthly/"),
    )
    # A weight of 40%: 15% more for electricity would be 6% more for an answer.
    assert "at most 5%" in stage.refused(*adjust, "--value", "electricity=115000")
    assert not drafted.exists()
    stage.well(*adjust, "--value", "electricity=106000", "--from", "2025-01-10")
    stage.amend(drafted, "Electricity rose by 6%", ("2024-11-03", "2024-11-20", "2024-12-05"))
    assert stage.upper_bound("2024-12-06") == stage.upper_bound("2025-01-09") == 10_000_000
    assert stage.upper_bound("2025-01-10") == 10_240_000
    # A teacher who saved the same document checks the value's source; another one is told.
    explain = ("price", "explain", stage.public, "--at", "2025-01-11", "--source-file")
    assert "is the document that electricity was read from" in stage.well(
        *explain, f"electricity={source}"
    )
    source.write_bytes(b"electricity,2024-09,105000\n")
    assert "is not the document" in stage.refused(*explain, f"electricity={source}")


def region(stage: Stage, *words: object) -> tuple[object, ...]:
    return (
        *("region", *words, "--data-directory", stage.data),
        *("--charter-directory", stage.public),
    )


def opened_region(stage: Stage) -> Region:
    bavaria = Region(stage.data / "coordinator.sqlite", Clock(DECEMBER_2024_US))
    bavaria.seat(HOSTS)
    drafted = stage.folder / "opening"
    stage.well(
        *region(stage, "open", "bavaria", "--contact", "hosts@bavaria.example"),
        *("--documents", drafted, "--at", "2024-12-06"),
    )
    stage.amend(drafted, "Hosts in Bavaria", ("2024-12-06", "2024-12-10", "2024-12-22"))
    return bavaria


def federate(stage: Stage, bavaria: Region) -> None:
    check = region(stage, "check", "bavaria")
    bavaria.month("2025-01", HOSTS, 51_000 * USD)
    drafted = stage.folder / "activation"
    step = ("activate", "bavaria", "--documents", drafted)
    stage.well(*region(stage, *step), "--at", "2025-02-02")
    stage.amend(drafted, "Bavaria works", ("2025-02-02", "2025-02-05", "2025-02-18"))
    bavaria.month("2025-02", HOSTS, 52_000 * USD)
    # Two months are not three.
    assert stage.run(*check, "--at", "2025-03-02").code == 1
    bavaria.month("2025-03", HOSTS, 53_000 * USD)
    assert stage.run(*check, "--at", "2025-04-02").code == 0

    own_key = stage.machine("bavaria") / "bavaria.key"
    stage.well("charter", "key", "new", own_key, "--name", "bavaria", "--interest", "hosts")
    drafted = stage.folder / "federation"
    stage.well(
        *region(stage, "federate", "bavaria", "--documents", drafted),
        *("--region-key", own_key.with_suffix(".public.json"), "--at", "2025-04-02"),
    )
    stage.amend(drafted, "Bavaria carries itself", ("2025-04-02", "2025-04-10", "2025-04-18"))
    status = stage.well(*region(stage, "status", "bavaria"), "--at", "2025-04-19")
    assert "federated" in status
    decide_on_capacity(stage, own_key)


def decide_on_capacity(stage: Stage, own_key: Path) -> None:
    capacity = stage.folder / "capacity.json"
    stage.well(
        *region(stage, "seats", "bavaria", "--set", f"{FIRST_MODEL}=60", "--utilisation", 60),
        *("--out", capacity, "--at", "2025-04-20"),
    )
    signed = capacity.with_name("signed.json")
    publish = (
        *("charter", "capacity", "publish", stage.public, capacity, signed),
        *("--online-key", stage.folder / "operator" / "online.key"),
        *("--timestamp-days", 400, "--at", "2025-04-21"),
    )
    sign = ("charter", "capacity", "sign", stage.public, capacity, signed, "--at", "2025-04-20")
    # A steward's key is not the region's.
    said = stage.run(*sign, "--key", stage.key("ada"))
    assert said.code == 1
    stage.refused(*publish)
    stage.well(*sign, "--key", own_key)
    stage.well(*publish)


def rotate_a_lost_key(stage: Stage) -> None:
    lost = stage.key("ben")
    lost.rename(lost.with_name("lost.key"))
    lost.with_suffix(".public.json").unlink()
    stage.well("charter", "key", "new", lost, "--name", "ben", "--interest", "customers")
    draft = stage.folder / "rotation"
    stage.well(
        *("charter", "rotate", stage.public, draft, "--key", stage.key("ada")),
        *("--remove", "ben", "--add", lost.with_suffix(".public.json")),
        *("--summary", "Ben lost his key", "--days", 2_000, "--at", "2025-05-01"),
    )
    stage.carry(draft, "cai", "second", "--at", "2025-05-01")
    stage.vote(draft, "2025-05-02", ["ada", "cai"])
    stage.well(*stage.ratification(draft, "2025-05-10"))
    # The lost key signs nothing any more.
    after = stage.folder / "with-the-lost-key"
    said = stage.refused(
        *("charter", "propose", stage.public, after, "--key", lost.with_name("lost.key")),
        *("--summary", "Found it again", "--at", "2025-05-11"),
    )
    assert "steward" in said


def verify_on_a_different_machine(stage: Stage) -> None:
    log_key = stage.folder / "operator" / "log.key"
    stage.well("log", "checkpoint", stage.log, "--key", log_key)
    machine = stage.folder / "a-different-machine"
    shutil.copytree(stage.public, machine / "charter")
    shutil.copytree(stage.log / "public", machine / "log")
    shutil.copy(stage.log / "log.vkey", machine)
    root = shutil.copy(stage.public / "metadata" / "1.root.json", machine / "root.json")
    said = stage.well(
        *("charter", "verify", machine / "charter", "--root", root, "--at", "2025-05-12")
    )
    assert "version 6" in said
    log = ("log", "verify", machine / "log", "--key", machine / "log.vkey")
    assert json.loads(stage.run(*log, "--json").stdout)["size"] >= 5
    stage.well("ledger", "audit", "--data-directory", stage.data)
    # One byte of any file, and the promises are not theirs any more.
    for file in (
        next((machine / "charter" / "targets").glob("*.tariff.json")),
        next((machine / "charter" / "targets" / "regions").glob("*bavaria.json")),
        next((machine / "charter" / "ballots").glob("*/votes/*")),
    ):
        raw = file.read_bytes()
        file.write_bytes(raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:])
        said = stage.run("charter", "verify", machine / "charter", "--at", "2025-05-12")
        assert said.code == 1, file
        file.write_bytes(raw)
    checkpoint = machine / "log" / "checkpoint"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b"log.example", b"log.exampel"))
    assert stage.run(*log).code == 1
