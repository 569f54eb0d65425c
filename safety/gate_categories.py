"""The categories of the local gate, and how what its head says of them becomes scores."""

from collections.abc import Mapping
from typing import Final

import numpy
from numpy.typing import NDArray

Floats = NDArray[numpy.float32]
CATEGORIES: Final = (
    "overall", "sexual", "minors", "hate", "harassment", "self_harm", "violence", "illicit",
    "weapons", "cyber", "privacy", "jailbreak", "prompt_injection",
)  # fmt: skip
# How something is spoken of, and what is asked for.
TONES: Final = slice(1, 7)
DEEDS: Final = slice(7, 13)
# By so much a hidden part may be more suspicious on the whole than for what it asks, in logits
# from which no thresholds were taken yet.
HIDDEN_MARGIN: Final = 2.0
# The gate's logits are divided by this: a text twice as suspicious as the threshold still
# differs from one ten times so, in thousandths.
TEMPERATURE: Final = 2.0


def counted(logits: Floats, hidden: NDArray[numpy.bool_], bound: Floats) -> Floats:
    """The logits, one window a row, with those of hidden parts as far as they count.

    A comment or a caption is looked at for itself to find what it asks of a model. So short and
    out of its context, it seems hateful or obscene too often to be judged by its tone. On the whole
    it counts no more than what it asks for does, with the `bound` of each of `DEEDS` added.
    """
    if not hidden.any():
        return logits
    result = logits.copy()
    parts = logits[hidden]
    most = (parts[:, DEEDS] + bound).max(axis=1)
    parts[:, 0] = numpy.minimum(parts[:, 0], most)
    parts[:, TONES] = -numpy.inf
    result[hidden] = parts
    return result


def certainty(logits: Floats) -> Floats:
    """The scores of texts from their logits: 0 to 1, .5 at the gate's threshold."""
    result: Floats = 1 / (1 + numpy.exp(-logits / TEMPERATURE))
    return result


def scores_of(logits: Floats) -> Mapping[str, float]:
    """The scores of one text by category, 0 to 1."""
    return dict(zip(CATEGORIES, map(float, certainty(logits)), strict=True))
