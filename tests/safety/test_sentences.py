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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u5b88\u6f6e\u7684\u4eba\u5199\u3002", "\u4ed6\u8bf4\uff1a\u300c\u597d\uff01\u300d"),
        ("\u0939\u092e \u091c\u093e\u0924\u0947\u0964", "\u0935\u0939 \u0939\u0948\u0964"),
        ("\u0623\u064a\u0646 \u0627\u0644\u061f", "\u0647\u0646\u0627\u06d4"),
    ],
)  # fmt: skip
def test_full_stops_of_other_scripts_end_a_sentence(one: str, other: str) -> None:
    for between in ("", " ", "\n"):
        assert sentences(one + between + other) == [one, other]


@pytest.mark.parametrize("between", ["\n", " "])
def test_text_without_full_stops_is_cut_between_lines_else_words(between: str) -> None:
    lines = [f"12:{number:04} ERROR pump{number}" for number in range(500)]
    found = sentences(between.join(lines))
    assert between.join(found) == between.join(lines)
    assert all(one.startswith("12:") or between == " " for one in found)
    assert all(one.rpartition(" ")[2] in " ".join(lines).split() for one in found)


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
