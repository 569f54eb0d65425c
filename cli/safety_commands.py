"""The command line of safety: what would leave the house, why, and how well the models do."""

import codecs
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from peerllm.charter.defaults import first_standard
from peerllm.charter.differences import visible
from peerllm.charter.errors import CharterError
from peerllm.charter.store import founding_root, load_charter
from peerllm.privacy.endings import clear_endings
from peerllm.safety.errors import SafetyError
from peerllm.safety.evaluation import (
    ExplainingJudge,
    IdentifierCount,
    IdentifierFigures,
    JudgeCount,
    JudgeFigures,
    Judgement,
)
from peerllm.safety.evaluation_rows import (
    MAXIMUM_LINE_BYTES,
    EvaluationDataError,
    IdentifierRow,
    JudgeRow,
    Row,
    read_row,
)
from peerllm.safety.identifiers import IdentifierFinder
from peerllm.safety.judge import SafetyThresholds, shipped_gate
from peerllm.safety.own_terms import OwnTerms, own_terms
from peerllm.safety.readable import readable
from peerllm.safety.vault import Vault

safety_app = typer.Typer(
    name="safety",
    add_completion=False,
    help="What would leave the house for a text, why, and how well finder and judge do.",
    no_args_is_help=True,
)
evaluate_app = typer.Typer(
    name="evaluate",
    help="Measure the shipped finder and judge on labelled texts, one JSON object a line.",
    no_args_is_help=True,
)
safety_app.add_typer(evaluate_app)

REFUSED: Final = 3

Text = Annotated[
    str, typer.Argument(metavar="[TEXT|-]", help="The text; - or nothing reads standard input.")
]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of JSON lines.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CharterFolder = Annotated[
    Path | None,
    typer.Option("--charter", help="Folder of the charter whose standard applies."),
]
Masked = Annotated[
    list[str] | None,
    typer.Option("--mask", metavar="KIND=TERM", help="Always mask TERM, as KIND_1; repeatable."),
]
Left = Annotated[
    list[str] | None,
    typer.Option("--leave", metavar="TERM", help="Do not mask TERM, a name; repeatable."),
]
_Cells = Sequence[str]
_T = TypeVar("_T")


class TextError(Exception):
    """A text given on the command line cannot be used; the message never quotes it."""


_EXPECTED: Final = (SafetyError, CharterError, TextError)


@safety_app.command()
def check(
    text: Text = "-",
    charter: CharterFolder = None,
    mask: Masked = None,
    leave: Left = None,
    as_json: AsJson = False,
) -> None:
    """Show what would leave the house for a text. Exit status 3 when it is refused.

    `--mask` and `--leave` are a request's `always_mask` and `never_mask`.
    """
    with clear_endings(*_EXPECTED):
        own = _own_terms(mask or [], leave or [])
        written = _given(text)
        judge = _judge(charter)
        judgement = judge.judge(written)
        if judgement.allowed and own.as_kinds(written) != written:
            judgement = judge.judge(own.as_kinds(written))
        vault = Vault(IdentifierFinder(), own=own)
        removed = vault.remove(written)
    if as_json:
        _print_json(
            {
                "leaves": judgement.allowed,
                "text": removed,
                "placeholders": len(vault.placeholders),
                **_verdict_of(judgement),
            }
        )
    else:
        typer.echo(removed)
        typer.echo(_sentence(judgement, written), err=True)
    if not judgement.allowed:
        raise typer.Exit(REFUSED)


