"""Carrying a plan out: parts side by side, then what is made from them, level after level."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import trio

from peerllm.coordinator.chat_schema import ChatRequest
from peerllm.coordinator.computing import computed
from peerllm.coordinator.dispatch import Release
from peerllm.coordinator.house import House
from peerllm.coordinator.judging import judge_answer
from peerllm.coordinator.merging import conflict_of, merge_items, renumbered
from peerllm.coordinator.orders import ChunkServed, ChunkUnserved, Order, ServedModel
from peerllm.coordinator.plan import Chunk, Plan
from peerllm.coordinator.planner import Budget, reduce_turns
from peerllm.coordinator.race import Finish
from peerllm.coordinator.release import ReleaseGate
from peerllm.coordinator.selection import Exposure
from peerllm.safety.judge import Verdict
from peerllm.safety.judge_cascade import Undecided
from peerllm.safety.stop_sequences import StopSequences
from peerllm.safety.vault import Vault

# Where text is missing between parts; readers know it from quotations.
LEFT_OUT = "[\u2026]"


def exposure_bound(chunks: int, *, race_size: int, operators: int, promised: int) -> int:
    """The largest share of a request's chunks, in basis points, that an operator may be shown.

    That is what the charter promised, or where so few operators could not keep to it, their equal
    share: a bound that everyone exceeds at once would bound nobody.
    """
    dispatches = chunks * min(race_size, operators)
    equal = -(-dispatches // max(1, operators))
    return max(promised, min(10_000, -(-equal * 10_000 // chunks)))


# How a plan or a part of it ends; a verdict is a refusal.
Outcome = ChunkServed | ChunkUnserved | Verdict | Undecided


class ExposureCount:
    """How many chunks of this request each operator has been shown, and how many it may be.

    The bound is set before the first dispatch, from the plan and the operators that can serve the
    model then. With fewer of them than the charter names it holds nobody back.
    """

    def __init__(self, house: House, plan: Plan, model: ServedModel) -> None:
        self._shown: Counter[str] = Counter()
        self._chunks = len(plan.chunks)
        terms = house.terms
        serving = house.dispatcher.registry.candidates(model.digest, 0)
        operators = len({candidate.operator for candidate in serving if not candidate.dedicated})
        self._bound = 10_000
        if operators >= terms.exposure_minimum_operators:
            self._bound = exposure_bound(
                self._chunks,
                race_size=terms.race_size,
                operators=operators,
                promised=terms.exposure_basis_points,
            )

    def exposure(self) -> Exposure:
        """The state before the next choice."""
        return Exposure(shown=self._shown, chunks=self._chunks, bound_basis_points=self._bound)

    def show(self, operator: str) -> None:
        """One more chunk goes to the operator."""
        self._shown[operator] += 1


@dataclass(frozen=True, kw_only=True)
class ChunkResult:
    """A chunk's answer, and what its prompt came to."""

    chunk: Chunk
    prompt_tokens: int
    served: ChunkServed


@dataclass
class Work:
    """One request's plan being carried out."""

    request: ChatRequest
    model: ServedModel
    house: House
    budget: Budget
    plan: Plan
    vault: Vault
    log: ExposureCount
    results: dict[int, ChunkResult] = field(default_factory=dict)
    seed: int = 0
    stops: StopSequences = field(init=False)
    # Tokens of the released answer where it is less than the parts' answers together.
    merged_tokens: int | None = None

    def __post_init__(self) -> None:
        drawn = self.house.draw.getrandbits(63)
        self.seed = drawn if self.request.seed is None else self.request.seed
        self.stops = StopSequences(self.request.stop, self.vault.placeholders)

    def in_order(self) -> list["ChunkResult"]:
        """Every chunk's result, once all are served."""
        return [self.results[chunk.index] for chunk in self.plan.chunks]

    def answers(self, chunks: Sequence[Chunk]) -> list[str]:
        """What was answered to these chunks, once they are served."""
        return [self._answer(chunk.index) for chunk in chunks]

    def _answer(self, index: int) -> str:
        served = self.results[index].served
        # The end of a placeholder's number may be missing, and it would name somebody else.
        cut = served.finish is Finish.LENGTH
        return self.vault.without_torn_end(served.text) if cut else served.text

    async def run_chunk(self, chunk: Chunk, release: Release) -> ChunkServed | ChunkUnserved:
        """Race one chunk whose needs are answered."""
        turns = chunk.turns
        if chunk.needs:
            answers = [self._answer(need) for need in chunk.needs]
            turns = await computed(lambda: reduce_turns(chunk, answers, self.budget))
        tokens = self.budget.of(turns)
        order = Order(
            model=self.model,
            turns=turns,
            prompt_tokens=tokens,
            max_tokens=chunk.max_tokens,
            temperature_milli=self.request.temperature_milli,
            top_p_milli=self.request.top_p_milli,
            stop=self.stops if chunk is self.plan.final or self.plan.joined else StopSequences(()),
            seed=(self.seed + chunk.index) & (2**63 - 1),
            race_size=self.house.terms.race_size,
            frequency_penalty_milli=self.request.frequency_penalty_milli,
            presence_penalty_milli=self.request.presence_penalty_milli,
            min_p_milli=self.request.min_p_milli,
            repetition_penalty_milli=self.request.repetition_penalty_milli,
            logit_bias_milli=self.request.logit_bias_milli,
            answer_shape=self.request.answer_shape,
        )
        served = await self.house.dispatcher.run(order, self.log, release)
        if isinstance(served, ChunkServed):
            self.results[chunk.index] = ChunkResult(
                chunk=chunk, prompt_tokens=tokens, served=served
            )
        return served


