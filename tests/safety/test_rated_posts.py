from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from peerllm.safety.errors import ModelFileError
from peerllm.safety.multilingual_encoder import DIMENSIONS
from peerllm.safety.rated_posts import MODEL_PATH, SHARE, RatedPosts, direction

ENCODINGS = arrays(numpy.float32, DIMENSIONS, elements=st.floats(-1, 1, width=32))


def few_posts() -> RatedPosts:
    """An unsafe one along the first axis, a harmless one along the second."""
    axes = numpy.eye(DIMENSIONS, dtype=numpy.float32)
    return RatedPosts(
        mean=numpy.zeros(DIMENSIONS, numpy.float32),
        rated=axes[:2],
        weights=numpy.array([1, -1], numpy.float32),
        kind=10 * (axes[0] + axes[1]),
        kind_offset=numpy.array(-5, numpy.float32),
    )


def test_what_is_like_an_unsafe_post_is_more_suspicious_and_the_other_way_round() -> None:
    unsafe, harmless, request = numpy.eye(DIMENSIONS, dtype=numpy.float32)[:3]
    posts = few_posts()

    assert posts.logits(unsafe) > SHARE / 2
    assert posts.logits(harmless) == pytest.approx(-posts.logits(unsafe))
    assert abs(posts.logits(request)) < 0.05


def test_many_texts_are_rated_as_each_by_itself() -> None:
    axes = numpy.eye(DIMENSIONS, dtype=numpy.float32)[:3]
    posts = few_posts()
    assert posts.logits(axes) == pytest.approx([posts.logits(one) for one in axes])


@given(ENCODINGS)
def test_no_text_is_moved_further_than_the_rated_ones(encoding: numpy.ndarray) -> None:
    assert abs(few_posts().logits(encoding)) <= SHARE


@given(ENCODINGS)
def test_a_direction_has_length_one_or_none(encoding: numpy.ndarray) -> None:
    length = float(numpy.linalg.norm(direction(encoding)))
    assert length == pytest.approx(1, abs=1e-3) or numpy.abs(encoding).max() < 1e-6


def test_the_shipped_weights_fit() -> None:
    assert RatedPosts.load().fits()


@pytest.mark.parametrize("name", RatedPosts.PARTS)
def test_a_file_of_other_shapes_or_without_a_part_is_refused(name: str, tmp_path: Path) -> None:
    with numpy.load(MODEL_PATH) as stored:
        parts = {part: stored[part] for part in stored.files}
    for damaged in (parts | {name: numpy.zeros(3)}, {k: v for k, v in parts.items() if k != name}):
        numpy.savez(tmp_path / "posts.npz", **damaged)
        with pytest.raises(ModelFileError, match="install again"):
            RatedPosts.load(tmp_path / "posts.npz")


def test_numbers_that_are_none_are_refused() -> None:
    assert not replace(few_posts(), weights=numpy.array([1, numpy.nan], numpy.float32)).fits()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        RatedPosts.load(tmp_path / "none.npz")
