"""How a request becomes chunks: a pure plan, made from the texts and the token counts alone.

Three shapes exist. *single*: one chunk, the fast path. *map*: each part answered by itself, the
answers joined in order (translate, rewrite, proofread). *map-reduce*: each part condensed, then
one chunk makes the answer from the parts' results (summarise). Anything the planner does not
recognise stays whole: dialogue, code, reasoning and global constraints suffer from being cut.

A chunk is data for a model, never an instruction to the planner.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from peerllm.coordinator.passages import pack_passages

Split = Literal["auto", "never", "always"]

# Below this many tokens of document, the extra reduce step costs more than the parallel reading
# saves: three parts of 400 tokens are read in the time in which one host reads 1,200.
WORTH_SPLITTING_TOKENS = 1_200
# A part small enough to be read in a few seconds by a home machine (150-300 tokens/s of prefill)
# and large enough to hold an argument.
PART_TOKENS = 640
# What a part's condensation may take, and how many parts there may be: 24 condensations fill the
# reduce prompt of a model of 4,096 tokens, and more could only be read by dropping some.
PART_ANSWER_TOKENS = 128
MAXIMUM_PARTS = 24
# What a mapped part may grow by: translations into longer languages reach 1.5 times.
MAPPED_GROWTH = 1.5
# What an answer may take where the caller does not say.
DEFAULT_ANSWER_TOKENS = 512
# What the reduce chunk adds around the notes, with room for vocabularies that spell digits out; a
# note shorter than the shortest says nothing of its part.
NOTES_OPENING_TOKENS = 32
NOTE_NUMBER_TOKENS = 8
SHORTEST_NOTE_TOKENS = 16
# An instruction longer than this is not an instruction about a document that follows.
INSTRUCTION_CHARACTERS = 400


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A self-contained sub-task. `needs` are indices of chunks whose answers it is made from."""

    index: int
    kind: Literal["single", "map", "reduce"]
    turns: tuple[Turn, ...] = field(repr=False)
    max_tokens: int
    needs: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The chunks of a request. `joined` says that the map answers in order are the answer."""

    chunks: tuple[Chunk, ...]
    joined: bool = False

    @property
    def final(self) -> Chunk:
        """The chunk whose answer is the request's (the last part where answers are joined)."""
        return self.chunks[-1]


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
    turns: Sequence[Turn], budget: Budget, *, split: Split = "auto"
) -> Plan | PromptTooLong | NotDivisible:
    """Decide on one chunk or many. Splits only where that is predicted to pay or is demanded."""
    turns = tuple(turns)
    total = budget.of(turns)
    too_long = beyond_reach(turns, total, budget, split=split)
    if too_long is not None:
        return too_long
    answer, fits = _room_for_answer(total, budget)
    task = None if split == "never" else recognise(turns)
    if task is not None:
        parts = pack_passages(task.document, PART_TOKENS, budget.count)
        pays = budget.count(task.document) >= WORTH_SPLITTING_TOKENS
        if len(parts) > 1 and (pays or split == "always" or not fits):
            plan = _map_reduce(task, parts, budget) if task.reduce else _map(task, parts, budget)
            if _fits_model(plan, budget):
                return plan
    if split == "always":
        return NotDivisible()
    if not fits:
        return PromptTooLong(
            prompt_tokens=total, answer_tokens=answer, context_tokens=budget.context_tokens
        )
    return Plan(chunks=(Chunk(index=0, kind="single", turns=turns, max_tokens=answer),))


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
    """Whether no plan can serve a prompt of `total` tokens; cheap enough to ask before judging."""
    answer, fits = _room_for_answer(total, budget)
    divisible = split != "never" and total <= MAXIMUM_PARTS * PART_TOKENS and recognise(turns)
    if fits or divisible:
        return None
    return PromptTooLong(
        prompt_tokens=total, answer_tokens=answer, context_tokens=budget.context_tokens
    )


def _room_for_answer(total: int, budget: Budget) -> tuple[int, bool]:
    """The answer's length in tokens, and whether it fits beside the whole prompt."""
    room = budget.context_tokens - TEMPLATE_MARGIN - total
    answer = budget.answer_tokens or max(1, min(DEFAULT_ANSWER_TOKENS, room))
    return answer, answer <= room


def answer_bound(prompt: int, answer_tokens: int | None) -> int:
    """The most tokens an answer can be billed for, known before anything is planned."""
    return answer_tokens or DEFAULT_ANSWER_TOKENS + int(prompt * MAPPED_GROWTH)


@dataclass(frozen=True, kw_only=True)
class DocumentTask:
    """An instruction over a document, as found in the last user turn."""

    instruction: str = field(repr=False)
    document: str = field(repr=False)
    system: tuple[Turn, ...] = field(repr=False)
    reduce: bool


