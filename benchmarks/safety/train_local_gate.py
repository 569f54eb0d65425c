"""Train the head of the local gate on sentence encodings and the lexical gate's suspicion.

    OPENBLAS_NUM_THREADS=1 python benchmarks/safety/train_local_gate.py DATA
        [--check | --verify] [--out FILE] [--encodings FILE]

Run `train_lexical_gate.py` first; DATA is the same. Reports recall, false alarms and average
precision of every file on rows held out, HarmBench and XSTest being held out as a whole, and sets
the thresholds by the ordinary ones of these rows; then, without `--check`, trains on all rows and
writes the weights. `--encodings` keeps the encodings of the texts, which take some minutes, between
runs. Seeded: the same data, numpy and onnxruntime on the same kind of processor give the same
weights, which `--verify` tells; elsewhere, or with more threads, sums are rounded otherwise, and
the weights differ in their last digits.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy
from gate_files import calibrate, is_same, save
from gate_report import report
from judged_rows import FOLDS, LINES, ORDINARY, SEED, UNSEEN_IN_CHECK, Row, read
from kept_encoders import KeptSentenceEncoder
from numpy.typing import NDArray
from train_lexical_gate import Apart
from train_lexical_gate import apart as lexical_apart
from train_lexical_gate import threshold as lexical_threshold

from peerllm.safety.asides import opened
from peerllm.safety.gate_categories import CATEGORIES, DEEDS, HIDDEN_MARGIN, TONES, counted
from peerllm.safety.gate_head import SMALLEST_SPREAD, Head
from peerllm.safety.local_gate import (
    MODEL_PATH,
    MOST_SUSPICION,
    LocalGate,
    encodings,
    signs_of,
    windows_of,
)
from peerllm.safety.wordpieces import WordPieces

# What a text of a file counts, against (600 / texts) ** 0.4.
WEIGHTS = {
    "benign_gpteacher": 2.0,
    "benign_responses": 2.0,
    "benign_cyber_frr": 2.0,
    "benign_selfinstruct": 8.0,
    "notinject": 8.0,
    "openai_moderation": 15.0,
    "prompt_injection_cyberseceval": 12.0,
    "safety_davidson": 0.4,
    "safety_surge": 0.6,
    "safety_harmfulqa": 0.3,
    "safety_aart": 0.4,
    "xstest": 3.0,
    "harmbench": 3.0,
    "safety_advbench": 1.5,
    "safety_catqa": 1.5,
}
# `languages` and `messages` are the language gate's, which learns with these weights, too.
WRITTEN = {
    "languages": 12.0,
    "messages": 3.0,
    "written": 0.6,
    "contrasts": 2.4,
    "voices": 1.3,
    "beside": 2.0,
    "posts": 1.6,
    "prose": 3.5,
    "everyday": 7.0,
    "strings": 1.0,
    "injections": 0.6,
}
# Sentences of Twitter and the press with names in them teach this gate nothing.
LEFT_OUT = ("pii_wnut17",)
# Naming the category matters less than telling whether there is one.
CATEGORY_WEIGHT = 0.6
# What the raters of this file call unsafe is learnt in a column of its own as well, against
# harmless texts of other files; a share of it is then added to every category of tone.
RATED = "openai_moderation"
RATED_WEIGHT = 2.0
RATED_HARMLESS_WEIGHT = 1.0
RATED_SHARE = 0.6
# Texts are long in few cases; of those the beginning is learnt from.
MOST_WINDOWS = 12
# A sign of an injection counts as much as a number of the encoding five spreads off its mean.
SIGN_SPREAD = 0.2
HIDDEN = 192
MEMBERS = 4
EPOCHS = 12
SPREAD_EPOCHS = 2
BATCH = 256
RATE = 2e-3
STRAIGHT_RATE = 0.3
DECAY = 0.03
STRAIGHT_DECAY = 0.3
DROPPED = 0.4
LEXICAL_DROPPED = 0.15
# The share of ordinary texts refused, the mean of their files, and that of harmless texts that
# each category but the overall one may refuse by itself.
FALSE_ALARMS = 0.019
OTHER_FALSE_ALARMS = 0.000_3
MARGIN = 1.0
TONE_MARGIN = 0.0

Floats = NDArray[numpy.float32]
Numbers = NDArray[numpy.int64]


@dataclass(frozen=True)
class Texts:
    """The windows of all rows, one after the other, and what is known of every row."""

    windows: Floats
    hidden: NDArray[numpy.bool_]
    starts: Numbers
    sizes: Numbers
    suspicion: Floats
    labels: Floats
    weights: Floats


def encoded(
    rows: Sequence[Row], encoder: KeptSentenceEncoder
) -> list[tuple[NDArray[numpy.float16], list[bool]]]:
    """The encodings of every row's windows, and which of these are hidden.

    Nothing is learnt from suspicious sentences: of a harmful text they are mostly not what is
    harmful.
    """
    pieces, found = WordPieces(), []
    for row in rows:
        text = opened(row.text)
        different: dict[tuple[int, ...], bool] = {}
        for stretch, hidden in ((text, False), *((one, one.hidden) for one in text.asides)):
            for window in windows_of(stretch.text, pieces):
                different.setdefault(window, hidden)
        cut = dict(islice(different.items(), MOST_WINDOWS))
        values = encodings(cut, encoder, pieces)
        found.append((values.astype(numpy.float16), list(cut.values())))
    encoder.kept.keep()
    return found


def targets(rows: Sequence[Row]) -> tuple[Floats, Floats]:
    """Labels and weights by category; what nobody labelled for a category weighs nothing.

    And, in the last column, those of what the raters of `RATED` call unsafe.
    """
    labels = numpy.array(
        [
            [float(row.unsafe), *(float(category in row.categories) for category in CATEGORIES[1:])]
            for row in rows
        ],
        dtype=numpy.float32,
    )
    sizes = Counter(row.file for row in rows)
    by_file = {
        file: WRITTEN.get(file) or (600 / size) ** 0.4 * WEIGHTS.get(file, 1.0)
        for file, size in sizes.items()
    }
    known = numpy.array([row.fully_labelled or not row.unsafe for row in rows])[:, None]
    weights = numpy.where(known | (labels > 0), CATEGORY_WEIGHT, 0.0)
    weights[:, 0] = 1.0
    weights *= numpy.array([by_file[row.file] for row in rows])[:, None]
    kinds = numpy.array(
        [
            RATED_WEIGHT
            if row.file == RATED
            else RATED_HARMLESS_WEIGHT * (row.file in ORDINARY or row.file.startswith("pii_"))
            for row in rows
        ]
    )
    labels = numpy.hstack([labels, labels[:, :1]])
    weights = numpy.hstack([weights, (weights[:, 0] * kinds)[:, None]])
    return labels, weights.astype(numpy.float32)


class Training:
    """One head in training, by Adam (Kingma and Ba 2015) with decoupled decay."""

    def __init__(self, texts: Texts, seed: int, *, hidden: int, dropped: float) -> None:
        self._random = numpy.random.default_rng(seed)
        self._texts = texts
        self._dropped = dropped
        dimensions, categories = texts.windows.shape[1], texts.labels.shape[1]
        self.parts: dict[str, Floats] = {
            "inner": self._normal(dimensions, hidden),
            "inner_bias": numpy.zeros(hidden, dtype=numpy.float32),
            "outer": self._normal(hidden, categories),
            "outer_bias": numpy.full(categories, -1, dtype=numpy.float32),
            "straight": numpy.zeros((dimensions, categories), dtype=numpy.float32),
            "lexical": numpy.full(categories, 0.2, dtype=numpy.float32),
        }
        self._first = {name: numpy.zeros_like(part) for name, part in self.parts.items()}
        self._second = {name: numpy.zeros_like(part) for name, part in self.parts.items()}
        self._steps = 0

    def _normal(self, rows: int, columns: int) -> Floats:
        drawn = self._random.normal(0, (1 / rows) ** 0.5, (rows, columns))
        return drawn.astype(numpy.float32)

    def run(self, chosen: Numbers) -> None:
        total = EPOCHS * -(-len(chosen) // BATCH)
        for epoch in range(EPOCHS):
            order = self._random.permutation(chosen)
            for start in range(0, len(order), BATCH):
                slopes = self._slopes(order[start : start + BATCH], spread=epoch < SPREAD_EPOCHS)
                self._step(slopes, total)

    def _slopes(self, batch: Numbers, *, spread: bool) -> dict[str, Floats]:
        """Of the loss; a text's error goes to its worst window, at first to all of them."""
        texts, parts = self._texts, self.parts
        sizes = texts.sizes[batch]
        owner = numpy.repeat(numpy.arange(len(batch)), sizes)
        within = numpy.cumsum(sizes) - sizes
        at = numpy.arange(len(owner)) - within[owner] + texts.starts[batch][owner]
        seen = texts.windows[at]
        heard = texts.suspicion[batch] * (self._random.random(len(batch)) > LEXICAL_DROPPED)
        raw = seen @ parts["inner"] + parts["inner_bias"]
        kept = numpy.float32(1 - self._dropped)
        mask = (self._random.random(raw.shape) > self._dropped) / kept
        hidden = (numpy.maximum(raw, 0) * mask).astype(numpy.float32)
        logits = hidden @ parts["outer"] + seen @ parts["straight"] + parts["outer_bias"]
        worst = numpy.maximum.reduceat(logits, within, axis=0)
        total = worst + heard[:, None] * parts["lexical"]
        error = (1 / (1 + numpy.exp(-total)) - texts.labels[batch]) * texts.weights[batch]
        error /= len(batch)
        share = 1 / sizes[owner][:, None] if spread else logits == worst[owner]
        passed = (error[owner] * share).astype(numpy.float32)
        back = ((passed @ parts["outer"].T) * mask * (raw > 0)).astype(numpy.float32)
        return {
            "inner": seen.T @ back,
            "inner_bias": back.sum(axis=0),
            "outer": hidden.T @ passed,
            "outer_bias": passed.sum(axis=0),
            "straight": seen.T @ passed,
            "lexical": (error * heard[:, None]).sum(axis=0),
        }

    def _step(self, slopes: dict[str, Floats], total: int) -> None:
        self._steps += 1
        warm = min(1.0, self._steps / 200)
        rate = RATE * warm * (1 + numpy.cos(numpy.pi * self._steps / total)) / 2
        for name, values in self.parts.items():
            first, second = self._first[name], self._second[name]
            first += 0.1 * (slopes[name] - first)
            second += 0.01 * (slopes[name] ** 2 - second)
            own_rate = rate * (STRAIGHT_RATE if name == "straight" else 1)
            if values.ndim == 2:
                numpy.multiply(
                    values,
                    1 - rate * (STRAIGHT_DECAY if name == "straight" else DECAY),
                    out=values,
                )
            mean = first / (1 - 0.9**self._steps)
            spread = numpy.sqrt(second / (1 - 0.99**self._steps)) + 1e-8
            numpy.subtract(values, own_rate * mean / spread, out=values, casting="same_kind")


