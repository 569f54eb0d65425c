import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.safety.evaluation import (
    ExplainingJudge,
    IdentifierCount,
    JudgeCount,
    Judgement,
    average_precision,
    f_beta,
    percentile,
)
from peerllm.safety.evaluation_rows import (
    MAXIMUM_LINE_BYTES,
    EvaluationDataError,
    IdentifierRow,
    JudgeRow,
    read_row,
)
from peerllm.safety.identifier_kinds import Identifier
from peerllm.safety.judge import SafetyThresholds, load_judge, shipped_gate


def predicted(*spans: tuple[int, int]) -> list[Identifier]:
    return [Identifier(start, end, "PERSON", 0.5) for start, end in spans]


def counted(
    text: str, gold: list[tuple[int, int, str]], *spans: tuple[int, int]
) -> IdentifierCount:
    count = IdentifierCount()
    count.add(text, gold, predicted(*spans))
    return count


TEXT = "Ann-Marie B. lives at 12 Oak Rd."
NAME, ADDRESS = (0, 12, "PERSON"), (22, 32, "ADDRESS")


@pytest.mark.parametrize(
    ("spans", "recalled"),
    [
        ([(0, 12)], 1),
        ([(0, 11)], 1),  # the full stop is no letter
        ([(0, 3), (4, 9), (10, 11)], 1),  # several predictions together, without the hyphen
        ([(0, 9)], 0),  # "B" is left over
        ([(1, 12)], 0),
        ([], 0),
    ],
)
def test_a_span_is_recalled_when_every_letter_and_digit_is_covered(
    spans: list[tuple[int, int]], recalled: int
) -> None:
    assert counted(TEXT, [NAME], *spans).recalled["PERSON"] == recalled


@pytest.mark.parametrize(
    ("span", "right"),
    [
        ((0, 12), 1),
        ((13, 21), 0),
        ((5, 21), 0),  # "arieB" of "arieBlivesat": 5 of 12
        ((4, 19), 1),  # "MarieB" of "MarieBlives": 6 of 11
        ((9, 14), 1),  # exactly half: "B" of "Bl"
        ((3, 4), 0),  # only a hyphen
        ((28, 32), 1),  # another kind
    ],
)
def test_a_prediction_is_right_when_half_of_it_is_gold(span: tuple[int, int], right: int) -> None:
    assert counted(TEXT, [NAME, ADDRESS], span).right == right


def test_figures_against_a_sum_by_hand() -> None:
    count = IdentifierCount()
    # One of two found, one of three predictions right.
    count.add(TEXT, [NAME, ADDRESS], predicted((0, 12), (13, 18), (19, 21)), 0.010)
    # A date is no identifier, but masking it is no mistake; one name found.
    count.add("May 4, Ann", [(0, 5, "DATE"), (7, 10, "PERSON")], predicted((0, 5), (7, 10)), 0.011)
    figures = count.figures()
    assert figures.recall == pytest.approx(2 / 3)
    assert figures.precision == pytest.approx(3 / 5)
    assert figures.f2 == pytest.approx(5 * 0.6 * (2 / 3) / (4 * 0.6 + 2 / 3))
    assert figures.recall_by_kind == {"ADDRESS": 0.0, "DATE": 1.0, "PERSON": 1.0}
    assert figures.not_in_recall == ["DATE"]
    assert figures.ms_per_1000_chars == pytest.approx(21 / 42 * 1_000)
    twice = IdentifierCount()
    twice.add_all(count)
    twice.add_all(count)
    assert twice.figures().f2 == pytest.approx(figures.f2)
    assert twice.figures().rows == 4


def test_nothing_to_be_a_share_of_is_none() -> None:
    figures = counted("nobody", []).figures()
    assert (figures.recall, figures.precision, figures.f2) == (None, None, None)
    assert counted("Ann", [(0, 3, "PERSON")]).figures().recall == 0.0
    assert f_beta(0.0, 0.0, beta=2) == 0.0


@st.composite
def texts_and_spans(
    draw: st.DrawFn,
) -> tuple[str, list[tuple[int, int, str]], list[tuple[int, int]]]:
    text = draw(st.text(min_size=1, max_size=20))
    edges = st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))
    spans = st.lists(edges.map(sorted).filter(lambda pair: pair[0] < pair[1]), max_size=5)
    gold = [(start, end, "PERSON") for start, end in draw(spans)]
    return text, gold, [(start, end) for start, end in draw(spans)]


@given(texts_and_spans())
def test_shares_lie_between_zero_and_one(
    case: tuple[str, list[tuple[int, int, str]], list[tuple[int, int]]],
) -> None:
    text, gold, spans = case
    figures = counted(text, gold, *spans).figures()
    for share in (figures.recall, figures.precision, figures.f2):
        assert share is None or 0 <= share <= 1
    whole = counted(text, gold, (0, len(text))).figures()
    assert whole.recall == (1.0 if gold else None)


