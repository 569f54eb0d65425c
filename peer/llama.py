"""The inference library behind a small typed face.

Everything here runs in the engine process and nowhere else: a bad model file or a failed
assertion inside the library ends the process. Names of the library's functions are those
of llama.h as bound by llama-cpp-python 0.3.36.
"""

import ctypes
import importlib
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psutil

from peerllm.peer.errors import EngineError, ModelError

# An int, not the library's constant, since the library is not loaded yet.
_GPU_LAYERS_ALL: Final = -1
_TEMPLATE_UNSET: Final = "the model file carries no chat template, so it cannot hold a conversation"

_silent: list[object] = []


def load_library() -> Any:
    """Import the compiled library, silence it and return it. Raises `ModelError`.

    Its log quotes model files and, in debug levels, tokens: nothing of it is ever kept.
    """
    # Two OpenMP threads that wait by spinning fall from 52 to 6 tokens/s as soon as
    # anything else wants their core; read once, when the library is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        # Typed Any on purpose: the binding's functions are made by a decorator at run time.
        library: Any = importlib.import_module("llama_cpp")
    # What a library of another platform or a half installation raises is not declared:
    # RuntimeError, OSError and FileNotFoundError were all seen.
    except (ImportError, OSError, RuntimeError):
        raise ModelError(
            "no_library",
            "the inference library is missing or was compiled for another machine: "
            "install llama-cpp-python 0.3.36 (peerllm[host])",
        ) from None
    if not _silent:
        callback = library.llama_log_callback(lambda _level, _text, _data: None)
        library.llama_log_set(callback, ctypes.c_void_p(0))
        # The library keeps the bare pointer; Python must keep the object.
        _silent.append(callback)
        library.llama_backend_init()
    return library


