import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.sentences import sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def test_abbreviations_do_not_end_a_sentence() -> None:
    assert sentences("Dr. Smith lives in St. Ives. Does he?  Yes!") == [
        "Dr. Smith lives in St. Ives.",
        "Does he?",
        "Yes!",
    ]


def test_a_blank_line_ends_a_sentence_and_a_line_break_does_not() -> None:
    assert sentences("A heading\n \nA sentence\nover two lines.\n") == [
        "A heading",
        "A sentence\nover two lines.",
    ]


def test_a_long_paragraph_is_cut_only_between_sentences() -> None:
    sentence = "The quick brown fox jumps over the lazy dog near the river bank."
    assert sentences(" ".join([sentence] * 200)) == [sentence] * 200


@pytest.mark.parametrize("text", ["", " \n\n ", "\n" * 100_000])
def test_white_space_holds_no_sentence(text: str) -> None:
    assert sentence_spans(text) == []


@pytest.mark.parametrize("text", ["a" * 1_000_000, "." * 300_000, "?!" * 100_000, "\ud800. " * 999])
def test_hostile_text_is_covered(text: str) -> None:
    assert "".join(sentences(text)) == text.replace(" ", "") or " " in text


@given(st.text(alphabet="aB.?! \n\t\"'(\ud800漢", max_size=3_000))
def test_sentences_are_ordered_and_cover_all_but_white_space(text: str) -> None:
    spans = sentence_spans(text)
    position = 0
    for start, end in spans:
        assert position <= start < end
        assert not text[position:start].strip()
        position = end
    assert not text[position:].strip()
