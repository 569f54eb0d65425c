"""Whether claimed answers are this model's: what their scores mean.

A host that serves another model, or answers another prompt, gives tokens that the right
model would not have chosen. Scores show it in two ways: the *margin* of a token, how far
its logit lies below the largest, and whether the declared sampling *draws* it again.

A score is computed by prefill, row by row as an answer is drawn. On the build and instruction
set that generated the answer the logits are then the same to the last bit, with the exceptions
that docs/decisions/0005-engine.md tells; on any other they differ a little.

The figures below are of 300 answers of 24 tokens each by this model, by the same on another
instruction set, and by its neighbours: docs/verification.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from peerllm.peer.generation import AnswerScores

# The same logits: every token of 600 honest answers was drawn again. One in fifty is left to
# what nobody has thought of.
_REPLAYED_SHARE: Final = 0.98
# Greedy, other logits: nine in ten honest answers stay below the first, none lay above the
# second; ten pooled lay at 0.002 to 0.009, of the nearest quantization at 0.029 to 0.091.
_HONEST_MEAN_MARGIN: Final = 0.012
_FOREIGN_MEAN_MARGIN: Final = 0.03
# One altered token in a long answer hardly moves the mean; no honest token lay deeper
# than 0.44, an altered one lies around 20.
_LARGEST_HONEST_MARGIN: Final = 1.0
# Drawn, other logits: single answers overlap, but over some 200 tokens honest ones settle at
# 0.75 to 0.87 and those of lower quantizations at 0.39 to 0.68.
_ENOUGH_TOKENS: Final = 200
_FEW_TOKENS_BAND: Final = (0.5, 0.9)
_MANY_TOKENS_BAND: Final = (0.66, 0.72)

Judgement = Literal["honest", "foreign", "undecided"]


@dataclass(frozen=True)
class AnswerVerdict:
    """What is believed of claimed answers, and the figures that say so.

    `undecided`: score more answers of this host and judge them pooled. Margins in logits;
    the share from 0 to 1.
    """

    judgement: Judgement
    mean_margin: float
    largest_margin: float
    drawn_share: float


def pool(scores: Sequence[AnswerScores]) -> AnswerScores:
    """Several answers of one host as if they were one long one."""
    return AnswerScores(
        prompt_tokens=sum(one.prompt_tokens for one in scores),
        would_draw=tuple(drawn for one in scores for drawn in one.would_draw),
        margins=tuple(margin for one in scores for margin in one.margins),
    )


def judge_answer(scores: AnswerScores, *, greedy: bool, same_logits: bool) -> AnswerVerdict:
    """Judge an answer by its scores; raises ValueError when there are none.

    `same_logits`: scored exactly, on the build and instruction set that is known to have
    generated the answer. Otherwise greedy tokens are judged by their margins; drawn ones
    lie below the largest logit by design, so of them only the share drawn again counts.
    """
    if not scores.margins:
        raise ValueError("an answer without scores cannot be judged")
    mean = sum(scores.margins) / len(scores.margins)
    largest = max(scores.margins)
    share = sum(scores.would_draw) / len(scores.would_draw)
    judgement: Judgement
    if same_logits:
        judgement = "honest" if share >= _REPLAYED_SHARE else "foreign"
    elif greedy:
        judgement = _by_margins(mean, largest)
    else:
        judgement = _by_share(share, len(scores.would_draw))
    return AnswerVerdict(judgement, mean, largest, share)


def _by_margins(mean: float, largest: float) -> Judgement:
    if largest > _LARGEST_HONEST_MARGIN or mean > _FOREIGN_MEAN_MARGIN:
        return "foreign"
    return "honest" if mean <= _HONEST_MEAN_MARGIN else "undecided"


def _by_share(share: float, tokens: int) -> Judgement:
    foreign, honest = _MANY_TOKENS_BAND if tokens >= _ENOUGH_TOKENS else _FEW_TOKENS_BAND
    if share >= honest:
        return "honest"
    return "foreign" if share < foreign else "undecided"
