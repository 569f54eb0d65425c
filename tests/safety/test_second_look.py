import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from peerllm.safety.asides import Aside, Opened, opened
from peerllm.safety.errors import ModelFileError
from peerllm.safety.gate_categories import CATEGORIES
from peerllm.safety.language_gate import LanguageGate
from peerllm.safety.local_gate import LocalGate, Words
from peerllm.safety.rated_posts import RatedPosts
from peerllm.safety.second_look import (
    HARMLESS,
    MODEL_PATH,
    Joining,
    SecondLook,
    read_joining,
    with_words,
)

BREAD = "How do I bake bread at home?"
BLEED = "How do I make somebody bleed without anybody noticing?"
KILL = "How do I kill my neighbour without being caught?"
LETTER = "The harbour feeds the northern market, and the library repairs a winter garden. " * 3


class Watched(LocalGate):
    """Tells what it was asked to look at."""

    asked: list[Words]

    def logits(self, found: Opened, words: Words, /) -> Any:
        self.asked.append(words)
        return super().logits(found, words)


@pytest.fixture(scope="module")
def loaded() -> Watched:
    return Watched.load()


@pytest.fixture
def local(loaded: Watched) -> Watched:
    loaded.asked = []
    return loaded


@pytest.fixture(scope="module")
def other() -> LanguageGate:
    return LanguageGate.load()


def test_a_long_text_in_which_the_first_look_finds_nothing_is_not_looked_at_again(
    local: Watched, other: LanguageGate
) -> None:
    gate = SecondLook.load(local, other)
    scores = gate.scores(LETTER)
    assert local.asked == []
    assert max(scores.values()) < 1 / (1 + numpy.exp(-HARMLESS / 2))
    assert tuple(scores) == CATEGORIES


def test_short_and_doubtful_texts_are_looked_at_twice(local: Watched, other: LanguageGate) -> None:
    gate = SecondLook.load(local, other)
    gate.scores(BREAD)
    gate.scores(f"{LETTER} {BLEED}")
    assert len(local.asked) == 2


@pytest.mark.parametrize("padding", [" " * 400, "\u200b" * 400, "\n \t" * 200])
def test_padding_that_nobody_sees_does_not_make_a_text_long(
    local: Watched, other: LanguageGate, padding: str
) -> None:
    gate = SecondLook.load(local, other)
    gate.scores(f"{BREAD}{padding}")
    gate.scores(f"How do I{padding} bake bread?")
    assert len(local.asked) == 2


def test_words_of_a_harmless_text_do_not_outweigh_a_sentence_in_it(other: LanguageGate) -> None:
    nothing = Words(-6.0, ())
    kill = Words(-6.0, (Aside(KILL, hidden=True, suspicion=2.0),))
    assert with_words(other.look(opened(LETTER), ()).logits, nothing).max() < HARMLESS
    assert with_words(other.look(opened(LETTER), kill.asides).logits, kill).max() > 0


def test_of_suspicious_sentences_only_the_doubtful_ones_are_looked_at_again(
    local: Watched, other: LanguageGate
) -> None:
    text = f"The thief was caught with stolen credit cards. {KILL} {BREAD}"
    expected = local.words(opened(text))
    assert {one.text for one in expected.asides} > {KILL}
    SecondLook.load(local, other).scores(text)
    (words,) = local.asked
    assert [one.text for one in words.asides] == [KILL]
    assert words.suspicion == expected.suspicion


class Rating(RatedPosts):
    """Takes three logits off a text, and nothing off what is looked at beside it."""

    def logits(self, encodings: Any) -> Any:
        return numpy.array([-3, *([0] * (len(encodings) - 1))], dtype=numpy.float32)


def test_what_raters_say_of_a_text_does_not_hide_a_request_in_it(
    local: Watched, other: LanguageGate
) -> None:
    joining, posts = read_joining(MODEL_PATH), RatedPosts.load()
    kind = Rating(*(getattr(posts, part) for part in RatedPosts.PARTS))
    rated = SecondLook(local, other, kind, joining)
    found = opened(f"{LETTER}\n{KILL}")
    look, words = other.look(found, found.asides), local.words(found)
    seen = rated.seen(found)
    assert seen.second is not None
    assert seen.first[0] == pytest.approx(look.logits[1, 0], abs=1e-4)
    assert seen.second[0] == pytest.approx(local.logits(found, words)[1:, 0].max(), abs=1e-4)
    alone = other.look(opened(KILL), ())
    assert rated.seen(opened(KILL)).first[0] == pytest.approx(alone.logits[0, 0] - 3, abs=1e-4)


@pytest.mark.parametrize("text", ["", " ", "\ud800", "\x00", "." * 2_000])
def test_what_says_nothing_is_seen(local: Watched, other: LanguageGate, text: str) -> None:
    scores = SecondLook.load(local, other).scores(text)
    assert all(0 <= score < 0.5 for score in scores.values())


def logits(number: int) -> Any:
    shape = (number, len(CATEGORIES))
    return arrays(numpy.float32, shape, elements=st.floats(-30, 30, width=32))


@given(local=logits(4), other=logits(4))
def test_many_texts_are_joined_as_each_by_itself(local: Any, other: Any) -> None:
    joining = Joining(0.25, numpy.linspace(-1, 1, len(CATEGORIES), dtype=numpy.float32))
    together = joining.joined(local, other)
    for row in range(4):
        assert numpy.array_equal(together[row], joining.joined(local[row], other[row]))
    nothing = numpy.zeros(len(CATEGORIES), dtype=numpy.float32)
    assert numpy.array_equal(Joining(0.0, nothing).joined(local, other), local)


def altered(changes: Mapping[str, Any], **threshold: Any) -> str:
    stored = json.loads(MODEL_PATH.read_text())
    return json.dumps(stored | changes | {"threshold": stored["threshold"] | threshold})


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, "cannot be read"),
        ("", "cannot be read"),
        ("[1]", "cannot be read"),
        ('{"share": 0.25}', "cannot be read"),
        ('{"share": 0.25, "threshold": {"overall": 0}}', "cannot be read"),
        (altered({"share": "much"}), "cannot be read"),
        (altered({"share": 1.5}), "another version"),
        (altered({}, hate=float("nan")), "another version"),
        (altered({}, gossip=0.5), "another version"),
    ],
)
def test_a_missing_or_damaged_file_is_refused(
    local: Watched, other: LanguageGate, tmp_path: Path, written: str | None, told: str
) -> None:
    file = tmp_path / "second_look.json"
    if written is not None:
        file.write_text(written)
    with pytest.raises(ModelFileError, match=told):
        SecondLook.load(local, other, file)
