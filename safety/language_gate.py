"""The gate for what the local gate hardly reads: other languages than English.

One multilingual encoder looks at the text in windows; a small network of its own, trained by
`benchmarks/safety/train_language_gate.py`, weighs each. It is not joined with the local gate: a
network that sees both learns that other languages are harmless, since its English encoder finds
nothing in them.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Final

import numpy
from numpy.typing import NDArray

from peerllm.safety.asides import Aside, Opened, opened
from peerllm.safety.gate_categories import counted, scores_of
from peerllm.safety.gate_head import Head, read_head
from peerllm.safety.multilingual_encoder import DIMENSIONS, MultilingualEncoder
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


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen in a text, one row, and in what is looked at beside it, one row each.

    `logits` are those of the worst window, `means` the mean encodings of the windows.
    """

    logits: NDArray[numpy.float32]
    means: NDArray[numpy.float32]


class LanguageGate:
    """The multilingual encoder and its head."""

    def __init__(self, encoder: MultilingualEncoder, head: Head) -> None:
        self._encoder = encoder
        self._head = head

    @classmethod
    def load(cls, path: Path = MODEL_PATH) -> "LanguageGate":
        """The shipped weights. Raises `ModelFileError` when a file is missing or damaged."""
        return cls(MultilingualEncoder(), read_head(path, DIMENSIONS))

    def scores(self, text: str, /) -> Mapping[str, float]:
        """For every category how certain the worst window that is not English is of it, 0 to 1.

        Nothing for a text that is English throughout.
        """
        logits = self.foreign_logits(opened(text))
        return {} if logits is None else scores_of(logits)

    def foreign_logits(self, found: Opened, /) -> NDArray[numpy.float32] | None:
        """The logit of every category for what is not English in a text, less the doubt."""
        parts = foreign_parts(found)
        if not parts:
            return None
        worst = self._counted(self._encoded(list(parts)), list(parts.values())).max(axis=0)
        return numpy.asarray(worst - doubt(len(parts)))

    def look(self, found: Opened, beside: Sequence[Aside], /) -> Look:
        """The logits of a text in whatever language, and of what is looked at beside it."""
        whole = list(windows(found.undisguised))
        cut = [list(windows(one.undisguised)) for one in beside]
        hidden = [one.hidden for one, parts in zip(beside, cut, strict=True) for _ in parts]
        encoded = self._encoded([*whole, *chain.from_iterable(cut)])
        every = self._counted(encoded, [*(False for _ in whole), *hidden])
        ends = numpy.cumsum([len(whole), *map(len, cut)])
        bounds = list(pairwise([0, *ends]))
        return Look(
            numpy.array([every[start:end].max(axis=0) for start, end in bounds]),
            numpy.array([encoded[start:end].mean(axis=0) for start, end in bounds]),
        )

    def _encoded(self, parts: Sequence[str]) -> NDArray[numpy.float32]:
        """The encoding of every window, one a row; what repeats is encoded once."""
        different = {part: number for number, part in enumerate(dict.fromkeys(parts))}
        encoded = self._encoder.encode(list(different))
        return numpy.asarray(encoded[[different[part] for part in parts]])

    def _counted(
        self, encoded: NDArray[numpy.float32], hidden: Sequence[bool]
    ) -> NDArray[numpy.float32]:
        """The logits of every window, one a row, as far as they count."""
        return counted(self._head.logits(encoded), numpy.array(hidden), self._head.bound)


def doubt(parts: int) -> float:
    """What is taken from the logits of the worst of so many windows, each of which may err."""
    return DOUBT * math.log(max(1.0, parts / FEW_PARTS))


def foreign_parts(found: Opened) -> dict[str, bool]:
    """Every different window of what is not English in a text, and whether it is hidden."""
    parts: dict[str, bool] = {}
    for stretch, hidden in legible(found):
        for run in foreign_runs(stretch):
            # A request often begins or ends a text, and is short beside it. A sentence has no
            # end in hostile texts: encoded whole, 100,000 characters took more than a gigabyte.
            ends = run[0][:WINDOW_CHARACTERS], run[-1][-WINDOW_CHARACTERS:]
            for part in (*windows("".join(run)), *ends):
                parts.setdefault(part, hidden)
    return parts


def parts_of(text: str) -> dict[str, bool]:
    """Every different window of a text in whatever language, and whether it is hidden."""
    parts: dict[str, bool] = {}
    for stretch, hidden in legible(opened(text)):
        for window in windows(stretch):
            parts.setdefault(window, hidden)
    return parts


def legible(found: Opened) -> Iterator[tuple[str, bool]]:
    """A text and what is looked at beside it, undisguised, and whether a reader hardly sees it."""
    yield found.undisguised, False
    for one in found.asides:
        yield one.undisguised, one.hidden


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