def trained(
    texts: Texts,
    mean: Floats,
    spread: Floats,
    chosen: Numbers,
    *,
    hidden: int = HIDDEN,
    dropped: float = DROPPED,
) -> Head:
    """Several heads, trained from different beginnings, in one whose logits are their mean."""
    members = []
    for member in range(MEMBERS):
        training = Training(texts, SEED + member, hidden=hidden, dropped=dropped)
        training.run(chosen)
        members.append(training.parts)

    for one in members:
        for name in ("outer", "outer_bias", "straight", "lexical"):
            one[name] = with_rated(one[name])

    def mean_of(name: str) -> Floats:
        return numpy.asarray(numpy.mean([one[name] for one in members], axis=0))

    return Head(
        mean=mean,
        spread=spread,
        inner=numpy.hstack([one["inner"] for one in members]),
        inner_bias=numpy.hstack([one["inner_bias"] for one in members]),
        outer=numpy.vstack([one["outer"] for one in members]) / numpy.float32(MEMBERS),
        outer_bias=mean_of("outer_bias"),
        straight=mean_of("straight"),
        lexical=mean_of("lexical"),
        bound=numpy.full(DEEDS.stop - DEEDS.start, HIDDEN_MARGIN, dtype=numpy.float32),
    )


def with_rated(columns: Floats) -> Floats:
    """The categories' columns, those of tone with their share of the last one, the raters'."""
    result = columns[..., :-1].copy()
    result[..., TONES] += RATED_SHARE * columns[..., -1:]
    return result


