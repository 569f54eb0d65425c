"""What a GGUF file says about itself, read without loading it.

Format: ggml/docs/gguf.md. A model file comes from strangers, and the inference library
ends its process over some that lie: so every count, length and offset is checked here, in
bounded time and memory, before the library sees the file. Vocabularies are skipped over,
never kept: the largest take 16 MB.

The public package `gguf` was not taken for this: it builds every vocabulary entry as an
array (seconds, hundreds of megabytes), believes the counts it finds, and maps the file, so
that a file cut short while it is read ends the daemon.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from peerllm.peer.errors import LoadFault, ModelError

GGUF_MAGIC: Final = b"GGUF"
# What the engine's loader reads; version 1 predates every model in circulation.
GGUF_VERSIONS: Final = (2, 3)

# Eight times the largest header known (262,000 tokens with their scores, 16 MB).
_MAXIMUM_HEADER_BYTES: Final = 128 * 1024 * 1024
# Models have some fifty entries, and at most 60,000 tensors (experts kept one by one).
_MAXIMUM_ENTRIES: Final = 4096
_MAXIMUM_TENSORS: Final = 131_072
# The format's own bound on keys; tensors' names have at most 64 bytes in the library.
_MAXIMUM_KEY_BYTES: Final = 65_535
# A vocabulary of a quarter million tokens with twice as many merges fits in twice. Each is read
# for itself, at 2.5 microseconds: 16 million of no bytes at all took 39 seconds.
_MAXIMUM_ITEMS: Final = 2 * 1024 * 1024
# A chat template is a page or two. Longer texts are of no use here.
_MAXIMUM_KEPT_TEXT: Final = 1024 * 1024
# Keys and texts together; decoded, they may take four times as much memory.
_MAXIMUM_ALL_TEXT: Final = 16 * 1024 * 1024
# One number per block, as some models have for their heads.
_MAXIMUM_KEPT_NUMBERS: Final = 4096
_DEFAULT_ALIGNMENT: Final = 32
_LARGEST_DIMENSION: Final = 1 << 40
_LARGEST_WIDTH: Final = 1 << 24
_LARGEST_CONTEXT: Final = 1 << 32

_TEXT: Final = 8
_ARRAY: Final = 9
# Type number -> struct format of the fixed-size kinds.
_SCALARS: Final = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
# ggml's tensor types: number -> values in a block, bytes of a block (ggml-common.h).
TENSOR_BLOCKS: Final = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    9: (32, 36),  # Q8_1
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    15: (256, 292),  # Q8_K
    16: (256, 66),  # IQ2_XXS
    17: (256, 74),  # IQ2_XS
    18: (256, 98),  # IQ3_XXS
    19: (256, 50),  # IQ1_S
    20: (32, 18),  # IQ4_NL
    21: (256, 110),  # IQ3_S
    22: (256, 82),  # IQ2_S
    23: (256, 136),  # IQ4_XS
    24: (1, 1),  # I8
    25: (1, 2),  # I16
    26: (1, 4),  # I32
    27: (1, 8),  # I64
    28: (1, 8),  # F64
    29: (256, 56),  # IQ1_M
    30: (1, 2),  # BF16
    34: (256, 54),  # TQ1_0
    35: (256, 66),  # TQ2_0
    39: (32, 17),  # MXFP4
    40: (64, 36),  # NVFP4
    41: (128, 18),  # Q1_0
    42: (64, 18),  # Q2_0
}

_Value = int | float | str | list[int] | None


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The numbers of a model that decide how it is served and what memory it takes."""

    architecture: str
    name: str
    license: str
    parameters: int
    # Bytes of all tensors, as they lie in the file.
    weight_bytes: int
    # Bytes before the tensors: metadata and vocabulary.
    header_bytes: int
    blocks: int
    embedding: int
    feed_forward: int
    heads: int
    # Bytes of keys and values that one token takes in all blocks, in 16-bit floats.
    cache_bytes_per_token: int
    vocabulary: int
    trained_context_tokens: int
    has_chat_template: bool


def read_shape(path: Path) -> ModelShape:
    """Read what the file says of itself. Raises `ModelError`, in one sentence with numbers."""
    try:
        with path.open("rb") as file:
            return _Header(path, file).shape()
    except OSError as error:
        raise ModelError(
            "missing_file", f"the model file {path} cannot be read: {error.strerror}"
        ) from None


