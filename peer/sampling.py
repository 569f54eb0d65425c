"""How a token is drawn from a model's logits, and drawn again to check a claim."""

import ctypes
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# llama.cpp reads this seed as "draw one from the clock".
_RANDOM_SEED: Final = 0xFFFFFFFF
# Penalties look this far back: over any answer, at 32 KB for the library's ring.
_PENALIZED_TOKENS: Final = 8192

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy; the seed then means nothing.

    Penalties are subtracted from logits of tokens that the answer already holds:
    `frequency_penalty` once per occurrence, `presence_penalty` once. `repetition_penalty`
    divides their logits (1 changes nothing). `logit_bias` is added, by token. `min_p`
    leaves out what is less likely than this share of the likeliest.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Redrawn:
    """A token drawn to check a claim, and the logits it was drawn from, as adjusted."""

    token: int
    logits: Logits = field(repr=False)


class Sampler:
    """Draws the tokens of one answer, in order: every draw moves the seed's sequence on."""

    def __init__(self, library: Any, sampling: Sampling, vocabulary_size: int) -> None:
        """Build the library's chains; `close` must be called."""
        self._library = library
        self._chain = _new_chain(library)
        # Apart from each other, since a margin lies between the two.
        self._adjusting = _adjusting_chain(library, sampling, vocabulary_size)
        self._choosing = _choosing_chain(library, sampling)
        # The outer chain owns them from here on.
        library.llama_sampler_chain_add(self._chain, self._adjusting)
        library.llama_sampler_chain_add(self._chain, self._choosing)

    def draw(self, context: Any, row: int) -> int:
        """Draw from a row of the last pass, one that was asked for logits."""
        return int(self._library.llama_sampler_sample(self._chain, context, row))

    def redraw(self, logits: Logits, claimed: int | None) -> Redrawn:
        """What would have been drawn here; the answer then goes on with what was claimed.

        `claimed` is None where the claim is that the answer ended here.
        """
        library = self._library
        candidates = np.zeros(len(logits), dtype=_CANDIDATE)
        candidates["id"] = np.arange(len(logits))
        candidates["logit"] = logits
        array = library.llama_token_data_array(
            data=candidates.ctypes.data_as(ctypes.POINTER(library.llama_token_data)),
            size=len(candidates),
            selected=-1,
            sorted=False,
        )
        library.llama_sampler_apply(self._adjusting, ctypes.byref(array))
        # Copied before the choice, which sorts and cuts.
        adjusted = candidates["logit"].copy()
        library.llama_sampler_apply(self._choosing, ctypes.byref(array))
        drawn = int(array.data[array.selected].id)
        library.llama_sampler_accept(self._chain, drawn if claimed is None else claimed)
        return Redrawn(drawn, adjusted)

    def close(self) -> None:
        """Free the chains. The sampler must not be used after."""
        self._library.llama_sampler_free(self._chain)


# llama_token_data of llama.h.
_CANDIDATE: Final = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


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
