"""Appeals: decided in the charter's time by somebody else, or granted by themselves for good."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from peerllm.charter.defaults import first_catalogue, first_standard, first_tariff, first_terms
from peerllm.charter.seat_rules import DAY_US
from peerllm.charter.store import found_network
from peerllm.coordinator.accounts import SeatPause, Strike, StrikeWithdrawn
from peerllm.coordinator.appeal_rules import (
    NOT_DECIDED,
    AppealRefused,
    DismissalRefused,
    appealed,
    as_of,
    dismissed,
)
from peerllm.coordinator.commands import coordinator_app
from peerllm.coordinator.public_event_rows import public_events
from peerllm.coordinator.public_events import SETTLED_US, strike_entries
from peerllm.coordinator.seats_in_force import SeatsInForce
from peerllm.coordinator.storage import open_storage
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.strike_rules import weight_of, withdrawal_opening
from peerllm.crypto.identity import Identity
from tests.coordinator.region_stage import Clock

POLICY = first_terms("tests").strikes
DECIDED_US = POLICY.decision_days * DAY_US
APPEAL_US = POLICY.appeal_days * DAY_US
START = 1_790_000_000_000_000
HOST = Identity.from_seed(b"h" * 32).peer_id
STRUCK = Strike(HOST, "forged_receipt", None, START, 1, recorded_by="ada")


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordinator.sqlite"


@pytest.fixture
def storage(path: Path, clock: Clock) -> Iterator[StorageFile]:
    with StorageFile(path, clock=clock) as file:
        file.seat(HOST, "ada", "community", [bytes(32)], region="north")
        file.record_strike(HOST, "forged_receipt", evidence_sha256=b"e" * 32, by="ada")
        yield file


def lodged(storage: StorageFile) -> Strike:
    taken = storage.appeal_strike(1, POLICY)
    assert isinstance(taken, Strike), taken
    return taken


def test_an_appeal_that_nobody_decides_is_granted_by_itself(
    storage: StorageFile, path: Path, clock: Clock
) -> None:
    clock.now += DAY_US
    by_itself = clock.now + DECIDED_US
    assert lodged(storage).decide_by_us == by_itself
    clock.now = by_itself - 1
    (still,) = storage.strikes()
    assert (still.withdrawn_at_us, weight_of(still, POLICY, clock.now)) == (None, 3)
    clock.now = by_itself
    (granted,) = storage.strikes()
    assert (granted.withdrawn_at_us, granted.withdrawal) == (by_itself, NOT_DECIDED)
    assert weight_of(granted, POLICY, clock.now) == 0
    assert not granted.withdrawal_written
    # The same entry in the public log before it is written down and after it.
    since, until = START - 1, by_itself + 1
    before = public_events(path, since, until, until + SETTLED_US)
    assert storage.write_due_appeals() == 1
    assert storage.write_due_appeals() == 0
    (written,) = storage.strikes()
    assert written == replace(granted, withdrawal_written=True)
    assert public_events(path, since, until, until + SETTLED_US) == before
    assert list(strike_entries([written])) == before
    opening = withdrawal_opening(written)
    assert opening is not None
    assert opening.record.withdrawn is not None
    assert opening.record.withdrawn.reason == NOT_DECIDED


def test_no_later_decision_undoes_it_not_even_with_the_clock_set_back(
    storage: StorageFile, clock: Clock
) -> None:
    by_itself = lodged(storage).decide_by_us
    assert by_itself is not None
    clock.now = by_itself
    found = storage.dismiss_appeal(1, "ben")
    assert isinstance(found, DismissalRefused)
    assert found.because == "withdrawn"
    # The refused decision has written it down: from now on no clock matters.
    clock.now = by_itself - DAY_US
    assert storage.strikes()[0].withdrawn_at_us == by_itself
    found = storage.dismiss_appeal(1, "ben")
    assert isinstance(found, DismissalRefused)
    assert found.because == "withdrawn"
    assert storage.withdraw_strike(1, "appeal_granted") == StrikeWithdrawn(1, by_itself)
    again = storage.appeal_strike(1, POLICY)
    assert isinstance(again, AppealRefused)
    assert again.because == "withdrawn"


def test_a_clock_behind_the_books_decides_nothing(storage: StorageFile, clock: Clock) -> None:
    by_itself = lodged(storage).decide_by_us
    assert by_itself is not None
    clock.now = by_itself + DAY_US
    storage.record_strike(HOST, "wrong_model", by="ada")
    assert storage.strikes()[0].withdrawn_at_us == by_itself
    clock.now = by_itself - DAY_US
    # Nothing wrote it down when the time was over, and still the books know of a later day.
    found = storage.dismiss_appeal(1, "ben")
    assert isinstance(found, DismissalRefused)
    assert found.because == "clock"
    clock.now = by_itself
    assert storage.strikes()[0].withdrawal == NOT_DECIDED


def test_a_decision_in_time_stands_and_one_appeal_is_decided_once(
    storage: StorageFile, clock: Clock
) -> None:
    found = storage.dismiss_appeal(1, "ben")
    assert isinstance(found, DismissalRefused)
    assert found.because == "no appeal"
    lodged(storage)
    clock.now += DECIDED_US - 1
    same = storage.dismiss_appeal(1, "ada")
    assert isinstance(same, DismissalRefused)
    assert same.because == "same person"
    decided = storage.dismiss_appeal(1, "ben")
    assert isinstance(decided, Strike)
    assert (decided.dismissed_by, decided.dismissed_at_us) == ("ben", clock.now)
    twice = storage.dismiss_appeal(1, "cai")
    assert isinstance(twice, DismissalRefused)
    assert twice.because == "dismissed"
    clock.now += 10 * DAY_US
    (stands,) = storage.strikes()
    assert weight_of(stands, POLICY, clock.now) == 3
    again = storage.appeal_strike(1, POLICY)
    assert isinstance(again, AppealRefused)
    assert again.because == "appealed"
    # Whoever was wrong may still take it back.
    assert isinstance(storage.withdraw_strike(1, "mistaken"), Strike)
    assert storage.appeal_strike(9, POLICY) is None
    assert storage.dismiss_appeal(9, "ben") is None


@pytest.mark.parametrize(
    ("received", "now", "because"),
    [
        (START + APPEAL_US, START + APPEAL_US, "late"),
        (START + APPEAL_US - 1, START + APPEAL_US + 9, None),
        (START - 1, START, "early"),
        (START + 1, START, "ahead"),
        (0, START, "early"),
        (START, START, None),
    ],
)
def test_an_appeal_comes_in_within_its_time(received: int, now: int, because: str | None) -> None:
    found = appealed(STRUCK, POLICY, received, now)
    if because is None:
        assert isinstance(found, Strike)
        assert found.decide_by_us == received + DECIDED_US
    else:
        assert found == AppealRefused(STRUCK, because)  # type: ignore[arg-type]


def test_what_is_taken_down_too_late_is_granted_now_and_not_in_a_published_past(
    storage: StorageFile, path: Path, clock: Clock
) -> None:
    clock.now += APPEAL_US + 100 * DAY_US
    published = public_events(path, START - 1, clock.now - SETTLED_US, clock.now)
    taken = storage.appeal_strike(1, POLICY, received_us=START + DAY_US)
    assert isinstance(taken, Strike)
    assert (taken.withdrawn_at_us, taken.withdrawal) == (clock.now, NOT_DECIDED)
    assert taken.withdrawal_written
    assert public_events(path, START - 1, clock.now - SETTLED_US, clock.now) == published


def test_a_later_charter_does_not_move_the_time(storage: StorageFile, clock: Clock) -> None:
    patient = msgspec.structs.replace(POLICY, decision_days=366)
    by_itself = lodged(storage).decide_by_us
    again = storage.appeal_strike(1, patient)
    assert isinstance(again, AppealRefused)
    assert again.because == "appealed"
    assert storage.strikes()[0].decide_by_us == by_itself


@given(
    st.integers(0, APPEAL_US - 1),
    st.integers(0, 3 * DECIDED_US),
    st.integers(0, 3 * DECIDED_US),
    st.booleans(),
)
def test_it_is_granted_exactly_when_nobody_decided_in_time(
    received: int, decided: int, asked: int, somebody: bool
) -> None:
    taken = appealed(STRUCK, POLICY, START + received, START + received)
    assert isinstance(taken, Strike)
    assert taken.decide_by_us is not None
    moment = START + received + decided
    if somebody:
        result = dismissed(as_of(taken, moment), "ben", moment, 0)
        in_time = moment < taken.decide_by_us
        assert isinstance(result, Strike) == in_time
        taken = result if isinstance(result, Strike) else taken
    now = START + received + asked
    granted = as_of(taken, now).withdrawn_at_us is not None
    assert granted == (now >= taken.decide_by_us and taken.dismissed_at_us is None)
    assert as_of(as_of(taken, now), now + DAY_US).withdrawn_at_us in (None, taken.decide_by_us)


def test_no_process_changes_what_was_appealed_or_decided(
    storage: StorageFile, path: Path, clock: Clock
) -> None:
    plain = sqlite3.connect(path)

    def refused(*changes: str) -> None:
        for change in changes:
            with pytest.raises(sqlite3.IntegrityError):
                plain.execute(f"UPDATE strikes SET {change}")  # noqa: S608 - the test's own
            plain.rollback()

    refused(
        "dismissed_at_us = 1, dismissed_by = 'ben'",
        "appealed_at_us = recorded_at_us",
        "appealed_at_us = recorded_at_us - 1, decide_by_us = recorded_at_us",
        "appealed_at_us = recorded_at_us, decide_by_us = recorded_at_us",
        "recorded_by = 'cai'",
    )
    lodged(storage)
    refused(
        "decide_by_us = decide_by_us + 1",
        "appealed_at_us = NULL, decide_by_us = NULL",
        "dismissed_at_us = decide_by_us, dismissed_by = 'ben'",
        "dismissed_at_us = decide_by_us - 1, dismissed_by = 'ada'",
        "dismissed_at_us = decide_by_us - 1",
    )
    assert isinstance(storage.dismiss_appeal(1, "ben"), Strike)
    refused("dismissed_at_us = NULL, dismissed_by = NULL", "dismissed_by = 'cai'")
    assert isinstance(storage.withdraw_strike(1, "mistaken"), Strike)
    refused("withdrawn_at_us = NULL, withdrawal = NULL", "withdrawal = 'x'")
    plain.close()


async def test_the_coordinator_ends_the_suspension_and_writes_it_down(
    path: Path, clock: Clock
) -> None:
    async with open_storage(path, clock=clock) as storage:
        await storage.seat(HOST, "ada", "community", [bytes(32)])
        await storage.record_strike(HOST, "forged_receipt")
        with StorageFile(path, clock=clock) as administration:
            by_itself = lodged(administration).decide_by_us
        assert by_itself is not None
        seats = SeatsInForce(storage, 5, strike_policy=POLICY, now_us=clock)
        await seats.refresh()
        suspended = SeatPause("suspended", START, START + POLICY.counted_days * DAY_US)
        assert seats.current[HOST].pause == suspended
        clock.now = by_itself
        await seats.refresh()
        assert seats.current[HOST].pause is None
        clock.now -= 2 * DAY_US
        await seats.refresh()
        # Written down: a clock set back takes it back no more.
        assert seats.current[HOST].pause is None
        (written,) = await storage.strikes()
        assert (written.withdrawn_at_us, written.withdrawal_written) == (by_itself, True)


_KILLED = """
import os, signal, sys
from pathlib import Path
from peerllm.coordinator.storage_file import StorageFile
file = StorageFile(Path(sys.argv[1]), clock=lambda: int(sys.argv[2]))
def killed():
    file._strikes.write_due_appeals()
    os.kill(os.getpid(), signal.SIGKILL)
