"""Whether a claimed answer is this model's: what its scores mean.

A host that serves another model, or answers another prompt, gives tokens that the right
model would not have chosen. Scores show it in two ways: the *margin* of a token, how far
its logit lies below the largest, and whether the declared sampling *draws* it again.

A score is computed in one of two ways. *By prefill*: the claimed tokens enter like a
prompt, at about 0.6 of the price of generating them; the logits then differ a little from
those of generation. *Exact*: token by token, at the full price; on the instruction set
and build that generated the answer, the logits are the same to the last bit.
"""

from dataclasses import dataclass
from typing import Final, Literal

from peerllm.peer.generation import AnswerScores

# Greedy answers: honest hosts of every build and of higher precision stay below 0.012,
# the nearest lower quantization begins at 0.027.
_HONEST_MEAN_MARGIN: Final = 0.02
# One altered token in a long answer hardly moves the mean; no honest token of 400 lay
# deeper than 0.35, an altered one lies around 20.
_HONEST_LARGEST_MARGIN: Final = 1.0
# Drawn answers, exact: every token is drawn again. One in fifty allows for a build that
# rounds otherwise, no more: another prompt's answer is drawn again to at most two thirds.
_HONEST_DRAWN_SHARE: Final = 0.98
# By prefill honest answers fell to 0.77 and others reached 0.67: between is no telling.
_PREFILL_DRAWN_SHARE: Final = 0.9
_FOREIGN_DRAWN_SHARE: Final = 0.6

Judgement = Literal["honest", "foreign", "undecided"]


@dataclass(frozen=True)
class AnswerVerdict:
    """What is believed of a claimed answer, and the figures that say so.

    `undecided`: ask again, exactly. Margins in logits; the share from 0 to 1.
    """

    judgement: Judgement
    mean_margin: float
    largest_margin: float
    drawn_share: float


def judge_answer(scores: AnswerScores, *, greedy: bool, exact: bool) -> AnswerVerdict:
    """Judge an answer by its scores; raises ValueError when there are none.

    Tokens of a greedy answer are judged by their margins. Those of a drawn one lie below
    the largest logit by design, so only the share that is drawn again counts.
    """
    if not scores.margins:
        raise ValueError("an answer without scores cannot be judged")
    mean = sum(scores.margins) / len(scores.margins)
    largest = max(scores.margins)
    share = sum(scores.would_draw) / len(scores.would_draw)
    judgement: Judgement
    if greedy:
        within = mean <= _HONEST_MEAN_MARGIN and largest <= _HONEST_LARGEST_MARGIN
        judgement = "honest" if within else "foreign"
    elif exact:
        judgement = "honest" if share >= _HONEST_DRAWN_SHARE else "foreign"
    else:
        judgement = _by_prefill(share)
    return AnswerVerdict(judgement, mean, largest, share)


def _by_prefill(share: float) -> Judgement:
    if share >= _PREFILL_DRAWN_SHARE:
        return "honest"
    return "foreign" if share < _FOREIGN_DRAWN_SHARE else "undecided"
