"""Counting tokens as the target model does, from the vocabulary in its GGUF file.

Only the vocabulary is read (`vocab_only`): no weights are loaded and nothing is computed. The file
is one whose digest stands in the signed catalogue, so the parser is not fed a stranger's bytes.
"""

import ctypes
from pathlib import Path
from typing import Any

from peerllm.coordinator.errors import CoordinatorError


class VocabularyError(CoordinatorError):
    """The model's vocabulary could not be read."""


class Vocabulary:
    """One model's tokenizer. Safe to use from several threads: tokenizing does not change it."""

    def __init__(self, path: Path) -> None:
        import llama_cpp  # noqa: PLC0415 - loading the native library takes a while; only here

        self._llama: Any = llama_cpp
        # Kept alive for as long as the library may call it.
        self._silence = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._silence, None)
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = True
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if not self._model:
            raise VocabularyError(f"{path} holds no vocabulary that llama.cpp can read")
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)

    @property
    def size(self) -> int:
        """How many tokens the model knows: they are numbered from 0."""
        return int(self._llama.llama_vocab_n_tokens(self._vocabulary))

    def count(self, text: str) -> int:
        """Tokens of `text`; control strings in it count as the plain text they are."""
        if not text:
            return 0
        raw = text.encode("utf-8", "replace")
        # Negative: the buffer is too small, and the amount says how many tokens there are.
        room = ctypes.c_int32(0)
        tokens = (self._llama.llama_token * 1)()
        counted = self._llama.llama_tokenize(
            self._vocabulary, raw, len(raw), tokens, room, False, False
        )
        return abs(int(counted))
