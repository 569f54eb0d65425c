"""Train the head of the language gate on the encodings of a multilingual encoder.

    OPENBLAS_NUM_THREADS=1 python benchmarks/safety/train_language_gate.py DATA MESSAGES
        [--check | --verify] [--out FILE] [--encodings FILE]

DATA is that of `train_local_gate.py`; in MESSAGES the wheels of Django 5.2 and Wagtail 7.0 are
unpacked. The head learns from all rows of DATA, which are English, from lines in thirteen other
languages (`written_languages.txt`), a meaning and its translations being held out together, and
from the packages' messages in these languages, which are harmless. Reports what of them is
refused, by language also where no line of that language was learnt from; sets the threshold by the
harmless lines held out; then, without `--check`, trains on all rows, writes the weights and reports
`written_languages_unseen.txt`. Seeded as `train_local_gate.py` is.
"""

import argparse
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy
from gate_files import calibrate, is_same, save
from gate_report import REPORTED, scores_of
from judged_rows import FOLDS, ORDINARY, Row, read
from kept_encoders import KeptMultilingualEncoder
from language_rows import (
    FILE,
    LEARNT,
    UNSEEN,
    LanguageRow,
    language_rows,
    message_rows,
)
from numpy.typing import NDArray
from train_local_gate import (
    LEFT_OUT,
    MARGIN,
    OTHER_FALSE_ALARMS,
    TONE_MARGIN,
    Floats,
    Numbers,
    Texts,
    logits_of,
    targets,
    trained,
)

from peerllm.safety.gate_categories import CATEGORIES, TONES
from peerllm.safety.gate_head import SMALLEST_SPREAD, Head
from peerllm.safety.language_gate import MODEL_PATH, LanguageGate, parts_of

# The share of harmless lines in other languages that 500 thousandths refuse. Half of these lines
# were written to sound worse than they are: of ordinary ones it is far less.
FALSE_ALARMS = 0.045
# One encoding of a third of the local gate's numbers bears a wider layer.
HIDDEN = 256
DROPPED = 0.2
# Of the beginning of a text as much as the local gate learns from, nearly.
MOST_WINDOWS = 20

# The number of a window among the encodings, and whether a reader hardly sees it.
Part = tuple[int, bool]


def encoded(
    rows: Sequence[Row], encoder: KeptMultilingualEncoder
) -> tuple[NDArray[numpy.float16], list[list[Part]]]:
    """The encodings of all different windows, and of each row which of them are its own."""
    numbers: dict[str, int] = {}
    parts = []
    for row in rows:
        of_row = islice(parts_of(row.text).items(), MOST_WINDOWS)
        parts.append([(numbers.setdefault(text, len(numbers)), hidden) for text, hidden in of_row])
    values = encoder.encode(list(numbers)).astype(numpy.float16)
    encoder.kept.keep()
    return values, parts


def prepared(
    rows: Sequence[Row], values: NDArray[numpy.float16], parts: Sequence[Sequence[Part]]
) -> tuple[Texts, Floats, Floats]:
    """The texts, standardised, and the mean and the spread they had."""
    sizes = numpy.array([len(of_row) for of_row in parts])
    windows = values[[number for of_row in parts for number, _ in of_row]].astype(numpy.float32)
    hidden = numpy.array([flag for of_row in parts for _, flag in of_row])
    mean, spread = windows.mean(axis=0), windows.std(axis=0) + numpy.float32(SMALLEST_SPREAD)
    labels, weights = targets(rows)
    texts = Texts(
        windows=(windows - mean) / spread,
        hidden=hidden,
        starts=numpy.cumsum(sizes) - sizes,
        sizes=sizes,
        # The lexical gate knows English words.
        suspicion=numpy.zeros(len(rows), dtype=numpy.float32),
        labels=labels,
        weights=weights,
    )
    return texts, mean, spread


def held_out(
    groups: NDArray[numpy.int64], texts: Texts, mean: Floats, spread: Floats, chosen: Numbers
) -> Floats:
    """Logits of the rows `chosen`, each by a head that learnt from no row of its group."""
    result = numpy.zeros((len(groups), len(CATEGORIES)), dtype=numpy.float32)
    for group in sorted(set(groups[chosen])):
        learnt = numpy.flatnonzero(groups != group)
        head = trained(texts, mean, spread, learnt, hidden=HIDDEN, dropped=DROPPED)
        of_group = chosen[groups[chosen] == group]
        result[of_group] = logits_of(texts, head)[of_group]
    return result


