import pytest

from peerllm.peer.generation import AnswerScores
from peerllm.peer.verification import judge_answer, pool


def scores(margins: list[float], drawn: list[bool] | None = None) -> AnswerScores:
    return AnswerScores(11, tuple(drawn or [True] * len(margins)), tuple(margins))


def drawn(again: int, tokens: int) -> AnswerScores:
    return scores([3.0] * tokens, [True] * again + [False] * (tokens - again))


@pytest.mark.parametrize(
    ("margins", "judgement"),
    [
        ([0.0] * 100, "honest"),
        ([0.0] * 95 + [0.2] * 5, "honest"),
        ([0.02] * 100, "undecided"),
        # A quantization lower: every token a little off.
        ([0.04] * 100, "foreign"),
        # One altered token that the mean of a long answer would hide.
        ([0.0] * 999 + [8.0], "foreign"),
    ],
)
def test_a_greedy_answer_is_judged_by_its_margins(margins: list[float], judgement: str) -> None:
    verdict = judge_answer(scores(margins), greedy=True, same_logits=False)
    assert verdict.judgement == judgement
    assert verdict.largest_margin == max(margins)


@pytest.mark.parametrize(
    ("again", "tokens", "same_logits", "judgement"),
    [
        (100, 100, True, "honest"),
        (97, 100, True, "foreign"),
        (95, 100, False, "honest"),
        (80, 100, False, "undecided"),
        (45, 100, False, "foreign"),
        # The more tokens, the narrower what is left open.
        (240, 300, False, "honest"),
        (207, 300, False, "undecided"),
        (180, 300, False, "foreign"),
    ],
)
def test_a_drawn_answer_is_judged_by_what_is_drawn_again(
    again: int, tokens: int, same_logits: bool, judgement: str
) -> None:
    verdict = judge_answer(drawn(again, tokens), greedy=False, same_logits=same_logits)
    assert verdict.judgement == judgement
    assert verdict.drawn_share == again / tokens


def test_the_same_logits_allow_no_margin_to_a_greedy_answer_either() -> None:
    # Too little for the margins, as with a neighbouring quantization on an easy prompt.
    near = scores([0.01] * 100, [True] * 92 + [False] * 8)
    assert judge_answer(near, greedy=True, same_logits=False).judgement == "honest"
    assert judge_answer(near, greedy=True, same_logits=True).judgement == "foreign"


def test_several_undecided_answers_decide_together() -> None:
    answers = [drawn(80, 100)] * 3
    assert judge_answer(pool(answers), greedy=False, same_logits=False).judgement == "honest"
    assert pool(answers).prompt_tokens == 33


def test_nothing_is_believed_of_no_scores() -> None:
    with pytest.raises(ValueError, match="without scores"):
        judge_answer(scores([]), greedy=True, same_logits=True)
