"""ctransformers behind a small typed face: one model, one sequence.

Everything here runs in the engine process for legacy files and nowhere else. The library
(0.2.27, of 2023) believes its caller: its own Python face gives the tokenizer room for one
token per character, and a text of emoji then overwrites the heap; so its functions are
called directly, with room for every byte.
"""

import ctypes
import importlib
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from peerllm.peer.errors import EngineError, ModelError, PromptError
from peerllm.peer.legacy_format import PIECE_TOKENS, LegacyArchitecture

# No GPU: what the library offloads was written for drivers of 2023.
_GPU_LAYERS: Final = 0
# LLaMA's, in the library whatever the file says.
_UNKNOWN, _FIRST, _LAST = 0, 1, 2
_LLAMA_MARKERS: Final = {"<s>": _FIRST, "</s>": _LAST}
_GPT2_END: Final = "<|endoftext|>"
# How turn markers are written in vocabularies that do not say which tokens they are.
_MARKER: Final = re.compile(r"<[^\s<>]+>|\[[A-Z_]+\]|<\|.*\|>", re.DOTALL)
# For GPT-2 the library splits words by a recursive search: a word of 10,000 letters takes
# it 6 s, one of 40,000 ends the process. Cut where a word begins, or else in the middle.
_PIECE: Final = re.compile(rb".{1,256}(?=(?<=\S) \S|\Z)|.{1,256}", re.DOTALL)


@cache
def load_library() -> Any:
    """Import the library: its configuration and its functions. Raises `ModelError`."""
    # Its package also knows a model hub; nothing here may ever ask it.
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        # Typed Any on purpose: the library declares no types.
        library: Any = importlib.import_module("ctransformers.llm")
        native = library.load_library(_build())
    # The library's own words for "not for this processor" are an OSError.
    except (ImportError, OSError):
        raise ModelError(
            "no_library",
            "the library for legacy model files is missing or not made for this machine: "
            "install ctransformers 0.2.27 (peerllm[legacy]) on x86-64 or macOS",
        ) from None
    return library.Config, native


def _build() -> str | None:
    """Which of the library's builds this processor runs; None lets it find out by itself.

    It chooses by the same words, but runs other programs for a second to learn them.
    """
    try:
        found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    if found is None:
        return None
    flags = set(found[1].split())
    if "avx2" in flags:
        return "avx2"
    return "avx" if {"avx", "f16c"} <= flags else "basic"


