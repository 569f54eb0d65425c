"""Whether a text may pass under the safety standard in force."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Protocol

from peerllm.safety.language_gate import LanguageGate
from peerllm.safety.local_gate import LocalGate
from peerllm.safety.readable import readable
from peerllm.safety.second_look import SecondLook

# What the shipped gate was calibrated to: it refuses fewer than one ordinary text in fifty.
CALIBRATED_MILLI: Final = 500


# The category of a gate that sums up all others; a verdict names the next nearest one.
OVERALL: Final = "overall"


@dataclass(frozen=True, slots=True)
class SafetyThresholds:
    """What the signed safety standard says: from which score, in thousandths, a text is refused.

    A category of a gate that the standard does not name is not judged. `bands_milli` says for some
    categories from which score on a text is uncertain and from which on it is refused for certain.
    """

    version: int
    thresholds_milli: Mapping[str, int]
    bands_milli: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for category, threshold in self.thresholds_milli.items():
            if not 0 < threshold <= 1_000:
                raise ValueError(
                    f"the threshold of {category!r} is {threshold}; give 1 to 1000 thousandths"
                )
        for category, (uncertain, certain) in self.bands_milli.items():
            if not 0 < uncertain <= self.thresholds_milli.get(category, 0) <= certain <= 1_000:
                raise ValueError(
                    f"the band of {category!r} is {uncertain} to {certain}; it must hold the"
                    " category's threshold"
                )
        for name in ("thresholds_milli", "bands_milli"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def band(self, category: str) -> tuple[int, int]:
        """From which score on a text is uncertain, and from which on refused for certain."""
        threshold = self.thresholds_milli[category]
        return self.bands_milli.get(category, (threshold, threshold))

    def verdict(self, scores_milli: Mapping[str, int]) -> "Verdict":
        """What the standard says of these scores, in thousandths."""
        thresholds = self.thresholds_milli
        known = {name: score for name, score in scores_milli.items() if name in thresholds}
        if not known:
            return Verdict(True, "", 0, self.version)
        # Categories with different thresholds are compared by how far each is used up.
        ranked = sorted(known, key=lambda one: known[one] / thresholds[one], reverse=True)
        worst = ranked[0]
        named = next((category for category in ranked if category != OVERALL), worst)
        near = {category for category in known if known[category] >= self.band(category)[0]}
        certain = any(known[category] >= self.band(category)[1] for category in near)
        return Verdict(
            known[worst] < thresholds[worst],
            named,
            known[worst],
            self.version,
            near=frozenset() if certain or not near else frozenset(near | {named}) - {OVERALL},
            uncertain=bool(near) and not certain,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """`category` is the one that weighed most against the text, also when it is allowed.

    `uncertain`: within a band of the standard; a stronger judge that knows all categories `near`
    decides, where there is one.
    """

    allowed: bool
    category: str
    score_milli: int
    standard_version: int
    uncertain: bool = False
    near: frozenset[str] = frozenset()


class Gate(Protocol):
    """Anything that scores a text by category: the local gate, a guard model, a service."""

    def scores(self, text: str, /) -> Mapping[str, float]:
        """For each category the gate knows, how certain it is of it, 0 to 1."""
        ...


class Judge:
    """Applies one standard to the scores of its gates; where they disagree, the stricter counts.

    Under a standard with uncertain bands, what the gates let pass and hardly read is uncertain.
    One judge may be used by several threads at once.
    """

    def __init__(self, standard: SafetyThresholds, gates: Sequence[Gate]) -> None:
        self._standard = standard
        self._gates = tuple(gates)

    @property
    def standard(self) -> SafetyThresholds:
        """The standard this judge applies."""
        return self._standard

    def under(self, standard: SafetyThresholds) -> "Judge":
        """A judge with the same gates under another standard."""
        return Judge(standard, self._gates)

    @property
    def standard_version(self) -> int:
        """The version of the standard this judge applies."""
        return self._standard.version

    def judge(self, text: str) -> Verdict:
        """The verdict on one text: a prompt, a window of an answer, or a whole answer."""
        scores: dict[str, int] = {}
        for gate in self._gates:
            for category, score in gate.scores(text).items():
                scores[category] = max(scores.get(category, 0), round(1_000 * score))
        verdict = self._standard.verdict(scores)
        # Uncertain of nothing in particular: whichever stronger judge there is decides.
        if verdict.allowed and self._standard.bands_milli and not readable(text):
            return replace(verdict, uncertain=True)
        return verdict


def load_judge(standard: SafetyThresholds, *, more_gates: Sequence[Gate] = ()) -> Judge:
    """The judge of the shipped gate, and of `more_gates`, under `standard`.

    Raises `ModelFileError` when the shipped weights cannot be read.
    """
    return Judge(standard, (shipped_gate(), *more_gates))


def shipped_gate() -> Gate:
    """The gate that every installation has; loading it takes about two seconds.

    Raises `ModelFileError` when the shipped weights cannot be read.
    """
    return SecondLook.load(LocalGate.load(), LanguageGate.load())
