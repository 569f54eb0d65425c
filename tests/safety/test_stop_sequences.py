import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.safety.stop_sequences import StopCut, StopSequences

PEOPLE = tuple(f"PERSON_{number}" for number in range(1, 13))


def cut(text: str, *stops: str, people: tuple[str, ...] = (), pieces: int = 1) -> tuple[str, bool]:
    """What is let out of a text that comes in pieces of this length, and whether it was stopped."""
    cutting = StopCut(StopSequences(stops, people))
    out = "".join(cutting.push(text[at : at + pieces]) for at in range(0, len(text), pieces))
    return out + cutting.push("", last=True), cutting.stopped


@pytest.mark.parametrize("pieces", [1, 3, 100])
@pytest.mark.parametrize(
    ("stops", "text", "kept"),
    [
        (("END",), "one two END three", "one two "),
        (("END", "two"), "one two END three", "one "),
        (("END",), "one EN", "one EN"),
        (("three",), "one two three", "one two "),
        (("\n\n",), "one\n two\n\nthree", "one\n two"),
        ((), "one two", "one two"),
    ],
)
def test_nothing_is_let_out_from_the_first_stop_sequence_on(
    pieces: int, stops: tuple[str, ...], text: str, kept: str
) -> None:
    assert cut(text, *stops, pieces=pieces) == (kept, kept != text)


@pytest.mark.parametrize("pieces", [1, 3, 100])
@pytest.mark.parametrize(
    ("stop", "text", "kept"),
    [
        ("2", "ask PERSON_12 or 2 others", "ask PERSON_12 or "),
        ("2", "ask PERSON_12", "ask PERSON_12"),
        ("_", "ask PERSON_12 not_me", "ask PERSON_12 not"),
        ("PERSON_1", "ask PERSON_12 and PERSON_1 too", "ask PERSON_12 and "),
        ("PERSON_1", "ask PERSON_1", "ask "),
        ("SON_1", "ask PERSON_1", "ask PERSON_1"),
        (" P", "ask PERSON_1 and Paul", "ask PERSON_1 and"),
        ("]", "ask [PERSON_1] now", "ask [PERSON_1"),
    ],
)
def test_a_stop_sequence_within_a_placeholder_ends_nothing(
    pieces: int, stop: str, text: str, kept: str
) -> None:
    assert cut(text, stop, people=PEOPLE, pieces=pieces) == (kept, kept != text)


@pytest.mark.parametrize(
    "stop", ["1", "2", "_1", "ON_1", "PERSON", "P", " P", "B.", "Dear PERSON_1"]
)
def test_hosts_are_not_told_what_may_tear_a_placeholder(stop: str) -> None:
    assert StopSequences((stop, "\n\n"), PEOPLE).for_hosts == ("\n\n",)
    assert StopSequences((stop,)).for_hosts == (stop,)


def test_hosts_are_told_what_can_tear_none() -> None:
    usual = ("\n", "\n\n", "User:", "###", "END", "</answer>", "Observation:", "STOP")
    assert StopSequences(usual, PEOPLE).for_hosts == usual


def test_a_stop_sequence_that_began_with_what_is_out_already_ends_what_follows() -> None:
    cutting = StopCut(StopSequences(("two\nthree",)), before="one two")
    assert cutting.push("\nthree four") == ""
    assert cutting.stopped


def test_what_may_begin_a_longer_sequence_is_let_out_where_a_shorter_one_ends_it() -> None:
    assert cut("1\n", "\n", "1\n1", pieces=1) == ("1", True)
    assert cut("1\n1", "\n", "1\n1", pieces=3) == ("1", True)


@settings(max_examples=2000)
@given(
    st.text("ab\n 1", max_size=40),
    st.lists(st.text("ab\n 1", min_size=1, max_size=4), min_size=1, max_size=3),
    st.integers(1, 5),
)
def test_what_is_let_out_holds_no_stop_sequence_and_lacks_nothing_before_it(
    text: str, stops: list[str], pieces: int
) -> None:
    out, stopped = cut(text, *stops, pieces=pieces)
    assert text.startswith(out)
    assert not any(stop in out for stop in stops)
    assert stopped == any(stop in text for stop in stops)
    assert stopped or out == text
    assert not stopped or any(text.startswith(stop, len(out)) for stop in stops)


@settings(max_examples=1000)
@given(
    st.lists(st.sampled_from(["PERSON_", "1", "2", "B", " ", "so", "["]), max_size=12), st.data()
)
def test_no_placeholder_is_cut_in_two(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    stop = data.draw(
        st.sampled_from(["1", "2", "PERSON_1", "_", "P", "SON", " P", "B", "1 ", "so"])
    )
    whole = StopSequences((stop,), PEOPLE)
    out, _ = cut(text, stop, people=PEOPLE, pieces=data.draw(st.integers(1, 4)))
    found = whole.first_in(text, 0, len(text))
    assert out == (text if found is None else text[: found[0]])
