"""The gate for what the local gate hardly reads: other languages than English.

One multilingual encoder looks at the text in windows; a small network of its own, trained by
`benchmarks/safety/train_language_gate.py`, weighs each. It is not joined with the local gate: a
network that sees both learns that other languages are harmless, since its English encoder finds
nothing in them.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import numpy
from numpy.typing import NDArray

from peerllm.safety.gate_categories import counted, scores_of
from peerllm.safety.gate_head import read_head
from peerllm.safety.local_gate import stretches
from peerllm.safety.multilingual_encoder import DIMENSIONS, MultilingualEncoder
from peerllm.safety.normalisation import composed, unspaced
from peerllm.safety.overlapping_stretches import stretches_of
from peerllm.safety.readable import readable

MODEL_PATH: Final = Path(__file__).parent / "data" / "language_gate.npz"
# Two or three sentences. An encoding says what a window is about on the whole: a longer one
# would drown a request in what surrounds it.
WINDOW_CHARACTERS: Final = 160
SHARED_CHARACTERS: Final = 40
# French and Spanish share words with English: by the bound of `readable` 33 of 277 requests in
# them pass for English, by this one 1 does.
ENGLISH_PERCENT: Final = 65
# Of long harmless texts, 41 windows each, this refuses half as many, and of harmful lines hidden
# in them a fifth less. A request of three sentences has four windows or fewer.
DOUBT: Final = 0.5
FEW_PARTS: Final = 4
_SENTENCE: Final = re.compile(
    r"[^.!?\n\u061f\u3002\uff01\uff1f]+(?:[.!?\n\u061f\u3002\uff01\uff1f]+|\Z)"
)


class LanguageGate:
    """The trained weights. Raises `ModelFileError` when a file is missing or damaged."""

    def __init__(self, path: Path = MODEL_PATH) -> None:
        self._encoder = MultilingualEncoder()
        self._head = read_head(path, DIMENSIONS)

    def scores(self, text: str, /) -> Mapping[str, float]:
        """For every category how certain the worst window that is not English is of it, 0 to 1.

        Nothing for a text that is English throughout.
        """
        parts = foreign_parts(text)
        return scores_of(self._worst(parts) - doubt(len(parts))) if parts else {}

    def logits(self, text: str, suspects: Sequence[str], /) -> NDArray[numpy.float32]:
        """The logit of every category for a text in whatever language, that of its worst part."""
        return self._worst(parts_of(text, suspects))

    def _worst(self, parts: Mapping[str, bool]) -> NDArray[numpy.float32]:
        of_windows = self._head.logits(self._encoder.encode(list(parts)))
        hidden = numpy.array(list(parts.values()))
        return numpy.asarray(counted(of_windows, hidden, self._head.bound).max(axis=0))


def doubt(parts: int) -> float:
    """What is taken from the logits of the worst of so many windows, each of which may err."""
    return DOUBT * math.log(max(1.0, parts / FEW_PARTS))


def foreign_parts(text: str) -> dict[str, bool]:
    """Every different window of what is not English in a text, and whether it is hidden."""
    parts: dict[str, bool] = {}
    for stretch, hidden in legible(text):
        for run in foreign_runs(stretch):
            # A request often begins or ends a text, and is short beside it. A sentence has no
            # end in hostile texts: encoded whole, 100,000 characters took more than a gigabyte.
            ends = run[0][:WINDOW_CHARACTERS], run[-1][-WINDOW_CHARACTERS:]
            for part in (*windows("".join(run)), *ends):
                parts.setdefault(part, hidden)
    return parts


def parts_of(text: str, suspects: Iterable[str]) -> dict[str, bool]:
    """Every different window of a text and of its suspicious sentences, and whether it is hidden.

    In whatever language.
    """
    parts: dict[str, bool] = {}
    of_suspects = ((undisguised(one), True) for one in suspects)
    for stretch, hidden in chain(legible(text), of_suspects):
        for window in windows(stretch):
            parts.setdefault(window, hidden)
    return parts


def legible(text: str) -> Iterator[tuple[str, bool]]:
    """What is looked at for itself, undisguised, and whether a reader hardly sees it."""
    for stretch, hidden in stretches(text):
        yield undisguised(stretch), hidden


def undisguised(text: str) -> str:
    """`text` without invisible signs and with its words in one piece."""
    return unspaced(composed(text)).strip()


def foreign_runs(text: str) -> Iterator[list[str]]:
    """The sentences that are not English, those together that follow each other."""
    run: list[str] = []
    for found in _SENTENCE.finditer(text):
        if not readable(found.group(), least_known_percent=ENGLISH_PERCENT):
            run.append(found.group())
        elif run:
            yield run
            run = []
    if run:
        yield run


def windows(text: str) -> Iterator[str]:
    """Equal stretches of at most `WINDOW_CHARACTERS` that hold every character."""
    for start, end in stretches_of(len(text), WINDOW_CHARACTERS, SHARED_CHARACTERS):
        yield text[start:end]