def logits_of(texts: Texts, head: Head) -> Floats:
    """The logits of every text; its windows are standardised already."""
    hidden = numpy.maximum(texts.windows @ head.inner + head.inner_bias, 0)
    logits = hidden @ head.outer + texts.windows @ head.straight + head.outer_bias
    worst = numpy.maximum.reduceat(counted(logits, texts.hidden, head.bound), texts.starts, axis=0)
    result: Floats = worst + texts.suspicion[:, None] * head.lexical
    return result


def lexical_gates(rows: Sequence[Row]) -> Apart:
    """Lexical gates that did not learn from the rows they judge, 0 at their threshold."""
    gates = lexical_apart(rows, UNSEEN_IN_CHECK)
    return replace(gates, shift=lexical_threshold(rows, gates.logits(rows)))


def prepared(
    rows: Sequence[Row],
    found: Sequence[tuple[NDArray[numpy.float16], list[bool]]],
    suspicion: NDArray[numpy.float64],
) -> tuple[Texts, Floats, Floats]:
    """The texts, standardised, and the mean and the spread they had."""
    sizes = numpy.array([len(one) for one, _ in found])
    hidden = numpy.array([flag for _, flags in found for flag in flags])
    shown = numpy.repeat([signs_of(opened(row.text)) for row in rows], sizes, axis=0)
    windows = numpy.hstack([numpy.concatenate([one for one, _ in found]), shown]).astype(
        numpy.float32
    )
    mean, spread = windows.mean(axis=0), windows.std(axis=0) + numpy.float32(SMALLEST_SPREAD)
    # A sign is rare: by its own spread, one of them would outweigh all that a text means.
    mean[-shown.shape[1] :] = 0
    spread[-shown.shape[1] :] = SIGN_SPREAD
    labels, weights = targets(rows)
    bounded = numpy.clip(suspicion, -MOST_SUSPICION, MOST_SUSPICION).astype(numpy.float32)
    windows -= mean
    windows /= spread
    texts = Texts(windows, hidden, numpy.cumsum(sizes) - sizes, sizes, bounded, labels, weights)
    return texts, mean, spread


