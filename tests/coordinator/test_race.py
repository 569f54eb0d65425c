import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.coordinator.race import (
    Deadlines,
    Failure,
    Finish,
    Race,
    Standing,
    Step,
    Won,
)

DEADLINES = Deadlines(first_token=10, between_tokens=5, total=60)
A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def race_of(*names: bytes, now: float = 0.0) -> Race:
    race = Race(DEADLINES, started_at=now)
    for name in names:
        race.enter(name, f"host-{name[:1].decode()}", now=now)
    return race


def test_who_speaks_first_leads_and_is_released_at_word_ends() -> None:
    race = race_of(A, B)
    assert race.on_text(B, "The ca", now=1).release == "The"
    assert race.leader == B
    assert race.on_text(A, "The cat sat on", now=1.5).release == ""
    assert race.on_text(B, "t sat", now=2).release == " cat"
    assert race.released == "The cat"
    assert race.released_by(B) == "The cat"
    assert race.released_by(A) == ""


def test_the_winner_releases_the_rest_and_losers_are_cancelled() -> None:
    race = race_of(A, B, C)
    race.on_text(A, "The cat sat.", now=1)
    step = race.on_finish(A, Finish.STOP)
    assert step == Step(release=" sat.", cancel=(B, C), outcome=Won(winner=A, finish=Finish.STOP))
    assert race.released == "The cat sat."
    assert race.on_text(B, "anything", now=2) == Step()
    assert race.on_finish(C, Finish.STOP) == Step()


def test_a_backup_that_finishes_first_wins_with_the_leaders_beginning() -> None:
    race = race_of(A, B)
    race.on_text(A, "The cat ", now=1)
    race.on_text(B, "The cat sat.", now=2)
    step = race.on_finish(B, Finish.LENGTH)
    assert step.release == " sat."
    assert step.cancel == (A,)
    assert step.outcome == Won(winner=B, finish=Finish.LENGTH)
    assert race.leader == B


def test_a_finished_text_that_is_not_the_released_one_loses() -> None:
    race = race_of(A, B)
    race.on_text(A, "The cat sat on", now=1)
    step = race.on_text(B, "A dog", now=1)
    assert step.cancel == (B,)
    assert race.contestants[1].failure is Failure.DIVERGED
    assert race.on_finish(B, Finish.STOP) == Step()


def test_a_backup_whose_whole_text_is_too_short_loses() -> None:
    race = race_of(A, B)
    race.on_text(A, "The cat sat on", now=1)
    race.on_text(B, "The cat", now=1)
    step = race.on_finish(B, Finish.STOP)
    assert step.outcome is None
    assert race.contestants[1].failure is Failure.DIVERGED


def test_the_backup_takes_over_in_the_middle_of_the_answer() -> None:
    race = race_of(A, B)
    race.on_text(A, "The cat sat on", now=1)
    race.on_text(B, "The cat sat on the mat ", now=1)
    assert race.on_failure(A, Failure.HOST_LOST).release == " on the mat"
    assert race.leader == B


def test_a_backup_behind_the_released_text_takes_over_without_repeating_it() -> None:
    race = race_of(A, B)
    race.on_text(A, "The cat sat on ", now=1)
    race.on_text(B, "The ", now=1)
    assert race.on_failure(A, Failure.HOST_LOST).release == ""
    assert race.on_text(B, "cat sat ", now=2).release == ""
    assert race.on_text(B, "on the mat ", now=2).release == " the mat"


def test_a_backup_that_had_departed_unnoticed_does_not_take_over() -> None:
    race = race_of(A, B)
    race.on_text(A, "The cat ", now=1)
    race.on_text(B, "The cat slept all day long ", now=1)
    race.on_text(A, "sat on ", now=2)
    step = race.on_failure(A, Failure.HOST_LOST)
    assert step == Step(cancel=(B,))
    assert race.released == "The cat sat on"
    assert race.contestants[1].failure is Failure.DIVERGED


def test_of_two_backups_the_one_that_agrees_takes_over() -> None:
    race = race_of(A, B, C)
    race.on_text(A, "The cat ", now=1)
    race.on_text(B, "The cat slept all day long ", now=1)
    race.on_text(C, "The cat sat ", now=1)
    race.on_text(A, "sat on ", now=2)
    assert race.on_failure(A, Failure.HOST_LOST).cancel == (B,)
    assert race.leader == C