def test_average_precision_by_hand() -> None:
    # Positives at ranks 1, 3 and 4: (1/1 + 2/3 + 3/4) / 3.
    ranked = [(0.9, True), (0.8, False), (0.7, True), (0.6, True), (0.5, False)]
    assert average_precision(ranked) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert average_precision(reversed(ranked)) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_equal_scores_enter_average_precision_together() -> None:
    # At 0.9 one of one; at 0.5 two of four positive rows of which both have precision 3 of 5.
    tied = [(0.9, True), (0.5, True), (0.5, False), (0.5, True), (0.5, False), (0.1, False)]
    assert average_precision(tied) == pytest.approx((1 + 3 / 5 + 3 / 5) / 3)
    assert average_precision([(0.5, True), (0.5, False), (0.5, False), (0.5, False)]) == 0.25


@pytest.mark.parametrize("scored", [[], [(0.5, True)], [(0.5, False), (0.1, False)]])
def test_average_precision_needs_both_labels(scored: list[tuple[float, bool]]) -> None:
    assert average_precision(scored) is None


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.booleans()), min_size=2))
def test_average_precision_is_bounded_by_the_best_and_worst_order(
    scored: list[tuple[float, bool]],
) -> None:
    labels = [label for _, label in scored]
    found = average_precision(scored)
    if found is None:
        assert len(set(labels)) == 1
        return
    positives = sum(labels)
    worst = average_precision((float(not label), label) for label in labels)
    assert worst == pytest.approx(positives / len(labels))
    assert 0 < found <= 1
    assert average_precision((float(label), label) for label in labels) == 1


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([5.0, 1.0, 4.0, 2.0, 3.0], 0.5) == 3.0
    assert percentile([float(value) for value in range(1, 101)], 0.95) == 95.0
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.5) is None


def judgement(hate: float, violence: float) -> Judgement:
    worst = max(hate, violence)
    return Judgement(
        allowed=worst < 0.5,
        category="hate" if hate >= violence else "violence",
        score_milli=round(1_000 * worst),
        standard_version=1,
        scores={"hate": hate, "violence": violence},
        severity=2 * worst,
    )


def test_judge_figures_by_hand() -> None:
    count = JudgeCount()
    for hate, violence, unsafe, categories, seconds in (
        (0.9, 0.1, True, {"hate": True, "violence": False}, 0.001),
        (0.2, 0.6, True, {"violence": True, "unheard of": True}, 0.002),
        (0.3, 0.2, True, {"hate": True}, 0.003),
        (0.4, 0.1, False, {"hate": False}, 0.004),
        (0.1, 0.7, False, {}, 0.005),
    ):
        count.add(
            unsafe=unsafe,
            categories=categories,
            of_no_other=False,
            judgement=judgement(hate, violence),
            seconds=seconds,
        )
    figures = count.figures()
    assert (figures.rows, figures.unsafe) == (5, 3)
    assert figures.recall == pytest.approx(2 / 3)
    assert figures.false_alarm_rate == pytest.approx(1 / 2)
    # Scores .9 u, .7 s, .6 u, .4 s, .3 u.
    assert figures.average_precision == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    hate = figures.by_category["hate"]
    assert (hate.rows, hate.recall) == (2, 0.5)
    assert hate.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert figures.by_category["unheard of"].average_precision is None
    assert figures.by_category["violence"].average_precision == 1.0
    assert (figures.ms_p50, figures.ms_p95) == (pytest.approx(3.0), pytest.approx(5.0))


def test_a_text_of_no_other_category_counts_against_each() -> None:
    count = JudgeCount()
    for hate, unsafe, categories in ((0.9, True, {"hate": True}), (0.95, False, {})):
        count.add(
            unsafe=unsafe,
            categories=categories,
            of_no_other=not unsafe,
            judgement=judgement(hate, 0.0),
        )
    assert count.figures().by_category["hate"].average_precision == 0.5


class FixedGate:
    def __init__(self, **scores: float) -> None:
        self._scores = scores

    def scores(self, _text: str, /) -> dict[str, float]:
        return self._scores


def test_an_explaining_judge_shows_the_strictest_scores_of_the_standards_categories() -> None:
    standard = SafetyThresholds(version=4, thresholds_milli={"hate": 800, "violence": 400})
    gates = [FixedGate(hate=0.6, cyber=1.0), FixedGate(hate=0.7, violence=0.3)]
    judged = ExplainingJudge(standard, gates).judge("text")
    assert judged.scores == {"hate": 0.7, "violence": 0.3}
    assert judged.severity == pytest.approx(0.7 / 0.8)
    assert judged.allowed
    assert judged.standard_version == 4


