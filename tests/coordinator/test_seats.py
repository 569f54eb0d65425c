"""Seats as the database keeps them: history, pauses, offers and the waiting list."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from peerllm.charter.seat_rules import DAY_US, Offers, Waiting
from peerllm.coordinator import storage_schema
from peerllm.coordinator.accounts import Seat, SeatElsewhere, SeatPause, WaitingHost
from peerllm.coordinator.errors import NameRefusedError
from peerllm.coordinator.storage_file import StorageFile

ONE, TWO = b"\x01" * 32, b"\x02" * 32


class Clock:
    def __init__(self) -> None:
        self.now = DAY_US

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordinator.sqlite"


@pytest.fixture
def storage(path: Path, clock: Clock) -> Iterator[StorageFile]:
    with StorageFile(path, clock=clock) as file:
        yield file


def history(path: Path) -> list[tuple[object, ...]]:
    plain = sqlite3.connect(path)
    try:
        return plain.execute(
            "SELECT peer_id, since_us, operator, region FROM seat_history ORDER BY entry"
        ).fetchall()
    finally:
        plain.close()


def test_a_host_that_moves_leaves_its_past_behind(
    storage: StorageFile, path: Path, clock: Clock
) -> None:
    storage.seat("p", "ada", "community", [ONE], region="north")
    clock.now += 1
    storage.seat("p", "ada", "community", [ONE, TWO], region="north")
    storage.seat("p", "ada", "community", [ONE], region="south")
    clock.now -= 5
    storage.unseat("p")
    storage.unseat("p")
    assert history(path) == [
        ("p", DAY_US, "ada", "north"),
        ("p", DAY_US + 1, "ada", "south"),
        ("p", DAY_US + 1, None, None),
    ]
    plain = sqlite3.connect(path)
    for change in ("DELETE FROM seat_history", "UPDATE seat_history SET region = 'x'"):
        with pytest.raises(sqlite3.IntegrityError, match="immutable"):
            plain.execute(change)
    plain.close()


def test_a_paused_seat_is_held_and_comes_back_by_itself(storage: StorageFile, clock: Clock) -> None:
    seat = storage.seat("p", "ada", "community", [ONE])
    pause = storage.pause_seat("p", "slow", 3)
    assert pause == SeatPause("slow", DAY_US, 4 * DAY_US)
    assert [held.pause for held in storage.seats()] == [pause]
    storage.seat("p", "ada", "community", [ONE])
    assert storage.seats()[0].pause == pause
    clock.now = 4 * DAY_US - 1
    assert storage.seats()[0].pause == pause
    clock.now += 1
    assert storage.seats() == (Seat("p", "ada", "community", seat.digests, "default", DAY_US),)
    assert not storage.resume_seat("p")


def test_a_pause_is_ended_or_replaced_by_hand(storage: StorageFile, clock: Clock) -> None:
    assert storage.pause_seat("p", "slow", 1) is None
    storage.seat("p", "ada", "community", [ONE])
    assert not storage.resume_seat("p")
    storage.pause_seat("p", "slow", 30)
    clock.now += 1
    storage.pause_seat("p", "errors", 1)
    assert storage.seats()[0].pause == SeatPause("errors", DAY_US + 1, 2 * DAY_US + 1)
    assert storage.resume_seat("p")
    assert storage.seats()[0].pause is None
    for days in (0, -1, 31):
        with pytest.raises(NameRefusedError, match="1 to 30"):
            storage.pause_seat("p", "slow", days)


def test_the_latest_offer_of_each_model_counts(storage: StorageFile) -> None:
    storage.offer_seats("north", {ONE: 3, TWO: 4})
    storage.offer_seats("north", {ONE: 0})
    storage.offer_seats("south", {ONE: 9})
    assert storage.seats_offered("north") == {ONE: 0, TWO: 4}
    assert storage.seats_offered("nowhere") == {}


def places(line: tuple[WaitingHost, ...]) -> tuple[Waiting, ...]:
    return tuple(
        Waiting(position=one.position, peer_id=one.peer_id, operator=one.operator, model="m")
        for one in line
    )


def everyone(line: tuple[WaitingHost, ...]) -> Offers:
    return Offers(offer=places(line), lapsed=(), passed_over=())


def nobody(line: tuple[WaitingHost, ...]) -> Offers:
    return Offers(offer=(), lapsed=places(line), passed_over=())


def test_a_place_in_line_is_kept_until_it_ends(storage: StorageFile, clock: Clock) -> None:
    assert storage.join_line("p", "ada", "north", [ONE, TWO]) == 2
    clock.now += 1
    assert storage.join_line("q", "bob", "north", [ONE]) == 1
    assert storage.join_line("p", "ada", "north", [ONE]) == 0
    line = storage.waiting("north")
    assert [(entry.peer_id, entry.digest) for entry in line] == [("p", ONE), ("p", TWO), ("q", ONE)]
    assert storage.waiting("south") == ()
    assert storage.accept_seat("p", "north") is None
    assert storage.leave_line("p", "north") == 2
    assert storage.join_line("p", "ada", "north", [ONE]) == 1
    assert [entry.peer_id for entry in storage.waiting("north")] == ["q", "p"]


def test_an_offer_that_is_accepted_becomes_a_seat(storage: StorageFile, clock: Clock) -> None:
    storage.join_line("p", "ada", "north", [ONE])
    storage.move_line(everyone, "north")
    assert storage.waiting("north")[0].offered_at_us == DAY_US
    seat = storage.accept_seat("p", "north")
    assert seat == Seat("p", "ada", "community", frozenset({ONE}), "north", DAY_US)
    assert storage.seats() == (seat,)
    assert storage.waiting("north") == ()

    clock.now += 1
    storage.join_line("p", "somebody else", "north", [TWO])
    storage.move_line(everyone, "north")
    assert storage.accept_seat("p", "north") == Seat(
        "p", "ada", "community", frozenset({ONE, TWO}), "north", DAY_US
    )


def test_a_host_is_in_one_region_at_a_time(storage: StorageFile) -> None:
    held = storage.seat("p", "ada", "community", [ONE], region="south")
    storage.join_line("p", "ada", "north", [ONE])
    storage.move_line(everyone, "north")
    assert storage.accept_seat("p", "north") == SeatElsewhere("south")
    assert storage.seats() == (held,)
    assert len(storage.waiting("north")) == 1


def test_a_lapsed_offer_frees_the_place(storage: StorageFile) -> None:
    storage.join_line("p", "ada", "north", [ONE])
    storage.move_line(everyone, "north")
    storage.move_line(nobody, "north")
    assert storage.waiting("north") == ()
    assert storage.accept_seat("p", "north") is None


def test_seats_of_an_older_database_begin_their_history_when_they_were_given(path: Path) -> None:
    path.touch(mode=0o600)
    plain = sqlite3.connect(path)
    for statement in storage_schema._FIRST_VERSION:
        plain.execute(statement)
    plain.execute("INSERT INTO seats VALUES ('p', 'ada', 'community', 'north', 7)")
    plain.execute("PRAGMA user_version = 1")
    plain.commit()
    plain.close()
    with StorageFile(path, clock=lambda: 9) as storage:
        assert storage.seats() == (Seat("p", "ada", "community", frozenset(), "north", 7),)
        storage.seat("p", "ada", "community", [ONE], region="south")
    assert history(path) == [("p", 7, "ada", "north"), ("p", 9, "ada", "south")]
