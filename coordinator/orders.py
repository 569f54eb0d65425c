"""One chunk's order and its result: what is asked of hosts and what they did, in numbers."""

from dataclasses import dataclass, field
from typing import Literal

from peerllm.coordinator.document_task import Turn
from peerllm.coordinator.planner import TEMPLATE_MARGIN
from peerllm.coordinator.race import Deadlines, Finish
from peerllm.coordinator.vocabulary import Vocabulary
from peerllm.crypto.receipt import Receipt
from peerllm.overlay.answer_shape import AnswerShape
from peerllm.overlay.model_pieces import ModelFacts
from peerllm.safety.stop_sequences import StopSequences

# A home machine that does not produce a token in this time will not be waited for.
BETWEEN_TOKENS_SECONDS = 15.0
FIRST_TOKEN_SECONDS = 15.0
# A home core reads 150 tokens a second, a slot of four beside a busy neighbour 20 of them.
# The bound is for hosts that are stuck though they answer heartbeats; slow ones lose the race.
SLOWEST_PREFILL_TOKENS_PER_SECOND = 8
SLOWEST_DECODE_TOKENS_PER_SECOND = 2
LONGEST_CHUNK_SECONDS = 600.0


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model of the catalogue, as dispatch needs it and as its file is vouched for."""

    name: str
    digest: bytes
    context_tokens: int
    vocabulary: Vocabulary
    facts: ModelFacts


@dataclass(frozen=True, kw_only=True)
class Order:
    """One chunk, ready to be sent."""

    model: ServedModel
    turns: tuple[Turn, ...] = field(repr=False)
    prompt_tokens: int
    max_tokens: int
    temperature_milli: int
    top_p_milli: int
    stop: StopSequences
    seed: int
    race_size: int
    frequency_penalty_milli: int = 0
    presence_penalty_milli: int = 0
    min_p_milli: int = 0
    repetition_penalty_milli: int = 1000
    logit_bias_milli: tuple[tuple[int, int], ...] = ()
    answer_shape: AnswerShape | None = None

    @property
    def context_tokens(self) -> int:
        """What a host must have room for."""
        return self.prompt_tokens + TEMPLATE_MARGIN + self.max_tokens

    def deadlines(self) -> Deadlines:
        """Generous bounds: they catch the dead and the stalled, the race catches the slow."""
        first = FIRST_TOKEN_SECONDS + self.prompt_tokens / SLOWEST_PREFILL_TOKENS_PER_SECOND
        total = first + self.max_tokens / SLOWEST_DECODE_TOKENS_PER_SECOND
        return Deadlines(
            first_token=first,
            between_tokens=BETWEEN_TOKENS_SECONDS,
            total=min(total, LONGEST_CHUNK_SECONDS),
        )


@dataclass(frozen=True, kw_only=True)
class HostRun:
    """What one host did for a chunk: numbers only. `started_at` is by the coordinator's clock."""

    host: str
    operator: str
    dedicated: bool
    dispatch: bytes
    won: bool
    failure: str | None
    counted_tokens: int
    released_tokens: int
    receipt: Receipt | None
    signed_receipt: bytes | None
    started_at: float
    first_token_seconds: float | None
    duration_seconds: float


@dataclass(frozen=True, kw_only=True)
class ChunkServed:
    """A whole answer was released."""

    finish: Finish
    text: str = field(repr=False)
    runs: tuple[HostRun, ...]


@dataclass(frozen=True, kw_only=True)
class ChunkUnserved:
    """No host brought the chunk to its end in time."""

    reason: Literal["no_host", "all_failed", "bad_task", "out_of_time"]
    runs: tuple[HostRun, ...]
