"""Choose the threshold of the second look, and report what both gates together refuse.

    OPENBLAS_NUM_THREADS=1 python benchmarks/safety/train_second_look.py DATA MESSAGES
        [--check | --verify] [--encodings FOLDER] [--out FILE]

DATA and MESSAGES are those of `train_language_gate.py`. Every row is judged by heads of both gates
that did not learn from it, nor from the rows of its fold; HarmBench and XSTest by heads that learnt
from neither. The thresholds are set by the ordinary rows. Reports which rows are looked at twice
and what is refused by both looks and by the language gate's verdict on what is not English beside
them, which is what ships. `--encodings` keeps the encodings of all texts in a folder between
runs.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import train_language_gate as languages
import train_local_gate as local
from gate_files import calibrate
from gate_report import average_precision, report, scores_of
from judged_rows import FOLDS, UNSEEN_IN_CHECK, Row, read
from kept_encoders import KeptMultilingualEncoder, KeptSentenceEncoder
from language_rows import LEARNT, language_rows, message_rows
from numpy.typing import NDArray
from train_lexical_gate import Apart
from train_rated_posts import fitted, mean_encodings

from peerllm.safety.asides import opened
from peerllm.safety.gate_categories import CATEGORIES
from peerllm.safety.gate_head import Head
from peerllm.safety.language_gate import LanguageGate
from peerllm.safety.local_gate import LocalGate
from peerllm.safety.second_look import MODEL_PATH, Joining, SecondLook

# .35 ranks the moderation set as well and finds fewer injections, .45 less of HarmBench, too.
SHARE = 0.25
# .015 spares one row of NotInject and of everyday and self-instruct requests each, and misses three
# of XSTest, three injections and one of HarmBench; .022 refuses two everyday and two self-instruct
# requests more and finds none of those.
FALSE_ALARMS = 0.02

Floats = NDArray[numpy.float32]
# The numbers of the rows that a head stands apart from.
Heads = list[tuple[local.Numbers, Head]]


@dataclass(frozen=True)
class Words:
    """A lexical gate of a fold, as the local gate asks it."""

    found: Callable[[str], float]

    def suspicion(self, text: str, **_: object) -> float:
        return self.found(text)


@dataclass(frozen=True)
class Looks:
    """What both gates see in every row; `parts` of what in it is not English.

    `second` is the least logit there is where the first look found nothing, `parts` where all is
    English.
    """

    first: Floats
    second: Floats
    parts: Floats

    def asked(self) -> NDArray[numpy.bool_]:
        """The rows that the local gate looked at."""
        return numpy.asarray(numpy.isfinite(self.second[:, 0]))


def calibrated(heads: Heads, shift: Floats) -> Heads:
    for _, head in heads:
        calibrate(head, shift)
    return heads


def local_heads(rows: Sequence[Row], words: Apart, encoder: KeptSentenceEncoder) -> Heads:
    found = local.encoded(rows, encoder)
    texts, mean, spread = local.prepared(rows, found, words.logits(rows))
    heads = list(local.folds_apart(rows, texts, mean, spread))
    return calibrated(heads, local.thresholds(rows, local.logits_apart(texts, heads)))


def language_heads(rows: Sequence[Row], encoder: KeptMultilingualEncoder) -> Heads:
    texts, mean, spread = languages.prepared(rows, *languages.encoded(rows, encoder))
    sizes = {"hidden": languages.HIDDEN, "dropped": languages.DROPPED}
    heads = list(local.folds_apart(rows, texts, mean, spread, **sizes))
    return calibrated(heads, languages.thresholds(rows, local.logits_apart(texts, heads)))


def looks(rows: Sequence[Row], foreign: Sequence[Row], words: Apart, folder: Path | None) -> Looks:
    """Of every row by gates that stand apart from it, as the shipped ones look at a text."""
    english = KeptSentenceEncoder(folder and folder / "local.npz")
    multilingual = KeptMultilingualEncoder(folder and folder / "languages.npz")
    by_fold = [Words(words.suspicion(fold)) for fold in range(FOLDS)]
    least = numpy.full((len(rows), len(CATEGORIES)), -numpy.inf, dtype=numpy.float32)
    seen = Looks(least.copy(), least.copy(), least)
    nothing = Joining(SHARE, numpy.zeros(len(CATEGORIES), dtype=numpy.float32))
    means = mean_encodings(rows, multilingual)
    folds = numpy.array([row.fold for row in rows])
    known = numpy.array([row.file not in UNSEEN_IN_CHECK for row in rows])
    for fold, ((apart, head), (also, other_head)) in enumerate(
        zip(
            local_heads(rows, words, english),
            language_heads([*rows, *foreign], multilingual),
            strict=True,
        ),
        start=-1,
    ):
        assert numpy.array_equal(apart, also[also < len(rows)])
        other = LanguageGate(multilingual, other_head)
        posts = fitted(rows, means, numpy.flatnonzero(known & (folds != fold)))
        gates = [
            SecondLook(LocalGate(english, one, head), other, posts, nothing) for one in by_fold
        ]
        for number in apart:
            row = rows[number]
            found = opened(row.text)
            both = gates[row.fold].seen(found)
            seen.first[number] = both.first
            if both.second is not None:
                seen.second[number] = both.second
            if (parts := other.foreign_logits(found)) is not None:
                seen.parts[number] = parts
    english.kept.keep()
    multilingual.kept.keep()
    return seen


def moderation_precision(rows: Sequence[Row], logits: Floats) -> float:
    chosen = numpy.array([row.file == "openai_moderation" for row in rows])
    unsafe = numpy.array([row.unsafe for row in rows])
    return average_precision(unsafe[chosen], scores_of(logits).max(axis=1)[chosen])


def save(joining: Joining, path: Path) -> None:
    numbers = zip(CATEGORIES, joining.threshold, strict=True)
    stored = {
        "share": joining.share,
        "threshold": {name: round(float(number), 4) for name, number in numbers},
    }
    path.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("messages", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--verify", action="store_true", help="compare with FILE, write nothing")
    parser.add_argument("--encodings", type=Path)
    parser.add_argument("--out", type=Path, default=MODEL_PATH)
    arguments = parser.parse_args()
    folder: Path | None = arguments.encodings
    rows = [row for row in read(arguments.data) if row.file not in local.LEFT_OUT]
    foreign = [
        *(message.row for message in message_rows(arguments.messages)),
        *(line.row for line in language_rows(LEARNT)),
    ]
    seen = looks(rows, foreign, local.lexical_gates(rows), folder)
    plain = Joining(SHARE, numpy.zeros(len(CATEGORIES), dtype=numpy.float32))
    threshold = local.thresholds(
        rows, plain.joined(seen.second, seen.first), false_alarms=FALSE_ALARMS
    )
    joining = Joining(SHARE, threshold)
    asked = seen.asked()
    both = numpy.where(asked[:, None], joining.joined(seen.second, seen.first), seen.first)
    shipped = numpy.maximum(both, seen.parts)
    for name, logits in (("first look", seen.first), ("both", both), ("all", shipped)):
        print(f"average precision on OpenAI moderation, {name}: "
              f"{moderation_precision(rows, logits):.3f}")  # fmt: skip
    for file in dict.fromkeys(row.file for row in rows):
        share = asked[[row.file == file for row in rows]].mean()
        print(f"{file:32} second looks  {share:.3f}")
    report(rows, shipped)
    if arguments.verify:
        again = arguments.out.with_suffix(".again")
        save(joining, again)
        alike = again.read_bytes() == arguments.out.read_bytes()
        again.unlink()
        print(f"{arguments.out} is {'the same' if alike else 'DIFFERENT'}")
        raise SystemExit(0 if alike else 1)
    if not arguments.check:
        save(joining, arguments.out)


if __name__ == "__main__":
    main()
