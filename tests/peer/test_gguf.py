import ctypes
import os
import struct
from pathlib import Path
from typing import Any

import llama_cpp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peerllm.peer.errors import ModelError
from peerllm.peer.gguf import TENSOR_BLOCKS, read_shape
from peerllm.peer.models import embedded_model_path
from tests.peer.gguf_files import SHAPE, entry, gguf, tensor, text, tiny_gguf

ENTRIES = [entry(key, value) for key, value in SHAPE.items()]


def refusal(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_shape(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_real_model_is_read_without_loading_it() -> None:
    shape = read_shape(embedded_model_path())
    assert shape.architecture == "llama"
    assert shape.parameters == 134_515_008
    assert (shape.blocks, shape.heads, shape.vocabulary) == (30, 9, 49152)
    assert shape.trained_context_tokens == 8192
    assert shape.has_chat_template
    # 30 blocks of 3 heads of 64 numbers for keys and as many for values, 2 bytes each.
    assert shape.cache_bytes_per_token == 30 * 3 * 64 * 2 * 2
    rounding = 32 + shape.header_bytes
    assert 0 <= embedded_model_path().stat().st_size - shape.weight_bytes <= rounding


def test_a_tiny_model_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf())
    shape = read_shape(path)
    assert (shape.name, shape.parameters, shape.weight_bytes) == ("tiny", 16, 64)
    assert shape.cache_bytes_per_token == 2 * 2 * (4 + 4) * 2
    assert shape.vocabulary == 3
    path.write_bytes(tiny_gguf(llama__attention__head_count_kv=[1, 0]))
    assert read_shape(path).cache_bytes_per_token == 1 * (4 + 4) * 2


def test_tensor_types_are_those_of_the_library() -> None:
    folder = Path(llama_cpp.__file__).parent / "lib"
    (found,) = list(folder.glob("*ggml-base.so")) + list(folder.glob("*ggml-base.dylib"))
    library = ctypes.CDLL(str(found))
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_blck_size.restype = ctypes.c_int64
    for kind, block in TENSOR_BLOCKS.items():
        assert (library.ggml_blck_size(kind), library.ggml_type_size(kind)) == block


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"llama__block_count": 0}, "llama.block_count: from 1 to 4096 are possible, found 0"),
        ({"llama__block_count": 4_000_000_000}, "found 4000000000"),
        ({"llama__attention__head_count": 0}, "found 0"),
        ({"llama__embedding_length": 1 << 31}, "found 2147483648"),
        ({"llama__context_length": None}, "llama.context_length is missing"),
        ({"llama__context_length": "long"}, "no whole number"),
        ({"llama__context_length": 1.5}, "no whole number"),
        ({"llama__attention__head_count_kv": [1]}, "for each block"),
        ({"general__architecture": None}, "no architecture"),
        ({"general__architecture": "a b"}, "no architecture"),
        ({"general__alignment": 0}, "general.alignment: from 1"),
    ],
)
def test_metadata_that_lies_is_named(tmp_path: Path, changes: Any, said: str) -> None:
    assert said in refusal(tmp_path, tiny_gguf(**changes))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tiny_gguf()[:-1], "it was cut short"),
        (tiny_gguf()[:100], "its metadata reaches byte"),
        (tiny_gguf()[:8] + b"\xff" * 8 + tiny_gguf()[16:], "found 18446744073709551615"),
        (tiny_gguf()[:16] + b"\xff" * 8 + tiny_gguf()[24:], "found 18446744073709551615"),
        (gguf([(1 << 60).to_bytes(8, "little")], [tensor([1])], b""), "bytes in a key"),
        (gguf([text("k") + b"\x09\0\0\0\x08\0\0\0" + b"\xff" * 8], [tensor([1])], b""), "texts"),
        (gguf([text("k") + b"\x63\0\0\0"], [tensor([1])], b""), "unknown type 99"),
        (gguf([*ENTRIES, ENTRIES[0]], [tensor([1])], b""), "there twice"),
        (gguf(ENTRIES, [tensor([1 << 40, 1 << 40])], b""), "it was cut short"),
        (gguf(ENTRIES, [tensor([1 << 41])], b""), "values along a tensor"),
        (gguf(ENTRIES, [tensor([0])], b""), "values along a tensor"),
        (gguf(ENTRIES, [tensor([1] * 5)], b""), "dimensions of a tensor"),
        (gguf(ENTRIES, [tensor([16], kind=99)], b""), "unknown type 99"),
        (gguf(ENTRIES, [tensor([16], kind=2)], b""), "rows of 16 values in blocks of 32"),
        (gguf(ENTRIES, [tensor([16], offset=7)], bytes(99)), "not aligned"),
        (gguf(ENTRIES, [tensor([16], offset=1 << 50)], bytes(99)), "it was cut short"),
    ],
)
def test_a_damaged_file_is_one_sentence_with_numbers(
    tmp_path: Path, content: bytes, said: str
) -> None:
    assert said in refusal(tmp_path, content)


def test_millions_of_empty_words_are_refused_before_any_is_read(tmp_path: Path) -> None:
    many = text("k") + struct.pack("<IIQ", 9, 8, 15_000_000)
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf([many], [tensor([1])], b""))
    # All of them are there: no bytes of words, eight of each one's length.
    os.truncate(path, 8 * 15_000_000 + 1000)
    with pytest.raises(
        ModelError, match="in all arrays: from 0 to 2097152 are possible, found 15000000"
    ):
        read_shape(path)


def test_arrays_and_texts_are_bounded_together(tmp_path: Path) -> None:
    numbers = [text(f"k{at}") + struct.pack("<IIQ", 9, 0, 4096) + bytes(4096) for at in range(513)]
    assert "found 2101248" in refusal(tmp_path, gguf(numbers, [tensor([1])], b""))
    texts = [entry(f"k{at}", "x" * 1024 * 1024) for at in range(17)]
    assert "bytes in all texts" in refusal(tmp_path, gguf(texts, [tensor([1])], b""))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 700), garbage=st.binary(min_size=1, max_size=12))
def test_garbage_never_raises_anything_else(tmp_path: Path, at: int, garbage: bytes) -> None:
    whole = tiny_gguf()
    path = tmp_path / "garbled.gguf"
    path.write_bytes(whole[:at] + garbage + whole[at + len(garbage) :])
    try:
        shape = read_shape(path)
    except ModelError:
        return
    assert shape.blocks >= 1
