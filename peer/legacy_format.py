"""What a model file of before GGUF says about itself, read without loading it.

Those files carry neither their architecture nor the sizes of what is in them: a reader must
be told what they are, and the library that still reads them believes it. A file called by
another architecture's name made it write past its buffers. So nothing is left to it: the
whole table of tensors is walked here, in bounded time and memory, and must be exactly the
one that the architecture and the numbers in the header call for.

Two architectures, in the layouts that ctransformers 0.2.27 reads: GPT-2 as GGML, LLaMA as
GGMF and GGJT. Every number is a 32-bit integer, little endian.
"""

import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal, get_args

import msgspec
from msgspec import Meta

from peerllm.peer.errors import LoadFault, ModelError
from peerllm.peer.gguf import GGUF_MAGIC, TENSOR_BLOCKS, ModelShape
from peerllm.peer.legacy_tensors import LegacyTensor, gpt2_tensors, llama_tensors, values_of
from peerllm.peer.memory import MemoryNeed, predict_memory

LegacyArchitecture = Literal["gpt2", "llama"]
LEGACY_ARCHITECTURES: Final[tuple[LegacyArchitecture, ...]] = get_args(LegacyArchitecture)

# Templates in circulation have at most a few thousand characters.
MAXIMUM_TEMPLATE: Final = 16_384
# Prompt tokens taken in one step; the library's own default.
PIECE_TOKENS: Final = 8

_GGML: Final = b"lmgg"
_GGMF: Final = b"fmgg"
_GGJT: Final = b"tjgg"
# Tensors of GGJT begin at multiples of this.
_ALIGNMENT: Final = 32
# LLaMA's first generation. Its second has 4096, but no file of this kind tells them apart.
_LLAMA_CONTEXT_TOKENS: Final = 2048

# Four times the largest vocabulary, block count, width and context ever so published.
_MAXIMUM_VOCABULARY: Final = 262_144
_MAXIMUM_TOKEN_BYTES: Final = 1024
_MAXIMUM_BLOCKS: Final = 320
_MAXIMUM_WIDTH: Final = 32_768
_MAXIMUM_CONTEXT: Final = 8192
_MAXIMUM_NAME_BYTES: Final = 128

# What the header calls the weights' type -> ggml's type of the matrices.
_MATRIX_TYPES: Final = {
    0: 0,  # F32
    1: 1,  # F16
    2: 2,  # Q4_0
    3: 3,  # Q4_1
    7: 8,  # Q8_0
    8: 6,  # Q5_0
    9: 7,  # Q5_1
}
# Of quantized weights; the two before laid their bits out otherwise, and the library reads
# them as noise.
_QUANTIZATION_VERSION: Final = 2
_QUANTIZATION_FACTOR: Final = 1000
# Types of quantized weights in LLaMA files, with Q2_K to Q6_K.
_LLAMA_TYPES: Final = frozenset({0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14})
# Weights' types that files of each layout hold in a form that is still read.
_LLAMA_LAYOUTS: Final[Mapping[tuple[bytes, int], frozenset[int]]] = {
    (_GGMF, 1): frozenset({0, 1}),
    (_GGJT, 1): frozenset({0, 1}),
    (_GGJT, 2): frozenset({0, 1, *range(8, 19)}),
    (_GGJT, 3): frozenset({0, 1, 2, 3, *range(7, 19)}),
}
# The library takes any file so named for LLaMA 2 70B, and then ends its process.
_MISREAD_PATH: Final = re.compile(r"(\b|_)70b(\b|_)", re.IGNORECASE)
# For GPT-2 the library computes in one pool of this size, and ends its process when it is full.
_POOL_BYTES: Final = 256 * 1024 * 1024
# Of the pool, kept for what is counted per node and not per token. A model of the width and
# blocks of GPT-2 large ends the process between 948 and 968 tokens; it is offered with 878.
_POOL_SPARE_BYTES: Final = 16 * 1024 * 1024
_FLOAT: Final = 4
# For LLaMA it keeps tables of what to compute (measured: 25 MB more than is counted, 22 blocks).
_TABLE_BYTES: Final = 40_000_000


