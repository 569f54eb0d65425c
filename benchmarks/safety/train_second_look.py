"""Choose the threshold of the second look, and report what both gates together refuse.

    OPENBLAS_NUM_THREADS=1 python benchmarks/safety/train_second_look.py DATA MESSAGES
        [--check | --verify] [--encodings FOLDER] [--out FILE]

DATA and MESSAGES are those of `train_language_gate.py`. Every row is judged by heads of both gates
that did not learn from it, nor from the rows of its fold; HarmBench and XSTest by heads that learnt
from neither. The thresholds are set by the ordinary rows. Reports what the local gate refuses by
itself, with the second look, and with the language gate's verdict on what is not English beside it,
which is what ships. `--encodings` keeps the encodings of all texts in a folder between runs.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy
import train_language_gate as languages
import train_local_gate as local
from gate_report import average_precision, report, scores_of
from judged_rows import FOLDS, Row, read
from language_rows import LEARNT, language_rows, message_rows
from numpy.typing import NDArray

from peerllm.safety.gate_categories import CATEGORIES, counted
from peerllm.safety.language_gate import doubt, foreign_parts
from peerllm.safety.multilingual_encoder import MultilingualEncoder
from peerllm.safety.second_look import MODEL_PATH, Joining, is_uncertain
from peerllm.safety.suspect_sentences import suspect_sentences

# .35 ranks the moderation set as well and finds fewer injections, .45 less of HarmBench, too.
SHARE = 0.25
# At .019, the local gate's by itself, one row of XSTest fewer is found than the goal asks for.
FALSE_ALARMS = 0.022

Floats = NDArray[numpy.float32]


def local_logits(
    rows: Sequence[Row],
    suspicion: NDArray[numpy.float64],
    suspects: Sequence[Sequence[str]],
    kept: Path | None,
) -> Floats:
    """The local gate's, 0 at its thresholds."""
    learnt, *scale = local.prepared(rows, local.encoded(rows, kept), suspicion)
    judged = local.prepared(rows, local.encoded(rows, kept, suspects), suspicion, (*scale,))[0]
    plain = numpy.zeros((len(rows), len(CATEGORIES)), dtype=numpy.float32)
    logits = numpy.zeros_like(plain)
    for apart, head in local.folds_apart(rows, learnt, *scale):
        plain[apart] = local.logits_of(learnt, head)[apart]
        logits[apart] = local.logits_of(judged, head)[apart]
    return logits - local.thresholds(rows, plain)


def language_logits(
    rows: Sequence[Row],
    foreign: Sequence[Row],
    suspects: Sequence[Sequence[str]],
    kept: Path | None,
) -> tuple[Floats, Floats]:
    """The language gate's head on the whole of every row, and on what in it is not English.

    Both 0 at the language gate's thresholds; a row that is English has the least logit there is.
    """
    every = [*rows, *foreign]
    of_texts = [*suspects, *([] for _ in foreign)]
    learnt, *scale = languages.prepared(every, *languages.encoded(every, kept))
    judged = languages.prepared(every, *languages.encoded(every, kept, of_texts), (*scale,))[0]
    plain = numpy.zeros((len(every), len(CATEGORIES)), dtype=numpy.float32)
    whole = numpy.zeros_like(plain)
    parts = numpy.full_like(whole, -numpy.inf)
    encoder = MultilingualEncoder()
    for apart, head in local.folds_apart(
        every, learnt, *scale, hidden=languages.HIDDEN, dropped=languages.DROPPED
    ):
        plain[apart] = local.logits_of(learnt, head)[apart]
        whole[apart] = local.logits_of(judged, head)[apart]
        for number in apart[apart < len(rows)]:
            if found := foreign_parts(every[number].text):
                of_windows = head.logits(encoder.encode(list(found)))
                hidden = numpy.array(list(found.values()))
                worst = counted(of_windows, hidden, head.bound).max(axis=0)
                parts[number] = worst - doubt(len(found))
    shift = languages.thresholds(every, plain)
    return whole[: len(rows)] - shift, parts[: len(rows)] - shift


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
    gates = local.lexical_gates(rows)
    by_fold = [gates.suspicion(fold) for fold in range(FOLDS)]
    suspects = [suspect_sentences(row.text, by_fold[row.fold]) for row in rows]
    first = local_logits(rows, gates.logits(rows), suspects, folder and folder / "local.npz")
    whole, parts = language_logits(rows, foreign, suspects, folder and folder / "languages.npz")
    plain = Joining(SHARE, numpy.zeros(len(CATEGORIES), dtype=numpy.float32))
    joined = plain.joined(first, whole)
    threshold = local.thresholds(rows, joined, false_alarms=FALSE_ALARMS)
    seen = numpy.where(is_uncertain(first)[:, None], joined - threshold, first)
    shipped = numpy.maximum(seen, parts)
    for name, logits in (("local gate", first), ("second look", seen), ("all", shipped)):
        print(f"average precision on OpenAI moderation, {name}: "
              f"{moderation_precision(rows, logits):.3f}")  # fmt: skip
    asked = is_uncertain(first)
    for file in dict.fromkeys(row.file for row in rows):
        share = asked[[row.file == file for row in rows]].mean()
        print(f"{file:32} second looks  {share:.3f}")
    report(rows, shipped)
    joining = Joining(SHARE, threshold)
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
