"""How a request becomes chunks: a pure plan, made from the texts and the token counts alone.

*single*: one chunk, the fast path. *map*: each part answered by itself and the answers joined
(translate, rewrite, proofread; classify and extract; a list of questions). *map-reduce*: each part
condensed, then one chunk makes the answer from the parts' results (summarise, a question over a
document), over as many levels as the model's context needs. Which it is, `document_task` tells.

A chunk is data for a model, never an instruction to the planner.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from peerllm.coordinator.document_parts import parts_of
from peerllm.coordinator.document_task import DocumentTask, TaskKind, Turn, recognise
from peerllm.coordinator.merging import NOTHING, says_nothing
from peerllm.coordinator.part_sizes import (
    MAPPED_GROWTH,
    PART_TOKENS,
    SHORTEST_ANSWER_TOKENS,
    answer_shares,
    growth_of,
    part_tokens,
)
from peerllm.coordinator.passages import gaps_between, pack_passages
from peerllm.coordinator.plan import Chunk, Plan
from peerllm.coordinator.split_gain import Work, pays, written_for

Split = Literal["auto", "never", "always"]

# Below this many tokens of document, the extra reduce step costs more than the parallel reading
# saves: three parts of 400 tokens are read in the time in which one host reads 1,200.
WORTH_SPLITTING_TOKENS = 1_200
# What a part's condensation may take, and how many of them one chunk reads at most: 24 fill the
# prompt of a model of 4,096 tokens.
PART_ANSWER_TOKENS = 128
MAXIMUM_NOTES = 24
# With two levels of reduction a model of 2,048 tokens reads this many parts, about 60,000 tokens.
MAXIMUM_PARTS = 96
MAXIMUM_LEVELS = 3
# What an answer may take where the caller does not say.
DEFAULT_ANSWER_TOKENS = 512
# What the reduce chunk adds around the notes, with room for vocabularies that spell digits out; a
# note shorter than the shortest says nothing of its part.
NOTES_OPENING_TOKENS = 32
NOTE_NUMBER_TOKENS = 8
SHORTEST_NOTE_TOKENS = 16


@dataclass(frozen=True, kw_only=True)
class PromptTooLong:
    """The prompt and the answer asked for do not fit the model, and the task cannot be split."""

    prompt_tokens: int
    answer_tokens: int
    context_tokens: int


@dataclass(frozen=True, kw_only=True)
class NotDivisible:
    """The caller demanded a split that this request does not allow."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the target model takes and how long an answer may be.

    `answer_tokens` is None where the caller left it open. `count` gives the real tokens of a text.
    """

    context_tokens: int
    answer_tokens: int | None
    count: Callable[[str], int]

    def of(self, turns: Sequence[Turn]) -> int:
        """Tokens of a chat as billed and as sent; see TURN_TOKENS."""
        return prompt_tokens(turns, self.count)


# ChatML spends five tokens a turn (start, role, newline, end, newline) and three to open the
# answer. Part of the published way of counting, so that a bill can be checked.
TURN_TOKENS = 5
OPENING_TOKENS = 3
# The template of the embedded model puts a system turn of its own before a chat without one.
TEMPLATE_MARGIN = 40


def prompt_tokens(turns: Sequence[Turn], count: Callable[[str], int]) -> int:
    """Tokens a chat is billed for: its contents, five a turn and three for the answer's opening."""
    return OPENING_TOKENS + sum(TURN_TOKENS + count(turn.content) for turn in turns)


def make_plan(
    turns: Sequence[Turn],
    budget: Budget,
    *,
    split: Split = "auto",
    at_once: int = MAXIMUM_PARTS,
    stops: bool = False,
) -> Plan | PromptTooLong | NotDivisible:
    """Decide on one chunk or many. Splits only where that is predicted to pay or is demanded.

    `at_once` chunks would be worked on side by side now, each by a host of its own. `stops`: the
    answer ends at a stop sequence, which each of its parts would do by itself.
    """
    turns = tuple(turns)
    total = budget.of(turns)
    too_long = beyond_reach(turns, total, budget, split=split)
    if too_long is not None:
        return too_long
    answer, fits = _room_for_answer(total, budget)
    task = None if split == "never" else recognise(turns)
    demanded = split == "always" or not fits
    plan = None if task is None else _plan_of(task, budget, demanded=demanded)
    if plan is not None and plan.joined and stops and not demanded:
        plan = None
    if task is not None and plan is not None and _fits_model(plan, budget):
        whole = Work(total, answer)
        if (
            demanded
            or _too_long_to_write(task, whole, budget)
            or (_pays(plan, whole, at_once, budget) and not task.may_hold_a_rule)
        ):
            return plan
    if split == "always":
        return NotDivisible()
    if not fits:
        return PromptTooLong(
            prompt_tokens=total, answer_tokens=answer, context_tokens=budget.context_tokens
        )
    return Plan(chunks=(Chunk(index=0, kind="single", turns=turns, max_tokens=answer),))