def thresholds(rows: Sequence[Row], logits: Floats) -> Floats:
    """The logit of each category above which too many harmless texts are."""
    foreign = [at for at, row in enumerate(rows) if row.file == FILE and not row.unsafe]
    harmless = [
        at
        for at, row in enumerate(rows)
        if not row.unsafe and (row.file in (*ORDINARY, FILE) or row.file.startswith("pii_"))
    ]
    result = numpy.quantile(logits[harmless], 1 - OTHER_FALSE_ALARMS, axis=0) + MARGIN
    result[TONES] += TONE_MARGIN - MARGIN
    result[0] = numpy.quantile(logits[foreign, 0], 1 - FALSE_ALARMS)
    return numpy.asarray(result, dtype=numpy.float32)


def report(name: str, worst: Floats, unsafe: NDArray[numpy.bool_]) -> None:
    for kind, chosen in (("recall", unsafe), ("false alarms", ~unsafe)):
        if chosen.any():
            shares = " ".join(f"{(worst[chosen] >= one).mean():.3f}" for one in REPORTED)
            print(f"{name:28} {kind:13} {shares} of {chosen.sum()}")


def report_all(rows: Sequence[Row], lines: Sequence[LanguageRow], logits: Floats) -> None:
    worst = scores_of(logits).max(axis=1)
    unsafe = numpy.array([row.unsafe for row in rows])
    files = numpy.array([row.file for row in rows])
    first = len(rows) - len(lines)
    print(f"{'':28} {'from':13} " + " ".join(f"{one:5}" for one in REPORTED))
    for file in dict.fromkeys(files):
        report(file, worst[files == file], unsafe[files == file])
    languages = numpy.array([line.language for line in lines])
    for language in dict.fromkeys(languages):
        chosen = languages == language
        report(f"  {language}", worst[first:][chosen], unsafe[first:][chosen])


def report_unseen(head: Head) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save(head, Path(folder) / "gate.npz")
        gate = LanguageGate.load(Path(folder) / "gate.npz")
    lines = list(language_rows(UNSEEN))
    scores = [1_000 * max(gate.scores(line.row.text).values(), default=0.0) for line in lines]
    worst = numpy.array(scores, dtype=numpy.float32)
    unsafe = numpy.array([line.row.unsafe for line in lines])
    print("shipped weights, lines that nobody learnt from")
    report("unseen", worst, unsafe)
    for score, line in zip(scores, lines, strict=True):
        if (score >= REPORTED[1]) != line.row.unsafe:
            print(f"  {'missed' if line.row.unsafe else 'false '} {score:4.0f} {line.row.text}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("messages", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path, default=MODEL_PATH)
    parser.add_argument("--encodings", type=Path)
    parser.add_argument("--verify", action="store_true", help="compare with FILE, write nothing")
    arguments = parser.parse_args()
    lines = list(language_rows(LEARNT))
    english = [row for row in read(arguments.data) if row.file not in LEFT_OUT]
    messages = [message.row for message in message_rows(arguments.messages)]
    rows = [*english, *messages, *(line.row for line in lines)]
    encoder = KeptMultilingualEncoder(arguments.encodings)
    texts, mean, spread = prepared(rows, *encoded(rows, encoder))
    every = numpy.arange(len(rows))
    folds = numpy.array([row.fold for row in rows])
    assert set(folds) == set(range(FOLDS))
    logits = held_out(folds, texts, mean, spread, every)
    shift = thresholds(rows, logits)
    report_all(rows, lines, logits - shift)
    if arguments.check:
        named = sorted({line.language for line in lines})
        groups = numpy.full(len(rows), -1)
        groups[-len(lines) :] = [named.index(line.language) for line in lines]
        print("languages of which nothing was learnt")
        foreign = every[-len(lines) :]
        apart = held_out(groups, texts, mean, spread, foreign)[foreign] - shift
        report_all(rows[-len(lines) :], lines, apart)
        return
    head = trained(texts, mean, spread, every, hidden=HIDDEN, dropped=DROPPED)
    calibrate(head, shift)
    report_unseen(head)
    if arguments.verify:
        raise SystemExit(0 if is_same(head, arguments.out) else 1)
    save(head, arguments.out)


if __name__ == "__main__":
    main()
