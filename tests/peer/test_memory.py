from pathlib import Path

import pytest

from peerllm.peer.errors import ModelError
from peerllm.peer.gguf import ModelShape, read_shape
from peerllm.peer.memory import MemoryNeed, predict_memory, refuse_too_little_memory
from peerllm.peer.models import embedded_model_path
from tests.peer.gguf_files import tiny_gguf

NEED = MemoryNeed(weights=100_000_000, cache=50_000_000, computing=10_000_000, process=40_000_000)


@pytest.fixture
def tiny(tmp_path: Path) -> ModelShape:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf())
    return read_shape(path)


# Resident memory of the engine process with these settings, measured on Linux x86-64.
@pytest.mark.parametrize(
    ("slots", "context_tokens", "measured"),
    [(1, 8192, 356_000_000), (4, 4096, 546_000_000), (8, 1024, 357_000_000)],
)
def test_the_prediction_is_near_what_was_measured(
    slots: int, context_tokens: int, measured: int
) -> None:
    shape = read_shape(embedded_model_path())
    need = predict_memory(shape, slots=slots, context_tokens=context_tokens, batch_tokens=64)
    assert measured <= need.total <= measured * 1.15


def test_every_slot_and_token_costs_the_same_cache(tiny: ModelShape) -> None:
    one = predict_memory(tiny, slots=1, context_tokens=100, batch_tokens=32)
    many = predict_memory(tiny, slots=3, context_tokens=100, batch_tokens=32)
    assert many.cache == 3 * one.cache == 3 * 100 * tiny.cache_bytes_per_token
    assert many.weights == one.weights == 64


def test_what_fits_is_let_through() -> None:
    refuse_too_little_memory(NEED, available=200_000_000)
    refuse_too_little_memory(NEED, available=900_000_000, cap=200_000_000)


def test_what_does_not_fit_is_refused_with_the_numbers() -> None:
    with pytest.raises(ModelError, match=r"takes 200 MB .*, free are 199 MB: ") as caught:
        refuse_too_little_memory(NEED, available=199_000_000, cap=500_000_000)
    assert caught.value.reason == "no_memory"
    with pytest.raises(ModelError, match="the memory cap allows 150 MB"):
        refuse_too_little_memory(NEED, available=900_000_000, cap=150_000_000)