class _Header:
    """Reads one file's header from start to end."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._size = file.seek(0, 2)
        file.seek(0)
        self._at = 0
        self._entries: dict[str, _Value] = {}
        self._lengths: dict[str, int] = {}
        self._items = 0
        self._text_bytes = 0

    def shape(self) -> ModelShape:
        self._check_start()
        tensors = self._number("<Q")
        entries = self._number("<Q")
        self._bound("tensors", tensors, 1, _MAXIMUM_TENSORS)
        self._bound("entries of metadata", entries, 1, _MAXIMUM_ENTRIES)
        for _ in range(entries):
            self._read_entry()
        alignment = self._entry("general.alignment", 1, 1 << 20, _DEFAULT_ALIGNMENT)
        parameters, weight_bytes = self._read_tensors(tensors, alignment)
        return self._shape(parameters, weight_bytes)

    def _check_start(self) -> None:
        head = self._file.read(8)
        self._at = 8
        if head[:4] != GGUF_MAGIC or len(head) < 8:
            raise ModelError("not_gguf", f"{self._path} is not a GGUF model file")
        version = int.from_bytes(head[4:8], "little")
        if version not in GGUF_VERSIONS:
            raise ModelError(
                "not_gguf",
                f"{self._path} is a GGUF of version {version}; versions 2 and 3 can be served",
            )

    def _read_entry(self) -> None:
        key = self._text(_MAXIMUM_KEY_BYTES, "a key of metadata")
        if key is None or key in self._entries:
            raise self._damaged("a key of metadata is unreadable or there twice")
        kind = self._number("<I")
        if kind == _TEXT:
            self._entries[key] = self._text(_MAXIMUM_KEPT_TEXT, "")
        elif kind == _ARRAY:
            self._entries[key] = self._array(key)
        elif kind in _SCALARS:
            self._entries[key] = self._number(_SCALARS[kind])
        else:
            raise self._damaged(f"an entry of metadata is of the unknown type {kind}")

    def _array(self, key: str) -> list[int] | None:
        kind, length = self._number("<I"), self._number("<Q")
        self._lengths[key] = length
        if kind == _TEXT:
            # Each text has a length of eight bytes at least.
            self._bound("texts in an array", length, 0, _MAXIMUM_HEADER_BYTES // 8)
            self._count_items(length)
            for _ in range(length):
                self._skip(self._number("<Q"))
            return None
        if kind not in _SCALARS:
            raise self._damaged(f"an array of metadata is of the unknown type {kind}")
        one = struct.calcsize(_SCALARS[kind])
        self._bound("numbers in an array", length, 0, _MAXIMUM_HEADER_BYTES // one)
        if length > _MAXIMUM_KEPT_NUMBERS:
            self._skip(length * one)
            return None
        self._count_items(length)
        return [self._number(_SCALARS[kind]) for _ in range(length)]

    def _count_items(self, count: int) -> None:
        self._items += count
        self._bound("texts and numbers in all arrays", self._items, 0, _MAXIMUM_ITEMS)

    def _read_tensors(self, count: int, alignment: int) -> tuple[int, int]:
        """Parameters, and bytes of all tensors; each must lie inside the file."""
        parameters = weight_bytes = furthest = 0
        for _ in range(count):
            self._text(_MAXIMUM_KEY_BYTES, "a tensor's name")
            values, size = self._tensor_size()
            offset = self._number("<Q")
            if offset % alignment:
                raise self._damaged(f"a tensor at offset {offset} is not aligned to {alignment}")
            parameters += values
            weight_bytes += size
            furthest = max(furthest, offset + size)
        start = -(-self._at // alignment) * alignment
        if start + furthest > self._size:
            raise self._damaged(
                f"its tensors end at byte {start + furthest}, the file has {self._size}: "
                "it was cut short"
            )
        return parameters, weight_bytes

    def _tensor_size(self) -> tuple[int, int]:
        dimensions = self._number("<I")
        self._bound("dimensions of a tensor", dimensions, 1, 4)
        values = row = 1
        for axis in range(dimensions):
            length = self._number("<Q")
            self._bound("values along a tensor", length, 1, _LARGEST_DIMENSION)
            values *= length
            row = length if axis == 0 else row
        kind = self._number("<I")
        if kind not in TENSOR_BLOCKS:
            raise self._damaged(f"a tensor is of the unknown type {kind}")
        block, block_bytes = TENSOR_BLOCKS[kind]
        if row % block:
            raise self._damaged(f"a tensor has rows of {row} values in blocks of {block}")
        return values, values // block * block_bytes

    def _shape(self, parameters: int, weight_bytes: int) -> ModelShape:
        architecture = self._entries.get("general.architecture")
        if not isinstance(architecture, str) or not re.fullmatch(r"[a-z0-9_-]{1,64}", architecture):
            raise self._damaged("it names no architecture")

        def entry(name: str, highest: int, absent: int | None = None) -> int:
            return self._entry(f"{architecture}.{name}", 1, highest, absent)

        blocks = entry("block_count", 4096)
        embedding = entry("embedding_length", _LARGEST_WIDTH)
        # Not every architecture has heads of attention; one then stands for none.
        heads = entry("attention.head_count", _LARGEST_WIDTH, 1)
        key = entry("attention.key_length", _LARGEST_WIDTH, max(1, embedding // heads))
        value = entry("attention.value_length", _LARGEST_WIDTH, key)
        cached = self._cached_heads(f"{architecture}.attention.head_count_kv", blocks, heads)
        return ModelShape(
            architecture=architecture,
            name=self._short_text("general.name"),
            license=self._short_text("general.license"),
            parameters=parameters,
            weight_bytes=weight_bytes,
            header_bytes=self._at,
            blocks=blocks,
            embedding=embedding,
            feed_forward=entry("feed_forward_length", _LARGEST_WIDTH, 4 * embedding),
            heads=heads,
            cache_bytes_per_token=2 * cached * (key + value),
            vocabulary=self._lengths.get("tokenizer.ggml.tokens", 0),
            trained_context_tokens=entry("context_length", _LARGEST_CONTEXT),
            has_chat_template=bool(self._entries.get("tokenizer.chat_template")),
        )

    def _cached_heads(self, key: str, blocks: int, heads: int) -> int:
        """Heads whose keys and values are kept, over all blocks."""
        found = self._entries.get(key)
        if isinstance(found, list):
            whole = all(isinstance(one, int) and 0 <= one <= _LARGEST_WIDTH for one in found)
            if len(found) != blocks or not whole:
                raise self._damaged(f"{key} must give a number of heads for each block")
            return sum(found)
        return blocks * self._entry(key, 1, _LARGEST_WIDTH, heads)

    def _entry(self, key: str, lowest: int, highest: int, absent: int | None) -> int:
        value = self._entries.get(key, absent)
        if isinstance(value, list) and value:
            # One number per block: the largest decides.
            value = max(value)
        if not isinstance(value, int):
            raise self._damaged(f"{key} is missing or no whole number")
        self._bound(key, value, lowest, highest)
        return value

    def _short_text(self, key: str) -> str:
        value = self._entries.get(key)
        # It will be shown in a terminal.
        return re.sub(r"[^ -~]+", "?", value)[:128] if isinstance(value, str) else ""

    def _number(self, layout: str) -> int:
        raw = self._take(struct.calcsize(layout))
        # A float is never asked for; it stands for "no whole number" where one is wanted.
        number: int = struct.unpack(layout, raw)[0]
        return number

    def _text(self, longest: int, what: str) -> str | None:
        """A text; None if it is no UTF-8, or longer than is kept."""
        length = self._number("<Q")
        if what:
            self._bound(f"bytes in {what}", length, 0, longest)
        elif length > longest:
            self._skip(length)
            return None
        self._text_bytes += length
        self._bound("bytes in all texts", self._text_bytes, 0, _MAXIMUM_ALL_TEXT)
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            return None

    def _take(self, count: int) -> bytes:
        self._advance(count)
        raw = self._file.read(count)
        if len(raw) < count:
            raise self._damaged("it became shorter while it was read")
        return raw

    def _skip(self, count: int) -> None:
        self._advance(count)
        self._file.seek(self._at)

    def _advance(self, count: int) -> None:
        self._at += count
        if self._at > min(self._size, _MAXIMUM_HEADER_BYTES):
            raise self._damaged(
                f"its metadata reaches byte {self._at}; the file has {self._size} "
                f"and metadata at most {_MAXIMUM_HEADER_BYTES}"
            )

    def _bound(self, what: str, number: int, lowest: int, highest: int) -> None:
        if not lowest <= number <= highest:
            raise self._damaged(f"{what}: from {lowest} to {highest} are possible, found {number}")

    def _damaged(self, why: str, reason: LoadFault = "unloadable") -> ModelError:
        return ModelError(reason, f"the model file {self._path} is damaged: {why}")
