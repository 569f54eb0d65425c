"""Train the lexical gate, whose suspicion the local gate weighs with what a text means.

    python benchmarks/safety/train_lexical_gate.py DATA [--check] [--out FILE]

DATA holds the safety files (text, unsafe, cats or labels). Only files under MIT, Apache-2.0, CC BY
or CC0 licences are read; the share-alike ones are not. `--check` reports recall and false alarms of
every file on rows held out, HarmBench and XSTest always being held out as a whole. Seeded: the same
data gives the same weights. `train_local_gate.py` comes after it.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy
from judged_rows import FILES, FOLDS, ORDINARY, UNSEEN_IN_CHECK, WRITTEN_FILES, Row, read
from numpy.typing import NDArray

from peerllm.safety.lexical_gate import (
    BUCKETS,
    MODEL_PATH,
    LexicalGate,
    WordHashes,
    buckets,
    stretches,
)

# What false alarms are measured on counts twice, the small and varied files more; the two whose
# every question is called unsafe, many everyday ones among them, count less.
WEIGHTS = {
    **dict.fromkeys(ORDINARY, 2.0),
    "benign_selfinstruct": 4.0,
    "notinject": 3.0,
    "safety_harmfulqa": 0.3,
    "safety_aart": 0.4,
}
# What one request written for this counts.
WRITTEN = {
    "written": 1.2,
    "contrasts": 0.6,
    "voices": 1.0,
    "beside": 1.0,
    "posts": 1.0,
    "prose": 2.0,
    "everyday": 2.0,
    "strings": 1.0,
    "injections": 0.5,
}
# The share of the ordinary texts that get a suspicion above 0.
FALSE_ALARMS = 0.012
# These label every request on a harmful theme, harmless ones too: such rows are found by a first
# model that did not see them, and left out.
NOISY = ("safety_aart", "safety_harmfulqa", "safety_gptfuzz_resp", "safety_davidson")
NOISE_BELOW = 0.25
REGULARISATION = 1.5
ITERATIONS = 35

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


def weights_of(rows: Sequence[Row]) -> Vector:
    sizes = Counter(row.file for row in rows)
    # A large file counts for more than a small one, but not in proportion.
    by_file = {
        file: WRITTEN.get(file) or (600 / size) ** 0.4 * WEIGHTS.get(file, 1.0)
        for file, size in sizes.items()
    }
    return numpy.array([by_file[row.file] for row in rows])


@cache
def segment_buckets(text: str) -> tuple[NDArray[numpy.int32], ...]:
    hashes = WordHashes()
    found = (buckets(segment, hashes) for segment in stretches(text))
    # Sorted, for the sums of a training are rounded by their order, and a set has another each run.
    return tuple(numpy.sort(hashed).astype(numpy.int32) for hashed in found if len(hashed))


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


def train(rows: Sequence[Row]) -> tuple[Vector, float]:
    matrix = matrix_of(rows, most_segments=4)
    counts = numpy.bincount(matrix.columns, minlength=BUCKETS)
    idf = numpy.where(counts >= 2, numpy.log((1 + len(matrix.starts)) / (1 + counts)), 0.0)
    per_text = numpy.bincount(matrix.owner, minlength=len(rows))[matrix.owner]
    labels = numpy.array([row.unsafe for row in rows], dtype=float)[matrix.owner]
    return fitted(matrix, labels, weights_of(rows)[matrix.owner] / per_text, idf)


def logits_of(rows: Sequence[Row], weights: Vector, bias: float) -> Vector:
    """The logit of the worst segment of every text."""
    matrix = matrix_of(rows, most_segments=1_000)
    result = numpy.full(len(rows), -20.0)
    numpy.maximum.at(result, matrix.owner, matrix.times(weights) + bias)
    return result


@dataclass(frozen=True)
class Apart:
    """A model for every fold, which learnt from no row of it; `shift` is taken from its logits."""

    models: Sequence[tuple[Vector, float]]
    shift: float = 0.0

    def logits(self, rows: Sequence[Row]) -> Vector:
        """The logit of every row by the model of its fold."""
        result = numpy.empty(len(rows))
        for fold, model in enumerate(self.models):
            held = [at for at, row in enumerate(rows) if row.fold == fold]
            if held:
                result[held] = logits_of([rows[at] for at in held], *model)
        return result - self.shift

    def suspicion(self, fold: int) -> Callable[[str], float]:
        """How suspicious the model of a fold finds a text; as `LexicalGate.suspicion`."""
        weights, bias = self.models[fold]

        def found(text: str) -> float:
            of_segments = [
                weights[hashed].sum() / len(hashed) ** 0.5 for hashed in segment_buckets(text)
            ]
            return float(max(of_segments, default=0.0)) + bias - self.shift

        return found


def apart(rows: Sequence[Row], unseen: Sequence[str] = ()) -> Apart:
    """The models of all folds; `unseen` files are learnt from by none."""
    return Apart(
        [
            train([row for row in rows if row.fold != fold and row.file not in unseen])
            for fold in range(FOLDS)
        ]
    )


def without_noise(rows: Sequence[Row], logits: Vector) -> list[Row]:
    certainty = 1 / (1 + numpy.exp(-logits))
    return [
        row
        for row, sure in zip(rows, certainty, strict=True)
        if not (row.file in NOISY and row.unsafe and sure < NOISE_BELOW)
    ]


def threshold(rows: Sequence[Row], logits: Vector) -> float:
    """The logit above which too many ordinary texts are."""
    ordinary = [at for at, row in enumerate(rows) if row.file in ORDINARY]
    return float(numpy.quantile(logits[ordinary], 1 - FALSE_ALARMS))


def report(rows: Sequence[Row], refused: NDArray[numpy.bool_]) -> None:
    for file in (*FILES, *WRITTEN_FILES, "ORDINARY"):
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


def save(weights: Vector, bias: float, path: Path) -> None:
    scale = numpy.abs(weights).max() / 127
    numpy.savez_compressed(
        path, weights=numpy.rint(weights / scale).astype(numpy.int8), scale=scale, bias=bias
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path, default=MODEL_PATH)
    arguments = parser.parse_args()
    rows = read(arguments.data)
    if arguments.check:
        logits = apart(rows, UNSEEN_IN_CHECK).logits(rows)
        report(rows, logits > threshold(rows, logits))
        return
    logits = apart(rows).logits(rows)
    kept = without_noise(rows, logits)
    print(f"{len(rows) - len(kept)} of {len(rows)} rows left out as noise")
    weights, bias = train(kept)
    save(weights, bias - threshold(rows, logits), arguments.out)
    gate = LexicalGate(arguments.out)
    started = time.perf_counter()
    for row in rows[:500]:
        gate.scores(row.text)
    spent = time.perf_counter() - started
    size = arguments.out.stat().st_size / 1e6
    print(f"{size:.2f} MB, {1e6 * spent / sum(len(row.text) for row in rows[:500]):.2f} ms/1000")


if __name__ == "__main__":
    main()
