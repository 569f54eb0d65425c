"""Continuous batching: many answers generated together, one token each per pass.

A sequence joins when a slot is free and leaves as soon as it is done or cancelled; the
others never wait for it. A long prompt enters in pieces, so that running answers go on.
"""

import ctypes
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from peerllm.peer.errors import EngineError, PromptError
from peerllm.peer.llama import LlamaModel, new_context
from peerllm.peer.public_prefixes import PublicPrefixes
from peerllm.peer.released_text import ReleasedText
from peerllm.peer.sampling import Logits, Sampler, Sampling
from peerllm.peer.sequences import (
    PREFILL_TOKENS,
    Answer,
    Claim,
    Finish,
    Outcome,
    Produced,
    Prompt,
    ScoredAnswer,
)

# So long running answers wait for prompts before they get their next token. Readers of a
# stream do not see a third of a second; every pass in between delays a first token.
_PROMPTS_SECONDS: Final = 0.3


class BatchingEngine:
    """Generates for several prompts at once. Not thread-safe: one thread calls it."""

    def __init__(
        self,
        model: LlamaModel,
        *,
        slots: int,
        context_tokens: int,
        threads: int,
        now: Callable[[], float] = time.monotonic,
    ):
        """Reserve the caches. Raises `ModelError` when there is not enough memory.

        `now` gives seconds of any clock.
        """
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
        self._waiting: deque[Answer | Claim] = deque()
        self._active: list[Answer | Claim] = []
        self._prefixes = PublicPrefixes()
        self._now = now
        # How long prompts have had the machine since answers last had it.
        self._prompts_had = 0.0

    def __repr__(self) -> str:
        return f"BatchingEngine(active={len(self._active)}, waiting={len(self._waiting)})"

    @property
    def idle(self) -> bool:
        """Whether a step would have nothing to do."""
        return not self._active and not self._waiting

    def submit(
        self,
        identifier: int,
        prompt: Prompt,
        *,
        max_tokens: int,
        sampling: Sampling,
        stop: Sequence[str] = (),
    ) -> None:
        """Queue a prompt. Raises `PromptError` when it leaves no room for an answer."""
        self._check_room(prompt, 1)
        self._check_tokens(token for token, _ in sampling.logit_bias)
        self._waiting.append(
            Answer(
                identifier=identifier,
                prompt=prompt,
                sampler=Sampler(self._model, sampling),
                limit=min(max_tokens, self.context_tokens - len(prompt)),
                text=ReleasedText(stop),
            )
        )

    def score(
        self,
        identifier: int,
        prompt: Prompt,
        tokens: Sequence[int],
        *,
        sampling: Sampling,
        ended: bool = False,
    ) -> None:
        """Queue a claimed answer; `step` gives its `ScoredAnswer`.

        `ended` claims that the model itself ended the answer after these tokens. Raises
        `PromptError` when prompt and tokens do not fit or a token is none of this model's.
        """
        if not tokens:
            raise PromptError("bad_task", "a claimed answer needs tokens")
        self._check_tokens(tokens)
        self._check_tokens(token for token, _ in sampling.logit_bias)
        self._check_room(prompt, len(tokens))
        self._waiting.append(
            Claim(
                identifier=identifier,
                prompt=prompt,
                # What follows the last token is of interest only if the answer ended there.
                known=tuple(tokens if ended else tokens[:-1]),
                sampler=Sampler(self._model, sampling),
                tokens=tuple(tokens),
                ended=ended,
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
        """One pass: one token for every running answer, or a piece of the oldest prompt.

        Never both, since the library would compute the mixture in two parts anyway. Prompts
        go first, until running answers have waited long enough. Raises `EngineError` when
        the library fails; the engine is then lost.
        """
        self._seat_waiting()
        entering = [sequence for sequence in self._active if sequence.entering]
        running = [sequence for sequence in self._active if sequence.drawn is not None]
        if entering and not (running and self._prompts_had >= _PROMPTS_SECONDS):
            began = self._now()
            # Oldest first: finishing one prompt early beats finishing all of them late.
            outcomes = self._read(min(entering, key=lambda sequence: sequence.identifier))
            self._prompts_had += self._now() - began
            return outcomes
        self._prompts_had = 0.0
        return self._continue(running)

    def use_threads(self, threads: int) -> None:
        """Compute with so many threads from the next step on."""
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

    def _check_room(self, prompt: Prompt, answer_tokens: int) -> None:
        if not prompt.tokens:
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

    def _seat_waiting(self) -> None:
        while self._waiting and self._free:
            sequence = self._waiting.popleft()
            sequence.slot = self._free.pop(0)
            self._active.append(sequence)
            self._restore_prefix(sequence)
        self._active.sort(key=lambda sequence: sequence.slot)

    def _restore_prefix(self, sequence: Answer | Claim) -> None:
        prefix = sequence.prompt.tokens[: sequence.prompt.public_tokens]
        state = self._prefixes.find(prefix)
        if state is None:
            return
        # The library takes a writable pointer, though it only reads.
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        read = self._library.llama_state_seq_set_data(
            self._context, buffer, len(state), sequence.slot
        )
        if read != len(state):
            raise EngineError(f"llama_state_seq_set_data read {read} of {len(state)} bytes")
        sequence.held = len(prefix)

    def _prefix_state(self, sequence: Answer | Claim) -> bytes:
        size = int(self._library.llama_state_seq_get_size(self._context, sequence.slot))
        buffer = (ctypes.c_uint8 * size)()
        written = int(
            self._library.llama_state_seq_get_data(self._context, buffer, size, sequence.slot)
        )
        return bytes(buffer)[:written]

    def _continue(self, running: Sequence[Answer | Claim]) -> list[Outcome]:
        self._batch.n_tokens = 0
        rows: list[tuple[Answer | Claim, int]] = []
        for sequence in running:
            assert sequence.drawn is not None  # noqa: S101 - that is what running means
            rows.append((sequence, self._add(sequence, sequence.drawn, draws=True)))
            sequence.drawn = None
        return self._decode_and_take(rows)

    def _read(self, sequence: Answer | Claim) -> list[Outcome]:
        self._batch.n_tokens = 0
        rows: list[tuple[Answer | Claim, int]] = []
        prompt = sequence.prompt
        for token in sequence.next_piece():
            draws = sequence.held >= len(prompt) - 1
            row = self._add(sequence, token, draws=draws)
            if draws:
                rows.append((sequence, row))
        outcomes = self._decode_and_take(rows)
        if 0 < sequence.held == prompt.public_tokens:
            self._prefixes.keep(
                prompt.tokens[: sequence.held], lambda: self._prefix_state(sequence)
            )
        return outcomes

    def _decode_and_take(self, rows: Sequence[tuple[Answer | Claim, int]]) -> list[Outcome]:
        self._decode()
        taken = [self._take(sequence, row) for sequence, row in rows]
        return [result for result in taken if result is not None]

    def _take(self, sequence: Answer | Claim, row: int) -> Outcome | None:
        if isinstance(sequence, Claim):
            return self._compare(sequence, row)
        return self._draw(sequence, row)

    def _decode(self) -> None:
        if self._batch.n_tokens == 0:
            return
        code = self._library.llama_decode(self._context, self._batch)
        if code != 0:
            raise EngineError(f"llama_decode returned {code}")

    def _add(self, sequence: Answer | Claim, token: int, *, draws: bool) -> int:
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

    def _draw(self, answer: Answer, row: int) -> Produced:
        token = answer.sampler.draw(self._context, row)
        if self._model.is_end(token):
            return self._end(answer, (), "stop", "")
        answer.produced += 1
        text = answer.text.push(self._model.piece(token))
        if answer.text.stopped:
            return self._end(answer, (token,), "stop", text)
        if answer.produced >= answer.limit:
            return self._end(answer, (token,), "length", text)
        answer.drawn = token
        return Produced(answer.identifier, (token,), text, "")

    def _end(self, answer: Answer, tokens: tuple[int, ...], finish: Finish, text: str) -> Produced:
        self._leave(answer)
        return Produced(answer.identifier, tokens, text + answer.text.finish(), finish)

    def _compare(self, claim: Claim, row: int) -> ScoredAnswer | None:
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
        if len(claim.margins) < len(claim.tokens) + claim.ended:
            return None
        self._leave(claim)
        return ScoredAnswer(claim.identifier, tuple(claim.would_draw), tuple(claim.margins))

    def _logits(self, row: int) -> Logits:
        pointer = self._library.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, (self._model.vocabulary_size,))

    def _leave(self, sequence: Answer | Claim) -> None:
        self._active.remove(sequence)
        self._library.llama_memory_seq_rm(self._memory, sequence.slot, -1, -1)
        sequence.sampler.close()
        self._free = sorted([*self._free, sequence.slot])
