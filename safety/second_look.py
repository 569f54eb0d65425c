"""What the local gate may refuse, seen by the other encoder as well.

Two encoders err differently: on what the local gate is not sure to be harmless, the logits of both
heads are joined. `benchmarks/safety/train_second_look.py` chose the threshold of the joined ones.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy
from numpy.typing import NDArray

from peerllm.safety.errors import ModelFileError
from peerllm.safety.gate_categories import CATEGORIES, certainty, scores_of
from peerllm.safety.language_gate import LanguageGate
from peerllm.safety.local_gate import LocalGate

MODEL_PATH: Final = Path(__file__).parent / "data" / "second_look.json"
# One in 15 ordinary texts is looked at again; what is less suspicious was never refused.
UNCERTAIN: Final = 0.3


@dataclass(frozen=True, slots=True)
class Joining:
    """How the logits of both heads become one: `share` is the other encoder's, 0 to 1.

    `threshold` is taken from the sum, one number a category.
    """

    share: float
    threshold: NDArray[numpy.float32]

    def joined(
        self, local: NDArray[numpy.float32], other: NDArray[numpy.float32]
    ) -> NDArray[numpy.float32]:
        """The logits of one text or, a text a row, of many."""
        total = (1 - self.share) * local + self.share * other - self.threshold
        return numpy.asarray(total, dtype=numpy.float32)


class SecondLook:
    """The local gate with a second opinion. Raises `ModelFileError` when the file is damaged."""

    def __init__(self, local: LocalGate, other: LanguageGate, path: Path = MODEL_PATH) -> None:
        self._local = local
        self._other = other
        self._joining = read_joining(path)

    def scores(self, text: str, /) -> Mapping[str, float]:
        """For every category how certain the worst part of `text` is of it, 0 to 1."""
        suspects = self._local.suspects(text)
        logits = self._local.logits(text, suspects)
        if is_uncertain(logits):
            logits = self._joining.joined(logits, self._other.logits(text, suspects))
        return scores_of(logits)


def is_uncertain(logits: NDArray[numpy.float32]) -> NDArray[numpy.bool_]:
    """Whether the local gate's logits, those of one text or a text a row, ask for a second look."""
    return numpy.asarray(certainty(logits).max(axis=-1) >= UNCERTAIN)


def read_joining(path: Path) -> Joining:
    """Raises `ModelFileError` when the file is missing, damaged or of another version."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        share, threshold = float(stored["share"]), stored["threshold"]
        numbers = numpy.array([float(threshold[name]) for name in CATEGORIES], dtype=numpy.float32)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"the model {path} cannot be read; install again") from error
    if (
        len(threshold) != len(CATEGORIES)
        or not 0 <= share <= 1
        or not numpy.isfinite(numbers).all()
    ):
        raise ModelFileError(f"the model {path} is of another version; install again")
    return Joining(share, numbers)
