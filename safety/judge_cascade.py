"""The second step of judging: uncertain texts go to a stronger judge, with deadlines.

A text that the gate is certain of never comes here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import trio

from peerllm.safety.judge import SafetyThresholds, Verdict
from peerllm.safety.stronger_judges import (
    FailureKind,
    JudgeFailure,
    Role,
    StrongerJudge,
    pauses,
)

WhenDown = Literal["refuse", "gate_decides"]

# A judge that is down is not waited for by every window of every answer.
FAILURES_BEFORE_REST: Final = 3
REST_SECONDS: Final = 20.0
# Enough for a busy coordinator; a flood of uncertain texts waits here, inside its deadline.
QUESTIONS_AT_ONCE: Final = 16


@dataclass(frozen=True, kw_only=True)
class CascadeRule:
    """How long stronger judges are waited for, and what holds when none of them answers.

    `deadline_seconds` is over everything: all judges, attempts and pauses for one text.
    """

    when_down: WhenDown = "refuse"
    deadline_seconds: float = 8.0
    attempt_seconds: float = 3.0
    attempts: int = 3


@dataclass(frozen=True, kw_only=True)
class Undecided:
    """An uncertain text that no stronger judge decided, where the operator refuses such texts."""

    reason: FailureKind
    standard_version: int


@dataclass
class _Standing:
    failures: int = 0
    rests_until: float = 0.0


class JudgeCascade:
    """Asks the first judge that knows what a text is near, then the next when it fails.

    `jitter` gives numbers from 0 to 1. `told` hears a judge's name and how one question ended:
    `allowed`, `refused` or a failure's kind.
    """

    def __init__(
        self,
        judges: Sequence[StrongerJudge],
        rule: CascadeRule,
        *,
        jitter: Iterator[float],
        told: Callable[[str, str], None] = lambda _judge, _outcome: None,
    ) -> None:
        self._judges = [(judge, _Standing()) for judge in judges]
        self._rule = rule
        self._jitter = jitter
        self._told = told
        self._at_once = trio.CapacityLimiter(QUESTIONS_AT_ONCE)

    async def decide(
        self, gate: Verdict, text: str, role: Role, standard: SafetyThresholds
    ) -> Verdict | Undecided:
        """The verdict on a text that `gate` found uncertain under `standard`.

        The gate's own threshold decides what no judge here can tell. Never takes longer than the
        rule's deadline.
        """
        able = [one for one in self._judges if gate.near <= one[0].categories]
        if not able:
            return gate
        failure = JudgeFailure(kind="timeout")
        with trio.move_on_after(self._rule.deadline_seconds) as patience:
            async with self._at_once:
                for number, (judge, standing) in enumerate(able):
                    # A silent judge leaves the next ones their part of the time.
                    left = patience.deadline - trio.current_time()
                    outcome: Verdict | JudgeFailure = JudgeFailure(kind="timeout")
                    with trio.move_on_after(left / (len(able) - number)):
                        outcome = await self._ask(judge, standing, text, role, standard)
                    if isinstance(outcome, Verdict):
                        return outcome
                    failure = outcome
        if self._rule.when_down == "gate_decides":
            return gate
        return Undecided(reason=failure.kind, standard_version=standard.version)

    async def _ask(
        self,
        judge: StrongerJudge,
        standing: _Standing,
        text: str,
        role: Role,
        standard: SafetyThresholds,
    ) -> Verdict | JudgeFailure:
        """One judge, as often as it is worth it."""
        pausing = pauses(self._rule.attempts, self._jitter)
        while True:
            if trio.current_time() < standing.rests_until:
                return JudgeFailure(kind="unreachable")
            outcome = await self._attempt(judge, text, role)
            if not isinstance(outcome, JudgeFailure):
                standing.failures = 0
                milli = {name: round(1_000 * score) for name, score in outcome.items()}
                verdict = replace(standard.verdict(milli), uncertain=False, near=frozenset())
                self._told(judge.name, "allowed" if verdict.allowed else "refused")
                return verdict
            self._told(judge.name, outcome.kind)
            if not outcome.is_passing:
                return outcome
            standing.failures += 1
            if standing.failures >= FAILURES_BEFORE_REST:
                standing.rests_until = trio.current_time() + REST_SECONDS
                standing.failures = 0
            pause = next(pausing, None)
            if pause is None or standing.rests_until > trio.current_time():
                return outcome
            again_at = trio.current_time() + max(pause, outcome.retry_after_seconds or 0.0)
            if again_at >= trio.current_effective_deadline():
                return outcome
            await trio.sleep_until(again_at)

    async def _attempt(
        self, judge: StrongerJudge, text: str, role: Role
    ) -> Mapping[str, float] | JudgeFailure:
        with trio.move_on_after(self._rule.attempt_seconds):
            return await judge.scores(text, role)
        return JudgeFailure(kind="timeout")
