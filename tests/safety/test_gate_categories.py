import math

import numpy
import pytest
from numpy.typing import NDArray

from peerllm.safety.gate_categories import CATEGORIES, DEEDS, TONES, certainty, counted

AT = {name: number for number, name in enumerate(CATEGORIES)}


def window(**logits: float) -> list[float]:
    return [logits.get(name, -5.0) for name in CATEGORIES]


def counted_of(*windows: tuple[list[float], bool]) -> NDArray[numpy.float32]:
    logits = numpy.array([one for one, _ in windows], dtype=numpy.float32)
    hidden = numpy.array([one for _, one in windows])
    return counted(logits, hidden, numpy.ones(6, dtype=numpy.float32))


def test_what_a_reader_sees_counts_wholly() -> None:
    seen = window(overall=3, hate=4, prompt_injection=-2)
    assert counted_of((seen, False)).tolist() == [seen]


@pytest.mark.parametrize("asked", ["prompt_injection", "jailbreak", "illicit", "weapons"])
def test_a_hidden_request_counts_wholly(asked: str) -> None:
    found = counted_of((window(), False), (window(overall=3, **{asked: 2.5}), True))
    assert found[:, AT["overall"]].max() == 3
    assert found[:, AT[asked]].max() == 2.5


def test_the_tone_of_a_hidden_part_does_not_count() -> None:
    rude = window(overall=3, hate=4, sexual=2, prompt_injection=-4)
    found = counted_of((window(), False), (rude, True)).max(axis=0)
    assert (found[TONES] == -5).all()
    assert found[AT["overall"]] == -3


def test_the_tones_are_the_categories_of_how_something_is_spoken_of() -> None:
    assert CATEGORIES[TONES] == (
        "sexual", "minors", "hate", "harassment", "self_harm", "violence"
    )  # fmt: skip
    assert CATEGORIES[DEEDS] == (
        "illicit", "weapons", "cyber", "privacy", "jailbreak", "prompt_injection"
    )  # fmt: skip


def test_a_logit_of_zero_is_the_threshold() -> None:
    scores = certainty(numpy.array([-2.0, 0.0, 2.0], dtype=numpy.float32))
    assert scores[1] == 0.5
    assert math.isclose(scores[0] + scores[2], 1, rel_tol=1e-6)
    assert scores[0] < scores[1] < scores[2]
