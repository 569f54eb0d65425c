"""How well the finder and the judge do on labelled texts. Pure counting: no files, no clock."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from peerllm.safety.identifier_kinds import Identifier
from peerllm.safety.judge import Gate, Judge, SafetyThresholds

# Labelled in some data sets, but shared by so many people that they identify nobody: the finder
# does not look for them. They count as gold for precision, not for recall.
NOT_IDENTIFYING: Final = frozenset({"DATE", "TITLE", "AGE", "NRP"})

GoldSpan = tuple[int, int, str]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _alphanumerics_inside(text: str, spans: Iterable[tuple[int, int]]) -> list[int]:
    """How many letters and digits before each position lie in one of the spans."""
    opened = [0] * (len(text) + 1)
    for start, end in spans:
        opened[start] += 1
        opened[end] -= 1
    depths = accumulate(opened[:-1])
    inside = (depth > 0 and mark.isalnum() for depth, mark in zip(depths, text, strict=True))
    return list(accumulate(inside, initial=0))


@dataclass(slots=True)
class IdentifierCount:
    """Gold spans and predictions over any number of texts; numbers only, no text is kept."""

    rows: int = 0
    characters: int = 0
    seconds: float = 0.0
    predictions: int = 0
    right: int = 0
    gold: Counter[str] = field(default_factory=Counter)
    recalled: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        text: str,
        gold: Sequence[GoldSpan],
        predicted: Sequence[Identifier],
        seconds: float = 0.0,
    ) -> None:
        """Count one text. All spans lie inside it.

        A gold span is recalled when predictions cover every letter and digit of it, a prediction
        is right when at least half of its letters and digits lie in gold spans.
        """
        self.rows += 1
        self.characters += len(text)
        self.seconds += seconds
        everything = _alphanumerics_inside(text, [(0, len(text))] if text else [])
        covered = _alphanumerics_inside(text, [(one.start, one.end) for one in predicted])
        in_gold = _alphanumerics_inside(text, [(start, end) for start, end, _ in gold])
        for start, end, kind in gold:
            self.gold[kind] += 1
            missed = (everything[end] - everything[start]) - (covered[end] - covered[start])
            self.recalled[kind] += missed == 0
        for one in predicted:
            needed = everything[one.end] - everything[one.start]
            inside = in_gold[one.end] - in_gold[one.start]
            self.predictions += 1
            # What holds no letter and no digit identifies nobody.
            self.right += needed > 0 and 2 * inside >= needed

    def add_all(self, other: "IdentifierCount") -> None:
        """Count everything that `other` counted."""
        self.rows += other.rows
        self.characters += other.characters
        self.seconds += other.seconds
        self.predictions += other.predictions
        self.right += other.right
        self.gold += other.gold
        self.recalled += other.recalled

    def figures(self) -> "IdentifierFigures":
        """The shares of what was counted."""
        looked_for = [kind for kind in self.gold if kind not in NOT_IDENTIFYING]
        gold = sum(self.gold[kind] for kind in looked_for)
        recall = _share(sum(self.recalled[kind] for kind in looked_for), gold)
        precision = _share(self.right, self.predictions)
        return IdentifierFigures(
            rows=self.rows,
            gold=gold,
            predictions=self.predictions,
            recall=recall,
            precision=precision,
            f2=f_beta(precision, recall, beta=2),
            recall_by_kind={
                kind: self.recalled[kind] / number for kind, number in sorted(self.gold.items())
            },
            gold_by_kind=dict(sorted(self.gold.items())),
            not_in_recall=sorted(NOT_IDENTIFYING & set(self.gold)),
            ms_per_1000_chars=1e6 * self.seconds / self.characters if self.characters else None,
        )


@dataclass(frozen=True, slots=True)
class IdentifierFigures:
    """Shares from 0 to 1; None where nothing was there to be a share of.

    `recall` is over the kinds that identify; `recall_by_kind` shows the others as well, which
    `not_in_recall` names.
    """

    rows: int
    gold: int
    predictions: int
    recall: float | None
    precision: float | None
    f2: float | None
    recall_by_kind: Mapping[str, float]
    gold_by_kind: Mapping[str, int]
    not_in_recall: Sequence[str]
    ms_per_1000_chars: float | None


def f_beta(precision: float | None, recall: float | None, *, beta: float) -> float | None:
    """The weighted harmonic mean in which recall counts `beta` times as much (van Rijsbergen)."""
    if precision is None or recall is None:
        return None
    weight = beta * beta
    below = weight * precision + recall
    return (1 + weight) * precision * recall / below if below else 0.0


def average_precision(scored: Iterable[tuple[float, bool]]) -> float | None:
    """The mean precision over the positives, best score first; None without both labels.

    Equal scores cannot be told apart, so they enter together: each of them has the precision of
    all down to and with their score.
    """
    positives, all_of_score = Counter[float](), Counter[float]()
    for score, positive in scored:
        all_of_score[score] += 1
        positives[score] += positive
    wanted = positives.total()
    if not 0 < wanted < all_of_score.total():
        return None
    found = seen = 0
    total = 0.0
    for score in sorted(all_of_score, reverse=True):
        found += positives[score]
        seen += all_of_score[score]
        total += positives[score] * found / seen
    return total / wanted


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with the scores behind it: by category, and the highest share of a threshold."""

    allowed: bool
    category: str
    score_milli: int
    standard_version: int
    scores: Mapping[str, float]
    severity: float
    uncertain: bool = False