class LlamaModel:
    """A loaded model file: weights, vocabulary and chat template."""

    def __init__(
        self,
        path: Path,
        on_progress: Callable[[int], None] = lambda _percent: None,
        *,
        vocabulary_only: bool = False,
    ) -> None:
        """Load the weights; `on_progress` gets 0..100. Raises `ModelError`.

        With `vocabulary_only` there are no weights: texts can be cut, nothing computed.
        """
        self.library = load_library()
        parameters = self.library.llama_model_default_params()
        parameters.vocab_only = vocabulary_only
        # The library's default leaves even a Mac's GPU idle; without one it changes nothing.
        parameters.n_gpu_layers = _GPU_LAYERS_ALL
        shown = -1

        def report(fraction: float, _data: object) -> bool:
            nonlocal shown
            if int(fraction * 100) != shown:
                shown = int(fraction * 100)
                on_progress(shown)
            return True

        callback = self.library.llama_progress_callback(report)
        parameters.progress_callback = callback
        self.pointer = self.library.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self.pointer:
            raise ModelError(
                "unloadable",
                f"the inference library cannot load {path}: "
                "the file is damaged or of an unsupported architecture",
            )
        self._vocabulary = self.library.llama_model_get_vocab(self.pointer)
        self._buffer = ctypes.create_string_buffer(256)
        self._pieces: dict[int, bytes] = {}
        self._controls: dict[int, bool] = {}

    def close(self) -> None:
        """Free the weights. The model must not be used after."""
        if self.pointer:
            self.library.llama_model_free(self.pointer)
            self.pointer = None

    @property
    def chat_template(self) -> str:
        """The template in the file's metadata. Raises `ModelError` when it has none."""
        raw = self.library.llama_model_chat_template(self.pointer, None)
        if not raw:
            raise ModelError("no_chat_template", _TEMPLATE_UNSET)
        return str(raw, "utf-8", "replace")

    @property
    def trained_context_tokens(self) -> int:
        """How long a sequence the model was trained on."""
        return int(self.library.llama_model_n_ctx_train(self.pointer))

    @property
    def vocabulary(self) -> Any:
        """The library's own handle of the vocabulary."""
        return self._vocabulary

    @property
    def vocabulary_size(self) -> int:
        """How many tokens the model knows: they are numbered from 0."""
        return int(self.library.llama_vocab_n_tokens(self._vocabulary))

    @cached_property
    def end_tokens(self) -> list[int]:
        """The tokens that end an answer; looked for in the whole vocabulary, once."""
        return [token for token in range(self.vocabulary_size) if self.is_end(token)]

    def cache_bytes(self, tokens: int) -> int:
        """Memory that the keys and values of so many tokens take, in 16-bit floats."""
        library, pointer = self.library, self.pointer
        head = library.llama_model_n_embd(pointer) // max(library.llama_model_n_head(pointer), 1)
        width = head * library.llama_model_n_head_kv(pointer)
        return int(2 * 2 * library.llama_model_n_layer(pointer) * width * tokens)

    @property
    def leading_token(self) -> int | None:
        """The token every prompt must begin with, where the model asks for one."""
        if not self.library.llama_vocab_get_add_bos(self._vocabulary):
            return None
        token = int(self.library.llama_vocab_bos(self._vocabulary))
        return token if token >= 0 else None

    @property
    def markers(self) -> tuple[str, str]:
        """Text of the tokens that begin and end a sequence."""
        first = int(self.library.llama_vocab_bos(self._vocabulary))
        last = int(self.library.llama_vocab_eos(self._vocabulary))
        return (
            self.spelling(first) if first >= 0 else "",
            self.spelling(last) if last >= 0 else "",
        )

    def tokenize(self, text: str, *, control: bool) -> list[int]:
        """Tokens of the text; control strings become control tokens only if `control`."""
        raw = text.encode()
        # One token per byte is the worst case; eight more for what a vocabulary prepends.
        capacity = len(raw) + 8
        tokens = (self.library.llama_token * capacity)()
        count = self.library.llama_tokenize(
            self._vocabulary, raw, len(raw), tokens, capacity, False, control
        )
        if count < 0:
            raise EngineError(f"the tokenizer needs {-count} places, {capacity} were given")
        return list(tokens[:count])

    def is_control(self, token: int) -> bool:
        """Whether the token can steer the model, as a turn marker does.

        User-defined tokens count unless they are white space: some vocabularies file
        turn markers there, others runs of spaces.
        """
        known = self._controls.get(token)
        if known is None:
            known = self._controls[token] = self.is_end(token) or self._is_marked(token)
        return known

    def _is_marked(self, token: int) -> bool:
        attributes = int(self.library.llama_vocab_get_attr(self._vocabulary, token))
        if attributes & self.library.LLAMA_TOKEN_ATTR_CONTROL:
            return True
        defined = attributes & self.library.LLAMA_TOKEN_ATTR_USER_DEFINED
        return bool(defined) and bool(self.spelling(token).strip())

    def is_end(self, token: int) -> bool:
        """Whether this token ends an answer."""
        return bool(self.library.llama_vocab_is_eog(self._vocabulary, token))

    def piece(self, token: int) -> bytes:
        """Bytes that the token adds to a text; none for a control token."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._render(token, special=False)
        return piece

    def spelling(self, token: int) -> str:
        """Text of the token, written out even if it is a control token."""
        return self._render(token, special=True).decode("utf-8", "replace")

    def _render(self, token: int, *, special: bool) -> bytes:
        while True:
            size = len(self._buffer)
            length = self.library.llama_token_to_piece(
                self._vocabulary, token, self._buffer, size, 0, special
            )
            if length >= 0:
                return bytes(self._buffer.raw[:length])
            self._buffer = ctypes.create_string_buffer(-length)


def new_context(
    model: LlamaModel, *, slots: int, context_tokens: int, batch_tokens: int, threads: int
) -> Any:
    """A context with `slots` separate sequences of `context_tokens` each.

    Separate caches: a sequence computes the same beside others as alone, and does not look
    at their cells. Flash attention: a tenth faster; where it costs sameness is told in
    docs/decisions/0005-engine.md. Raises `ModelError` when there is not enough memory.
    """
    shortage = ModelError(
        "no_memory",
        f"there is not enough memory for {slots} slots of {context_tokens} tokens: "
        "use fewer slots or a smaller context",
    )
    # Asked beforehand: a system that promises more than it has would kill this process,
    # or another one, only when the caches are first written.
    if model.cache_bytes(slots * context_tokens) > psutil.virtual_memory().available:
        raise shortage
    library = model.library
    parameters = library.llama_context_default_params()
    parameters.n_ctx = slots * context_tokens
    parameters.n_seq_max = slots
    parameters.n_batch = batch_tokens
    parameters.n_ubatch = batch_tokens
    parameters.n_threads = threads
    parameters.n_threads_batch = threads
    parameters.kv_unified = False
    parameters.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_ENABLED
    context = library.llama_init_from_model(model.pointer, parameters)
    if not context:
        raise shortage
    return context
