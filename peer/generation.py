"""What an engine is to the rest of a host: something that generates and may fail.

The daemon and the work on a chunk know this face only; `peerllm.peer.engine` gives it
with a real process behind.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from peerllm.peer.engine_protocol import GenerationTask
from peerllm.peer.errors import LoadFault, TaskFault


@dataclass(frozen=True)
class GeneratedPiece:
    """Tokens of an answer, all that were ready, and the text they add.

    `finish` is empty but on the last piece.
    """

    tokens: tuple[int, ...] = field(repr=False)
    text: str = field(repr=False)
    finish: Literal["", "stop", "length"] = ""


@dataclass(frozen=True)
class GenerationRefused:
    """The model cannot be given this task; nothing was generated."""

    reason: TaskFault


@dataclass(frozen=True)
class GenerationFailed:
    """The engine died, stalled or is not there; nothing more comes of this answer."""

    reason: Literal["engine_died", "engine_unavailable"]


GenerationStep = GeneratedPiece | GenerationRefused | GenerationFailed


@dataclass(frozen=True)
class AnswerScores:
    """What a model says to a claimed answer; see `peerllm.peer.verification`.

    One entry per token, and one more for the end where the claim names one. `margins` in
    logits.
    """

    prompt_tokens: int
    would_draw: tuple[bool, ...]
    margins: tuple[float, ...]


ScoreOutcome = AnswerScores | GenerationRefused | GenerationFailed


class Generation(Protocol):
    """One answer under way."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the rendered prompt; 0 until the engine has started on it."""

    async def next(self) -> GenerationStep:
        """Wait for something to be ready, then give all that is ready.

        After a piece with a `finish`, a refusal or a failure there is nothing to wait for.
        """


@dataclass(frozen=True)
class EngineLoading:
    """The model is being loaded, or loaded again."""

    percent: int = 0


@dataclass(frozen=True)
class EngineReady:
    """The engine takes work: so many answers at once, each of so many tokens."""

    slots: int
    context_tokens: int
    tokens_per_second_milli: int


@dataclass(frozen=True)
class EngineRestarting:
    """The engine died: how, and in how many seconds the next one starts."""

    cause: str
    delay_seconds: float


@dataclass(frozen=True)
class EngineUnavailable:
    """The model cannot be served, and trying again would not help."""

    reason: LoadFault
    sentence: str


EngineState = EngineLoading | EngineReady | EngineRestarting | EngineUnavailable


class Engine(Protocol):
    """Generates answers with one model."""

    @property
    def name(self) -> str:
        """The model's name in the catalogue."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the model's file."""

    @property
    def state(self) -> EngineState:
        """Whether work is taken now."""

    async def wait_ready(self) -> EngineReady | EngineUnavailable:
        """Wait until work is taken, or until it is known that it never will be."""

    def generate(self, task: GenerationTask) -> AbstractContextManager[Generation]:
        """Begin an answer; leaving the block before its end cancels it."""