def test_a_continuation_goes_on_from_what_was_released() -> None:
    race = race_of(A)
    race.on_text(A, "The ca", now=1)
    race.on_failure(A, Failure.HOST_LOST)
    race.enter(B, "host-b", now=2)
    assert race.contestants[1].base == len("The")
    race.on_text(B, " dog barked.", now=3)
    assert race.on_finish(B, Finish.STOP).outcome == Won(winner=B, finish=Finish.STOP)
    assert race.released == "The dog barked."
    assert race.released_by(A) == "The"
    assert race.released_by(B) == " dog barked."


def test_an_empty_answer_wins_only_when_nobody_is_left() -> None:
    race = race_of(A, B)
    race.on_text(A, "", now=1)
    assert race.on_finish(A, Finish.STOP) == Step()
    assert race.on_failure(B, Failure.HOST_LOST) == Step()
    won = Won(winner=A, finish=Finish.STOP)
    assert race.on_nobody_left() == Step(outcome=won)
    assert race.released == ""


@pytest.mark.parametrize("blank", ["", " ", "\n\n"])
def test_an_empty_answer_neither_ends_a_race_nor_keeps_the_lead(blank: str) -> None:
    race = race_of(A, B)
    race.on_text(A, blank, now=1)
    race.on_finish(A, Finish.STOP)
    assert race.leader is None
    text = f"{blank}The cat "
    assert race.on_text(B, text, now=2).release == f"{blank}The cat"
    assert race.leader == B
    assert race.on_finish(B, Finish.STOP).outcome == Won(winner=B, finish=Finish.STOP)
    assert race.released == text


def test_who_adds_nothing_to_a_released_beginning_does_not_end_the_race() -> None:
    race = race_of(A)
    race.on_text(A, "The cat ", now=1)
    race.on_failure(A, Failure.HOST_LOST)
    race.enter(B, "host-b", now=2)
    race.enter(C, "host-c", now=2)
    race.on_text(B, "", now=3)
    assert race.on_finish(B, Finish.STOP) == Step()
    race.on_text(C, " sat.", now=4)
    assert race.on_finish(C, Finish.STOP).outcome == Won(winner=C, finish=Finish.STOP)
    assert race.released == "The cat sat."


def test_an_empty_text_that_another_has_overtaken_cannot_win() -> None:
    race = race_of(A, B)
    race.on_finish(A, Finish.STOP)
    race.on_text(B, "The cat ", now=1)
    race.on_failure(B, Failure.HOST_LOST)
    assert race.on_nobody_left() == Step()


def test_scripts_without_spaces_are_released_before_the_end() -> None:
    race = race_of(A)
    assert race.on_text(A, "猫" * 40, now=1).release == ""
    assert race.on_text(A, "猫" * 40, now=2).release == "猫" * 80


@pytest.mark.parametrize(
    ("text", "at", "failure"),
    [("", 10.0, Failure.FIRST_TOKEN_LATE), ("The ", 6.0, Failure.STALLED)],
)
def test_a_late_host_is_dropped_and_cancelled(text: str, at: float, failure: Failure) -> None:
    race = race_of(A)
    if text:
        race.on_text(A, text, now=1)
    assert race.next_deadline() == at
    assert race.on_time(at - 0.001) == Step()
    assert race.on_time(at).cancel == (A,)
    assert race.contestants[0].failure is failure
    assert race.next_deadline() == 60


def test_all_late_hosts_are_dropped_at_once_and_none_leads() -> None:
    race = race_of(A, B)
    race.on_text(A, "The cat ", now=1)
    race.on_text(B, "The cat sat ", now=1)
    step = race.on_time(30)
    assert step.cancel == (A, B)
    assert race.leader is None
    assert "The cat sat".startswith(race.released)


def test_the_whole_race_has_a_deadline_that_speech_does_not_move() -> None:
    race = race_of(A)
    for second in range(60):
        race.on_text(A, "on and ", now=second)
    assert race.next_deadline() == 60
    assert not race.expired(59.9)
    assert race.expired(60)
    assert race.on_time(60).cancel == (A,)


def test_messages_of_nobody_change_nothing() -> None:
    race = race_of(A)
    assert race.on_text(B, "hello", now=1) == Step()
    assert race.on_finish(B, Finish.STOP) == Step()
    assert race.on_failure(B, Failure.GARBAGE) == Step()


