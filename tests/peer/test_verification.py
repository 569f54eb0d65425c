import pytest

from peerllm.peer.generation import AnswerScores
from peerllm.peer.verification import judge_answer


def scores(margins: list[float], drawn: list[bool] | None = None) -> AnswerScores:
    return AnswerScores(11, tuple(drawn or [True] * len(margins)), tuple(margins))


@pytest.mark.parametrize(
    ("margins", "judgement"),
    [
        ([0.0] * 100, "honest"),
        ([0.0] * 95 + [0.2] * 5, "honest"),
        # A quantization lower: every token a little off.
        ([0.03] * 100, "foreign"),
        # One altered token that the mean of a long answer would hide.
        ([0.0] * 999 + [8.0], "foreign"),
    ],
)
def test_a_greedy_answer_is_judged_by_its_margins(margins: list[float], judgement: str) -> None:
    verdict = judge_answer(scores(margins), greedy=True, exact=False)
    assert verdict.judgement == judgement
    assert verdict.largest_margin == max(margins)


@pytest.mark.parametrize(
    ("drawn_again", "exact", "judgement"),
    [
        (100, True, "honest"),
        (97, True, "foreign"),
        (95, False, "honest"),
        (80, False, "undecided"),
        (50, False, "foreign"),
    ],
)
def test_a_drawn_answer_is_judged_by_what_is_drawn_again(
    drawn_again: int, exact: bool, judgement: str
) -> None:
    drawn = [True] * drawn_again + [False] * (100 - drawn_again)
    verdict = judge_answer(scores([3.0] * 100, drawn), greedy=False, exact=exact)
    assert verdict.judgement == judgement
    assert verdict.drawn_share == drawn_again / 100


def test_nothing_is_believed_of_no_scores() -> None:
    with pytest.raises(ValueError, match="without scores"):
        judge_answer(scores([]), greedy=True, exact=True)
