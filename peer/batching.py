"""Continuous batching: many answers generated together, one token each per step.

A sequence joins when a slot is free and leaves as soon as it is done or cancelled; the
others never wait for it. A long prompt enters in pieces, so that running answers go on.
"""

import ctypes
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from peerllm.peer.errors import EngineError, PromptError
from peerllm.peer.llama import LlamaModel, new_context
from peerllm.peer.released_text import ReleasedText

Finish = Literal["", "stop", "length"]

# Prompt tokens taken in one step. At 150 tokens/s of prefill a step then lasts 0.2 s: a
# running answer slows, it does not freeze. Larger gains nothing on a processor.
# Fixed, whether answers run beside or not: the library's results depend on how a prompt
# is cut, and an answer must not depend on who else was there.
PREFILL_TOKENS: Final = 32
# llama.cpp reads this seed as "draw one from the clock".
_RANDOM_SEED: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy; the seed then means nothing."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Produced:
    """What one step gave one sequence: at most one token and the text now released."""

    identifier: int
    tokens: tuple[int, ...] = field(repr=False)
    text: str = field(repr=False)
    finish: Finish


@dataclass(eq=False)
class _Sequence:
    identifier: int
    prompt: list[int] = field(repr=False)
    limit: int
    sampling: Sampling
    text: ReleasedText
    slot: int = -1
    sampler: Any = None
    # Tokens of this sequence in its cache.
    held: int = 0
    # Drawn but not yet decoded.
    drawn: int | None = field(default=None, repr=False)
    produced: int = 0


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
        self._waiting: deque[_Sequence] = deque()
        self._active: list[_Sequence] = []

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
        room = self.context_tokens - len(prompt)
        if room < 1:
            raise PromptError(
                "context_exceeded",
                f"the prompt has {len(prompt)} tokens, "
                f"the context holds {self.context_tokens} and an answer needs one",
            )
        if not prompt:
            raise PromptError("bad_task", "the prompt has no tokens")
        self._waiting.append(
            _Sequence(
                identifier=identifier,
                prompt=list(prompt),
                limit=min(max_tokens, room),
                sampling=sampling,
                text=ReleasedText(stop),
            )
        )

    def cancel(self, identifier: int) -> None:
        """Drop a sequence at once; unknown identifiers are ignored."""
        self._waiting = deque(s for s in self._waiting if s.identifier != identifier)
        for sequence in [s for s in self._active if s.identifier == identifier]:
            self._leave(sequence)

    def step(self) -> list[Produced]:
        """One token for every running answer, then a piece of the oldest waiting prompt.

        Two passes, since a pass that mixed them would compute the prompt's first token by
        another path than alone: its logits would differ by as much as 0.7. Raises
        `EngineError` when the library fails; the engine is then lost.
        """
        self._seat_waiting()
        return self._decode_answers() + self._decode_prompt()

    def scrub(self) -> None:
        """Overwrite the caches. Only while idle: a finished sequence's cells are freed at
        once, but hold their numbers until something takes their place."""
        if self.idle:
            self._library.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Free everything but the model. The engine must not be used after."""
        for sequence in list(self._active):
            self._leave(sequence)
        self._waiting.clear()
        if self._context:
            self._library.llama_batch_free(self._batch)
            self._library.llama_free(self._context)
            self._context = None

    def _seat_waiting(self) -> None:
        while self._waiting and self._free:
            sequence = self._waiting.popleft()
            sequence.slot = self._free.pop(0)
            sequence.sampler = self._new_sampler(sequence.sampling)
            self._active.append(sequence)
        self._active.sort(key=lambda sequence: sequence.slot)

    def _decode_answers(self) -> list[Produced]:
        self._batch.n_tokens = 0
        rows: list[tuple[_Sequence, int]] = []
        for sequence in self._active:
            if sequence.drawn is not None:
                rows.append((sequence, self._add(sequence, sequence.drawn, draws=True)))
                sequence.drawn = None
        self._decode()
        return [self._draw(sequence, row) for sequence, row in rows]

    def _decode_prompt(self) -> list[Produced]:
        entering = [s for s in self._active if s.held < len(s.prompt)]
        if not entering:
            return []
        # Oldest first: finishing one prompt early beats finishing all of them late.
        sequence = min(entering, key=lambda sequence: sequence.identifier)
        self._batch.n_tokens = 0
        row = 0
        for token in sequence.prompt[sequence.held : sequence.held + PREFILL_TOKENS]:
            row = self._add(sequence, token, draws=sequence.held == len(sequence.prompt) - 1)
        self._decode()
        return [self._draw(sequence, row)] if sequence.held == len(sequence.prompt) else []

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

    def _draw(self, sequence: _Sequence, row: int) -> Produced:
        token = int(self._library.llama_sampler_sample(sequence.sampler, self._context, row))
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
        self, sequence: _Sequence, tokens: tuple[int, ...], finish: Finish, text: str
    ) -> Produced:
        self._leave(sequence)
        return Produced(sequence.identifier, tokens, text + sequence.text.finish(), finish)

    def _leave(self, sequence: _Sequence) -> None:
        self._active.remove(sequence)
        self._library.llama_memory_seq_rm(self._memory, sequence.slot, -1, -1)
        self._library.llama_sampler_free(sequence.sampler)
        self._free = sorted([*self._free, sequence.slot])

    def _new_sampler(self, sampling: Sampling) -> Any:
        library = self._library
        chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
        if sampling.temperature <= 0:
            library.llama_sampler_chain_add(chain, library.llama_sampler_init_greedy())
            return chain
        if sampling.top_p < 1:
            library.llama_sampler_chain_add(
                chain, library.llama_sampler_init_top_p(sampling.top_p, 1)
            )
        library.llama_sampler_chain_add(
            chain, library.llama_sampler_init_temp(ctypes.c_float(sampling.temperature))
        )
        library.llama_sampler_chain_add(
            chain, library.llama_sampler_init_dist(sampling.seed % _RANDOM_SEED)
        )
        return chain
