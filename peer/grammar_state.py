"""How far an answer has come in its grammar, by the library's sampler."""

import ctypes
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from peerllm.peer.errors import PromptError
from peerllm.peer.llama import LlamaModel

# llama_token_data of llama.h.
CANDIDATE: Final = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


def token_array(library: Any, candidates: npt.NDArray[np.void]) -> Any:
    """The library's view of candidates, which must outlive it."""
    return library.llama_token_data_array(
        data=candidates.ctypes.data_as(ctypes.POINTER(library.llama_token_data)),
        size=len(candidates),
        selected=-1,
        sorted=False,
    )


class GrammarState:
    """One answer's place in a grammar. The library reads each token by its letters."""

    def __init__(self, model: LlamaModel, grammar: str) -> None:
        """Compile; `close` must be called. Raises `PromptError` for what is no grammar.

        Only for grammars that have been tried in a process of their own: compiling one that
        nests too deep ends the process.
        """
        self._library = model.library
        self._sampler = self._library.llama_sampler_init_grammar(
            model.vocabulary, grammar.encode(), b"root"
        )
        if not self._sampler:
            raise PromptError("bad_task", "the form of the answer cannot be compiled")
        self._one = np.zeros(1, dtype=CANDIDATE)
        self._one_array = token_array(self._library, self._one)

    def fits(self, token: int) -> bool:
        """Whether the answer may go on with this token, or end if it is an end token."""
        self._one["id"], self._one["logit"] = token, 0
        self._library.llama_sampler_apply(self._sampler, ctypes.byref(self._one_array))
        return bool(np.isfinite(self._one["logit"][0]))

    def forbid_unfitting(self, candidates: npt.NDArray[np.void]) -> None:
        """Set the logit of everything that does not fit to minus infinity."""
        array = token_array(self._library, candidates)
        self._library.llama_sampler_apply(self._sampler, ctypes.byref(array))

    def accept(self, token: int) -> None:
        """Go on. The token must fit: the library ends the process otherwise."""
        self._library.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        """Free the sampler. The state must not be used after."""
        self._library.llama_sampler_free(self._sampler)
