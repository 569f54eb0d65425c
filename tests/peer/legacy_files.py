"""Small model files of before GGUF, made of noise, for tests."""

import random
import struct
from collections.abc import Iterator

WIDTH = 32
HEADS = 2
BLOCKS = 2
CONTEXT = 128
WORDS = [" the", " cat", " sat", " on", "hello", " world"]
END = "<|endoftext|>"
BYTES = [bytes([value]) for value in range(256)]

Tensor = tuple[str, list[int]]


def number(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def noise(tensors: list[Tensor], seed: int, *, aligned_from: int | None = None) -> bytes:
    """Tensor records of plain floats, one after another; GGJT begins each at a multiple of 32."""
    draw = random.Random(seed)
    raw = b""
    for name, lengths in tensors:
        raw += number(len(lengths), len(name), 0, *lengths) + name.encode()
        if aligned_from is not None:
            raw += bytes(-(aligned_from + len(raw)) % 32)
        count = lengths[0] * (lengths[1] if len(lengths) > 1 else 1)
        raw += struct.pack(f"<{count}f", *(draw.gauss(0, 0.4) for _ in range(count)))
    return raw


def gpt2_tensors(tokens: int) -> Iterator[Tensor]:
    yield "model/ln_f/g", [WIDTH]
    yield "model/ln_f/b", [WIDTH]
    yield "model/wte", [WIDTH, tokens]
    yield "model/wpe", [WIDTH, CONTEXT]
    for block in range(BLOCKS):
        at = f"model/h{block}"
        for norm in ("ln_1", "ln_2"):
            yield f"{at}/{norm}/g", [WIDTH]
            yield f"{at}/{norm}/b", [WIDTH]
        for name, rows, columns in [
            ("attn/c_attn", WIDTH, 3 * WIDTH),
            ("attn/c_proj", WIDTH, WIDTH),
            ("mlp/c_fc", WIDTH, 4 * WIDTH),
            ("mlp/c_proj", 4 * WIDTH, WIDTH),
        ]:
            yield f"{at}/{name}/w", [rows, columns]
            yield f"{at}/{name}/b", [columns]


def gpt2_file(seed: int = 1, tokens: list[bytes] | None = None) -> bytes:
    """GGML: a GPT-2 whose vocabulary is all bytes, a few words and the end of a text."""
    if tokens is None:
        tokens = [*BYTES, *(word.encode() for word in WORDS), END.encode()]
    head = b"lmgg" + number(len(tokens), CONTEXT, WIDTH, HEADS, BLOCKS, 0, len(tokens))
    vocabulary = b"".join(number(len(token)) + token for token in tokens)
    return head + vocabulary + noise(list(gpt2_tensors(len(tokens))), seed)


def llama_tensors(tokens: int) -> Iterator[Tensor]:
    # The width of the feed-forward part follows from the width and "multiple of".
    wide = -(-(8 * WIDTH // 3) // 16) * 16
    yield "tok_embeddings.weight", [WIDTH, tokens]
    yield "norm.weight", [WIDTH]
    yield "output.weight", [WIDTH, tokens]
    for block in range(BLOCKS):
        at = f"layers.{block}"
        for name in ("wq", "wk", "wv", "wo"):
            yield f"{at}.attention.{name}.weight", [WIDTH, WIDTH]
        yield f"{at}.attention_norm.weight", [WIDTH]
        yield f"{at}.feed_forward.w1.weight", [WIDTH, wide]
        yield f"{at}.feed_forward.w2.weight", [wide, WIDTH]
        yield f"{at}.feed_forward.w3.weight", [WIDTH, wide]
        yield f"{at}.ffn_norm.weight", [WIDTH]


def llama_file(
    seed: int = 1, *, magic: bytes = b"tjgg", version: int = 3, weights: int = 0
) -> bytes:
    """GGJT or GGMF: a LLaMA with a scored vocabulary, in which a text can spell its end."""
    tokens = ["\u2047".encode(), b"", b"</s>", *BYTES]
    tokens += [part.encode() for part in ("</", "s>", *WORDS)]
    head = magic + number(version, len(tokens), WIDTH, 16, HEADS, BLOCKS, WIDTH // HEADS, weights)
    scored = [number(len(token)) + token + struct.pack("<f", -1.0) for token in tokens]
    start = head + b"".join(scored)
    aligned = len(start) if magic == b"tjgg" else None
    return start + noise(list(llama_tensors(len(tokens))), seed, aligned_from=aligned)
