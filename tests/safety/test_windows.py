from collections.abc import Iterator
from itertools import chain, cycle, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.errors import StreamOrderError
from peerllm.safety.windows import (
    CHARACTERS_PER_WORD,
    FEWEST_NEW_WORDS,
    FIRST_WINDOW_WORDS,
    LETTERS_PER_UNSPACED_WORD,
    MOST_NEW_WORDS,
    WINDOW_CONTEXT_WORDS,
    ReleaseWindows,
    Window,
    next_window_words,
)


def taken(windows: ReleaseWindows, sizes: Iterator[int]) -> list[Window]:
    """All windows that are complete, of these sizes one after the other."""
    made: list[Window] = []
    while window := windows.take(next(sizes)):
        made.append(window)
    return made


def run(pieces: list[str], sizes: Iterator[int] | None = None) -> list[Window]:
    windows, made = ReleaseWindows(), []
    for piece in pieces:
        windows.push(piece)
        made += taken(windows, sizes or repeat(FEWEST_NEW_WORDS))
    return made + windows.finish()


def words(count: int, first: int = 0) -> str:
    return "".join(f"word{number} " for number in range(first, first + count))


def test_windows_have_the_sizes_asked_for_and_carry_context() -> None:
    sizes = (FIRST_WINDOW_WORDS, FEWEST_NEW_WORDS, 35)
    made = run([words(sum(sizes) + 5)], chain(sizes, repeat(MOST_NEW_WORDS)))
    new_words = [len(window.release.split()) for window in made]
    assert new_words == [*sizes, 0, 5]
    assert len(made[2].text_to_judge.split()) == WINDOW_CONTEXT_WORDS + 35
    assert made[-1].text_to_judge == "".join(window.release for window in made)


@pytest.mark.parametrize(
    ("new_words", "filling", "judging", "then"),
    [
        (20, 4.0, 0.03, 20),  # five words a second: as few as may be
        (20, 0.2, 0.03, 30),  # a hundred
        (30, 0.3, 0.03, 30),  # where a tenth of the time is judging, it stays
        (60, 0.15, 0.06, 120),  # four hundred
        (120, 0.1, 5.0, 120),  # a stronger judge was asked
        (120, 12.0, 0.03, 20),  # a host stalled
        (12, 0.0, 0.03, 120),  # the answer came at once
        (12, 0.0, 0.0, 20),
    ],
)
def test_a_window_is_sized_by_how_fast_words_come_and_are_judged(
    new_words: int, filling: float, judging: float, then: int
) -> None:
    assert next_window_words(new_words, filling, judging) == then


@given(st.integers(1, 500), st.floats(0, 1e6), st.floats(0, 1e6))
def test_no_window_is_beyond_the_bounds(new_words: int, filling: float, judging: float) -> None:
    then = next_window_words(new_words, filling, judging)
    assert FEWEST_NEW_WORDS <= then <= MOST_NEW_WORDS


def test_a_short_answer_is_judged_once_and_as_a_whole() -> None:
    assert run(["Blue,", " red."]) == [Window("Blue, red.", "Blue, red.")]


def test_an_empty_answer_has_no_window() -> None:
    assert run(["", ""]) == []


def test_a_word_that_may_go_on_is_not_released() -> None:
    windows = ReleaseWindows()
    windows.push(words(FIRST_WINDOW_WORDS - 1) + "uncer")
    assert windows.take(FIRST_WINDOW_WORDS) is None
    windows.push("tain ")
    window = windows.take(FIRST_WINDOW_WORDS)
    assert window is not None
    assert window.release.endswith("uncertain")


def test_text_without_spaces_is_released_in_bounded_windows() -> None:
    made = run(["x" * 5_000])
    bound = FEWEST_NEW_WORDS * CHARACTERS_PER_WORD
    assert {len(window.release) for window in made[:-2]} == {bound}


@pytest.mark.parametrize(
    ("text", "most"),
    [("漢" * 5_000, 0), ("漢字、" * 900, 1), ("\u0e44\u0e17\u0e22" * 900, 0), ("漢 abc " * 900, 2)],
)
def test_readers_of_scripts_without_spaces_wait_for_no_more_words_than_others(
    text: str, most: int
) -> None:
    # `most`: signs and spaces beside the letters of a word.
    made = run(list(text))
    bound = FEWEST_NEW_WORDS * (LETTERS_PER_UNSPACED_WORD + most)
    assert bound / 2 < len(made[0].release) <= bound
    assert {len(window.release) for window in made[1:-2]} <= {*range(bound + 1)}


def test_nothing_is_accepted_after_the_end() -> None:
    windows = ReleaseWindows()
    windows.finish()
    with pytest.raises(StreamOrderError):
        windows.push("more")
    with pytest.raises(StreamOrderError):
        windows.finish()


def test_the_repr_hides_the_text() -> None:
    windows = ReleaseWindows()
    windows.push(words(FIRST_WINDOW_WORDS + 1))
    window = windows.take(FIRST_WINDOW_WORDS)
    assert "word" not in repr(windows) + repr(window)


@given(
    st.lists(st.text(alphabet="ab \n漢", max_size=200), max_size=30),
    st.lists(st.integers(1, MOST_NEW_WORDS), min_size=1, max_size=5),
)
def test_everything_is_released_once_in_order_and_only_after_it_was_judged(
    pieces: list[str], sizes: list[int]
) -> None:
    answer = "".join(pieces)
    released = judged = ""
    made = run(pieces, cycle(sizes))
    for window in made:
        # The window's text continues what was judged so far.
        start = (
            0 if window is made[-1] else len(released + window.release) - len(window.text_to_judge)
        )
        if window.release or window is made[-1]:
            assert answer[start:].startswith(window.text_to_judge)
            judged = answer[: start + len(window.text_to_judge)]
        released += window.release
        assert judged.startswith(released)
    assert released == answer
    assert not made or made[-1].text_to_judge == answer
