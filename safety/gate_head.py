"""The small network that weighs what the sentence encoder sees in a stretch of text."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy

from peerllm.safety.errors import ModelFileError
from peerllm.safety.gate_categories import CATEGORIES, DEEDS, Floats

# Keeps a number of the encoding that hardly varies from being blown up.
SMALLEST_SPREAD: Final = 1e-3
# Of a wider product BLAS wakes all cores, which then spin for longer than the product takes: a
# verdict took twice the processor time for the same time by the clock.
_COLUMNS: Final = 192


@dataclass(frozen=True, slots=True)
class Head:
    """One hidden layer beside a straight connection, one logit for each category.

    `lexical` is what one unit of the lexical gate's suspicion of the whole text adds, `bound` how
    far hidden parts count on the whole (`gate_categories.counted`).
    """

    PARTS: ClassVar = (
        "mean", "spread", "inner", "inner_bias", "outer", "outer_bias", "straight", "lexical",
        "bound",
    )  # fmt: skip

    mean: Floats
    spread: Floats
    inner: Floats
    inner_bias: Floats
    outer: Floats
    outer_bias: Floats
    straight: Floats
    lexical: Floats
    bound: Floats

    def fits(self, dimensions: int, categories: int) -> bool:
        """Whether the shapes agree with each other, the encoder and the categories."""
        hidden = self.inner_bias.size
        return (
            self.mean.shape == self.spread.shape == (dimensions,)
            and self.inner.shape == (dimensions, hidden)
            and self.outer.shape == (hidden, categories)
            and self.straight.shape == (dimensions, categories)
            and self.outer_bias.shape == self.lexical.shape == (categories,)
            and self.bound.shape == (DEEDS.stop - DEEDS.start,)
        )

    def logits(self, encodings: Floats) -> Floats:
        """The logit of every category for every encoding, one a row."""
        seen = (encodings - self.mean) / self.spread
        cuts = range(_COLUMNS, self.inner_bias.size, _COLUMNS)
        inner = [seen @ columns for columns in numpy.split(self.inner, cuts, axis=1)]
        hidden = numpy.maximum(numpy.hstack(inner) + self.inner_bias, 0)
        total = hidden @ self.outer + seen @ self.straight + self.outer_bias
        return numpy.asarray(total, dtype=numpy.float32)


def read_head(path: Path, dimensions: int) -> Head:
    """The head in a file of trained weights, for encodings of so many numbers.

    Raises `ModelFileError` when the file is missing, damaged or of another version.
    """
    try:
        with numpy.load(path, allow_pickle=False) as stored:
            head = Head(*(numpy.asarray(stored[name], dtype=numpy.float32) for name in Head.PARTS))
            categories = tuple(json.loads(str(stored["categories"])))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"the model {path} cannot be read; install again") from error
    if not head.fits(dimensions, len(CATEGORIES)) or categories != CATEGORIES:
        raise ModelFileError(f"the model {path} is of another version; install again")
    return head