async def run_plan(work: Work, gate: ReleaseGate) -> Outcome:
    """The independent parts side by side, then what is made from them (or their joining)."""
    plan = work.plan
    levels = plan.levels()
    for level in levels if plan.joined else levels[:-1]:
        outcomes = await _run_parts(work, level)
        failed = next((o for o in outcomes if not isinstance(o, ChunkServed)), None)
        if failed is not None:
            return failed
    if plan.joined:
        return await _join(work, gate)
    served = await work.run_chunk(plan.final, gate.push)
    if isinstance(served, ChunkServed) and plan.kind == "question":
        conflict = conflict_of(plan.instruction, work.answers(levels[0]))
        await gate.push(f"\n\n{conflict.note()}" if conflict else "")
    return served


async def _join(work: Work, gate: ReleaseGate) -> ChunkServed:
    """The parts' answers in order, those of an extraction merged to one list."""
    parts = work.plan.chunks
    ends = [work.results[part.index].served.finish for part in parts]
    answers = [answer.strip() for answer in work.answers(parts)]
    if any(answers):
        answers = list(map(_marked, answers, ends))
    if work.plan.kind == "extract":
        # An empty answer is one that found nothing.
        merged = merge_items(["" if answer == LEFT_OUT else answer for answer in answers])
        work.merged_tokens = work.budget.count(merged.text)
        await gate.push("\n\n".join(filter(None, (merged.text, merged.notes))))
    else:
        if work.plan.kind == "classify":
            answers = renumbered(answers)
        for number, (part, text) in enumerate(zip(parts, answers, strict=True)):
            mark = f"{number + 1}. " if work.plan.kind == "list" else ""
            before = part.before
            # Without a space between sentences only in scripts that have none.
            if not before and (answers[number - 1][-1:] + text[:1]).isascii():
                before = " "
            await gate.push(f"{before if number else ''}{mark}{text}")
    last = work.results[parts[-1].index].served
    return replace(last, finish=Finish.LENGTH if Finish.LENGTH in ends else Finish.STOP)


def _marked(answer: str, end: Finish) -> str:
    """An answer that lacks its end, or all of it, with a mark where the others would hide that."""
    return f"{answer} {LEFT_OUT}".strip() if end is Finish.LENGTH or not answer else answer


async def _run_parts(work: Work, parts: Sequence[Chunk]) -> list[Outcome]:
    """Race the parts side by side; the first that fails or is unsafe stops the others.

    No more at once than there are slots for: a part that waited for its own siblings would be
    given up as if the hosts were busy with others.
    """
    outcomes: list[Outcome] = []
    free = work.house.dispatcher.registry.free_slots(work.model.digest)
    at_once = trio.CapacityLimiter(max(1, free // work.house.terms.race_size))

    async def run(part: Chunk) -> None:
        outcome: Outcome
        async with at_once:
            outcome = await work.run_chunk(part, _discard)
        if isinstance(outcome, ChunkServed):
            verdict = await judge_answer(work.house, outcome.text)
            allowed = isinstance(verdict, Verdict) and verdict.allowed
            outcome = outcome if allowed else verdict
        outcomes.append(outcome)
        if not isinstance(outcome, ChunkServed):
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for part in parts:
            nursery.start_soon(run, part)
    return outcomes


async def _discard(_text: str) -> None:
    """A part's text is used when it is whole."""
