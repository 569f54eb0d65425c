"""Small GGUF files, whole and broken, for tests."""

import struct
from collections.abc import Mapping

TENSORS_BYTES = 64
SHAPE: Mapping[str, int | str | list[str]] = {
    "general.architecture": "llama",
    "general.name": "tiny",
    "llama.block_count": 2,
    "llama.embedding_length": 16,
    "llama.feed_forward_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 128,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
}


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def entry(key: str, value: int | str | list[str] | list[int] | float) -> bytes:
    match value:
        case int():
            return text(key) + struct.pack("<II", 4, value)
        case float():
            return text(key) + struct.pack("<If", 6, value)
        case str():
            return text(key) + struct.pack("<I", 8) + text(value)
        case [str(), *_]:
            items = b"".join(text(str(item)) for item in value)
            return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + items
        case _:
            items = b"".join(struct.pack("<I", item) for item in value)
            return text(key) + struct.pack("<IIQ", 9, 4, len(value)) + items


def tensor(dimensions: list[int], kind: int = 0, offset: int = 0) -> bytes:
    shape = b"".join(struct.pack("<Q", length) for length in dimensions)
    head = text("token_embd.weight") + struct.pack("<I", len(dimensions))
    return head + shape + struct.pack("<IQ", kind, offset)


def gguf(entries: list[bytes], tensors: list[bytes], data: bytes, version: int = 3) -> bytes:
    counts = struct.pack("<IQQ", version, len(tensors), len(entries))
    head = b"GGUF" + counts + b"".join(entries) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + data


def tiny_gguf(**changes: int | str | float | list[int] | list[str] | None) -> bytes:
    """A file as small as can be; changes by key, dots written as two underscores."""
    entries = dict(SHAPE) | {key.replace("__", "."): value for key, value in changes.items()}
    written = [entry(key, value) for key, value in entries.items() if value is not None]
    return gguf(written, [tensor([16])], bytes(TENSORS_BYTES))
