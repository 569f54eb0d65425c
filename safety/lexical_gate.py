"""A linear model over hashed words and letters: the gate that is always there, and is cheap.

Trained by `benchmarks/safety/train_lexical_gate.py`; the weights hold no text.
"""

import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final
from zlib import crc32

import numpy
from numpy.typing import NDArray

from peerllm.safety.errors import ModelFileError
from peerllm.safety.normalisation import normalised
from peerllm.safety.other_readings import other_readings
from peerllm.safety.wordlists import word_list

MODEL_PATH: Final = Path(__file__).parent / "data" / "lexical_gate.npz"
BUCKETS: Final = 1 << 18

# The length of a release window: a harmful passage is judged on its own, not lost in a long text.
SEGMENT_WORDS: Final = 50
_SEGMENT_STEP: Final = 35
_WORD: Final = re.compile(r"[^\W\d_]+|\d+")
# Longer words are encodings or noise; their first letters tell what can be told.
_WORD_LETTERS: Final = 20
# How many content words apart two words still say something together.
_PAIR_REACH: Final = 3


def words_of(text: str) -> list[str]:
    """The words of a normalised text."""
    return [found.group()[:_WORD_LETTERS] for found in _WORD.finditer(text)]


def segments(words: list[str]) -> Iterator[list[str]]:
    """The stretches of a text that are judged each on its own."""
    yield words[:SEGMENT_WORDS]
    for start in range(_SEGMENT_STEP, len(words) - SEGMENT_WORDS + _SEGMENT_STEP, _SEGMENT_STEP):
        yield words[start : start + SEGMENT_WORDS]


def stretches(text: str) -> Iterator[list[str]]:
    """The segments of a text, and its last line: where a request follows what it is about."""
    yield from segments(words_of(normalised(text)))
    before, line_break, last_line = text.rstrip().rpartition("\n")
    if line_break and before.strip():
        yield from segments(words_of(normalised(last_line)))


def buckets(words: list[str]) -> NDArray[numpy.int64]:
    """The features of a segment: words, neighbours, near content words, letters; each once."""
    found = {f"w {word}" for word in words}
    found.update(f"b {first} {second}" for first, second in pairwise(words))
    common = word_list("stop_words")
    content = [word for word in words if word not in common]
    for reach in range(1, _PAIR_REACH + 1):
        found.update(
            f"c {first} {second}" for first, second in zip(content, content[reach:], strict=False)
        )
    for word in content:
        marked = f"<{word}>"
        found.update(f"l {marked[at : at + 5]}" for at in range(max(1, len(marked) - 4)))
    hashed = {crc32(feature.encode("utf-8", "replace")) % BUCKETS for feature in found}
    return numpy.fromiter(hashed, dtype=numpy.int64, count=len(hashed))


class LexicalGate:
    """The trained weights. Raises `ModelFileError` when the file is missing or damaged."""

    def __init__(self, path: Path = MODEL_PATH) -> None:
        try:
            with numpy.load(path, allow_pickle=False) as stored:
                self._weights: NDArray[numpy.int8] = stored["weights"]
                self._scale = float(stored["scale"])
                self._bias = float(stored["bias"])
        except (OSError, TypeError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ModelFileError(f"the model {path} cannot be read; install again") from error
        if self._weights.shape != (BUCKETS,):
            raise ModelFileError(f"the model {path} is of another version; install again")

    def scores(self, text: str, /) -> Mapping[str, float]:
        """How certain the gate is that the worst part of `text` is harmful at all, 0 to 1."""
        suspicion = max(map(self.suspicion, (text, *other_readings(text))))
        return {"overall": float(1 / (1 + numpy.exp(-suspicion)))}

    def suspicion(self, text: str) -> float:
        """The same as a logit: above 0 is what one ordinary text in a hundred reaches."""
        return max(map(self._logit, stretches(text)))

    def _logit(self, words: list[str]) -> float:
        hashed = buckets(words)
        if not len(hashed):
            return self._bias
        total = int(self._weights[hashed].sum(dtype=numpy.int64))
        return self._bias + total * self._scale / math.sqrt(len(hashed))