_SUMMARISE = re.compile(
    r"\b(summari[sz]e|summary|summari[sz]ation|tl;?dr|key (points|takeaways)|main (points|ideas)"
    r"|condense|abridge|in (a nutshell|brief))\b",
    re.IGNORECASE,
)
_REWRITE = re.compile(
    r"\b(translate|translation|proofread|rewrite|rephrase|paraphrase"
    r"|correct the (spelling|grammar))\b",
    re.IGNORECASE,
)


def recognise(turns: Sequence[Turn]) -> DocumentTask | None:
    """Find "do this: document" or "document, do this" in a chat of one user turn."""
    system = tuple(turn for turn in turns if turn.role == "system")
    spoken = [turn for turn in turns if turn.role != "system"]
    if len(spoken) != 1 or spoken[0].role != "user":
        return None
    for instruction, document in _readings(spoken[0].content):
        reduce = _SUMMARISE.search(instruction) is not None
        if reduce or _REWRITE.search(instruction):
            return DocumentTask(
                instruction=instruction.strip(),
                document=document.strip(),
                system=system,
                reduce=reduce,
            )
    return None


def _readings(content: str) -> list[tuple[str, str]]:
    """The ways to tell an instruction from its document: a line, a colon or a sentence apart."""
    text = content.strip()
    readings: list[tuple[str, str]] = []
    first, newline, rest = text.partition("\n")
    if newline:
        readings.append((first, rest))
        body, _, last = text.rpartition("\n")
        readings.append((last, body))
    head, colon, tail = text.partition(": ")
    if colon:
        readings.append((head, tail))
    opening = re.match(r"[^.!?\n]{1,400}[.!?]\s", text)
    if opening:
        readings.append((opening.group(0), text[opening.end() :]))
    return [
        (instruction, document)
        for instruction, document in readings
        if len(instruction) <= INSTRUCTION_CHARACTERS and document.strip()
    ]


def _map(task: DocumentTask, parts: Sequence[str], budget: Budget) -> Plan:
    chunks = []
    for index, part in enumerate(parts):
        turns = (*task.system, Turn(role="user", content=f"{task.instruction}\n\n{part}"))
        wanted = int(budget.count(part) * MAPPED_GROWTH)
        share = budget.answer_tokens // len(parts) if budget.answer_tokens else wanted
        chunks.append(
            Chunk(index=index, kind="map", turns=turns, max_tokens=max(1, min(wanted, share)))
        )
    return Plan(chunks=tuple(chunks), joined=True)


def _map_reduce(task: DocumentTask, parts: Sequence[str], budget: Budget) -> Plan:
    chunks = [
        Chunk(
            index=index,
            kind="map",
            turns=(
                Turn(
                    role="user",
                    content=f"Summarize this part of a longer text in two or three sentences. "
                    f"Keep names and numbers exactly as written.\n\n{part}",
                ),
            ),
            max_tokens=PART_ANSWER_TOKENS,
        )
        for index, part in enumerate(parts)
    ]
    chunks.append(
        Chunk(
            index=len(parts),
            kind="reduce",
            turns=(*task.system, Turn(role="user", content=task.instruction)),
            max_tokens=budget.answer_tokens
            or min(DEFAULT_ANSWER_TOKENS, budget.context_tokens // 4),
            needs=tuple(range(len(parts))),
        )
    )
    return Plan(chunks=tuple(chunks))


def reduce_turns(chunk: Chunk, answers: Sequence[str], budget: Budget) -> tuple[Turn, ...]:
    """The reduce chunk's chat once the parts are answered, cut to fit the model's context.

    Every part keeps an equal share of the room: dropping the last parts whole would lose the
    document's end without a trace.
    """
    *system, asked = chunk.turns
    fixed = budget.of(chunk.turns) + chunk.max_tokens + TEMPLATE_MARGIN
    fixed += _notes_frame(len(answers))
    share = max(1, (budget.context_tokens - fixed) // max(1, len(answers)))
    kept = [_cut(answer.strip(), share, budget.count) for answer in answers]
    notes = "\n\n".join(f"{number}. {text}" for number, text in enumerate(kept, start=1) if text)
    content = (
        f"{asked.content}\n\nThe text was read in {len(answers)} parts. "
        f"Notes on each part, in order:\n\n{notes}"
    )
    return (*system, Turn(role="user", content=content))


def _notes_frame(notes: int) -> int:
    """Tokens of what stands around the notes: a sentence, and a number and blank line for each."""
    return NOTES_OPENING_TOKENS + NOTE_NUMBER_TOKENS * notes if notes else 0


def _cut(text: str, tokens: int, count: Callable[[str], int]) -> str:
    parts = pack_passages(text, tokens, count) if text else ()
    return parts[0] if parts else ""
