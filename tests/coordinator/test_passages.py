import re
import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from simulated_host import WordVocabulary

from peerllm.coordinator.passages import gaps_between, pack_passages

CODE = "```python\ndef f(x):\n    return x. Really\n\n\n# Not a sentence. Nor this.\n```"
TABLE = "| name | price. |\n|---|---|\n| tea. Black | 3 |\n| rice. White | 4 |"
PROSE = "The ship left the harbour at dawn. Nobody waved. The sea was calm and grey that day.\n\n"


def words(text: str) -> int:
    return WordVocabulary().count(text.strip())


def uneven(text: str) -> int:
    """Letters are cheap and everything else is dear, as in real vocabularies."""
    return -(-sum(1 if c.isascii() and c.isalpha() else 12 for c in text) // 4)


def characters(text: str) -> str:
    return re.sub(r"\s", "", text)


TEXTS = st.one_of(
    st.text(max_size=400),
    st.lists(
        st.sampled_from(
            [PROSE, CODE + "\n", TABLE + "\n\n", "word ", "\n\n", "a" * 90, "\N{CRAB}" * 40]
        ),
        max_size=20,
    ).map("".join),
)


@given(text=TEXTS, bound=st.integers(12, 60), count=st.sampled_from([words, uneven]))
@example(text="a" * 4_000 + "\N{CRAB}" * 400, bound=60, count=uneven)
@example(text="\N{CRAB}" * 100 + "b" * 4_000, bound=12, count=uneven)
def test_nothing_is_lost_and_every_passage_is_within_the_bound(
    text: str, bound: int, count: Callable[[str], int]
) -> None:
    passages = pack_passages(text, bound, count)
    assert characters("".join(passages)) == characters(text)
    assert all(passage.strip() for passage in passages)
    assert all(count(passage) <= bound for passage in passages)


@given(text=TEXTS, bound=st.integers(12, 60), count=st.sampled_from([words, uneven]))
def test_passages_are_parted_as_in_the_text(
    text: str, bound: int, count: Callable[[str], int]
) -> None:
    passages = pack_passages(text, bound, count)
    gaps = gaps_between(text, passages)
    # The indentation of a line goes with its beginning.
    assert {re.sub(r"(?<=\n)[^\n]+\Z", "", gap) for gap in gaps} <= {"", " ", "\n", "\n\n"}
    assert not any(gap.strip() for gap in gaps)
    joined = "".join(map("".join, zip(gaps, passages, strict=True)))
    assert joined.split() == text.split()
    assert joined.count("\n") <= text.count("\n")


@pytest.mark.parametrize("mark", ["{}.", "({})", "4.{}.", "{})", "a.", "(iv)"])
def test_the_number_of_a_clause_stays_with_it(mark: str) -> None:
    lines = [f"{mark.format(number)} The tenant pays on the first day." for number in range(99)]
    for between in ("\n", " "):
        passages = pack_passages(between.join(lines), 45, words)
        assert len(passages) > 9
        assert all(passage.endswith("day.") for passage in passages)


def test_entries_below_a_heading_are_not_torn() -> None:
    lines = [f"{number}. The soup was cold and I left" for number in range(60)]
    passages = pack_passages("Reviews:\n\n" + "\n".join(lines), 50, words, entries=True)
    assert len(passages) > 9
    assert [one for passage in passages for one in passage.split("\n") if one][1:] == lines


def test_lines_without_full_stops_are_not_torn() -> None:
    lines = [f"2026-11-23 12:{minute:02} ERROR pump {minute} is dry" for minute in range(60)]
    passages = pack_passages("\n".join(lines), 50, words, overlap=15)
    assert all(line in lines for passage in passages for line in passage.split("\n"))
    first, second, *_ = passages
    assert first.split("\n")[-1] in second.split("\n")[:2]


@pytest.mark.parametrize("behind", ["\n" + CODE, "\n\n" + CODE, "\n\nProse.", "\nProse."])
def test_the_line_that_ends_a_fence_stays_a_line(behind: str) -> None:
    (passage,) = pack_passages(CODE + behind, 100, words)
    assert passage == CODE + behind


@pytest.mark.parametrize("whole", [CODE, TABLE])
def test_code_and_tables_are_not_torn(whole: str) -> None:
    text = (PROSE * 3 + whole + "\n\n") * 6
    passages = pack_passages(text, 60, words)
    assert len(passages) > 3
    assert sum(passage.count(whole) for passage in passages) == 6


def test_prose_is_cut_between_sentences() -> None:
    passages = pack_passages(PROSE * 30, 50, words)
    assert all(passage.endswith((".", "!")) for passage in passages)


def test_passages_are_even_in_size() -> None:
    sizes = [words(passage) for passage in pack_passages(PROSE * 40, 300, words)]
    assert max(sizes) - min(sizes) < 40


def test_a_passage_begins_with_the_last_sentences_of_the_one_before() -> None:
    text = "".join(f"Sentence number {n} has exactly seven words. " for n in range(60))
    passages = pack_passages(text, 60, words, overlap=14)
    assert all(words(passage) <= 60 for passage in passages)
    for before, after in pairwise(passages):
        last_two = before.split(". ")[-2:]
        assert after.startswith(". ".join(last_two))


def test_entries_of_a_list_are_not_torn_by_lines_or_paragraphs() -> None:
    lines = "".join(f"{n}. Good tea. Bad cups.\n" for n in range(40))
    for passage in pack_passages(lines, 30, words, entries=True):
        assert all(line.endswith("cups.") for line in passage.splitlines())
    paragraphs = "Good tea.\nBad cups, said Ann.\n\n" * 40
    for passage in pack_passages(paragraphs, 30, words, entries=True):
        assert passage.startswith("Good")
        assert passage.endswith("Ann.")


def test_turns_of_a_talk_are_not_torn() -> None:
    talk = "Ann: Good tea. Is there more?\nBen: No. It is gone. Sorry.\n" * 30
    for passage in pack_passages(talk, 40, words):
        assert passage.startswith(("Ann:", "Ben:"))
        assert passage.endswith(("more?", "Sorry."))


def test_a_heading_stays_with_what_it_heads() -> None:
    text = "".join(f"# Part {n}\n\n{PROSE}Chapter {n}\n=========\n\n{PROSE}" for n in range(20))
    for bound in (24, 30, 50, 71):
        for passage in pack_passages(text, bound, words):
            last = passage.splitlines()[-1]
            assert not last.startswith(("#", "="))


@pytest.mark.parametrize("text", ["", "   ", "\n\n\n", "\t"])
def test_of_nothing_there_is_no_passage(text: str) -> None:
    assert pack_passages(text, 10, words) == ()


def quick(text: str) -> int:
    """Whatever the vocabulary costs is not what is measured here."""
    return len(text) // 4 + 1


HOSTILE = {
    "one character": "x" * 1_000_000,
    "spaces": " " * 1_000_000,
    "letters and a far space": "x" * 500_000 + " " * 499_999 + "y",
    "newlines": "\n" * 100_000,
    "newlines with text": "a\n" * 50_000,
    "blank lines that are not": "\n \t" * 30_000 + "x",
    "brackets": "(" * 50_000 + ")" * 50_000,
    "nested brackets": "[(" * 50_000,
    "open fences": "```\n" * 20_001,
    "one fence of each kind": "~~~\n```\n" + "x. " * 10_000,
    "pipes": "|" * 300_000,
    "table without end": "| a | b |\n" * 20_000,
    "full stops": "." * 300_000,
    "dots and spaces": ". " * 20_000,
    "quotes": "\"'" * 100_000,
}


class Steps:
    """Counts how many characters a count was asked for: work that does not depend on the clock."""

    def __init__(self) -> None:
        self.characters = 0

    def __call__(self, text: str) -> int:
        self.characters += len(text)
        return quick(text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_texts_are_cut_with_work_in_proportion_to_their_length(text: str) -> None:
    steps = Steps()
    passages = pack_passages(text, 640, steps)
    assert characters("".join(passages)) == characters(text)
    # Each character is counted in its sentence, its line or word, and in each halving.
    assert steps.characters <= 24 * len(text)


def test_memory_stays_in_proportion_to_the_text() -> None:
    text = PROSE * 500
    tracemalloc.start()
    pack_passages(text, 640, quick)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 * len(text)


def test_the_indentation_of_a_passage_is_kept_in_the_gap_before_it() -> None:
    text = "services:\n  web:\n    port: 80\n    name: a\n\n  mail:\n    port: 25"

    gaps = gaps_between(text, ["services:\n  web:\n    port: 80", "name: a", "mail:\n    port: 25"])

    assert gaps == ("", "\n    ", "\n\n  ")
