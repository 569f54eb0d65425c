"""An engine that computes nothing: it says prepared words at a set rate, for measuring the rest.

For benchmarks and simulations only. It stands outside the installed packages, and nothing in
them names it: no command, setting or environment variable puts it in the place of a model.
"""

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from peerllm.peer.engine_protocol import GenerationTask
from peerllm.peer.generation import (
    EngineReady,
    EngineUnavailable,
    GeneratedPiece,
    GenerationRefused,
    GenerationStep,
)

_TOKEN = re.compile(r"\s*\S+|\s+")
# What the daemon makes of tokens that are ready together.
_PIECE_TOKENS = 32
_WORDS = (
    "the",
    "old",
    "small",
    "river",
    "boat",
    "lamp",
    "road",
    "song",
    "carries",
    "follows",
    "again",
)


def split(text: str) -> list[str]:
    """A token is a word with the white space before it."""
    return _TOKEN.findall(text)


@dataclass(frozen=True)
class Pace:
    """How fast an answer comes."""

    first_token_seconds: float = 0.0
    tokens_per_second: float = math.inf

    def due(self, tokens: int) -> float:
        """Seconds from an answer's start until so many tokens are there."""
        return self.first_token_seconds + (tokens - 1) / self.tokens_per_second


def invent(task: GenerationTask) -> str:
    """A text that depends on the task's turns and seed alone, longer than any answer."""
    turns = [(turn.role, turn.content) for turn in task.turns]
    draw = random.Random(repr((turns, task.seed)))  # noqa: S311 - not a secret
    return " ".join(draw.choice(_WORDS) for _ in range(task.max_tokens + 1))


class SyntheticGeneration:
    """One answer: tokens that are due, numbered as they come, then an end in a step of its own."""

    def __init__(
        self,
        tokens: Sequence[str],
        pace: Pace,
        *,
        max_tokens: int,
        prompt_tokens: int = 0,
        slots: trio.Semaphore | None = None,
        piece_tokens: int = _PIECE_TOKENS,
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self._finish = "length" if len(tokens) > max_tokens else "stop"
        self._tokens = tokens[:max_tokens]
        self._pace = pace
        self._piece_tokens = piece_tokens
        self._slots = slots
        self._holds_slot = False
        self._began: float | None = None
        self._sent = 0

    async def next(self) -> GenerationStep:
        """Wait for a slot and a token, then give all that are due."""
        if self._began is None:
            if self._slots is not None:
                await self._slots.acquire()
                self._holds_slot = True
            self._began = trio.current_time()
        due = self._began + self._pace.due(self._sent + 1)
        await trio.sleep(max(0.0, due - trio.current_time()))
        start, passed = self._sent, trio.current_time() - self._began
        if start == len(self._tokens):
            self.leave()
            return GeneratedPiece((), "", "stop" if self._finish == "stop" else "length")
        end = min(start + self._piece_tokens, len(self._tokens))
        self._sent = start + 1
        while self._sent < end and self._pace.due(self._sent + 1) <= passed:
            self._sent += 1
        return GeneratedPiece(
            tuple(range(start, self._sent)), "".join(self._tokens[start : self._sent])
        )

    def leave(self) -> None:
        """Give the slot back."""
        if self._slots is not None and self._holds_slot:
            self._slots.release()
            self._holds_slot = False


class SyntheticEngine:
    """See `peerllm.peer.generation.Engine`. `write` gives the whole answer to a task."""

    def __init__(
        self,
        pace: Pace,
        *,
        slots: int = 1,
        context_tokens: int = 4096,
        digest: bytes = bytes(32),
        write: Callable[[GenerationTask], str] = invent,
    ) -> None:
        self.name = "synthetic"
        self.digest = digest
        # An unlimited rate has no number to be advertised by.
        rate = min(pace.tokens_per_second, 1_000_000)
        self.state = EngineReady(slots, context_tokens, int(rate * 1000))
        self._pace = pace
        self._slots = trio.Semaphore(slots)
        self._write = write

    async def wait_ready(self) -> EngineReady | EngineUnavailable:
        """It is."""
        await trio.lowlevel.checkpoint()
        return self.state

    @contextmanager
    def generate(self, task: GenerationTask) -> Iterator["SyntheticGeneration | _Refusing"]:
        """Begin an answer; those beyond the slots wait for one."""
        prompt_tokens = sum(len(split(turn.content)) for turn in task.turns)
        room = self.state.context_tokens - prompt_tokens - len(split(task.assistant_prefix))
        if room < 1:
            yield _Refusing()
            return
        whole, prefix = self._write(task), task.assistant_prefix
        generation = SyntheticGeneration(
            split(whole.removeprefix(prefix)),
            self._pace,
            max_tokens=min(task.max_tokens, room),
            prompt_tokens=prompt_tokens,
            slots=self._slots,
        )
        try:
            yield generation
        finally:
            generation.leave()


class _Refusing:
    prompt_tokens = 0

    async def next(self) -> GenerationStep:
        await trio.lowlevel.checkpoint()
        return GenerationRefused("context_exceeded")