@safety_app.command()
def explain(text: Text = "-", charter: CharterFolder = None, as_json: AsJson = False) -> None:
    """Show which detector found what, and each category's score against its threshold."""
    with clear_endings(*_EXPECTED):
        written = _given(text)
        judge = _judge(charter)
        judgement = judge.judge(written)
        finder = IdentifierFinder()
        findings = sorted(finder.findings(written), key=lambda finding: finding.found)
        vault = Vault(finder)
        vault.remove(written)
    thresholds = judge.standard.thresholds_milli
    if as_json:
        _print_json(
            {
                "identifiers": [
                    {"detector": finding.detector, **asdict(finding.found)} for finding in findings
                ],
                "placeholders": len(vault.placeholders),
                **_verdict_of(judgement),
                "categories": {
                    category: {"score": score, "threshold": thresholds[category] / 1_000}
                    for category, score in sorted(judgement.scores.items())
                },
            }
        )
        return
    _print_table(
        ("kind", "detector", "from", "to", "certainty"),
        [
            (one.kind, detector, str(one.start), str(one.end), f"{one.score:.2f}")
            for detector, one in ((finding.detector, finding.found) for finding in findings)
        ],
    )
    typer.echo(_masking(bool(findings), len(vault.placeholders)) + "\n")
    _print_table(
        ("category", "score", "refused from"),
        [
            (category, f"{score:.3f}", f"{thresholds[category] / 1_000:.3f}")
            for category, score in sorted(judgement.scores.items(), key=lambda one: -one[1])
        ],
    )
    typer.echo(_sentence(judgement, written))


@evaluate_app.command()
def identifiers(files: Files, as_json: AsJson = False) -> None:
    """Measure the finder. Rows: text, and spans as [start, end, kind] in characters."""
    with clear_endings(*_EXPECTED):
        finder = IdentifierFinder()
        counts = {str(path): _count_identifiers(finder, path) for path in dict.fromkeys(files)}
    whole = IdentifierCount()
    for count in counts.values():
        whole.add_all(count)
    figures = {file: count.figures() for file, count in counts.items()}
    if as_json:
        by_file = {file: asdict(one) for file, one in figures.items()}
        _print_json({**asdict(whole.figures()), "files": by_file})
        return
    _print_table(
        ("file", "rows", "recall", "precision", "F2", "ms/1000 characters"),
        [_identifier_cells(file, one) for file, one in figures.items()]
        + ([_identifier_cells("all", whole.figures())] if len(figures) > 1 else []),
    )
    typer.echo("")
    total = whole.figures()
    _print_table(
        ("kind", "gold", "recall"),
        [
            (kind, str(total.gold_by_kind[kind]), _number(recall) + _left_out(kind, total))
            for kind, recall in total.recall_by_kind.items()
        ],
    )


@evaluate_app.command()
def judge(files: Files, charter: CharterFolder = None, as_json: AsJson = False) -> None:
    """Measure the judge. Rows: text, unsafe (0 or 1), and cats or labels when known."""
    with clear_endings(*_EXPECTED):
        explaining = _judge(charter)
        figures = {
            str(path): _count_verdicts(explaining, path).figures() for path in dict.fromkeys(files)
        }
    if as_json:
        _print_json(
            {
                "standard_version": explaining.standard.version,
                "files": {file: asdict(one) for file, one in figures.items()},
            }
        )
        return
    _print_table(
        ("file", "rows", "unsafe", "average precision", "recall", "false alarms", "ms p50", "p95"),
        [_judge_cells(file, one) for file, one in figures.items()],
    )
    typer.echo("")
    _print_table(
        ("file", "category", "rows", "recall", "average precision"),
        [
            (file, category, str(one.rows), _number(one.recall), _number(one.average_precision))
            for file, figure in figures.items()
            for category, one in figure.by_category.items()
        ],
    )


def _count_identifiers(finder: IdentifierFinder, path: Path) -> IdentifierCount:
    count = IdentifierCount()
    for row in _rows(path, IdentifierRow):
        predicted, seconds = _timed(partial(finder.find, row.text))
        count.add(row.text, row.spans, predicted, seconds)
    return count


def _count_verdicts(judge: ExplainingJudge, path: Path) -> JudgeCount:
    count = JudgeCount()
    for row in _rows(path, JudgeRow):
        judgement, seconds = _timed(partial(judge.judge, row.text))
        count.add(
            unsafe=bool(row.unsafe),
            categories=row.categories,
            of_no_other=row.of_no_other,
            judgement=judgement,
            seconds=seconds,
        )
    return count