class LegacyModel:
    """A loaded file: weights, vocabulary, and the one sequence it holds."""

    def __init__(
        self, path: Path, architecture: LegacyArchitecture, *, context_tokens: int, threads: int
    ) -> None:
        """Load the weights. Raises `ModelError`."""
        configuration, self._native = load_library()
        self._is_llama = architecture == "llama"
        self.context_tokens = context_tokens
        self.threads = threads
        # Tokens of the sequence whose keys and values the library holds.
        self.held = 0
        self._pointer = self._native.ctransformers_llm_create(
            os.fsencode(path),
            architecture.encode(),
            configuration(
                context_length=context_tokens, gpu_layers=_GPU_LAYERS, mmap=True
            ).to_struct(),
        )
        if not self._pointer:
            raise ModelError(
                "unloadable", f"ctransformers cannot load {path} as a {architecture} model"
            )
        self._vocabulary_size = int(self._native.ctransformers_llm_vocab_size(self._pointer))
        self._markers = dict(_LLAMA_MARKERS) if self._is_llama else self._gpt2_markers()

    def close(self) -> None:
        """Free the weights. The model must not be used after."""
        if self._pointer:
            self._native.ctransformers_llm_delete(self._pointer)
            self._pointer = None

    @property
    def leading_token(self) -> int | None:
        """The token every prompt must begin with, where the model asks for one."""
        return _FIRST if self._is_llama else None

    @property
    def markers(self) -> tuple[str, str]:
        """Text of the tokens that begin and end a sequence."""
        if self._is_llama:
            return "<s>", "</s>"
        return ("", _GPT2_END) if self._markers else ("", "")

    def tokenize(self, text: str, *, control: bool) -> list[int]:
        """Tokens of the text; markers in it become control tokens only if `control`.

        Raises `PromptError` when the vocabulary cannot spell the text.
        """
        if "\0" in text:
            # The library would drop what follows it.
            raise PromptError("bad_task", "this model's prompts must not hold the character NUL")
        if not control or not self._markers:
            return self._spelt(text)
        tokens: list[int] = []
        for part in re.split("(" + "|".join(map(re.escape, self._markers)) + ")", text):
            marker = self._markers.get(part)
            tokens += self._spelt(part) if marker is None else [marker]
        return tokens

    def is_control(self, token: int) -> bool:
        """Whether the token can steer the model: it is the end, or written like a marker."""
        if self._is_llama and token in {_UNKNOWN, _FIRST, _LAST}:
            return True
        return bool(_MARKER.fullmatch(self.spelling(token)))

    def is_end(self, token: int) -> bool:
        """Whether this token ends an answer."""
        return token == self._markers.get("</s>" if self._is_llama else _GPT2_END)

    def piece(self, token: int) -> bytes:
        """Bytes that the token adds to a text; none for one that begins or ends it."""
        if token in self._markers.values():
            return b""
        return bytes(self._native.ctransformers_llm_detokenize(self._pointer, token))

    def spelling(self, token: int) -> str:
        """Text of the token, written out even if it is a control token."""
        raw = bytes(self._native.ctransformers_llm_detokenize(self._pointer, token))
        return raw.decode("utf-8", "replace")

    def begin(self) -> None:
        """Start a new sequence; its tokens take the places of the one before."""
        self.held = 0

    def evaluate(self, tokens: Sequence[int]) -> None:
        """Compute a piece of the sequence, at most `PIECE_TOKENS`. Raises `EngineError`."""
        if not 0 < len(tokens) <= PIECE_TOKENS or self.held + len(tokens) > self.context_tokens:
            raise EngineError(
                f"{len(tokens)} tokens at place {self.held} of {self.context_tokens}: "
                f"a piece has 1 to {PIECE_TOKENS}"
            )
        whole = self._native.ctransformers_llm_batch_eval(
            self._pointer,
            (ctypes.c_int * len(tokens))(*tokens),
            len(tokens),
            self.held,
            len(tokens),
            self.threads,
        )
        if not whole:
            raise EngineError(f"ctransformers could not compute {len(tokens)} tokens")
        self.held += len(tokens)

    def draw(
        self,
        answer: Sequence[int],
        *,
        temperature: float,
        top_p: float,
        repetition_penalty: float,
        seed: int,
    ) -> int:
        """Draw the token that follows; `answer` is what the penalty is for. 0 is greedy.

        The library begins its random sequence anew for each token: `seed` (31 bits) must
        differ from token to token.
        """
        greedy = temperature <= 0
        return int(
            self._native.ctransformers_llm_sample(
                self._pointer,
                (ctypes.c_int * len(answer))(*answer),
                len(answer),
                1 if greedy else self._vocabulary_size,
                1.0 if greedy else top_p,
                1.0 if greedy else temperature,
                repetition_penalty,
                seed,
            )
        )

    def _gpt2_markers(self) -> dict[str, int]:
        # A vocabulary without an end: the library names token 0, which is a letter.
        end = int(self._native.ctransformers_llm_eos_token_id(self._pointer))
        return {_GPT2_END: end} if self.spelling(end) == _GPT2_END else {}

    def _spelt(self, text: str) -> list[int]:
        raw = text.encode()
        tokens: list[int] = []
        for piece in [raw] if self._is_llama else _PIECE.findall(raw):
            tokens += self._tokens_of(piece)
            if len(tokens) > self.context_tokens:
                raise PromptError(
                    "context_exceeded",
                    f"the prompt has more than {self.context_tokens} tokens, "
                    f"the context holds {self.context_tokens} tokens",
                )
        # The library leaves out what it has no token for.
        pieces = (self._native.ctransformers_llm_detokenize(self._pointer, one) for one in tokens)
        if b"".join(map(bytes, pieces)) != raw:
            raise PromptError("bad_task", "the model's vocabulary cannot spell the prompt")
        return tokens

    def _tokens_of(self, raw: bytes) -> list[int]:
        # One token per byte is the worst case.
        tokens = (ctypes.c_int * (len(raw) + 1))()
        count = self._native.ctransformers_llm_tokenize(self._pointer, raw, False, tokens)
        return list(tokens[:count])
