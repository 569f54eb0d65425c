"""Whether a text may pass under the safety standard in force."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from peerllm.safety.local_gate import LocalGate

# What the shipped gate was calibrated to: it refuses fewer than one ordinary text in fifty.
CALIBRATED_MILLI: Final = 500


# The category of a gate that sums up all others; a verdict names the next nearest one.
OVERALL: Final = "overall"


@dataclass(frozen=True, slots=True)
class SafetyThresholds:
    """What the signed safety standard says: from which score, in thousandths, a text is refused.

    A category of a gate that the standard does not name is not judged.
    """

    version: int
    thresholds_milli: Mapping[str, int]

    def __post_init__(self) -> None:
        for category, threshold in self.thresholds_milli.items():
            if not 0 < threshold <= 1_000:
                raise ValueError(
                    f"the threshold of {category!r} is {threshold}; give 1 to 1000 thousandths"
                )
        object.__setattr__(self, "thresholds_milli", MappingProxyType(dict(self.thresholds_milli)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`category` is the one that weighed most against the text, also when it is allowed."""

    allowed: bool
    category: str
    score_milli: int
    standard_version: int


class Gate(Protocol):
    """Anything that scores a text by category: the local gate, a guard model, a service."""

    def scores(self, text: str, /) -> Mapping[str, float]:
        """For each category the gate knows, how certain it is of it, 0 to 1."""
        ...


class Judge:
    """Applies one standard to the scores of its gates; where they disagree, the stricter counts.

    One judge may be used by several threads at once.
    """

    def __init__(self, standard: SafetyThresholds, gates: Sequence[Gate]) -> None:
        self._standard = standard
        self._gates = tuple(gates)

    @property
    def standard_version(self) -> int:
        """The version of the standard this judge applies."""
        return self._standard.version

    def judge(self, text: str) -> Verdict:
        """The verdict on one text: a prompt, a window of an answer, or a whole answer."""
        version, thresholds = self._standard.version, self._standard.thresholds_milli
        scores: dict[str, int] = {}
        for gate in self._gates:
            for category, score in gate.scores(text).items():
                if category in thresholds:
                    scores[category] = max(scores.get(category, 0), round(1_000 * score))
        if not scores:
            return Verdict(True, "", 0, version)
        # Categories with different thresholds are compared by how far each is used up.
        ranked = sorted(scores, key=lambda one: scores[one] / thresholds[one], reverse=True)
        worst = ranked[0]
        named = next((category for category in ranked if category != OVERALL), worst)
        return Verdict(scores[worst] < thresholds[worst], named, scores[worst], version)


def load_judge(standard: SafetyThresholds, *, more_gates: Sequence[Gate] = ()) -> Judge:
    """The judge of the shipped gates, and of `more_gates`, under `standard`.

    Raises `ModelFileError` when the shipped weights cannot be read.
    """
    return Judge(standard, (*shipped_gates(), *more_gates))


def shipped_gates() -> tuple[Gate, ...]:
    """The gates that every installation has; loading them takes about a second.

    Raises `ModelFileError` when the shipped weights cannot be read.
    """
    return (LocalGate(),)
