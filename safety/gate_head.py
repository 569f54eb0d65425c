"""The small network that weighs what the sentence encoder sees in a stretch of text."""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy

from peerllm.safety.gate_categories import DEEDS, Floats

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
