"""Strikes from their recording to the public log, and what else a period leaves there."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from peerllm.charter.defaults import first_catalogue, first_standard, first_tariff, first_terms
from peerllm.charter.log import Entry, FallbackWindow, TierChange, create_log, open_log
from peerllm.charter.log_commands import log_app
from peerllm.charter.store import found_network
from peerllm.coordinator.commands import coordinator_app
from peerllm.coordinator.public_event_rows import PeriodRefusedError, public_events
from peerllm.coordinator.public_events import (
    SETTLED_US,
    WINDOW_GAP_US,
    PaidSpan,
    SeatStep,
    tier_entries,
    window_entries,
    within,
)
from peerllm.coordinator.storage_file import StorageFile
from peerllm.crypto.identity import Identity
from tests.charter.log_stage import no_waiting_for_the_disk  # noqa: F401 - for every test here
from tests.coordinator.region_stage import SIGNER, USD, Clock, Region

START = 1_790_000_000_000_000
MINUTE = 60_000_000
OWN, ADA = (Identity.from_seed(seed * 32).peer_id for seed in (b"o", b"a"))


def entry_of(from_us: int, until_us: int, requests: int, region: str = "north") -> Entry:
    window = FallbackWindow(region=region, from_us=from_us, until_us=until_us, requests=requests)
    return Entry(at_us=until_us, body=window)


def test_windows_less_than_five_minutes_apart_are_one() -> None:
    steps = [SeatStep(OWN, 0, "dedicated", "north"), SeatStep(ADA, 0, "community", "north")]
    spans = [
        PaidSpan(OWN, "r2", 200, 300),
        PaidSpan(OWN, "r1", 100, 1_000),
        PaidSpan(OWN, "r3", 1_000 + WINDOW_GAP_US - 1, 1_000 + WINDOW_GAP_US),
        PaidSpan(OWN, "r3", 1_000 + WINDOW_GAP_US - 1, 1_000 + WINDOW_GAP_US),
        PaidSpan(OWN, "r4", 1_000 + 2 * WINDOW_GAP_US, 1_001 + 2 * WINDOW_GAP_US),
        PaidSpan(ADA, "r5", 1_000 + WINDOW_GAP_US, 1_000 + 2 * WINDOW_GAP_US),
        PaidSpan("nobody", "r6", 0, 1),
    ]
    assert list(window_entries(spans, steps)) == [
        entry_of(100, 1_000 + WINDOW_GAP_US, 3),
        entry_of(1_000 + 2 * WINDOW_GAP_US, 1_001 + 2 * WINDOW_GAP_US, 1),
    ]


def test_where_a_host_was_seated_then_decides() -> None:
    steps = [
        SeatStep(OWN, 10, "dedicated", "north"),
        SeatStep(OWN, 20, None, None),
        SeatStep(OWN, 30, "dedicated", "south"),
        SeatStep(OWN, 40, "community", "south"),
    ]
    spans = [PaidSpan(OWN, f"r{at}", at, at) for at in (5, 15, 25, 35, 45)]
    assert list(window_entries(spans, steps)) == [
        entry_of(15, 15, 1, "north"),
        entry_of(35, 35, 1, "south"),
    ]


def test_a_tier_changes_only_between_two_seats() -> None:
    steps = [
        SeatStep(OWN, 1, "community", "north"),
        SeatStep(OWN, 2, "community", "south"),
        SeatStep(OWN, 3, None, None),
        SeatStep(OWN, 4, "dedicated", "south"),
        SeatStep("no-host", 5, "community", "south"),
        SeatStep("no-host", 6, "dedicated", "south"),
    ]
    change = TierChange(region="south", host=OWN, before="community", after="dedicated")
    found = list(tier_entries(steps))
    assert found == [Entry(at_us=4, body=change)]
    assert (within(found, 4, 5), within(found, 0, 4)) == (found, [])


def _empty_log(folder: Path) -> Path:
    create_log(folder, "log.example/home", SIGNER)
    return folder


def test_a_period_is_read_from_the_books_the_same_every_time(tmp_path: Path) -> None:
    path, clock = tmp_path / "coordinator.sqlite", Clock(START)
    region = Region(path, clock)
    region.seat([ADA])
    region.seat([OWN], dedicated=True)
    with StorageFile(path, clock=clock) as storage:
        for minutes in (10, 2, 30):
            clock.now += minutes * MINUTE
            region.work(storage, [OWN], USD, opened_us_ago=MINUTE)
        clock.now += MINUTE
        region.work(storage, [ADA], USD)
        strike = storage.record_strike(ADA, "wrong_model", evidence_sha256=b"e" * 32)
        clock.now += 1
        storage.seat(ADA, "ada", "dedicated", [], region="bavaria")
    later = clock.now + 1 + SETTLED_US
    found = public_events(path, START, clock.now + 1, later)
    with open_log(_empty_log(tmp_path / "log")) as writer:
        writer.append(found[:1])
        assert writer.missing(found) == found[1:]
        writer.publish(SIGNER)
        writer.append(found[2:])
        assert writer.missing(found) == found[1:2]
    first = entry_of(START + 10 * MINUTE - 10**6, START + 12 * MINUTE, 2, "bavaria")
    second = entry_of(START + 42 * MINUTE - 10**6, START + 42 * MINUTE, 1, "bavaria")
    assert found[:2] == [first, second]
    assert {type(entry.body).__name__ for entry in found[2:]} == {"StrikeCommitment", "TierChange"}
    # A window belongs to the period that it ends in, whole.
    middle = START + 11 * MINUTE
    assert public_events(path, START, middle, later) == []
    assert public_events(path, middle, clock.now + 1, later) == found
    assert str(strike) not in str(found)
    for since_us, until_us, now_us, problem in (
        (START, START, later, "ends before"),
        (START, clock.now + 1, later - 1, "not over"),
    ):
        with pytest.raises(PeriodRefusedError, match=problem):
            public_events(path, since_us, until_us, now_us)


def _run(*arguments: object, app: object = coordinator_app) -> Result:
    done = CliRunner().invoke(app, [str(one) for one in arguments])  # type: ignore[arg-type]
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def _refused(*arguments: object, status: int = 1) -> str:
    done = _run(*arguments)
    assert done.exit_code == status, done.output
    assert done.stdout == ""
    return done.stderr


@pytest.fixture(scope="module")
def charter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    found_network(
        folder / "charter",
        terms=first_terms("tests"),
        tariff=first_tariff(),
        catalogue=first_catalogue(),
        standard=first_standard(),
        steward_keys_directory=folder / "stewards",
        now=datetime.now(UTC),
        expires=datetime.now(UTC) + timedelta(days=1),
    )
    return folder / "charter"


def test_a_strike_an_appeal_and_a_host_that_checks_both(charter: Path, tmp_path: Path) -> None:
    data, log = tmp_path / "data", tmp_path / "log"
    data.mkdir()
    # The commands go by the machine's clock, and a period must be over.
    then = datetime.now(UTC) - timedelta(days=3)
    clock = Clock(int(then.timestamp()) * 10**6)
    with StorageFile(data / "coordinator.sqlite", clock=clock) as storage:
        storage.seat(ADA, "ada", "community", [], region="north")
        storage.record_strike(ADA, "malformed_frame", evidence_sha256=b"e" * 32)
        storage.withdraw_strike(1, "mistaken")
    books, terms = f"--data-directory={data}", f"--charter-directory={charter}"
    report = tmp_path / "report"
    report.write_bytes(b"what the host answered, beside what it should have")

    done = _run(
        *("strike", ADA, "--rule=forged_receipt", "--evidence", report, "--json"),
        *("--out", tmp_path / "handed", books, terms),
    )
    assert done.exit_code == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["recorded"] == 2
    assert [one["weight"] for one in shown["strikes"]] == [0, 3]
    assert [one["host"] for one in shown["suspended"]] == [ADA]
    assert (tmp_path / "handed" / "strike-2.json").stat().st_mode & 0o777 == 0o600
    table = _run("strikes", ADA, "--out", tmp_path / "handed", books, terms).stdout
    assert f"Suspended: {ADA}" in table
    assert "strike-1.withdrawn.json" in table.replace("\n", "")

    vkey = create_log(log, "log.example/home", SIGNER)
    days = [f"{then + timedelta(days=later):%Y-%m-%d}" for later in (0, 2, 4)]
    period = ("public-events", f"--since={days[0]}", f"--until={days[1]}", books)
    assert "not over" in _refused(*period, f"--until={days[2]}", f"--log={log}")
    done = _run(*period, f"--log={log}", "--json")
    assert json.loads(done.stdout)["kinds"] == {"strike-commitment": 2}
    assert json.loads(done.stdout)["new"] == 2
    again = _run(*period, f"--log={log}").stdout
    assert again.startswith("strike-commitment: 2\n0 taken down")
    with open_log(log) as writer:
        writer.publish(SIGNER)
    assert json.loads(_run(*period, f"--log={log}", "--json").stdout)["new"] == 0
    public = ("--public", log / "public", "--key", vkey)
    for name, place in (("strike-1.json", "entry 0"), ("strike-1.withdrawn.json", "entry 1")):
        found = _run("strike", tmp_path / "handed" / name, *public, app=log_app)
        assert found.exit_code == 0, found.stderr
        assert place in found.stdout
    # The second strike is not in the log yet.
    late = _run("strike", tmp_path / "handed" / "strike-2.json", *public, app=log_app)
    assert (late.exit_code, late.stdout) == (1, "")
    assert "not have been published" in late.stderr

    done = _run("withdraw-strike", 2, "--reason=appeal_granted", "--json", books)
    assert json.loads(done.stdout)["strikes"][0]["withdrawal"] == "appeal_granted"
    assert "was withdrawn on" in _refused("withdraw-strike", 2, "--reason=again", books)
    assert json.loads(_run("strikes", "--json", books, terms).stdout)["suspended"] == []


def test_what_makes_no_strike_is_refused_with_a_sentence(charter: Path, tmp_path: Path) -> None:
    books, terms = f"--data-directory={tmp_path}", f"--charter-directory={charter}"
    report, empty = tmp_path / "report", tmp_path / "empty"
    report.write_bytes(b"report")
    empty.touch()
    command = ("strike", ADA, "--rule=wrong_model", books, terms)
    assert "no coordinator's database" in _refused(*command, "--evidence", report)
    with StorageFile(tmp_path / "coordinator.sqlite", clock=lambda: START) as storage:
        storage.seat(ADA, "ada", "community", [])
    assert "is no strike rule" in _refused(
        "strike", ADA, "--rule=slow", "--evidence", report, books, terms
    )
    assert "holds no seat here" in _refused(
        "strike", OWN, "--rule=wrong_model", "--evidence", report, books, terms
    )
    assert "no bytes" in _refused(*command, "--evidence", empty)
    assert "missing" in _refused(*command, "--evidence", tmp_path / "missing")
    assert "32 hexadecimal" in _refused(*command, "--dispatch=5")
    assert "no receipt" in _refused(*command, f"--dispatch={'0' * 32}")
    _refused(*command, status=2)
    assert "report" in _refused(*command, "--evidence", report, "--out", report / "below")
    assert json.loads(_run("strikes", "--json", books).stdout)["strikes"] == []
    assert _run(*command, "--evidence", report).exit_code == 0
    assert "strike 1 by the same rule already" in _refused(*command, "--evidence", report)
    assert "holds no seat" in _refused("strikes", OWN, books)
    assert "no strike 9" in _refused("withdraw-strike", 9, "--reason=mistaken", books)
    assert _run("withdraw-strike", 10**20, "--reason=mistaken", books).exit_code == 2
    assert "one word" in _refused("withdraw-strike", 1, "--reason=Not true", books)
    taken = tmp_path / "out"
    taken.mkdir()
    (taken / "strike-1.json").write_bytes(b"half")
    assert "something else" in _refused("strikes", "--out", taken, books)
    late = _refused("withdraw-strike", 1, "--reason=mistaken", "--out", taken, books)
    assert "strike 1 is withdrawn, but its file was not written" in late
    period = ("--since=2026-01-01", "--until=2026-02-01", books)
    _refused("public-events", *period, status=2)
    assert "no log" in _refused("public-events", *period, "--log", tmp_path / "nowhere")
    assert _run("public-events", *period, "--out", taken, "--json").exit_code == 0
    written = taken / "events-2026-01-01-2026-02-01.json"
    assert json.loads(written.read_bytes()) == []