def _timed(work: Callable[[], _T]) -> tuple[_T, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def _rows(path: Path, kind: type[Row]) -> Iterator[Row]:
    """The rows of a file, one at a time; blank lines are passed over."""
    empty = True
    with path.open("rb") as lines:
        number = 0
        while line := lines.readline(MAXIMUM_LINE_BYTES + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if not line.strip():
                continue
            empty = False
            yield read_row(line, kind, place=f"{path}, line {number}")
    if empty:
        raise EvaluationDataError(f"{path}: holds no rows")


def _own_terms(mask: Sequence[str], leave: Sequence[str]) -> OwnTerms:
    always: dict[str, list[str]] = {}
    for named in mask:
        kind, _, term = named.partition("=")
        always.setdefault(kind, []).append(term)
    own = own_terms(always, leave)
    if isinstance(own, str):
        raise TextError(f"--mask or --leave cannot be used: {own[0].lower()}{own[1:].rstrip('.')}")
    return own


def _given(text: str) -> str:
    """The text of the argument or, for "-", of standard input."""
    try:
        if text != "-":
            raw = text.encode("utf-8", "surrogateescape")
        else:
            raw = sys.stdin.buffer.read(MAXIMUM_LINE_BYTES + 1)
        # Cut at the bound, the last character may be half: that is said below.
        written = raw.decode("utf-8", "strict" if len(raw) <= MAXIMUM_LINE_BYTES else "replace")
    except (UnicodeEncodeError, UnicodeDecodeError) as error:
        raise TextError(f"the text is not UTF-8 ({error.reason})") from None
    if len(raw) > MAXIMUM_LINE_BYTES:
        raise TextError(f"the text is longer than {MAXIMUM_LINE_BYTES} bytes")
    return written


def _judge(charter: Path | None) -> ExplainingJudge:
    standard = first_standard()
    if charter is not None:
        standard = load_charter(
            charter,
            trusted_root=founding_root(charter),
            state_directory=None,
            now=datetime.now(UTC),
        ).standard
    bands = standard.bands_milli or {}
    thresholds = SafetyThresholds(
        version=standard.version,
        thresholds_milli=standard.thresholds_milli,
        bands_milli={name: (band.from_milli, band.certain_milli) for name, band in bands.items()},
    )
    return ExplainingJudge(thresholds, [shipped_gate()])


def _verdict_of(judgement: Judgement) -> dict[str, object]:
    return {
        "allowed": judgement.allowed,
        "uncertain": judgement.uncertain,
        "category": judgement.category,
        "score_milli": judgement.score_milli,
        "standard_version": judgement.standard_version,
    }


def _sentence(judgement: Judgement, text: str) -> str:
    verdict = "Allowed" if judgement.allowed else "Refused, nothing leaves"
    nearest = judgement.category.replace("_", " ") or "no category judged"
    said = (
        f"{verdict}: nearest is {nearest}, score {judgement.score_milli / 1_000:.3f},"
        f" under standard {judgement.standard_version}."
    )
    if judgement.uncertain:
        said += " Uncertain: a stronger judge decides where the operator has one."
    if not readable(text):
        said += " This is hardly English; other languages are judged less surely."
    return said


def _masking(found: bool, placeholders: int) -> str:
    if found and not placeholders:
        return "Only names everybody knows: nothing is masked."
    return f"{placeholders} placeholders."


def _identifier_cells(file: str, figures: IdentifierFigures) -> _Cells:
    return (
        file,
        str(figures.rows),
        _number(figures.recall),
        _number(figures.precision),
        _number(figures.f2),
        _number(figures.ms_per_1000_chars),
    )


def _judge_cells(file: str, figures: JudgeFigures) -> _Cells:
    return (
        file,
        str(figures.rows),
        str(figures.unsafe),
        _number(figures.average_precision),
        _number(figures.recall),
        _number(figures.false_alarm_rate),
        _number(figures.ms_p50),
        _number(figures.ms_p95),
    )


def _left_out(kind: str, figures: IdentifierFigures) -> str:
    return " (not looked for)" if kind in figures.not_in_recall else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _print_json(value: Mapping[str, object]) -> None:
    typer.echo(json.dumps(value, indent=2))


def _print_table(head: _Cells, rows: Iterable[_Cells]) -> None:
    """Columns as wide as their widest cell."""
    # Names of files and kinds are others': nothing in them may move the cursor.
    table = [head, *(tuple(map(visible, cells)) for cells in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        typer.echo(line.rstrip())
