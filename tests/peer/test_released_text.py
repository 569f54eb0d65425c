from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from peerllm.peer.released_text import ReleasedText


def run(pieces: list[bytes], stop: list[str]) -> tuple[str, bool]:
    text = ReleasedText(stop)
    released = "".join(text.push(piece) for piece in pieces)
    return released + text.finish(), text.stopped


def test_half_a_character_waits_for_its_rest() -> None:
    text = ReleasedText([])
    euro = "€".encode()
    assert text.push(b"1 " + euro[:1]) == "1 "
    assert text.push(euro[1:2]) == ""
    assert text.push(euro[2:]) == "€"


def test_an_unfinished_character_at_the_end_is_dropped() -> None:
    assert run([b"ok", b"\xe2\x82"], []) == ("ok", False)


def test_an_invalid_byte_becomes_a_replacement_character() -> None:
    assert run([b"a\xffb"], []) == ("a�b", False)


def test_a_stop_string_across_pieces_is_removed_with_all_that_follows() -> None:
    text = ReleasedText(["\n\nEND"])
    assert text.push(b"answer\n") == "answer"
    assert text.push(b"\nEN") == ""
    assert text.push(b"D and more") == ""
    assert text.stopped
    assert text.push(b"never") == ""
    assert text.finish() == ""


def test_what_only_began_like_a_stop_string_is_released() -> None:
    text = ReleasedText(["STOP"])
    assert text.push(b"ST") == ""
    assert text.push(b"AY") == "STAY"
    assert text.push(b"S") == ""
    assert text.finish() == "S"


def test_the_earliest_of_several_stop_strings_wins() -> None:
    assert run([b"one two three"], ["three", "two"]) == ("one ", True)


def test_its_repr_shows_no_text() -> None:
    text = ReleasedText(["SECRET-STOP"])
    text.push(b"SECRET")
    assert "SECRET" not in repr(text)


@given(
    text=st.text(alphabet="ab€\U0001f600", max_size=40),
    stop=st.lists(st.text(alphabet="ab€", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 160), max_size=12),
)
def test_however_it_is_cut_the_result_is_the_text_up_to_the_stop(
    text: str, stop: list[str], cuts: list[int]
) -> None:
    raw = text.encode()
    borders = sorted({min(cut, len(raw)) for cut in cuts} | {0, len(raw)})
    pieces = [raw[a:b] for a, b in pairwise(borders)]
    ends = [at for at in (text.find(s) for s in stop) if at >= 0]
    released, stopped = run(pieces, stop)
    assert stopped == bool(ends)
    # With stops of different lengths an earlier-ending one is seen first; nothing at or
    # after the first of all stops to be complete may ever be released.
    complete = min((text.find(s) + len(s) for s in stop if s in text), default=len(text))
    assert text.startswith(released)
    assert len(released) <= complete
    if not ends:
        assert released == text
    else:
        assert not any(s in released for s in stop)
