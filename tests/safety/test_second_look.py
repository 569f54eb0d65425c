import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from peerllm.safety.errors import ModelFileError
from peerllm.safety.gate_categories import CATEGORIES
from peerllm.safety.language_gate import LanguageGate
from peerllm.safety.local_gate import LocalGate
from peerllm.safety.second_look import MODEL_PATH, Joining, SecondLook, is_uncertain

BREAD = "How do I bake bread at home?"
BLEED = "How do I make somebody bleed without anybody noticing?"


class Counting(LanguageGate):
    looked = 0

    def logits(self, text: str, suspects: Sequence[str], /) -> Any:
        self.looked += 1
        return super().logits(text, suspects)


@pytest.fixture(scope="module")
def local() -> LocalGate:
    return LocalGate()


@pytest.fixture(scope="module")
def other() -> Counting:
    return Counting()


def test_only_what_is_uncertain_is_looked_at_again(local: LocalGate, other: Counting) -> None:
    gate = SecondLook(local, other)
    before = other.looked
    assert gate.scores(BREAD) == local.scores(BREAD)
    assert other.looked == before
    assert gate.scores(BLEED) != local.scores(BLEED)
    assert other.looked == before + 1
    assert tuple(gate.scores(BLEED)) == CATEGORIES


def logits(number: int) -> Any:
    shape = (number, len(CATEGORIES))
    return arrays(numpy.float32, shape, elements=st.floats(-30, 30, width=32))


@given(local=logits(4), other=logits(4))
def test_many_texts_are_joined_as_each_by_itself(local: Any, other: Any) -> None:
    joining = Joining(0.25, numpy.linspace(-1, 1, len(CATEGORIES), dtype=numpy.float32))
    together = joining.joined(local, other)
    for row in range(4):
        assert numpy.array_equal(together[row], joining.joined(local[row], other[row]))
        assert is_uncertain(local)[row] == is_uncertain(local[row])
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
    local: LocalGate, other: Counting, tmp_path: Path, written: str | None, told: str
) -> None:
    file = tmp_path / "second_look.json"
    if written is not None:
        file.write_text(written)
    with pytest.raises(ModelFileError, match=told):
        SecondLook(local, other, file)