file._write(killed)
"""


def test_a_kill_in_the_middle_of_writing_it_changes_nothing(
    storage: StorageFile, path: Path, clock: Clock
) -> None:
    by_itself = lodged(storage).decide_by_us
    assert by_itself is not None
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, str(path), str(by_itself + DAY_US)],
        timeout=60,
        check=False,
        env=os.environ,
    )
    assert killed.returncode == -signal.SIGKILL
    clock.now = by_itself - 1
    assert storage.strikes()[0].withdrawn_at_us is None
    clock.now = by_itself
    assert storage.strikes()[0].withdrawn_at_us == by_itself
    assert storage.write_due_appeals() == 1


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


def test_the_commands_take_down_and_decide(charter: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ago = {days: now - timedelta(days=days) for days in (3, 20, 40)}
    recorded = Clock(int(ago[40].timestamp()) * 10**6)
    with StorageFile(tmp_path / "coordinator.sqlite", clock=recorded) as storage:
        storage.seat(HOST, "ada", "community", [])
        storage.record_strike(HOST, "wrong_model", evidence_sha256=b"1" * 32, by="ada")
        recorded.now = int(ago[20].timestamp()) * 10**6
        storage.record_strike(HOST, "wrong_model", evidence_sha256=b"2" * 32, by="ada")
        storage.record_strike(HOST, "wrong_model", evidence_sha256=b"3" * 32, by="ada")
    books, terms = f"--data-directory={tmp_path}", f"--charter-directory={charter}"

    def run(*arguments: object, status: int = 0) -> str:
        done = CliRunner().invoke(coordinator_app, [*map(str, arguments), books])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == status, done.output
        return done.stderr if status else done.stdout

    assert "time to appeal ended" in run("appeal", 1, terms, status=1)
    assert "no strike 9" in run("appeal", 9, terms, status=1)
    assert "no strike 9" in run("dismiss-appeal", 9, "--by=ben", status=1)
    assert "no appeal against it" in run("dismiss-appeal", 2, "--by=ben", status=1)
    assert "in the future" in run(
        "appeal", 2, terms, f"--received={now + timedelta(days=2):%Y-%m-%d}", status=1
    )
    assert "recorded later" in run("appeal", 2, terms, "--received=1970-01-01", status=1)
    run("appeal", 2, terms, "--received=yesterday", status=2)
    run("appeal", -1, terms, status=2)
    day = f"--received={ago[3]:%Y-%m-%d}"
    shown = json.loads(run("appeal", 2, terms, day, "--json"))["strikes"][0]
    assert shown["decide_by_us"] - shown["appealed_at_us"] == DECIDED_US
    assert "appeal was taken down" in run("appeal", 2, terms, status=1)
    assert "somebody else decides" in run("dismiss-appeal", 2, "--by=ada", status=1)
    assert "name given by --by" in run("dismiss-appeal", 2, "--by=", status=1)
    assert "dismissed" in run("dismiss-appeal", 2, "--by=ben")
    assert "ben decided against it" in run("dismiss-appeal", 2, "--by=cai", status=1)
    # In on the day of the strike and left lying: granted as it is taken down.
    granted = json.loads(run("appeal", 3, terms, f"--received={ago[20]:%Y-%m-%d}", "--json"))
    assert granted["strikes"][0]["withdrawal"] == NOT_DECIDED
    assert "which no decision undoes" in run("dismiss-appeal", 3, "--by=ben", status=1)
    handed = run("strikes", terms, "--out", tmp_path / "handed").replace("\n", "")
    assert "strike-3.withdrawn.json" in handed