def _plan_of(task: DocumentTask, budget: Budget, *, demanded: bool) -> Plan | None:
    """The task cut into parts, or None where there is nothing to cut or it would not pay."""
    if task.kind == "list":
        return _list(task, budget)
    if not demanded and budget.count(task.document) < WORTH_SPLITTING_TOKENS:
        return None
    size = _part_tokens(task, budget)
    if size is None:
        return None
    parts = parts_of(task, size, budget.count)
    if not 1 < len(parts) <= MAXIMUM_PARTS:
        return None
    if task.kind in ("summarise", "question"):
        return _map_reduce(task, parts, budget)
    shares = answer_shares(task, list(map(budget.count, parts)), budget.answer_tokens)
    return None if shares is None else _map(task, parts, shares)


def _too_long_to_write(task: DocumentTask, whole: Work, budget: Budget) -> bool:
    """Whether one answer would end before the whole text is written anew.

    Not where the caller bounds the answer: that bound holds for all parts together.
    """
    if task.kind != "rewrite" or budget.answer_tokens is not None:
        return False
    return budget.count(task.document) > whole.written


def _pays(plan: Plan, whole: Work, at_once: int, budget: Budget) -> bool:
    """Whether the plan is predicted to be answered sooner than the whole."""
    kind = plan.kind
    if kind is None or kind == "list":
        # Nothing is read twice: side by side at all is enough.
        return at_once > 1
    levels = []
    for level in plan.levels():
        works = []
        for chunk in level:
            read = budget.of(chunk.turns) + len(chunk.needs) * written_for(kind, 0, note=True)
            written = written_for(kind, read, note=chunk is not plan.final or plan.joined)
            works.append(Work(read, min(written, chunk.max_tokens)))
        levels.append(works)
    written = written_for(kind, whole.read, note=False)
    return pays(Work(whole.read, min(written, whole.written)), levels, at_once)


def _fits_model(plan: Plan, budget: Budget) -> bool:
    """Whether every chunk can be sent; a chunk no host can take would be found out only at last."""
    return all(
        budget.of(chunk.turns)
        + chunk.max_tokens
        + TEMPLATE_MARGIN
        + _notes_frame(len(chunk.needs))
        + SHORTEST_NOTE_TOKENS * len(chunk.needs)
        <= budget.context_tokens
        for chunk in plan.chunks
    )


def beyond_reach(
    turns: Sequence[Turn], total: int, budget: Budget, *, split: Split = "auto"
) -> PromptTooLong | None:
    """Whether no plan can serve a prompt of `total` tokens; far cheaper than judging it."""
    answer, fits = _room_for_answer(total, budget)
    divisible = split != "never" and total <= MAXIMUM_PARTS * PART_TOKENS
    if fits or (divisible and _may_divide(turns, total, budget)):
        return None
    return PromptTooLong(
        prompt_tokens=total, answer_tokens=answer, context_tokens=budget.context_tokens
    )


def _may_divide(turns: Sequence[Turn], total: int, budget: Budget) -> bool:
    """Whether this is work that is cut, into no more parts than are made of one text."""
    task = recognise(turns)
    if task is None or budget.of(task.system) + TEMPLATE_MARGIN >= budget.context_tokens:
        return False
    return task.kind == "list" or total <= MAXIMUM_PARTS * (_part_tokens(task, budget) or 0)


def _part_tokens(task: DocumentTask, budget: Budget) -> int | None:
    asked = Turn(role="user", content=task.instruction)
    room = budget.context_tokens - TEMPLATE_MARGIN - budget.of((*task.system, asked))
    return part_tokens(task, room)


def _room_for_answer(total: int, budget: Budget) -> tuple[int, bool]:
    """The answer's length in tokens, and whether it fits beside the whole prompt."""
    room = budget.context_tokens - TEMPLATE_MARGIN - total
    answer = budget.answer_tokens or max(1, min(DEFAULT_ANSWER_TOKENS, room))
    return answer, answer <= room


def answer_bound(turns: Sequence[Turn], prompt: int, answer_tokens: int | None) -> int:
    """The most tokens an answer can be billed for, known before anything is planned."""
    if answer_tokens is not None:
        return answer_tokens
    task = recognise(turns)
    return DEFAULT_ANSWER_TOKENS + int(prompt * growth_of(task))


def _list(task: DocumentTask, budget: Budget) -> Plan | None:
    """Each question by itself; together they may take what one answer to all might.

    What stands before them goes with each: it may say what they are about and how to answer.
    """
    lead = f"{task.instruction}\n" if task.instruction else ""
    prompt = budget.count(task.document)
    bound = budget.answer_tokens or DEFAULT_ANSWER_TOKENS + int(prompt * MAPPED_GROWTH)
    share = bound // len(task.questions)
    if share < SHORTEST_ANSWER_TOKENS:
        return None
    chunks = tuple(
        Chunk(
            index=index,
            kind="map",
            turns=(*task.system, Turn(role="user", content=f"{lead}{question}")),
            max_tokens=min(share, DEFAULT_ANSWER_TOKENS),
        )
        for index, question in enumerate(task.questions)
    )
    return Plan(chunks=chunks, kind="list", instruction=task.instruction)


