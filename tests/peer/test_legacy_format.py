from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.peer.errors import ModelError
from peerllm.peer.gguf import ModelShape
from peerllm.peer.legacy_format import (
    LegacyArchitecture,
    predict_legacy_memory,
    read_legacy_shape,
    usable_context,
)
from tests.peer.gguf_files import tiny_gguf
from tests.peer.legacy_files import BLOCKS, CONTEXT, WIDTH, gpt2_file, llama_file, number

GPT2 = gpt2_file()
LLAMA = llama_file()
WHOLE: dict[LegacyArchitecture, bytes] = {"gpt2": GPT2, "llama": LLAMA}


def read(folder: Path, raw: bytes, architecture: LegacyArchitecture) -> ModelShape:
    path = folder / "model.bin"
    path.write_bytes(raw)
    return read_legacy_shape(path, architecture)


def refused(folder: Path, raw: bytes, architecture: LegacyArchitecture) -> str:
    with pytest.raises(ModelError) as caught:
        read(folder, raw, architecture)
    assert caught.value.reason == "unloadable"
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def replaced(raw: bytes, at: int, value: int) -> bytes:
    return raw[:at] + number(value) + raw[at + 4 :]


def test_what_a_file_says_is_read_and_memory_known(tmp_path: Path) -> None:
    gpt2 = read(tmp_path, GPT2, "gpt2")
    assert (gpt2.blocks, gpt2.embedding, gpt2.trained_context_tokens) == (BLOCKS, WIDTH, CONTEXT)
    # Keys and values as 32-bit floats; the embedding is kept twice, as output matrix too.
    assert gpt2.cache_bytes_per_token == 2 * BLOCKS * WIDTH * 4
    assert gpt2.weight_bytes == 4 * (gpt2.parameters + WIDTH * gpt2.vocabulary)
    llama = read(tmp_path, LLAMA, "llama")
    assert llama.cache_bytes_per_token == 2 * BLOCKS * WIDTH * 2
    assert (llama.feed_forward, llama.trained_context_tokens) == (96, 2048)
    assert read(tmp_path, llama_file(magic=b"fmgg", version=1), "llama") == llama
    # The cache of a GPT-2 is reserved for its whole context.
    assert predict_legacy_memory(gpt2, context_tokens=8).cache == CONTEXT * 2 * BLOCKS * WIDTH * 4
    assert predict_legacy_memory(llama, context_tokens=8).cache == 8 * 2 * BLOCKS * WIDTH * 2


def test_the_largest_gpt2_is_offered_with_the_context_its_library_computes() -> None:
    def shaped(blocks: int, width: int, heads: int) -> ModelShape:
        return ModelShape(
            architecture="gpt2",
            name="",
            license="",
            parameters=1,
            weight_bytes=1,
            header_bytes=1,
            blocks=blocks,
            embedding=width,
            feed_forward=4 * width,
            heads=heads,
            cache_bytes_per_token=1,
            vocabulary=50_257,
            trained_context_tokens=1024,
            has_chat_template=True,
        )

    assert usable_context(shaped(24, 1024, 16)) == 1024
    assert 256 < usable_context(shaped(48, 1600, 25)) < 512
    assert usable_context(shaped(300, 30_000, 10)) == 0


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_file_cut_anywhere_or_lengthened_is_refused(
    tmp_path: Path, architecture: LegacyArchitecture
) -> None:
    whole = WHOLE[architecture]
    for length in (0, 3, 4, 20, 600, len(whole) // 2, len(whole) - 1):
        refused(tmp_path, whole[:length], architecture)
    refused(tmp_path, whole + b"\0", architecture)


@pytest.mark.parametrize(
    ("raw", "architecture", "why"),
    [
        (GPT2, "llama", "its layout is GGML, models of this kind are GGMF or GGJT"),
        (LLAMA, "gpt2", "its layout is GGJT, models of this kind are GGML"),
        (b"PK\3\4 a zip file", "gpt2", "its layout is unknown"),
        (tiny_gguf(), "llama", "which is for llama.cpp"),
        (replaced(GPT2, 4, 2**31), "gpt2", "tokens: from 1 to 262144 are possible"),
        (replaced(GPT2, 16, 0), "gpt2", "heads: from 1 to 32 are possible, found 0"),
        (replaced(GPT2, 16, 5), "gpt2", "5 heads do not divide a width of 32"),
        (replaced(GPT2, 20, 3), "gpt2", "of its tensors are missing, model/h2/ln_1/g first"),
        (replaced(GPT2, 24, 5), "gpt2", "weights are of the unknown type 5"),
        # A number of the quantization before last: read, it would be noise.
        (replaced(GPT2, 24, 1002), "gpt2", "quantization version 1, which no library reads"),
        (replaced(GPT2, 28, 9), "gpt2", "two numbers of tokens"),
        (replaced(GPT2, 32, 2**20), "gpt2", "bytes in a token: from 0 to 1024 are possible"),
        (gpt2_file(tokens=[b"a"])[:-60], "gpt2", "in the middle of its contents"),
        (replaced(LLAMA, 4, 4), "llama", "unknown version 4"),
        (replaced(LLAMA, 28, 5), "llama", "2 heads of 5 do not make a width of 32"),
        (llama_file(version=1, weights=2), "llama", "weights of type 2 in layout 1, which no"),
        (LLAMA.replace(b"wq.weight", b"wx.weight", 1), "llama", "does not have"),
        (LLAMA.replace(b"layers.1.attention.wq", b"layers.0.attention.wq"), "llama", "not have"),
        (LLAMA.replace(number(1) + b"a", number(1) + b"b", 1), "llama", "255 of 256 single bytes"),
    ],
)
def test_whatever_does_not_fit_together_is_refused_with_its_reason(
    tmp_path: Path, raw: bytes, architecture: LegacyArchitecture, why: str
) -> None:
    assert why in refused(tmp_path, raw, architecture)


@pytest.mark.parametrize(
    "alter",
    [
        # Three dimensions would overwrite the library's stack, two others its heap.
        lambda at: replaced(GPT2, at, 3),
        lambda at: replaced(GPT2, at + 12, 2**31),
        lambda at: replaced(GPT2, at + 8, 1),
        lambda at: replaced(GPT2, at + 4, 2**30),
    ],
)
def test_a_tensor_of_another_size_is_refused(tmp_path: Path, alter: Callable[[int], bytes]) -> None:
    refused(tmp_path, alter(GPT2.index(b"model/ln_f/g") - 16), "gpt2")


def test_a_path_that_the_library_would_misread_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "llama-70b"
    folder.mkdir()
    assert "without 70b in it" in refused(folder, LLAMA, "llama")


def test_an_absent_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        read_legacy_shape(tmp_path / "absent.bin", "gpt2")
    assert caught.value.reason == "missing_file"


@given(st.data())
def test_no_altered_header_does_anything_but_pass_or_be_refused(
    tmp_path_factory: Any, data: st.DataObject
) -> None:
    architecture: LegacyArchitecture = data.draw(st.sampled_from(["gpt2", "llama"]))
    raw = bytearray(WHOLE[architecture])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, 6000))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "altered.bin"
    path.write_bytes(raw)
    try:
        shape = read_legacy_shape(path, architecture)
    except ModelError:
        return
    assert shape.architecture == architecture
