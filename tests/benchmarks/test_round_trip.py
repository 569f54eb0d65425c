"""That the benchmark of the round trip still counts right, with an answer written by hand."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

SAFETY = Path(__file__).parents[2] / "benchmarks" / "safety"


@pytest.fixture
def round_trip(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SAFETY))
    return importlib.import_module("round_trip")


def test_an_echo_is_restored_and_an_invented_name_is_counted(round_trip: ModuleType) -> None:
    trips = round_trip.departed(round_trip.made_up_prompts(2, round_trip.SEED))
    for trip in trips:
        trip.answer = f"{trip.sent} PERSON_99"
        trip.restored = trip.vault.restore(trip.answer)
    report = round_trip.report(trips)
    assert report["prompts"] == 2
    assert report["wrong_entity_restorations"] == report["streamed_otherwise_than_whole"] == 0
    assert report["of_them_in_the_restored_answers"] == report["placeholders_sent"] > 2
    assert report["invented"] == 2
    assert report["exact"] >= report["placeholders_sent"]


def test_somebody_else_in_place_of_a_name_is_noticed(round_trip: ModuleType) -> None:
    (trip,) = round_trip.departed(round_trip.made_up_prompts(1, round_trip.SEED))
    meaning = round_trip.stands_for(trip)
    placeholder, surface = next(iter(meaning.items()))
    trip.answer = f"Dear {placeholder}."
    for restored, wrong_and_left in (
        (f"Dear {surface}.", (0, 0)),
        (f"Dear {placeholder}.", (0, 1)),
        ("Dear somebody else.", (1, 0)),
        (f"Dear {surface}al.", (1, 0)),
    ):
        trip.restored = restored
        assert round_trip.wrong_and_left(trip, meaning) == wrong_and_left