class _Kept:
    """A gate that keeps the scores it gave last."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.last: Mapping[str, float] = {}

    def scores(self, text: str, /) -> Mapping[str, float]:
        self.last = self._gate.scores(text)
        return self.last


class ExplainingJudge:
    """The judge of these gates under `standard`, which also shows every category's score."""

    def __init__(self, standard: SafetyThresholds, gates: Sequence[Gate]) -> None:
        self.standard = standard
        self._gates = tuple(_Kept(gate) for gate in gates)
        self._judge = Judge(standard, self._gates)

    def judge(self, text: str) -> Judgement:
        """The verdict on one text and the scores it rests on, for categories of the standard."""
        for gate in self._gates:
            gate.last = {}
        verdict = self._judge.judge(text)
        thresholds = self.standard.thresholds_milli
        scores: dict[str, float] = {}
        for gate in self._gates:
            for category, score in gate.last.items():
                if category in thresholds:
                    scores[category] = max(scores.get(category, 0.0), score)
        used_up = (1_000 * score / thresholds[category] for category, score in scores.items())
        return Judgement(
            allowed=verdict.allowed,
            category=verdict.category,
            score_milli=verdict.score_milli,
            standard_version=verdict.standard_version,
            scores=scores,
            severity=max(used_up, default=0.0),
            uncertain=verdict.uncertain,
        )


@dataclass(slots=True)
class JudgeCount:
    """Verdicts on labelled texts; numbers and categories only, no text is kept."""

    _scored: list[tuple[float, bool]] = field(default_factory=list)
    _seconds: list[float] = field(default_factory=list)
    _refused: Counter[bool] = field(default_factory=Counter)
    _category_rows: Counter[str] = field(default_factory=Counter)
    _category_refused: Counter[str] = field(default_factory=Counter)
    _category_scored: dict[str, list[tuple[float, bool]]] = field(default_factory=dict)

    def add(
        self,
        *,
        unsafe: bool,
        categories: Mapping[str, bool],
        of_no_other: bool,
        judgement: Judgement,
        seconds: float = 0.0,
    ) -> None:
        """Count one text; `categories` are those known to apply or not to apply to it."""
        self._scored.append((judgement.severity, unsafe))
        self._seconds.append(seconds)
        self._refused[unsafe] += not judgement.allowed
        for category, applies in categories.items():
            if applies:
                self._category_rows[category] += 1
                self._category_refused[category] += not judgement.allowed
        for category, score in judgement.scores.items():
            if category in categories or of_no_other:
                scored = self._category_scored.setdefault(category, [])
                scored.append((score, categories.get(category, False)))

    def figures(self) -> "JudgeFigures":
        """The shares of what was counted."""
        unsafe = sum(label for _, label in self._scored)
        milliseconds = [1_000 * seconds for seconds in self._seconds]
        return JudgeFigures(
            rows=len(self._scored),
            unsafe=unsafe,
            average_precision=average_precision(self._scored),
            recall=_share(self._refused[True], unsafe),
            false_alarm_rate=_share(self._refused[False], len(self._scored) - unsafe),
            by_category={
                category: CategoryFigures(
                    rows=rows,
                    recall=self._category_refused[category] / rows,
                    average_precision=average_precision(self._category_scored.get(category, ())),
                )
                for category, rows in sorted(self._category_rows.items())
            },
            ms_p50=percentile(milliseconds, 0.50),
            ms_p95=percentile(milliseconds, 0.95),
        )


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """`rows` of the category, the share of them refused for whatever reason, and how well the
    score of this very category tells them from rows labelled as not of it."""

    rows: int
    recall: float
    average_precision: float | None


@dataclass(frozen=True, slots=True)
class JudgeFigures:
    """Shares from 0 to 1; None where nothing was there to be a share of.

    Recall and false alarms are at the thresholds of the standard. Average precision ranks texts
    by the highest share of a threshold that any category used up.
    """

    rows: int
    unsafe: int
    average_precision: float | None
    recall: float | None
    false_alarm_rate: float | None
    by_category: Mapping[str, CategoryFigures]
    ms_p50: float | None
    ms_p95: float | None