class LegacyFormat(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file of before GGUF does not say of itself, in its owner's words."""

    architecture: LegacyArchitecture
    # Empty: the plain one of `peerllm.peer.legacy_template`.
    chat_template: Annotated[str, Meta(max_length=MAXIMUM_TEMPLATE)] = ""


def read_legacy_shape(path: Path, architecture: LegacyArchitecture) -> ModelShape:
    """Read what the file says, as a model of this architecture.

    Raises `ModelError`, in one sentence, unless every byte of the file is accounted for.
    """
    try:
        with path.open("rb") as file:
            reader = _Reader(path, file, architecture)
            return reader.gpt2() if architecture == "gpt2" else reader.llama()
    except OSError as error:
        raise ModelError(
            "missing_file", f"the model file {path} cannot be read: {error.strerror}"
        ) from None


def usable_context(shape: ModelShape) -> int:
    """The longest sequence that the library computes without running out of its own pool."""
    if shape.architecture != "gpt2":
        return shape.trained_context_tokens
    wide = PIECE_TOKENS * shape.embedding
    # Values alive per block: 46 of the model's width for each token of a piece, and for
    # each token before it one row of values and one column of attention.
    fixed = shape.blocks * 46 * wide + PIECE_TOKENS * shape.vocabulary
    each = shape.blocks * (shape.embedding + shape.heads * PIECE_TOKENS)
    left = (_POOL_BYTES - _POOL_SPARE_BYTES) // _FLOAT - fixed
    return max(0, min(shape.trained_context_tokens, left // each))


def predict_legacy_memory(shape: ModelShape, *, context_tokens: int) -> MemoryNeed:
    """What serving one answer of so many tokens, or as many as can be, will take, in bytes."""
    is_gpt2 = shape.architecture == "gpt2"
    # GPT-2's cache is as long as the model's context, however little of it is used.
    longest = shape.trained_context_tokens
    need = predict_memory(
        shape,
        slots=1,
        context_tokens=longest if is_gpt2 else min(context_tokens, longest),
        batch_tokens=PIECE_TOKENS,
    )
    computing = _POOL_BYTES if is_gpt2 else need.computing + _TABLE_BYTES
    return MemoryNeed(need.weights, need.cache, computing, need.process)


class _Reader:
    """Reads one file from start to end."""

    def __init__(self, path: Path, file: BinaryIO, architecture: LegacyArchitecture) -> None:
        self._path = path
        self._file = file
        self._architecture = architecture
        self._size = file.seek(0, 2)
        file.seek(0)
        self._at = 0
        self._single_bytes: set[bytes] = set()

    def gpt2(self) -> ModelShape:
        self._magic(_GGML)
        vocabulary = self._bounded("tokens", 1, _MAXIMUM_VOCABULARY)
        context = self._bounded("tokens of context", 1, _MAXIMUM_CONTEXT)
        width = self._bounded("numbers of its width", 1, _MAXIMUM_WIDTH)
        heads = self._bounded("heads", 1, width)
        blocks = self._bounded("blocks", 1, _MAXIMUM_BLOCKS)
        version, weights = divmod(self._number(), _QUANTIZATION_FACTOR)
        if weights not in _MATRIX_TYPES:
            raise self._foreign(f"its weights are of the unknown type {weights}")
        matrix = _MATRIX_TYPES[weights]
        if matrix > 1 and version != _QUANTIZATION_VERSION:
            raise self._too_old(f"quantization version {version}")
        if width % heads:
            raise self._foreign(f"{heads} heads do not divide a width of {width}")
        if self._number() != vocabulary:
            raise self._foreign("it names two numbers of tokens")
        self._vocabulary(vocabulary, scored=False)
        header_bytes = self._at
        expected = gpt2_tensors(vocabulary, context, width, blocks, matrix)
        bytes_of = self._tensors(expected, aligned=False)
        parameters = sum(values_of(expected[name]) for name in bytes_of)
        # Where the file has no output matrix, the library copies the embedding.
        copied = 0 if "model/lm_head" in bytes_of else bytes_of["model/wte"]
        return self._shape(
            parameters=parameters,
            weight_bytes=sum(bytes_of.values()) + copied,
            header_bytes=header_bytes,
            blocks=blocks,
            embedding=width,
            feed_forward=4 * width,
            heads=heads,
            cache_value_bytes=4,
            vocabulary=vocabulary,
            context=context,
        )

    def llama(self) -> ModelShape:
        if _MISREAD_PATH.search(str(self._path)):
            raise ModelError(
                "unloadable",
                f"the library would take {self._path} for LLaMA 2 70B by its name: "
                "move the file to a path without 70b in it",
            )
        magic = self._magic(_GGMF, _GGJT)
        version = self._number()
        if (magic, version) not in _LLAMA_LAYOUTS:
            raise self._foreign(f"its layout has the unknown version {version}")
        vocabulary = self._bounded("tokens", 3, _MAXIMUM_VOCABULARY)
        width = self._bounded("numbers of its width", 1, _MAXIMUM_WIDTH)
        multiple = self._bounded("numbers its feed-forward width is a multiple of", 1, 65_536)
        heads = self._bounded("heads", 1, width)
        blocks = self._bounded("blocks", 1, _MAXIMUM_BLOCKS)
        rotated = self._number()
        if width % heads or rotated != width // heads:
            raise self._foreign(f"{heads} heads of {rotated} do not make a width of {width}")
        weights = self._number()
        if weights not in _LLAMA_LAYOUTS[magic, version]:
            raise self._too_old(f"weights of type {weights} in layout {version}")
        self._vocabulary(vocabulary, scored=True)
        if len(self._single_bytes) < 256:
            # The library ends its process over a text that it cannot spell in bytes.
            raise self._foreign(f"its vocabulary has {len(self._single_bytes)} of 256 single bytes")
        header_bytes = self._at
        feed_forward = -(-(8 * width // 3) // multiple) * multiple
        expected = llama_tensors(vocabulary, width, feed_forward, blocks)
        bytes_of = self._tensors(expected, aligned=magic == _GGJT)
        return self._shape(
            parameters=sum(map(values_of, expected.values())),
            weight_bytes=sum(bytes_of.values()),
            header_bytes=header_bytes,
            blocks=blocks,
            embedding=width,
            feed_forward=feed_forward,
            heads=heads,
            cache_value_bytes=2,
            vocabulary=vocabulary,
            context=_LLAMA_CONTEXT_TOKENS,
        )

    def _shape(self, *, cache_value_bytes: int, context: int, **numbers: int) -> ModelShape:
        return ModelShape(
            architecture=self._architecture,
            name="",
            license="",
            cache_bytes_per_token=2 * numbers["blocks"] * numbers["embedding"] * cache_value_bytes,
            trained_context_tokens=context,
            # The owner's, or a plain one.
            has_chat_template=True,
            parameters=numbers["parameters"],
            weight_bytes=numbers["weight_bytes"],
            header_bytes=numbers["header_bytes"],
            blocks=numbers["blocks"],
            embedding=numbers["embedding"],
            feed_forward=numbers["feed_forward"],
            heads=numbers["heads"],
            vocabulary=numbers["vocabulary"],
        )

    def _magic(self, *known: bytes) -> bytes:
        magic = self._take(4)
        if magic == GGUF_MAGIC:
            raise ModelError(
                "unloadable",
                f"{self._path} is a GGUF file, which is for llama.cpp: add it without --engine",
            )
        if magic not in known:
            names = {_GGML: "GGML", _GGMF: "GGMF", _GGJT: "GGJT"}
            found = names.get(magic, "unknown")
            wanted = " or ".join(names[one] for one in known)
            raise self._foreign(
                f"its layout is {found}, models of this kind are {wanted}", "unloadable"
            )
        return magic

    def _vocabulary(self, count: int, *, scored: bool) -> None:
        for _ in range(count):
            length = self._bounded("bytes in a token", 0, _MAXIMUM_TOKEN_BYTES)
            token = self._take(length)
            if length == 1:
                self._single_bytes.add(token)
            if scored:
                self._take(4)

    def _tensors(self, expected: Mapping[str, LegacyTensor], *, aligned: bool) -> dict[str, int]:
        """Walk all tensors up to the file's end; gives their bytes."""
        found: dict[str, int] = {}
        while self._at < self._size:
            dimensions = self._bounded("dimensions of a tensor", 1, 2)
            length = self._bounded("bytes in a tensor's name", 1, _MAXIMUM_NAME_BYTES)
            kind = self._number()
            lengths = tuple(self._number() for _ in range(dimensions))
            name = self._take(length).decode("ascii", "replace")
            tensor = expected.get(name)
            if tensor is None or name in found:
                raise self._foreign("it has a tensor that such a model does not have")
            kinds = _LLAMA_TYPES if tensor.kind is None else {tensor.kind}
            if lengths != tensor.dimensions or kind not in kinds:
                raise self._foreign(
                    f"the tensor {name} has the dimensions {list(lengths)} and type {kind}, "
                    f"expected {list(tensor.dimensions)} and type {sorted(kinds)}"
                )
            values, block_bytes = TENSOR_BLOCKS[kind]
            if lengths[0] % values:
                raise self._foreign(f"the tensor {name} has rows that are no whole blocks")
            if aligned:
                self._skip(-self._at % _ALIGNMENT)
            found[name] = values_of(tensor) // values * block_bytes
            self._skip(found[name])
        missing = [name for name, one in expected.items() if name not in found and not one.optional]
        if missing:
            raise self._foreign(f"{len(missing)} of its tensors are missing, {missing[0]} first")
        return found

    def _bounded(self, what: str, lowest: int, highest: int) -> int:
        number = self._number()
        if not lowest <= number <= highest:
            raise self._foreign(f"{what}: from {lowest} to {highest} are possible, found {number}")
        return number

    def _number(self) -> int:
        number: int = struct.unpack("<I", self._take(4))[0]
        return number

    def _take(self, count: int) -> bytes:
        self._advance(count)
        raw = self._file.read(count)
        if len(raw) < count:
            raise self._foreign("it became shorter while it was read")
        return raw

    def _skip(self, count: int) -> None:
        self._advance(count)
        self._file.seek(self._at)

    def _advance(self, count: int) -> None:
        self._at += count
        if self._at > self._size:
            raise self._foreign(f"it ends at byte {self._size}, in the middle of its contents")

    def _foreign(self, why: str, reason: LoadFault = "unloadable") -> ModelError:
        return ModelError(
            reason,
            f"the model file {self._path} is damaged or no {self._architecture} model: {why}",
        )

    def _too_old(self, what: str) -> ModelError:
        return ModelError(
            "unloadable",
            f"the model file {self._path} has {what}, which no library reads any more: "
            "convert the model anew from its source",
        )
