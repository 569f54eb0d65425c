from pathlib import Path

import numpy
import onnxruntime
import pytest

from peerllm.safety.errors import ModelFileError
from peerllm.safety.sentence_encoder import DIMENSIONS, SentenceEncoder, weights_path
from peerllm.safety.wordpieces import WordPieces

TEXTS = ["how do i bake bread?", "the boats on the river were painted in bright colours. " * 6]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder()


@pytest.mark.parametrize("text", TEXTS)
def test_the_rebuilt_graph_says_what_the_packaged_one_says(
    encoder: SentenceEncoder, text: str
) -> None:
    pieces = WordPieces()
    numbers = [pieces.first, *pieces.numbers(text), pieces.last]
    packaged = onnxruntime.InferenceSession(str(weights_path()), providers=["CPUExecutionProvider"])
    (states,) = packaged.run(
        None,
        {
            "input_ids": numpy.array([numbers]),
            "attention_mask": numpy.ones((1, len(numbers)), dtype=numpy.int64),
            "token_type_ids": numpy.zeros((1, len(numbers)), dtype=numpy.int64),
        },
    )
    expected = numpy.concatenate([states[0].mean(axis=0), states[0].max(axis=0)])
    found = encoder.encode(numbers)
    assert found.shape == (DIMENSIONS,)
    last = found[-len(expected) :]
    likeness = last @ expected / (numpy.linalg.norm(last) * numpy.linalg.norm(expected))
    # Rounding to integers costs less than a hundredth of the direction.
    assert likeness > 0.99


def test_weights_other_than_the_expected_are_refused(tmp_path: Path) -> None:
    missing = tmp_path / "model.onnx"
    with pytest.raises(ModelFileError, match="cannot be read"):
        SentenceEncoder(missing)
    missing.write_bytes(b"other weights")
    with pytest.raises(ModelFileError, match="not the one expected"):
        SentenceEncoder(missing)