# What a part is told besides the instruction, by kind.
_OF_A_PART: dict[TaskKind, str] = {
    "extract": "This is one part of a longer text. Write one item a line, exactly as written, and "
    f"nothing else. If there is none, write {NOTHING}.\n\n",
    "question": "Answer in one sentence, from this part of a longer text alone. If it does not "
    f"say, write {NOTHING}.\n\n",
}
_CONDENSE = (
    "Summarize this part of a longer text in two or three sentences. "
    "Keep names and numbers exactly as written.\n\n"
)
_CONDENSE_NOTES = (
    "Combine these notes on a stretch of a longer text in two or three sentences. "
    "Keep names and numbers exactly as written."
)


def _map(task: DocumentTask, parts: Sequence[str], shares: Sequence[int]) -> Plan:
    gaps = ["\n"] * len(parts)
    if task.kind == "rewrite":
        gaps = list(gaps_between(task.document, parts))
    chunks = []
    for index, (part, share, before) in enumerate(zip(parts, shares, gaps, strict=True)):
        content = f"{task.instruction}\n\n{_OF_A_PART.get(task.kind, '')}{part}"
        turns = (*task.system, Turn(role="user", content=content))
        chunks.append(Chunk(index=index, kind="map", turns=turns, max_tokens=share, before=before))
    return Plan(chunks=tuple(chunks), kind=task.kind, instruction=task.instruction)


def _map_reduce(task: DocumentTask, parts: Sequence[str], budget: Budget) -> Plan:
    asked = _CONDENSE
    if task.kind == "question":
        asked = f"{task.instruction}\n\n{_OF_A_PART['question']}"
    chunks = [
        Chunk(
            index=index,
            kind="map",
            turns=(Turn(role="user", content=f"{asked}{part}"),),
            max_tokens=PART_ANSWER_TOKENS,
        )
        for index, part in enumerate(parts)
    ]
    final_turns = (*task.system, Turn(role="user", content=task.instruction))
    answer = budget.answer_tokens or min(DEFAULT_ANSWER_TOKENS, budget.context_tokens // 4)
    combine = _CONDENSE_NOTES
    if task.kind == "question":
        combine = f"{task.instruction}\n\n{combine}"
    between = (Turn(role="user", content=combine),)
    needs = list(range(len(parts)))
    at_once = _notes_that_fit(between, PART_ANSWER_TOKENS, budget)
    for _ in range(MAXIMUM_LEVELS - 1):
        if len(needs) <= _notes_that_fit(final_turns, answer, budget) or at_once < 2:
            break
        groups = -(-len(needs) // at_once)
        bounds = [len(needs) * number // groups for number in range(groups + 1)]
        above = []
        for start, end in pairwise(bounds):
            above.append(len(chunks))
            chunks.append(
                Chunk(
                    index=len(chunks),
                    kind="reduce",
                    turns=between,
                    max_tokens=PART_ANSWER_TOKENS,
                    needs=tuple(needs[start:end]),
                )
            )
        needs = above
    chunks.append(
        Chunk(
            index=len(chunks),
            kind="reduce",
            turns=final_turns,
            max_tokens=answer,
            needs=tuple(needs),
        )
    )
    return Plan(chunks=tuple(chunks), kind=task.kind, instruction=task.instruction)


def _notes_that_fit(turns: Sequence[Turn], answer: int, budget: Budget) -> int:
    """How many parts' whole condensations a chunk can read."""
    fixed = budget.of(turns) + answer + TEMPLATE_MARGIN + NOTES_OPENING_TOKENS
    room = budget.context_tokens - fixed
    return min(MAXIMUM_NOTES, room // (PART_ANSWER_TOKENS + NOTE_NUMBER_TOKENS))


def reduce_turns(chunk: Chunk, answers: Sequence[str], budget: Budget) -> tuple[Turn, ...]:
    """The reduce chunk's chat once the parts are answered, cut to fit the model's context.

    Every part keeps an equal share of the room: dropping the last parts whole would lose the
    document's end without a trace. Parts that found nothing are left out.
    """
    *system, asked = chunk.turns
    read = len(answers)
    answers = [answer for answer in answers if not says_nothing(answer)] or [NOTHING]
    fixed = budget.of(chunk.turns) + chunk.max_tokens + TEMPLATE_MARGIN
    fixed += _notes_frame(len(answers))
    share = max(1, (budget.context_tokens - fixed) // max(1, len(answers)))
    kept = [_cut(answer.strip(), share, budget.count) for answer in answers]
    notes = "\n\n".join(f"{number}. {text}" for number, text in enumerate(kept, start=1) if text)
    content = (
        f"{asked.content}\n\nThe text was read in {read} parts. "
        f"Notes on each part, in order:\n\n{notes}"
    )
    return (*system, Turn(role="user", content=content))


def _notes_frame(notes: int) -> int:
    """Tokens of what stands around the notes: a sentence, and a number and blank line for each."""
    return NOTES_OPENING_TOKENS + NOTE_NUMBER_TOKENS * notes if notes else 0


def _cut(text: str, tokens: int, count: Callable[[str], int]) -> str:
    parts = pack_passages(text, tokens, count) if text else ()
    return parts[0] if parts else ""
