"""Counting tokens as the target model does, from the vocabulary in its GGUF file.

Only the vocabulary is read (`vocab_only`): no weights are loaded and nothing is computed. The file
is one whose digest stands in the signed catalogue, so the parser is not fed a stranger's bytes.
"""

import ctypes
from pathlib import Path
from typing import Any, Final

from peerllm.coordinator.errors import CoordinatorError

# Numbers and the name of an architecture; longer entries are not asked for.
_ENTRY_BYTES: Final = 128
# A gigabyte a token: more than any model takes, less than a message's counts may hold.
_LARGEST_CACHE: Final = 1_000_000_000


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

    @property
    def cache_bytes_per_token(self) -> int:
        """What one token of context takes of a host's memory; 0 when the file does not say.

        Keys and values of all blocks in 16-bit floats, as hosts keep them.
        """
        architecture = self._entry("general.architecture")

        def number(name: str, absent: int = 0) -> int:
            # A list, one for each block, is no number: such a file is left to who has it.
            text = self._entry(f"{architecture}.{name}")
            return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else absent

        heads = number("attention.head_count")
        if not heads:
            return 0
        key = number("attention.key_length", number("embedding_length") // heads)
        value = number("attention.value_length", key)
        kept = number("attention.head_count_kv", heads)
        return min(_LARGEST_CACHE, 2 * number("block_count") * kept * (key + value))

    def _entry(self, name: str) -> str:
        """An entry of the file's metadata as text; empty when it is not there."""
        text = ctypes.create_string_buffer(_ENTRY_BYTES)
        length = self._llama.llama_model_meta_val_str(
            self._model, name.encode("utf-8", "replace"), text, _ENTRY_BYTES
        )
        return text.value.decode("utf-8", "replace") if length > 0 else ""

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
