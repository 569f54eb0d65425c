"""How a token is drawn from a model's logits, and drawn again to check a claim."""

import ctypes
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from peerllm.peer.errors import PromptError
from peerllm.peer.grammar_state import CANDIDATE, GrammarState, token_array
from peerllm.peer.llama import LlamaModel

# llama.cpp reads this seed as "draw one from the clock".
_RANDOM_SEED: Final = 0xFFFFFFFF
# Penalties look this far back: over any answer, at 32 KB for the library's ring.
_PENALIZED_TOKENS: Final = 8192
# Where the drawn token does not fit its grammar, one of so many likeliest ones nearly always
# does; the whole vocabulary would have to be read letter by letter for what is never drawn.
_SECOND_LOOK: Final = 512
# What lies so far below the likeliest is out of the question: an altered token lies 20 below.
_FORBIDDEN_MARGIN: Final = 100.0
# No token at all.
_NONE: Final = -1

Logits = npt.NDArray[np.float32]
Candidates = npt.NDArray[np.void]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy; the seed then means nothing.

    Penalties are subtracted from logits of tokens that the answer already holds:
    `frequency_penalty` once per occurrence, `presence_penalty` once. `repetition_penalty`
    divides their logits (1 changes nothing). `logit_bias` is added, by token. `min_p`
    leaves out what is less likely than this share of the likeliest. With a `grammar`, tried
    before (`peerllm.peer.grammar_trial`), only tokens that fit it are drawn. `begun` is the
    part of the answer that the prompt already holds: penalties and grammar go on after it.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int = 0
    grammar: str = field(default="", repr=False)
    begun: tuple[int, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Redrawn:
    """A token drawn to check a claim, and the logits it was drawn from, as adjusted.

    Tokens that the grammar forbids lie 100 below the likeliest one wherever it matters. Once
    what was claimed has left the grammar, nothing would be drawn: the token is -1.
    """

    token: int
    logits: Logits = field(repr=False)


class Sampler:
    """Draws the tokens of one answer, in order: every draw moves the seed's sequence on.

    A grammar is asked about the drawn token first, and about others only where that one does
    not fit: to ask about all 49,152 tokens of the embedded model takes 5 to 27 ms.
    """

    def __init__(self, model: LlamaModel, sampling: Sampling) -> None:
        """Build the library's chains; `close` must be called.

        Raises `PromptError` when what is begun does not fit the grammar.
        """
        self._model = model
        self._library = library = model.library
        self._chain = _new_chain(library)
        # Apart from each other, since a margin lies between the two.
        self._adjusting = _adjusting_chain(library, sampling, model.vocabulary_size)
        self._choosing = _choosing_chain(library, sampling)
        # The outer chain owns them from here on.
        library.llama_sampler_chain_add(self._chain, self._adjusting)
        library.llama_sampler_chain_add(self._chain, self._choosing)
        self._grammar: GrammarState | None = None
        self._departed = False
        if sampling.grammar:
            try:
                self._grammar = GrammarState(model, sampling.grammar)
            except PromptError:
                self.close()
                raise
        for token in sampling.begun:
            self._accept(token)
        if self._departed:
            self.close()
            raise PromptError("bad_task", "the beginning of the answer does not fit its form")

    def draw(self, context: Any, row: int) -> int:
        """Draw from a row of the last pass, one that was asked for logits."""
        if self._grammar is None:
            return int(self._library.llama_sampler_sample(self._chain, context, row))
        pointer = self._library.llama_get_logits_ith(context, row)
        logits = np.ctypeslib.as_array(pointer, (self._model.vocabulary_size,))
        token = self._choose(self._adjust(logits))
        self._accept(token)
        return token

    def redraw(self, logits: Logits, claimed: int | None) -> Redrawn:
        """What would have been drawn here; the answer then goes on with what was claimed.

        `claimed` is None where the claim is that the answer ended here.
        """
        adjusted = self._adjust(logits)
        shown = adjusted["logit"].copy()
        if self._departed:
            return Redrawn(_NONE, shown)
        drawn = self._choose(adjusted)
        if self._grammar is not None:
            self._forbid(shown, [*self._model.end_tokens] if claimed is None else [claimed])
        self._accept(drawn if claimed is None else claimed)
        return Redrawn(drawn, shown)

    def close(self) -> None:
        """Free the chains. The sampler must not be used after."""
        self._library.llama_sampler_free(self._chain)
        if self._grammar is not None:
            self._grammar.close()

    # Both are kept from token to token: to touch fresh memory costs more than to fill it.

    @cached_property
    def _adjusted(self) -> Candidates:
        """The whole vocabulary in its order."""
        candidates = np.zeros(self._model.vocabulary_size, dtype=CANDIDATE)
        candidates["id"] = np.arange(len(candidates))
        return candidates

    @cached_property
    def _working_copy(self) -> Candidates:
        """For choosing, which sorts and cuts."""
        return np.empty_like(self._adjusted)

    def _adjust(self, logits: Logits) -> Candidates:
        candidates = self._adjusted
        candidates["logit"] = logits
        array = token_array(self._library, candidates)
        self._library.llama_sampler_apply(self._adjusting, ctypes.byref(array))
        return candidates

    def _choose(self, adjusted: Candidates) -> int:
        """Draw a token that fits. One draw moves the seed's sequence by one, fit or not."""
        grammar = self._grammar
        if grammar is None:
            return self._apply_to_all(self._choosing, adjusted)
        # The same random number for the second attempt: an auditor whose logits differ a
        # little, and who needs no second one, must stay in step.
        spare = self._library.llama_sampler_clone(self._choosing)
        try:
            token = self._apply_to_all(self._choosing, adjusted)
            if grammar.fits(token):
                return token
            likeliest = _likeliest(adjusted)
            grammar.forbid_unfitting(likeliest)
            if np.isfinite(likeliest["logit"]).any():
                return self._apply(spare, likeliest)
            grammar.forbid_unfitting(adjusted)
            if np.isfinite(adjusted["logit"]).any():
                return self._apply_to_all(spare, adjusted)
            # This vocabulary cannot write what the form asks for: the answer ends here.
            return self._model.end_tokens[0]
        finally:
            self._library.llama_sampler_free(spare)

    def _apply_to_all(self, chain: Any, adjusted: Candidates) -> int:
        # As bare bytes: numpy would copy such records field by field, at thirty times the time.
        np.copyto(self._working_copy.view(np.uint8), adjusted.view(np.uint8))
        return self._apply(chain, self._working_copy)

    def _apply(self, chain: Any, candidates: Candidates) -> int:
        array = token_array(self._library, candidates)
        self._library.llama_sampler_apply(chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def _accept(self, token: int) -> None:
        self._library.llama_sampler_accept(self._chain, token)
        if self._grammar is None or self._departed:
            return
        # To accept what does not fit would end the process.
        if self._grammar.fits(token):
            self._grammar.accept(token)
        else:
            self._departed = True

    def _forbid(self, shown: Logits, of_interest: list[int]) -> None:
        """Lower what the grammar forbids; only the likeliest and `of_interest` are looked at."""
        assert self._grammar is not None  # noqa: S101 - the caller's condition
        if not self._grammar.fits(int(shown.argmax())):
            self._adjusted["logit"] = shown
            self._grammar.forbid_unfitting(self._adjusted)
            allowed = np.isfinite(self._adjusted["logit"])
            if allowed.any():
                shown[~allowed] = shown[allowed].max() - _FORBIDDEN_MARGIN
            return
        for token in of_interest:
            if not self._grammar.fits(token):
                shown[token] = shown.max() - _FORBIDDEN_MARGIN


def _likeliest(candidates: Candidates) -> Candidates:
    if len(candidates) <= _SECOND_LOOK:
        return candidates.copy()
    chosen = np.argpartition(candidates["logit"], -_SECOND_LOOK)[-_SECOND_LOOK:]
    # In the vocabulary's order, as the library would have them.
    return candidates[np.sort(chosen)]


def _new_chain(library: Any) -> Any:
    return library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())


def _adjusting_chain(library: Any, sampling: Sampling, vocabulary_size: int) -> Any:
    chain = _new_chain(library)
    if sampling.logit_bias:
        biases = (library.llama_logit_bias * len(sampling.logit_bias))(
            *(library.llama_logit_bias(token, bias) for token, bias in sampling.logit_bias)
        )
        library.llama_sampler_chain_add(
            chain, library.llama_sampler_init_logit_bias(vocabulary_size, len(biases), biases)
        )
    penalties = (
        sampling.repetition_penalty,
        sampling.frequency_penalty,
        sampling.presence_penalty,
    )
    if penalties != (1.0, 0.0, 0.0):
        library.llama_sampler_chain_add(
            chain,
            library.llama_sampler_init_penalties(vocabulary_size, _PENALIZED_TOKENS, *penalties),
        )
    return chain


def _choosing_chain(library: Any, sampling: Sampling) -> Any:
    chain = _new_chain(library)
    if sampling.temperature <= 0:
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_greedy())
        return chain
    if sampling.top_p < 1:
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0:
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_min_p(sampling.min_p, 1))
    library.llama_sampler_chain_add(
        chain, library.llama_sampler_init_temp(ctypes.c_float(sampling.temperature))
    )
    library.llama_sampler_chain_add(
        chain, library.llama_sampler_init_dist(sampling.seed % _RANDOM_SEED)
    )
    return chain
