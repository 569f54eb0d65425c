"""How a token is drawn from a model's logits, and drawn again to check a claim."""

import ctypes
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

# llama.cpp reads this seed as "draw one from the clock".
_RANDOM_SEED: Final = 0xFFFFFFFF

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy; the seed then means nothing."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


class Sampler:
    """Draws the tokens of one answer, in order: every draw moves the seed's sequence on."""

    def __init__(self, library: Any, sampling: Sampling) -> None:
        """Build the library's chain; `close` must be called."""
        self._library = library
        self._chain = _new_chain(library, sampling)

    def draw(self, context: Any, row: int) -> int:
        """Draw from a row of the last pass, one that was asked for logits."""
        return int(self._library.llama_sampler_sample(self._chain, context, row))

    def redraw(self, logits: Logits, claimed: int | None) -> int:
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
        library.llama_sampler_apply(self._chain, ctypes.byref(array))
        drawn = int(array.data[array.selected].id)
        library.llama_sampler_accept(self._chain, drawn if claimed is None else claimed)
        return drawn

    def close(self) -> None:
        """Free the chain. The sampler must not be used after."""
        self._library.llama_sampler_free(self._chain)


# llama_token_data of llama.h.
_CANDIDATE: Final = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


def _new_chain(library: Any, sampling: Sampling) -> Any:
    chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
    if sampling.temperature <= 0:
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_greedy())
        return chain
    if sampling.top_p < 1:
        library.llama_sampler_chain_add(chain, library.llama_sampler_init_top_p(sampling.top_p, 1))
    library.llama_sampler_chain_add(
        chain, library.llama_sampler_init_temp(ctypes.c_float(sampling.temperature))
    )
    library.llama_sampler_chain_add(
        chain, library.llama_sampler_init_dist(sampling.seed % _RANDOM_SEED)
    )
    return chain
