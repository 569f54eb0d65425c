"""Judging a request's texts: the gate first, a stronger judge for what it is uncertain of."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import trio

from peerllm.coordinator import api_errors
from peerllm.coordinator.api_errors import ApiError
from peerllm.coordinator.house import House, judge_text
from peerllm.safety.judge import Verdict
from peerllm.safety.judge_cascade import Undecided
from peerllm.safety.vault import Vault


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """No text is refused for certain; these are uncertain, as `gate` sums up."""

    gate: Verdict
    texts: tuple[str, ...] = field(repr=False)


async def judge_prompt(house: House, texts: Sequence[str]) -> Verdict | Doubt:
    """The first refusal, else what is in doubt, else the last approval.

    Every message counts, whatever its role.
    """
    verdict = house.judge.judge("")
    uncertain: dict[str, Verdict] = {}
    for text in texts:
        verdict = await judge_text(house.judge, text)
        if verdict.uncertain and house.cascade is not None:
            uncertain[text] = verdict
        elif not verdict.allowed:
            return verdict
    if not uncertain:
        return verdict
    # The worst stands for all: should it be the gate's to decide, one refusal refuses the request.
    worst = min(uncertain.values(), key=lambda one: one.allowed)
    near = frozenset[str]().union(*(one.near for one in uncertain.values()))
    return Doubt(gate=replace(worst, near=near), texts=tuple(uncertain))


async def ask_stronger(house: House, found: Verdict | Doubt, vault: Vault) -> ApiError | None:
    """Why a request in doubt is refused; `vault` has been prepared with the whole request."""
    if house.cascade is None or isinstance(found, Verdict):
        return None
    async with house.finder_turn:
        removed = await trio.to_thread.run_sync(lambda: [vault.remove(one) for one in found.texts])
    # Together: a thousand uncertain messages would be a thousand questions.
    together = "\n\n".join(removed)
    decided = await house.cascade.decide(found.gate, together, "prompt", house.judge.standard)
    allowed = isinstance(decided, Verdict) and decided.allowed
    return None if allowed else refusal_error("prompt", decided)


async def judge_answer(house: House, text: str) -> Verdict | Undecided:
    """The verdict on a window, a part or the whole of an answer, placeholders still in it."""
    verdict = await judge_text(house.answer_judge, text)
    if not verdict.uncertain or house.cascade is None:
        return verdict
    return await house.cascade.decide(verdict, text, "answer", house.answer_judge.standard)


def refusal_error(stage: str, refusal: Verdict | Undecided) -> ApiError:
    """What a customer is told."""
    if isinstance(refusal, Undecided):
        return api_errors.undecided(stage, refusal.reason, refusal.standard_version)
    return api_errors.unsafe(stage, refusal.category, refusal.standard_version)
