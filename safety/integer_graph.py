"""A network written node by node for onnxruntime, its large products in 8-bit integers.

The packaged encoders multiply their weights as floats, which takes two to three times as long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Values = NDArray[Any]


def seven_bits(steps: Values) -> NDArray[numpy.int8]:
    """Half of 8-bit weights: sums of two products would overflow on processors without VNNI.

    The same text must be judged alike everywhere (onnxruntime calls this a reduced range).
    """
    return numpy.rint(numpy.asarray(steps, dtype=numpy.float32) / 2).astype(numpy.int8)


def rounded(weights: Values) -> tuple[NDArray[numpy.int8], NDArray[numpy.float32]]:
    """A matrix in 7-bit steps, and the size of a step for each of its columns."""
    sizes = numpy.abs(weights).max(axis=0) / 63
    sizes[sizes == 0] = 1
    return numpy.rint(weights / sizes).astype(numpy.int8), sizes.astype(numpy.float32)


@dataclass(frozen=True, slots=True)
class Steps:
    """Values rounded to 8 bits: their steps, the size of one, and which step stands for zero."""

    steps: str
    size: str
    zero: str


class IntegerGraph:
    """The nodes and weights of one network; nodes are known by the name of what they yield."""

    def __init__(self) -> None:
        self._kept: list[onnx.TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []

    def node(self, kind: str, inputs: Sequence[str], domain: str = "", **settings: Any) -> str:
        """The one result of an operator."""
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], domain=domain, **settings))
        return name

    def split(self, whole: str, sizes: str, count: int) -> list[str]:
        """The last axis of `whole` in `count` parts, of the sizes in the tensor `sizes`."""
        parts = [f"{whole}_part{number}" for number in range(count)]
        self._nodes.append(helper.make_node("Split", [whole, sizes], parts, axis=-1))
        return parts

    def keep(self, name: str, values: Values) -> str:
        """Weights or constants under a name of their own."""
        self._kept.append(numpy_helper.from_array(values, name))
        return name

    def product(
        self, left: str, stem: str, steps: Values, sizes: Values, biases: Values | None = None
    ) -> str:
        """`left`, rounded to 8 bits as it comes, times a matrix of 7-bit steps, plus the biases."""
        inputs = [left, self.keep(f"{stem}_steps", steps), self.keep(f"{stem}_sizes", sizes), ""]
        if biases is not None:
            inputs.append(self.keep(f"{stem}_biases", biases))
        return self.node("DynamicQuantizeMatMul", inputs, "com.microsoft")

    def in_steps(self, values: str) -> Steps:
        """`values` as `product` rounds what it multiplies."""
        parts = [f"{values}_{part}" for part in ("steps", "size", "zero")]
        self._nodes.append(helper.make_node("DynamicQuantizeLinear", [values], parts))
        return Steps(*parts)

    def product_of_steps(
        self, left: Steps, stem: str, steps: Values, sizes: Values, biases: Values
    ) -> str:
        """`product` of what is rounded already: the same numbers."""
        weights = [self.keep(f"{stem}_steps", steps), self.keep(f"{stem}_sizes", sizes)]
        inputs = [left.steps, weights[0], left.size, weights[1], left.zero, ""]
        kept = self.keep(f"{stem}_biases", biases)
        return self.node("MatMulIntegerToFloat", [*inputs, kept], "com.microsoft")

    def normed(self, values: str, gain: str, bias: str, epsilon: float) -> str:
        """Layer normalisation over the last axis."""
        return self.node("LayerNormalization", [values, gain, bias], axis=-1, epsilon=epsilon)

    def rows(self, table: str, numbers: str) -> str:
        """Rows of a table of 8-bit numbers, as floats."""
        return self.node("Cast", [self.node("Gather", [table, numbers])], to=TensorProto.FLOAT)

    def session(self, result: str, dimensions: int) -> onnxruntime.InferenceSession:
        """The network from `pieces`, the numbers of word pieces, to `result`, on one thread.

        Judging shares the machine with everything else; a second thread gains little.
        """
        self._nodes.append(helper.make_node("Identity", [result], ["encoded"]))
        graph = helper.make_graph(
            self._nodes,
            "encoder",
            [helper.make_tensor_value_info("pieces", TensorProto.INT64, ["pieces"])],
            [helper.make_tensor_value_info("encoded", TensorProto.FLOAT, [dimensions])],
            self._kept,
        )
        operators = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=operators, ir_version=9)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


def encoded(session: onnxruntime.InferenceSession, pieces: Sequence[int]) -> NDArray[numpy.float32]:
    """What the network makes of these word pieces."""
    (values,) = session.run(None, {"pieces": numpy.array(pieces, dtype=numpy.int64)})
    return numpy.asarray(values, dtype=numpy.float32)
