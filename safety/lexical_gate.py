"""A linear model over hashed words and letters: the gate that is always there, and is cheap.

Trained by `benchmarks/safety/train_lexical_gate.py`; the weights hold no text.
"""

import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple
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


class WordHash(NamedTuple):
    """What one word has a part in: the features that are its own, and the beginnings of pairs."""

    alone: int
    letters: tuple[int, ...]
    neighbour: int
    near: int
    second: bytes


class WordHashes(dict[str, WordHash]):
    """The hashes of the words of one request, each found once: its sentences share them."""

    def __missing__(self, word: str) -> WordHash:
        encoded = word.encode("utf-8", "replace")
        marked = f"<{word}>"
        parts = () if _is_common(word) else range(max(1, len(marked) - 4))
        letters = tuple(
            _bucket(f"l {marked[at : at + 5]}".encode("utf-8", "replace")) for at in parts
        )
        found = WordHash(
            _bucket(b"w " + encoded), letters, crc32(b"b " + encoded), crc32(b"c " + encoded),
            b" " + encoded,
        )  # fmt: skip
        self[word] = found
        return found


def _is_common(word: str) -> bool:
    return word in word_list("stop_words")


def _bucket(feature: bytes) -> int:
    return crc32(feature) % BUCKETS


def buckets(words: Sequence[str], hashes: WordHashes) -> NDArray[numpy.int64]:
    """The features of a segment: words, neighbours, near content words, letters; each once."""
    of_words = [hashes[word] for word in words]
    found = {crc32(two.second, one.neighbour) % BUCKETS for one, two in pairwise(of_words)}
    found.update([one.alone for one in of_words])
    content = [one for one in of_words if one.letters]
    for reach in range(1, _PAIR_REACH + 1):
        near = zip(content, content[reach:], strict=False)
        found.update([crc32(two.second, one.near) % BUCKETS for one, two in near])
    found.update(*[one.letters for one in content])
    return numpy.fromiter(found, dtype=numpy.int64, count=len(found))


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

    def suspicion(self, text: str, hashes: WordHashes | None = None) -> float:
        """The same as a logit: above 0 is what one ordinary text in a hundred reaches.

        Texts that share words are asked about with the same `hashes`.
        """
        known = WordHashes() if hashes is None else hashes
        return max(self._logit(words, known) for words in stretches(text))

    def _logit(self, words: Sequence[str], hashes: WordHashes) -> float:
        hashed = buckets(words, hashes)
        if not len(hashed):
            return self._bias
        total = int(self._weights[hashed].sum(dtype=numpy.int64))
        return self._bias + total * self._scale / math.sqrt(len(hashed))
