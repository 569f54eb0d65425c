"""Judging a request's texts: the gate first, a stronger judge for what it is uncertain of."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from peerllm.coordinator import api_errors
from peerllm.coordinator.api_errors import ApiError
from peerllm.coordinator.computing import computed
from peerllm.coordinator.house import House
from peerllm.safety.judge import Judge, Verdict
from peerllm.safety.judge_cascade import Undecided
from peerllm.safety.vault import Vault


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """No text is refused for certain; these are uncertain, as `gate` sums up."""

    gate: Verdict
    texts: tuple[str, ...] = field(repr=False)


async def judge_prompt(house: House, texts: Sequence[str]) -> Verdict | Doubt | None:
    """The first refusal, else what is in doubt, else None: nothing is held against the request.

    Every message counts, whatever its role.
    """
    uncertain: dict[str, Verdict] = {}
    for text in dict.fromkeys(texts):
        verdict = await _judged(house.judge, text)
        if verdict.uncertain and house.cascade is not None:
            uncertain[text] = verdict
        elif not verdict.allowed:
            return verdict
    if not uncertain:
        return None
    # The worst stands for all: should it be the gate's to decide, one refusal refuses the request.
    worst = min(uncertain.values(), key=lambda one: one.allowed)
    near = frozenset[str]().union(*(one.near for one in uncertain.values()))
    return Doubt(gate=replace(worst, near=near), texts=tuple(uncertain))


async def ask_stronger(house: House, found: Doubt | None, vault: Vault) -> ApiError | None:
    """Why a request in doubt is refused; `vault` has been prepared with the whole request."""
    if house.cascade is None or found is None:
        return None
    async with house.finder_turn:
        removed = await computed(lambda: [vault.remove(one) for one in found.texts])
    # Together: a thousand uncertain messages would be a thousand questions.
    together = "\n\n".join(removed)
    decided = await house.cascade.decide(found.gate, together, "prompt", house.judge.standard)
    allowed = isinstance(decided, Verdict) and decided.allowed
    return None if allowed else refusal_error("prompt", decided)


async def judge_answer(house: House, text: str) -> Verdict | Undecided:
    """The verdict on a window, a part or the whole of an answer, placeholders still in it."""
    verdict = await _judged(house.answer_judge, text)
    if not verdict.uncertain or house.cascade is None:
        return verdict
    return await house.cascade.decide(verdict, text, "answer", house.answer_judge.standard)


async def _judged(judge: Judge, text: str) -> Verdict:
    """One verdict, computed in a thread, however short the text.

    Twenty characters take 6 ms and 600 up to 160 (measured), 256 of them may come in one request,
    and a thread costs 0.2 ms. Each text takes a turn of its own at the threads, so one request has
    no more than one of them, and a customer who leaves is judged no further than the text begun.
    """
    return await computed(lambda: judge.judge(text))


def refusal_error(stage: str, refusal: Verdict | Undecided) -> ApiError:
    """What a customer is told."""
    if isinstance(refusal, Undecided):
        return api_errors.undecided(stage, refusal.reason, refusal.standard_version)
    return api_errors.unsafe(stage, refusal.category, refusal.standard_version)
