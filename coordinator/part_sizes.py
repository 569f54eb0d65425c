"""How long the parts of a cut text are, and how long what is made of each may be."""

from collections.abc import Sequence

from peerllm.coordinator.document_task import DocumentTask

# A part small enough to be read in a few seconds by a home machine (150-300 tokens/s of prefill)
# and large enough to hold an argument.
PART_TOKENS = 640
# Less of a text than this at a time says too little to be worked on by itself.
SMALLEST_PART_TOKENS = 160
# What a mapped part may grow by, and a translation: vocabularies made for English spell others out.
# In that of the embedded model a contract takes 2.3 times its tokens in German, 4.8 in Greek.
MAPPED_GROWTH = 1.5
TRANSLATED_GROWTH = 5.0
# What a part is told besides the instruction, in vocabularies that spell words out.
PART_INSTRUCTION_TOKENS = 64
# A share of the answer below this answers no question of a list and lists nothing of a part.
SHORTEST_ANSWER_TOKENS = 48


def growth_of(task: DocumentTask | None) -> float:
    """How many times the tokens of a text what is made of it may have."""
    into_another = task is not None and task.into_another_language
    return TRANSLATED_GROWTH if into_another else MAPPED_GROWTH


def part_tokens(task: DocumentTask, room: int) -> int | None:
    """How many tokens of text a part has, so that what is made of it fits beside it.

    `room` is what the model takes besides the instruction. None where it is too little.
    """
    if task.kind in ("summarise", "question"):
        return PART_TOKENS
    fitting = int((room - PART_INSTRUCTION_TOKENS) / (1 + growth_of(task)))
    return min(PART_TOKENS, fitting) if fitting >= SMALLEST_PART_TOKENS else None


def answer_shares(
    task: DocumentTask, parts: Sequence[int], answer_tokens: int | None
) -> list[int] | None:
    """How long each part's answer may be, by the parts' tokens, or None where that is too short.

    Each would end in its middle: an answer with holes, where that to the whole ends early.
    `answer_tokens` is the bound of the whole answer, None where the caller left it open.
    """
    wanted = [max(1, int(part * growth_of(task))) for part in parts]
    if answer_tokens is None:
        return wanted
    shares = [answer_tokens * part // sum(parts) for part in parts]
    for part, most, share in zip(parts, wanted, shares, strict=True):
        rewritten = max(part, most // 2)
        least = rewritten if task.kind == "rewrite" else min(part, SHORTEST_ANSWER_TOKENS)
        if share < least:
            return None
    return list(map(min, wanted, shares))