@pytest.mark.parametrize("text", ["How do I bake bread?", "I will kill you, you idiot", ""])
def test_an_explaining_judge_agrees_with_the_shipped_judge(text: str) -> None:
    standard = SafetyThresholds(
        version=1, thresholds_milli=dict.fromkeys(("overall", "hate", "violence"), 500)
    )
    verdict = load_judge(standard).judge(text)
    judged = ExplainingJudge(standard, [shipped_gate()]).judge(text)
    assert (judged.allowed, judged.category, judged.score_milli) == (
        verdict.allowed,
        verdict.category,
        verdict.score_milli,
    )


def test_rows_are_read() -> None:
    row = read_row(b'{"text": "Ann", "spans": [[0, 3, "PERSON"]], "more": 1}', IdentifierRow,
                   place="f")  # fmt: skip
    assert (row.text, row.spans) == ("Ann", ((0, 3, "PERSON"),))
    assert "Ann" not in repr(row)


@pytest.mark.parametrize(
    ("fields", "categories"),
    [
        ({}, {}),
        ({"cats": ["hate", "selfharm"]}, {"hate": True, "self_harm": True}),
        ({"labels": {"H": 0, "H2": 1, "S": 0, "V": None}}, {"hate": True, "sexual": False}),
        ({"labels": ["violence"]}, {"violence": True}),
    ],
)
def test_categories_have_the_names_of_the_standard(
    fields: dict[str, object], categories: dict[str, bool]
) -> None:
    line = json.dumps({"text": "t", "unsafe": 1, **fields}).encode()
    assert read_row(line, JudgeRow, place="f").categories == categories


@pytest.mark.parametrize(
    ("fields", "of_no_other"),
    [
        ({"unsafe": 0}, True),
        ({"unsafe": 0, "cats": []}, True),
        ({"unsafe": 0, "labels": {"S": 0}}, False),  # of hate nothing is known
        ({"unsafe": 1, "cats": ["hate"]}, False),
    ],
)
def test_a_safe_row_is_of_no_category(fields: dict[str, object], of_no_other: bool) -> None:
    line = json.dumps({"text": "t", **fields}).encode()
    assert read_row(line, JudgeRow, place="f").of_no_other == of_no_other


SECRET = "Rosebud"
BAD_LINES = {
    "no JSON": SECRET.encode(),
    "cut": b'{"text": "Rosebud',
    "not UTF-8": b'{"text": "Rosebud \xff", "unsafe": 1, "spans": []}',
    "lone surrogate": b'{"text": "Rosebud \\ud800", "unsafe": 1, "spans": []}',
    "no object": b'["Rosebud"]',
    "no text": b'{"unsafe": 1, "spans": []}',
    "text of another type": b'{"text": ["Rosebud"], "unsafe": 1, "spans": []}',
    "label of another type": b'{"text": "", "unsafe": "Rosebud", "spans": "Rosebud"}',
    "label out of bounds": b'{"text": "", "unsafe": 77, "spans": [[77, 78, "A"]]}',
    "deep": b'{"text": "", "Rosebud": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "huge": b'{"text": "' + b"Rosebud" * (MAXIMUM_LINE_BYTES // 7) + b'", "unsafe": 1}',
}


@pytest.mark.parametrize("kind", [IdentifierRow, JudgeRow])
@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_named_but_not_quoted(
    name: str, kind: type[IdentifierRow] | type[JudgeRow]
) -> None:
    with pytest.raises(EvaluationDataError) as refused:
        read_row(BAD_LINES[name], kind, place="file, line 7")
    message = str(refused.value)
    assert message.startswith("file, line 7: ")
    assert SECRET not in message
    assert "77" not in message.removeprefix("file, line 7")
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("span", ["[3, 3]", "[2, 1]", "[0, 4]"])
def test_a_span_outside_its_text_is_refused(span: str) -> None:
    start, end = json.loads(span)
    line = json.dumps({"text": "Ann", "spans": [[0, 3, "PERSON"], [start, end, "X"]]}).encode()
    with pytest.raises(EvaluationDataError, match="span 1 does not lie inside the 3 characters"):
        read_row(line, IdentifierRow, place="f")


@given(st.one_of(st.binary(max_size=60), st.text(max_size=20).map(json.dumps).map(str.encode)))
def test_no_other_error_escapes(line: bytes) -> None:
    for kind in (IdentifierRow, JudgeRow):
        with pytest.raises(EvaluationDataError, match=r"^f: "):
            read_row(line, kind, place="f")