def test_repr_hides_the_text() -> None:
    race = race_of(A)
    step = race.on_text(A, "canary bird ", now=1)
    assert "canary" not in repr(race.contestants) + repr(step)


# Any interleaving.

WORDS = st.text(alphabet="ab .\n", max_size=60)


@dataclass
class Script:
    """Drives a race as hosts would: each says its text piece by piece, or fails."""

    texts: dict[bytes, str]
    race: Race
    said: dict[bytes, int] = field(default_factory=dict)
    released: str = ""
    outcome: Won | None = None
    now: float = 0.0

    def take(self, step: Step) -> None:
        self.released += step.release
        if step.outcome:
            winner = next(c for c in self.race.contestants if c.dispatch == step.outcome.winner)
            assert not (winner.said_nothing and step.cancel)
        self.outcome = self.outcome or step.outcome
        assert self.released == self.race.released
        parts = [self.race.released_by(c.dispatch) for c in self.race.contestants]
        assert sum(map(len, parts)) == len(self.released)
        leading = [c.text for c in self.race.contestants if c.dispatch == self.race.leader]
        for text in leading:
            assert text.startswith(self.released) or self.released.startswith(text)

    def speak(self, name: bytes, length: int) -> None:
        start = self.said.get(name, 0)
        whole = self.texts[name]
        self.said[name] = min(len(whole), start + length)
        self.take(self.race.on_text(name, whole[start : start + length], now=self.now))
        if self.said[name] == len(whole):
            self.take(self.race.on_finish(name, Finish.STOP))

    def play(self, moves: list[tuple[int, int, bool]]) -> None:
        names = list(self.texts)
        for who, length, fails in moves:
            name = names[who % len(names)]
            self.now += 1
            if fails:
                self.take(self.race.on_failure(name, Failure.HOST_LOST))
            else:
                self.speak(name, length)
            self.take(self.race.on_time(self.now))
            if self.outcome:
                return
        if all(c.standing is not Standing.RUNNING for c in self.race.contestants):
            self.take(self.race.on_nobody_left())


MOVES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 20), st.integers(0, 9).map(lambda n: n == 0)),
    max_size=60,
)


@given(text=WORDS, hosts=st.integers(1, 3), moves=MOVES)
def test_of_equal_texts_a_prefix_is_released_and_all_of_it_in_the_end(
    text: str, hosts: int, moves: list[tuple[int, int, bool]]
) -> None:
    names = (A, B, C)[:hosts]
    script = Script(texts=dict.fromkeys(names, text), race=race_of(*names))
    script.play(moves)
    assert text.startswith(script.released)
    if script.outcome:
        assert script.released == text
    unfailed = [c for c in script.race.contestants if c.failure is None]
    assert all(c.standing is not Standing.OUT for c in unfailed)
    assert Failure.DIVERGED not in {c.failure for c in script.race.contestants}


@given(common=WORDS, endings=st.lists(WORDS, min_size=2, max_size=3), moves=MOVES)
def test_of_different_texts_the_winners_whole_text_is_released(
    common: str, endings: list[str], moves: list[tuple[int, int, bool]]
) -> None:
    names = (A, B, C)[: len(endings)]
    texts = [common + ending for ending in endings]
    script = Script(texts=dict(zip(names, texts, strict=True)), race=race_of(*names))
    script.play(moves)
    if script.outcome:
        assert script.released == script.texts[script.outcome.winner]


@given(first=WORDS, second=WORDS, cut=st.integers(0, 60), moves=MOVES)
def test_a_continuation_never_repeats_or_loses_a_character(
    first: str, second: str, cut: int, moves: list[tuple[int, int, bool]]
) -> None:
    race = race_of(A)
    script = Script(texts={A: first}, race=race)
    script.take(race.on_text(A, first[:cut], now=0))
    script.take(race.on_failure(A, Failure.HOST_LOST))
    prefix = script.released
    race.enter(B, "host-b", now=1)
    script.texts = {B: second}
    script.play([(0, length, fails) for _, length, fails in moves])
    assert script.released.startswith(prefix)
    if script.outcome:
        assert script.released == prefix + second
    assert re.fullmatch(r"[ab .\n]*", script.released)
