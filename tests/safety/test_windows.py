import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.errors import StreamOrderError
from peerllm.safety.windows import (
    FIRST_WINDOW_WORDS,
    WINDOW_CONTEXT_WORDS,
    WINDOW_NEW_CHARACTERS,
    WINDOW_NEW_WORDS,
    ReleaseWindows,
    Window,
)


def run(pieces: list[str]) -> list[Window]:
    windows = ReleaseWindows()
    made = [window for piece in pieces for window in windows.push(piece)]
    return made + windows.finish()


def words(count: int, first: int = 0) -> str:
    return "".join(f"word{number} " for number in range(first, first + count))


def test_the_first_window_is_short_and_the_others_carry_context() -> None:
    made = run([words(FIRST_WINDOW_WORDS + 2 * WINDOW_NEW_WORDS + 5)])
    new_words = [len(window.release.split()) for window in made]
    assert new_words == [FIRST_WINDOW_WORDS, WINDOW_NEW_WORDS, WINDOW_NEW_WORDS, 0, 5]
    assert len(made[2].text_to_judge.split()) == WINDOW_CONTEXT_WORDS + WINDOW_NEW_WORDS
    assert made[-1].text_to_judge == "".join(window.release for window in made)


def test_a_short_answer_is_judged_once_and_as_a_whole() -> None:
    assert run(["Blue,", " red."]) == [Window("Blue, red.", "Blue, red.")]


def test_an_empty_answer_has_no_window() -> None:
    assert run(["", ""]) == []


def test_a_word_that_may_go_on_is_not_released() -> None:
    windows = ReleaseWindows()
    made = windows.push(words(FIRST_WINDOW_WORDS - 1) + "uncer")
    assert made == []
    (window,) = windows.push("tain ")
    assert window.release.endswith("uncertain")


def test_text_without_spaces_is_released_in_bounded_windows() -> None:
    made = run(["漢" * 5_000])
    assert max(len(window.release) for window in made) <= WINDOW_NEW_CHARACTERS


def test_nothing_is_accepted_after_the_end() -> None:
    windows = ReleaseWindows()
    windows.finish()
    with pytest.raises(StreamOrderError):
        windows.push("more")
    with pytest.raises(StreamOrderError):
        windows.finish()


def test_the_repr_hides_the_text() -> None:
    windows = ReleaseWindows()
    (window,) = windows.push(words(FIRST_WINDOW_WORDS + 1))
    assert "word" not in repr(windows) + repr(window)


@given(st.lists(st.text(alphabet="ab \n漢", max_size=200), max_size=30))
def test_everything_is_released_once_in_order_and_only_after_it_was_judged(
    pieces: list[str],
) -> None:
    answer = "".join(pieces)
    released = judged = ""
    made = run(pieces)
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
