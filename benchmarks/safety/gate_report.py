"""How many texts held out a head of the local gate refuses: by file, category and threshold."""

from collections.abc import Sequence

import numpy
from judged_rows import FILES, ORDINARY, WRITTEN_FILES, Row
from numpy.typing import NDArray

from peerllm.safety.gate_categories import CATEGORIES, certainty

# Thousandths from which a text is refused; 500 is what the gate is calibrated to.
REPORTED = (500, 550, 600, 650, 700, 750)

Floats = NDArray[numpy.float32]


def average_precision(labels: NDArray[numpy.bool_], scores: Floats) -> float:
    ordered = labels[numpy.argsort(-scores, kind="stable")]
    precision = numpy.cumsum(ordered) / numpy.arange(1, len(ordered) + 1)
    return float(precision[ordered].mean())


def scores_of(logits: Floats) -> Floats:
    """As `LocalGate.scores` gives them, in thousandths."""
    return 1_000 * certainty(logits)


def report(rows: Sequence[Row], logits: Floats) -> None:
    """Shares refused from each of `REPORTED`, as `peerllm safety evaluate judge` counts them."""
    # Where all thresholds are equal, a text ranks by the score of its worst category.
    worst = scores_of(logits).max(axis=1)
    files = numpy.array([row.file for row in rows])
    unsafe = numpy.array([row.unsafe for row in rows])
    print(f"{'':32} {'from':13} " + " ".join(f"{one:5}" for one in REPORTED))
    for file in (*FILES, *WRITTEN_FILES, "ORDINARY"):
        of_file = numpy.isin(files, ORDINARY) if file == "ORDINARY" else files == file
        for name, kind in (("recall", unsafe), ("false alarms", ~unsafe)):
            if (chosen := of_file & kind).any():
                shares = " ".join(f"{(worst[chosen] >= one).mean():.3f}" for one in REPORTED)
                print(f"{file:32} {name:13} {shares} of {chosen.sum()}")
        if len(set(unsafe[of_file])) == 2:
            precision = average_precision(unsafe[of_file], worst[of_file])
            print(f"{file:32} {'average prec.':13} {precision:.3f}")
    ordinary = [worst[files == file] for file in ORDINARY]
    means = " ".join(
        f"{numpy.mean([(one >= bound).mean() for one in ordinary]):.3f}" for bound in REPORTED
    )
    print(f"{'mean of the ordinary files':32} {'false alarms':13} {means}")
    for number, category in enumerate(CATEGORIES[1:], start=1):
        report_category(rows, logits[:, number], worst, category)


def report_category(rows: Sequence[Row], logits: Floats, worst: Floats, category: str) -> None:
    labels = numpy.array([category in row.categories for row in rows])
    if not labels.any():
        return
    shares = " ".join(f"{(worst[labels] >= one).mean():.3f}" for one in REPORTED)
    print(f"{'category ' + category:32} {'recall':13} {shares} of {labels.sum()}")
    moderation = numpy.array([row.file == "openai_moderation" for row in rows])
    if labels[moderation].any():
        precision = average_precision(labels[moderation], logits[moderation])
        print(f"openai_moderation: {category:13} {precision:.3f} of {labels[moderation].sum()}")
