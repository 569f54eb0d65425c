"""Carrying a plan out: parts side by side, then the chunk made from them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import trio

from peerllm.coordinator.chat_schema import ChatRequest
from peerllm.coordinator.dispatch import Release
from peerllm.coordinator.house import House, judge_text
from peerllm.coordinator.orders import ChunkServed, ChunkUnserved, Order, ServedModel
from peerllm.coordinator.planner import Budget, Chunk, Plan, reduce_turns
from peerllm.coordinator.race import Finish
from peerllm.coordinator.release import ReleaseGate
from peerllm.coordinator.selection import Exposure
from peerllm.safety.judge import Verdict


class ExposureCount:
    """How many chunks of this request each operator has been shown.

    A bound below two operators' equal shares cannot be kept, so the charter enforces it only
    where enough operators are connected.
    """

    def __init__(self, house: House, plan: Plan) -> None:
        self._shown: Counter[str] = Counter()
        self._house = house
        self._chunks = len(plan.chunks)

    def exposure(self) -> Exposure:
        """The state before the next choice."""
        terms = self._house.terms
        operators = {live.seat.operator for live in self._house.dispatcher.registry.hosts}
        enforced = len(operators) >= terms.exposure_minimum_operators
        return Exposure(
            shown=self._shown,
            chunks=self._chunks,
            bound_basis_points=terms.exposure_basis_points if enforced else 10_000,
        )

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
    log: ExposureCount
    results: dict[int, ChunkResult] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        drawn = self.house.draw.getrandbits(63)
        self.seed = drawn if self.request.seed is None else self.request.seed

    def in_order(self) -> list["ChunkResult"]:
        """Every chunk's result, once all are served."""
        return [self.results[chunk.index] for chunk in self.plan.chunks]

    async def run_chunk(self, chunk: Chunk, release: Release) -> ChunkServed | ChunkUnserved:
        """Race one chunk whose needs are answered."""
        turns = chunk.turns
        if chunk.needs:
            answers = [self.results[need].served.text for need in chunk.needs]
            turns = await trio.to_thread.run_sync(reduce_turns, chunk, answers, self.budget)
        tokens = self.budget.of(turns)
        order = Order(
            model=self.model,
            turns=turns,
            prompt_tokens=tokens,
            max_tokens=chunk.max_tokens,
            temperature_milli=self.request.temperature_milli,
            top_p_milli=self.request.top_p_milli,
            stop=self.request.stop if chunk is self.plan.final or self.plan.joined else (),
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


async def run_plan(work: Work, gate: ReleaseGate) -> ChunkServed | ChunkUnserved | Verdict:
    """The independent parts side by side, then the chunk made from them (or their joining)."""
    parts = [chunk for chunk in work.plan.chunks if chunk.kind == "map"]
    if not parts:
        return await work.run_chunk(work.plan.final, gate.push)
    outcomes = await _run_parts(work, parts)
    failed = next((o for o in outcomes if not isinstance(o, ChunkServed)), None)
    if failed is not None:
        return failed
    if not work.plan.joined:
        return await work.run_chunk(work.plan.final, gate.push)
    for number, part in enumerate(parts):
        text = work.results[part.index].served.text.strip()
        await gate.push(text if number == 0 else f"\n\n{text}")
    cut = any(work.results[part.index].served.finish is Finish.LENGTH for part in parts)
    last = work.results[parts[-1].index].served
    return replace(last, finish=Finish.LENGTH if cut else Finish.STOP)


async def _run_parts(
    work: Work, parts: Sequence[Chunk]
) -> list[ChunkServed | ChunkUnserved | Verdict]:
    """Race the parts side by side; the first that fails or is unsafe stops the others.

    No more at once than there are slots for: a part that waited for its own siblings would be
    given up as if the hosts were busy with others.
    """
    outcomes: list[ChunkServed | ChunkUnserved | Verdict] = []
    free = work.house.dispatcher.registry.free_slots(work.model.digest)
    at_once = trio.CapacityLimiter(max(1, free // work.house.terms.race_size))

    async def run(part: Chunk) -> None:
        outcome: ChunkServed | ChunkUnserved | Verdict
        async with at_once:
            outcome = await work.run_chunk(part, _discard)
        if isinstance(outcome, ChunkServed):
            verdict = await judge_text(work.house.answer_judge, outcome.text)
            outcome = outcome if verdict.allowed else verdict
        outcomes.append(outcome)
        if not isinstance(outcome, ChunkServed):
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for part in parts:
            nursery.start_soon(run, part)
    return outcomes


async def _discard(_text: str) -> None:
    """A part's text is used when it is whole."""
