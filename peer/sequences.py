"""What a batching engine has under way: answers being drawn and claims being checked."""

from dataclasses import dataclass, field
from typing import Final, Literal

from peerllm.peer.released_text import ReleasedText
from peerllm.peer.sampling import Sampler

Finish = Literal["", "stop", "length"]

# From 64 rows of one sequence on, the library computes attention in tiles, a sixth faster
# and with slightly other results than row by row. A prompt's whole pieces have exactly this
# size and its last piece is shorter, whoever else is there, so that the same prompt always
# gives the same logits. Larger gains nothing on a processor.
PREFILL_TOKENS: Final = 64
# Row by row, as when the answer was drawn: the logits are then the same to the last bit.
SCORED_TOKENS: Final = PREFILL_TOKENS - 1


@dataclass(frozen=True)
class Produced:
    """What one step gave one sequence: at most one token and the text now released."""

    identifier: int
    tokens: tuple[int, ...] = field(repr=False)
    text: str = field(repr=False)
    finish: Finish


@dataclass(frozen=True)
class ScoredAnswer:
    """What this model says to a claimed answer, token by token.

    `would_draw`: the same sampling would have drawn that token. `margins`: the largest
    logit minus the claimed token's, 0 where the claimed token is the likeliest. Where the
    claim ends with the model's own end, that is the last entry.
    """

    identifier: int
    would_draw: tuple[bool, ...]
    margins: tuple[float, ...]


Outcome = Produced | ScoredAnswer


@dataclass(frozen=True)
class Prompt:
    """Tokens of a prompt; the first `public_tokens` of them are the model's own words.

    Those are the same for everybody, so that what the model makes of them may be kept.
    """

    tokens: tuple[int, ...] = field(repr=False)
    public_tokens: int = 0

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(eq=False, kw_only=True)
class Sequence:
    """What every sequence has, whether its tokens are drawn or given."""

    identifier: int
    prompt: Prompt
    # What follows the prompt and is known beforehand.
    known: tuple[int, ...] = field(default=(), repr=False)
    sampler: Sampler
    slot: int = -1
    # Tokens of this sequence in its cache.
    held: int = 0
    # Decided but not yet decoded.
    drawn: int | None = field(default=None, repr=False)

    @property
    def entering(self) -> bool:
        """Whether some of what is known has not been read yet."""
        return self.held < len(self.prompt) + len(self.known)

    def next_piece(self) -> tuple[int, ...]:
        """The tokens to be read next; cut by the sequence alone, never by who else is there."""
        prompt, held = self.prompt, self.held
        if held >= len(prompt):
            at = held - len(prompt)
            return self.known[at : at + SCORED_TOKENS]
        # The public beginning is a piece of its own, kept or not.
        border = prompt.public_tokens if held < prompt.public_tokens else len(prompt)
        return prompt.tokens[held : min(held + PREFILL_TOKENS, border)]


@dataclass(eq=False, kw_only=True)
class Answer(Sequence):
    """An answer being drawn."""

    limit: int
    text: ReleasedText
    produced: int = 0


@dataclass(eq=False, kw_only=True)
class Claim(Sequence):
    """A claimed answer being checked."""

    tokens: tuple[int, ...] = field(repr=False)
    ended: bool
    would_draw: list[bool] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
