"""Continuous batching: many answers generated together, one token each per step.

A sequence joins when a slot is free and leaves as soon as it is done or cancelled; the
others never wait for it. A long prompt enters in pieces, so that running answers go on.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from peerllm.peer.errors import EngineError, PromptError
from peerllm.peer.llama import LlamaModel, new_context
from peerllm.peer.released_text import ReleasedText
from peerllm.peer.sampling import Logits, Sampler, Sampling

Finish = Literal["", "stop", "length"]

# Prompt tokens taken in one step. At 150 tokens/s of prefill a step then lasts 0.2 s: a
# running answer slows, it does not freeze. Larger gains nothing on a processor.
# Fixed, whether answers run beside or not: the library's results depend on how a prompt
# is cut, and an answer must not depend on who else was there.
PREFILL_TOKENS: Final = 32


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


@dataclass(eq=False, kw_only=True)
class _Sequence:
    """What every sequence has, whether its tokens are drawn or given."""

    identifier: int
    # What enters piece by piece: the prompt, and what follows it if that is known.
    script: list[int] = field(repr=False)
    prompt_tokens: int
    sampler: Sampler
    slot: int = -1
    # Tokens of this sequence in its cache.
    held: int = 0
    # Decided but not yet decoded.
    drawn: int | None = field(default=None, repr=False)


@dataclass(eq=False, kw_only=True)
class _Answer(_Sequence):
    limit: int
    text: ReleasedText
    produced: int = 0


@dataclass(eq=False, kw_only=True)
class _Claim(_Sequence):
    tokens: list[int] = field(repr=False)
    ended: bool
    exact: bool
    would_draw: list[bool] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)


class BatchingEngine:
    """Generates for several prompts at once. Not thread-safe: one thread calls it."""

    def __init__(self, model: LlamaModel, *, slots: int, context_tokens: int, threads: int):
        """Reserve the caches. Raises `ModelError` when there is not enough memory."""
        self._model = model
        self._library = model.library
        # A pass holds one token of every answer, or one piece of a prompt.
        batch_tokens = max(PREFILL_TOKENS, slots)
        self._context = new_context(
            model,
            slots=slots,
            context_tokens=context_tokens,
            batch_tokens=batch_tokens,
            threads=threads,
        )
        self._memory = self._library.llama_get_memory(self._context)
        self._batch = self._library.llama_batch_init(batch_tokens, 0, 1)
        # The library rounds up; a prompt may use what is really there.
        self.context_tokens = int(self._library.llama_n_ctx_seq(self._context))
        self.slots = slots
        # The lowest free slot is taken first: adjacent sequences share one pass.
        self._free = list(range(slots))
        self._waiting: deque[_Answer | _Claim] = deque()
        self._active: list[_Answer | _Claim] = []

    def __repr__(self) -> str:
        return f"BatchingEngine(active={len(self._active)}, waiting={len(self._waiting)})"

    @property
    def idle(self) -> bool:
        """Whether a step would have nothing to do."""
        return not self._active and not self._waiting

    def submit(
        self,
        identifier: int,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        sampling: Sampling,
        stop: Sequence[str] = (),
    ) -> None:
        """Queue a prompt. Raises `PromptError` when it leaves no room for an answer."""
        self._check_room(prompt, 1)
        self._check_tokens(token for token, _ in sampling.logit_bias)
        self._waiting.append(
            _Answer(
                identifier=identifier,
                script=list(prompt),
                prompt_tokens=len(prompt),
                sampler=self._new_sampler(sampling),
                limit=min(max_tokens, self.context_tokens - len(prompt)),
                text=ReleasedText(stop),
            )
        )

    def score(
        self,
        identifier: int,
        prompt: Sequence[int],
        tokens: Sequence[int],
        *,
        sampling: Sampling,
        ended: bool = False,
        exact: bool = False,
    ) -> None:
        """Queue a claimed answer; `step` gives its `ScoredAnswer`.

        `ended` claims that the model itself ended the answer after these tokens. `exact`
        takes the tokens one by one, as they were generated, and so computes the very same
        logits; otherwise they enter in pieces like a prompt, at less cost. Raises
        `PromptError` when prompt and tokens do not fit or a token is none of this model's.
        """
        if not tokens:
            raise PromptError("bad_task", "a claimed answer needs tokens")
        self._check_tokens(tokens)
        self._check_tokens(token for token, _ in sampling.logit_bias)
        self._check_room(prompt, len(tokens))
        # What follows the last token is of interest only if the answer ended there.
        known = list(tokens) if ended else list(tokens)[:-1]
        self._waiting.append(
            _Claim(
                identifier=identifier,
                script=list(prompt) if exact else [*prompt, *known],
                prompt_tokens=len(prompt),
                sampler=self._new_sampler(sampling),
                tokens=list(tokens),
                ended=ended,
                exact=exact,
            )
        )

    def cancel(self, identifier: int) -> None:
        """Drop a sequence at once; unknown identifiers are ignored."""
        for sequence in [s for s in self._waiting if s.identifier == identifier]:
            self._waiting.remove(sequence)
            sequence.sampler.close()
        for sequence in [s for s in self._active if s.identifier == identifier]:
            self._leave(sequence)

    def step(self) -> list[Outcome]:
        """One token for every running answer, then a piece of the oldest waiting prompt.

        Two passes, since a pass that mixed them would compute the prompt's first token by
        another path than alone: its logits would differ by as much as 0.7. Raises
        `EngineError` when the library fails; the engine is then lost.
        """
        self._seat_waiting()
        return self._decode_answers() + self._decode_prompt()

    def use_threads(self, threads: int) -> None:
        """Compute with so many threads from the next step on; results stay the same."""
        self._library.llama_set_n_threads(self._context, threads, threads)

    def scrub(self) -> None:
        """Overwrite the caches. Only while idle: a finished sequence's cells are freed at
        once, but hold their numbers until something takes their place."""
        if self.idle:
            self._library.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Free everything but the model. The engine must not be used after."""
        for sequence in list(self._active):
            self._leave(sequence)
        for sequence in self._waiting:
            sequence.sampler.close()
        self._waiting.clear()
        if self._context:
            self._library.llama_batch_free(self._batch)
            self._library.llama_free(self._context)
            self._context = None

    def _check_room(self, prompt: Sequence[int], answer_tokens: int) -> None:
        if not prompt:
            raise PromptError("bad_task", "the prompt has no tokens")
        if len(prompt) + answer_tokens > self.context_tokens:
            raise PromptError(
                "context_exceeded",
                f"the prompt has {len(prompt)} tokens and the answer needs {answer_tokens}, "
                f"the context holds {self.context_tokens} tokens",
            )

    def _check_tokens(self, tokens: Iterable[int]) -> None:
        # A token outside the vocabulary would end the engine.
        last = self._model.vocabulary_size - 1
        for token in tokens:
            if not 0 <= token <= last:
                raise PromptError("bad_task", f"a token must be from 0 to {last}, got {token}")

    def _new_sampler(self, sampling: Sampling) -> Sampler:
        return Sampler(self._model, sampling)

    def _seat_waiting(self) -> None:
        while self._waiting and self._free:
            sequence = self._waiting.popleft()
            sequence.slot = self._free.pop(0)
            self._active.append(sequence)
        self._active.sort(key=lambda sequence: sequence.slot)

    def _decode_answers(self) -> list[Outcome]:
        self._batch.n_tokens = 0
        rows: list[tuple[_Answer | _Claim, int]] = []
        for sequence in self._active:
            if sequence.drawn is not None:
                rows.append((sequence, self._add(sequence, sequence.drawn, draws=True)))
                sequence.drawn = None
        return self._decode_and_take(rows)

    def _decode_prompt(self) -> list[Outcome]:
        entering = [s for s in self._active if s.held < len(s.script)]
        if not entering:
            return []
        # Oldest first: finishing one prompt early beats finishing all of them late.
        sequence = min(entering, key=lambda sequence: sequence.identifier)
        self._batch.n_tokens = 0
        rows: list[tuple[_Answer | _Claim, int]] = []
        end = sequence.held + PREFILL_TOKENS
        if sequence.held < sequence.prompt_tokens:
            # A claimed answer's prompt is cut as it was when the answer was generated.
            end = min(end, sequence.prompt_tokens)
        for token in sequence.script[sequence.held : end]:
            draws = sequence.held >= sequence.prompt_tokens - 1
            row = self._add(sequence, token, draws=draws)
            if draws:
                rows.append((sequence, row))
        return self._decode_and_take(rows)

    def _decode_and_take(self, rows: Sequence[tuple[_Answer | _Claim, int]]) -> list[Outcome]:
        self._decode()
        taken = [self._take(sequence, row) for sequence, row in rows]
        return [result for result in taken if result is not None]

    def _take(self, sequence: _Answer | _Claim, row: int) -> Outcome | None:
        if isinstance(sequence, _Claim):
            return self._compare(sequence, row)
        return self._draw(sequence, row)

    def _decode(self) -> None:
        if self._batch.n_tokens == 0:
            return
        code = self._library.llama_decode(self._context, self._batch)
        if code != 0:
            raise EngineError(f"llama_decode returned {code}")

    def _add(self, sequence: _Sequence, token: int, *, draws: bool) -> int:
        batch = self._batch
        row = int(batch.n_tokens)
        batch.token[row] = token
        batch.pos[row] = sequence.held
        batch.n_seq_id[row] = 1
        batch.seq_id[row][0] = sequence.slot
        # Sampling where no logits were asked for ends the process.
        batch.logits[row] = draws
        batch.n_tokens = row + 1
        sequence.held += 1
        return row

    def _draw(self, sequence: _Answer, row: int) -> Produced:
        token = sequence.sampler.draw(self._context, row)
        if self._model.is_end(token):
            return self._end(sequence, (), "stop", "")
        sequence.produced += 1
        text = sequence.text.push(self._model.piece(token))
        if sequence.text.stopped:
            return self._end(sequence, (token,), "stop", text)
        if sequence.produced >= sequence.limit:
            return self._end(sequence, (token,), "length", text)
        sequence.drawn = token
        return Produced(sequence.identifier, (token,), text, "")

    def _end(
        self, sequence: _Answer, tokens: tuple[int, ...], finish: Finish, text: str
    ) -> Produced:
        self._leave(sequence)
        return Produced(sequence.identifier, tokens, text + sequence.text.finish(), finish)

    def _compare(self, claim: _Claim, row: int) -> ScoredAnswer | None:
        at = len(claim.margins)
        claimed = claim.tokens[at] if at < len(claim.tokens) else None
        redrawn = claim.sampler.redraw(self._logits(row), claimed)
        if claimed is None:
            claim.would_draw.append(self._model.is_end(redrawn.token))
            likeliest = redrawn.logits[self._model.end_tokens].max()
        else:
            claim.would_draw.append(redrawn.token == claimed)
            likeliest = redrawn.logits[claimed]
        claim.margins.append(float(redrawn.logits.max() - likeliest))
        if len(claim.margins) == len(claim.tokens) + claim.ended:
            self._leave(claim)
            return ScoredAnswer(claim.identifier, tuple(claim.would_draw), tuple(claim.margins))
        if claim.exact:
            claim.drawn = claimed
        return None

    def _logits(self, row: int) -> Logits:
        pointer = self._library.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, (self._model.vocabulary_size,))

    def _leave(self, sequence: _Answer | _Claim) -> None:
        self._active.remove(sequence)
        self._library.llama_memory_seq_rm(self._memory, sequence.slot, -1, -1)
        sequence.sampler.close()
        self._free = sorted([*self._free, sequence.slot])
