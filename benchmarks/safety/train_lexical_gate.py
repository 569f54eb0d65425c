"""Train the lexical gate that judges every text.

    python benchmarks/safety/train_lexical_gate.py DATA [--check] [--out FILE]

DATA holds the safety files (text, unsafe, cats or labels). Only files under MIT, Apache-2.0, CC BY
or CC0 licences are read; the share-alike ones are not. `--check` reports recall and false alarms of
every file on rows held out, HarmBench and XSTest always being held out as a whole. Seeded: the same
data gives the same weights.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy
from numpy.typing import NDArray
from written_requests import requests

from peerllm.safety.lexical_gate import BUCKETS, MODEL_PATH, LexicalGate, buckets, stretches

CATEGORIES = ("overall", "illicit", "violence", "hate", "harassment", "sexual", "minors",
              "self_harm", "jailbreak")  # fmt: skip
FILES = ("benign_cyber_frr", "benign_gpteacher", "benign_responses", "benign_selfinstruct",
         "harmbench", "hatecheck", "jailbreak_templates", "notinject", "openai_moderation",
         "prompt_injection_cyberseceval", "safety_aart", "safety_advbench", "safety_catqa",
         "safety_davidson", "safety_gptfuzz_resp", "safety_harmfulqa", "safety_surge",
         "safety_toxigen", "xstest", "pii_chat", "pii_presidio_synth", "pii_wikigold",
         "pii_wnut17")  # fmt: skip
# Never trained on in a check: what they ask for is not asked for in the other files' words.
UNSEEN_IN_CHECK = ("harmbench", "xstest")
# The texts customers send; of these the calibration lets one in a hundred be refused.
ORDINARY = ("benign_gpteacher", "benign_responses", "benign_selfinstruct", "benign_cyber_frr",
            "notinject")  # fmt: skip
# What false alarms are measured on counts twice, the small and varied files more; the two whose
# every question is called unsafe, many everyday ones among them, count less.
WEIGHTS = {
    **dict.fromkeys(ORDINARY, 2.0),
    "benign_selfinstruct": 4.0,
    "notinject": 3.0,
    "safety_harmfulqa": 0.3,
    "safety_aart": 0.4,
}
# Shares of the ordinary texts that the sum of all categories, and each other one, may refuse.
OVERALL_FALSE_ALARMS = 0.012
OTHER_FALSE_ALARMS = 0.000_3
MARGIN = 0.7
# These label every request on a harmful theme, harmless ones too: such rows are found by a first
# model that did not see them, and left out.
NOISY = ("safety_aart", "safety_harmfulqa", "safety_gptfuzz_resp", "safety_davidson")
NOISE_BELOW = 0.25
FOLDS = 3
SEED = 20_260
# What one request written for this counts, of each side.
WRITTEN = 1.2
REGULARISATION = 1.5
ITERATIONS = 35
OPENAI = {"S": "sexual", "H": "hate", "V": "violence", "HR": "harassment", "SH": "self_harm",
          "S3": "minors", "H2": "hate", "V2": "violence"}  # fmt: skip
HARMBENCH = {"harassment_bullying": "harassment"}


@dataclass(frozen=True)
class Row:
    file: str
    text: str
    unsafe: bool
    categories: frozenset[str]
    fully_labelled: bool
    fold: int
    weight: float


Vector = NDArray[numpy.float64]


@dataclass(frozen=True)
class Matrix:
    """Segments by features, row after row; `owner` says which text a segment is of."""

    columns: NDArray[numpy.int32]
    starts: NDArray[numpy.int64]
    sizes: NDArray[numpy.int64]
    owner: NDArray[numpy.int64]

    def times(self, weights: Vector) -> Vector:
        sums = numpy.add.reduceat(weights[self.columns], self.starts)
        return numpy.asarray(sums / numpy.sqrt(self.sizes))

    def transposed_times(self, errors: Vector) -> Vector:
        spread = numpy.repeat(errors / numpy.sqrt(self.sizes), self.sizes)
        return numpy.bincount(self.columns, weights=spread, minlength=BUCKETS)


def categories_of(file: str, row: dict[str, object]) -> frozenset[str]:
    if file == "openai_moderation":
        labels = row["labels"]
        assert isinstance(labels, dict)
        return frozenset(OPENAI[label] for label, value in labels.items() if value)
    if file == "hatecheck":
        return frozenset({"hate"} if row["unsafe"] else ())
    if file == "harmbench":
        return frozenset({"illicit", HARMBENCH.get(str(row["cat"]), "illicit")})
    if file == "xstest":
        return frozenset({"illicit"} if row["unsafe"] else ())
    given = row.get("cats") or ()
    assert isinstance(given, list | tuple)
    return frozenset(map(str, given))


def read(data: Path) -> list[Row]:
    rows = []
    for file in FILES:
        lines = (data / f"{file}.jsonl").read_text(encoding="utf-8").splitlines()
        for line in lines:
            row = json.loads(line)
            group = row.get("func") if file == "hatecheck" else row["text"][:60]
            digest = hashlib.sha256(f"{file}{group}".encode("utf-8", "replace")).digest()
            rows.append(
                Row(
                    file=file,
                    text=f"{row['context']}\n{row['text']}" if row.get("context") else row["text"],
                    unsafe=bool(row.get("unsafe")),
                    categories=categories_of(file, row),
                    fully_labelled=file == "openai_moderation",
                    fold=digest[0] % FOLDS,
                    # A large file counts for more than a small one, but not in proportion.
                    weight=(600 / len(lines)) ** 0.4 * WEIGHTS.get(file, 1.0),
                )
            )
    for text, unsafe, categories in requests(SEED):
        # Folds by the last words, which name the thing asked for: it is then new in a check.
        digest = hashlib.sha256(" ".join(text.split()[-3:]).encode()).digest()
        rows.append(Row("written", text, unsafe, categories, False, digest[0] % FOLDS, WRITTEN))
    return rows


@cache
def segment_buckets(text: str) -> tuple[NDArray[numpy.int32], ...]:
    found = (buckets(segment) for segment in stretches(text))
    return tuple(hashed.astype(numpy.int32) for hashed in found if len(hashed))


def matrix_of(rows: Sequence[Row], *, most_segments: int) -> Matrix:
    columns, owner = [], []
    for index, row in enumerate(rows):
        for hashed in segment_buckets(row.text)[:most_segments]:
            columns.append(hashed)
            owner.append(index)
    sizes = numpy.array([len(hashed) for hashed in columns])
    starts = numpy.cumsum(sizes) - sizes
    return Matrix(numpy.concatenate(columns), starts, sizes, numpy.array(owner))


def minimised(
    loss: Callable[[Vector], tuple[float, Vector]], point: Vector, iterations: int
) -> Vector:
    """L-BFGS (Nocedal and Wright, algorithm 7.5) with a halving line search."""
    value, slope = loss(point)
    history: list[tuple[Vector, Vector]] = []
    for _ in range(iterations):
        direction, kept = -slope, []
        for step, change in reversed(history):
            share = step.dot(direction) / step.dot(change)
            direction = direction - share * change
            kept.append(share)
        if history:
            step, change = history[-1]
            direction = direction * (step.dot(change) / change.dot(change))
        for (step, change), share in zip(history, reversed(kept), strict=True):
            direction = direction + step * (share - change.dot(direction) / step.dot(change))
        length = 1.0 if history else 1.0 / max(1.0, float(numpy.linalg.norm(slope)))
        for _ in range(20):
            candidate = point + length * direction
            new_value, new_slope = loss(candidate)
            if new_value <= value + 1e-4 * length * slope.dot(direction):
                break
            length /= 2
        step, change = candidate - point, new_slope - slope
        if step.dot(change) > 1e-12:
            history = [*history[-9:], (step, change)]
        if value - new_value < 1e-6 * abs(value):
            return candidate
        point, value, slope = candidate, new_value, new_slope
    return point


def fitted(matrix: Matrix, labels: Vector, weights: Vector, idf: Vector) -> tuple[Vector, float]:
    """Weights and bias of one category; `weights` are those of the segments."""

    def loss(point: Vector) -> tuple[float, Vector]:
        logits = matrix.times(point[:-1] * idf) + point[-1]
        value = float((weights * (numpy.logaddexp(0, logits) - labels * logits)).sum())
        errors = weights * (1 / (1 + numpy.exp(-logits)) - labels)
        slope = numpy.append(matrix.transposed_times(errors) * idf, errors.sum())
        slope[:-1] += REGULARISATION * point[:-1]
        return value + REGULARISATION / 2 * float(point[:-1].dot(point[:-1])), slope

    point = minimised(loss, numpy.zeros(BUCKETS + 1), ITERATIONS)
    return point[:-1] * idf, float(point[-1])


def target(rows: Sequence[Row], category: str) -> tuple[Vector, Vector]:
    """Labels and weights; what nobody labelled for the category weighs nothing."""
    if category == "overall":
        labels = numpy.array([row.unsafe for row in rows], dtype=float)
        return labels, numpy.array([row.weight for row in rows])
    labels = numpy.array([category in row.categories for row in rows], dtype=float)
    known = [
        row.weight if category in row.categories or row.fully_labelled or not row.unsafe else 0.0
        for row in rows
    ]
    return labels, numpy.array(known)


def train(rows: Sequence[Row], chosen: Iterable[str]) -> tuple[Vector, Vector]:
    matrix = matrix_of(rows, most_segments=4)
    counts = numpy.bincount(matrix.columns, minlength=BUCKETS)
    idf = numpy.where(counts >= 2, numpy.log((1 + len(matrix.starts)) / (1 + counts)), 0.0)
    per_text = numpy.bincount(matrix.owner, minlength=len(rows))[matrix.owner]
    all_weights, biases = [], []
    for category in chosen:
        labels, weights = target(rows, category)
        found, bias = fitted(matrix, labels[matrix.owner], weights[matrix.owner] / per_text, idf)
        all_weights.append(found)
        biases.append(bias)
    return numpy.stack(all_weights, axis=1), numpy.array(biases)


def logits_of(rows: Sequence[Row], weights: Vector, biases: Vector) -> Vector:
    """The logits of the worst segment of every text."""
    matrix = matrix_of(rows, most_segments=1_000)
    result = numpy.full((len(rows), len(biases)), -20.0)
    for at in range(len(biases)):
        numpy.maximum.at(result[:, at], matrix.owner, matrix.times(weights[:, at]) + biases[at])
    return result


def out_of_fold(
    rows: Sequence[Row], chosen: Sequence[str], unseen: Sequence[str] = (), folds: int = FOLDS
) -> Vector:
    """Logits of every row by a model that did not learn from it."""
    result = numpy.full((len(rows), len(chosen)), -20.0)
    for fold in range(folds):
        learnt = [row for row in rows if row.fold % folds != fold and row.file not in unseen]
        held = [at for at, row in enumerate(rows) if row.fold % folds == fold]
        result[held] = logits_of([rows[at] for at in held], *train(learnt, chosen))
    return result


def all_out_of_fold(rows: Sequence[Row], unseen: Sequence[str] = ()) -> Vector:
    """As `out_of_fold`; the categories beside the overall one make do with two folds."""
    overall = out_of_fold(rows, CATEGORIES[:1], unseen)
    others = out_of_fold(rows, CATEGORIES[1:], unseen, folds=2)
    return numpy.hstack([overall, others])


def without_noise(rows: Sequence[Row]) -> list[Row]:
    certainty = 1 / (1 + numpy.exp(-out_of_fold(rows, ["overall"])[:, 0]))
    return [
        row
        for row, sure in zip(rows, certainty, strict=True)
        if not (row.file in NOISY and row.unsafe and sure < NOISE_BELOW)
    ]


def calibration(rows: Sequence[Row], logits: Vector) -> Vector:
    """The logit of each category above which an ordinary text is a false alarm too many."""
    from_customers = [at for at, row in enumerate(rows) if row.file in ORDINARY]
    harmless = [
        at
        for at, row in enumerate(rows)
        if not row.unsafe and (row.file in (*ORDINARY, "written") or row.file.startswith("pii_"))
    ]
    ordinary = numpy.quantile(logits[from_customers, 0], 1 - OVERALL_FALSE_ALARMS)
    # The other categories name what is refused; on their own they refuse only what is beyond all
    # that is harmless, or else nine of them would add up to many false alarms.
    others = numpy.quantile(logits[harmless, 1:], 1 - OTHER_FALSE_ALARMS, axis=0) + MARGIN
    return numpy.append(ordinary, others)


def report(rows: Sequence[Row], refused: NDArray[numpy.bool_]) -> None:
    for file in (*FILES, "written", "ORDINARY"):
        for unsafe in (True, False):
            of_file = [
                at
                for at, row in enumerate(rows)
                if (row.file == file or (file == "ORDINARY" and row.file in ORDINARY))
                and row.unsafe == unsafe
            ]
            if of_file:
                name = "recall" if unsafe else "false alarms"
                print(f"{file:32} {name:13} {refused[of_file].mean():.3f} of {len(of_file)}")


def save(weights: Vector, biases: Vector, path: Path) -> None:
    scale = numpy.abs(weights).max(axis=0) / 127
    numpy.savez_compressed(
        path,
        weights=numpy.rint(weights / scale).astype(numpy.int8),
        scale=scale.astype(numpy.float32),
        bias=biases.astype(numpy.float32),
        categories=numpy.array(json.dumps(CATEGORIES)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path, default=MODEL_PATH)
    arguments = parser.parse_args()
    rows = read(arguments.data)
    if arguments.check:
        logits = all_out_of_fold(rows, UNSEEN_IN_CHECK)
        report(rows, (logits > calibration(rows, logits)).any(axis=1))
        return
    kept = without_noise(rows)
    print(f"{len(rows) - len(kept)} of {len(rows)} rows left out as noise")
    thresholds = calibration(kept, all_out_of_fold(kept))
    weights, biases = train(kept, CATEGORIES)
    # So shifted, 500 thousandths are the calibrated threshold of every category.
    save(weights, biases - thresholds, arguments.out)
    gate = LexicalGate(arguments.out)
    started = time.perf_counter()
    for row in rows[:500]:
        gate.scores(row.text)
    spent = time.perf_counter() - started
    size = arguments.out.stat().st_size / 1e6
    print(f"{size:.2f} MB, {1e6 * spent / sum(len(row.text) for row in rows[:500]):.2f} ms/1000")


if __name__ == "__main__":
    main()