def folds_apart(
    rows: Sequence[Row],
    texts: Texts,
    mean: Floats,
    spread: Floats,
    *,
    hidden: int = HIDDEN,
    dropped: float = DROPPED,
) -> Iterator[tuple[Numbers, Head]]:
    """For every row once its number and a head that learnt from no row of its fold.

    The files of `UNSEEN_IN_CHECK` are learnt from by none.
    """
    folds = numpy.array([row.fold for row in rows])
    unseen = numpy.array([row.file in UNSEEN_IN_CHECK for row in rows])
    for fold in range(-1, FOLDS):
        apart = unseen if fold < 0 else (folds == fold) & ~unseen
        chosen = numpy.flatnonzero((folds != fold) & ~unseen)
        head = trained(texts, mean, spread, chosen, hidden=hidden, dropped=dropped)
        yield numpy.flatnonzero(apart), head


def logits_apart(texts: Texts, apart: Sequence[tuple[Numbers, Head]]) -> Floats:
    """Logits of every row by the head that stands apart from it."""
    result = numpy.zeros((len(texts.sizes), len(CATEGORIES)), dtype=numpy.float32)
    for rows, head in apart:
        result[rows] = logits_of(texts, head)[rows]
    return result


def thresholds(
    rows: Sequence[Row], logits: Floats, *, false_alarms: float = FALSE_ALARMS
) -> Floats:
    """The logit of each category above which too many ordinary texts are."""
    by_file = [
        numpy.sort(logits[[at for at, row in enumerate(rows) if row.file == file], 0])
        for file in ORDINARY
    ]
    candidates = numpy.sort(numpy.concatenate(by_file))
    refused = [
        numpy.mean([1 - numpy.searchsorted(one, candidate, "right") / len(one) for one in by_file])
        for candidate in candidates
    ]
    overall = candidates[int(numpy.argmax(numpy.array(refused) <= false_alarms))]
    harmless = [
        at
        for at, row in enumerate(rows)
        if not row.unsafe
        and (row.file in (*ORDINARY, "written", "contrasts", *LINES) or row.file.startswith("pii_"))
    ]
    # The other categories name what is refused; on their own they refuse only what is beyond all
    # that is harmless, or else a dozen of them would add up to many false alarms.
    result = numpy.quantile(logits[harmless], 1 - OTHER_FALSE_ALARMS, axis=0) + MARGIN
    result[TONES] += TONE_MARGIN - MARGIN
    result[0] = overall
    return result.astype(numpy.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path, default=MODEL_PATH)
    parser.add_argument("--encodings", type=Path)
    parser.add_argument("--verify", action="store_true", help="compare with FILE, write nothing")
    arguments = parser.parse_args()
    rows = [row for row in read(arguments.data) if row.file not in LEFT_OUT]
    suspicion = lexical_gates(rows).logits(rows)
    found = encoded(rows, KeptSentenceEncoder(arguments.encodings))
    texts, mean, spread = prepared(rows, found, suspicion)
    logits = logits_apart(texts, list(folds_apart(rows, texts, mean, spread)))
    shift = thresholds(rows, logits)
    report(rows, logits - shift)
    if arguments.check:
        return
    head = trained(texts, mean, spread, numpy.arange(len(rows)))
    calibrate(head, shift)
    if arguments.verify:
        raise SystemExit(0 if is_same(head, arguments.out) else 1)
    save(head, arguments.out)
    gate = LocalGate.load(arguments.out)
    started = time.perf_counter()
    for row in rows[:300]:
        gate.scores(row.text)
    print(
        f"{arguments.out.stat().st_size / 1e6:.2f} MB, {(time.perf_counter() - started) / 0.3} ms"
    )


if __name__ == "__main__":
    main()
