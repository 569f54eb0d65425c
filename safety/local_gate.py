"""The gate every text passes: what the text means and in which words, weighed together.

The sentence encoder and the lexical gate each look at the text in stretches; a small network,
trained by `benchmarks/safety/train_local_gate.py`, weighs both and the signs of an injection. None
refuses alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

import numpy
from numpy.typing import NDArray

from peerllm.safety.asides import Aside, Opened, opened, suspects
from peerllm.safety.gate_categories import counted, scores_of
from peerllm.safety.gate_head import Head, read_head
from peerllm.safety.injection_signs import COUNT as SIGNS
from peerllm.safety.injection_signs import signs
from peerllm.safety.lexical_gate import LexicalGate, WordHashes
from peerllm.safety.normalisation import normalised
from peerllm.safety.overlapping_stretches import stretches_of
from peerllm.safety.sentence_encoder import DIMENSIONS, SentenceEncoder
from peerllm.safety.wordpieces import WordPieces

MODEL_PATH: Final = Path(__file__).parent / "data" / "local_gate.npz"
# The encoder was trained on texts of 128 pieces, its two marks included.
WINDOW_PIECES: Final = 126
# What two windows share, so that a sentence cut by one is whole enough in the other.
SHARED_PIECES: Final = 16
# A suspicion beyond this tells nothing more; nor does that of a text without words.
MOST_SUSPICION: Final = 6.0


def bounded(suspicion: float) -> float:
    """The lexical gate's suspicion as the head was trained on it."""
    return min(max(suspicion, -MOST_SUSPICION), MOST_SUSPICION)


def windows(pieces: Sequence[int]) -> Iterator[Sequence[int]]:
    """Equal stretches of at most `WINDOW_PIECES` that hold every piece."""
    return (
        pieces[start:end] for start, end in stretches_of(len(pieces), WINDOW_PIECES, SHARED_PIECES)
    )


@dataclass(frozen=True, slots=True)
class Words:
    """What the words of a text alone say: how suspicious it is, and where to look for itself."""

    suspicion: float
    asides: tuple[Aside, ...]


class LocalGate:
    """The encoder, the lexical gate and the head that weighs both."""

    def __init__(self, encoder: SentenceEncoder, lexical: LexicalGate, head: Head) -> None:
        self._encoder = encoder
        self._pieces = WordPieces()
        self._lexical = lexical
        self._head = head

    @classmethod
    def load(cls, path: Path = MODEL_PATH) -> "LocalGate":
        """The shipped weights. Raises `ModelFileError` when a file is missing or damaged."""
        return cls(SentenceEncoder(), LexicalGate(), read_head(path, DIMENSIONS + SIGNS))

    def scores(self, text: str, /) -> Mapping[str, float]:
        """For every category how certain the worst part of `text` is of it, 0 to 1."""
        found = opened(text)
        return scores_of(self.logits(found, self.words(found)).max(axis=0))

    def words(self, found: Opened, /) -> Words:
        """What the lexical gate says of a text; its suspicion as the head was trained on it."""
        suspicion = partial(self._lexical.suspicion, hashes=WordHashes())
        worst = max(map(suspicion, (found.text, *found.readings)))
        return Words(bounded(worst), (*found.asides, *suspects(found.text, suspicion)))

    def logits(self, found: Opened, words: Words, /) -> NDArray[numpy.float32]:
        """The logit of every category, 0 at the gate's threshold: of the text, then of each aside.

        One of these a row, that of its worst window.
        """
        stretches = (found.text, *(one.text for one in words.asides))
        cut = [windows_of(stretch, self._pieces) for stretch in stretches]
        lengths = [len(windows) for windows in cut]
        hidden = numpy.repeat([False, *(one.hidden for one in words.asides)], lengths)
        every = list(chain.from_iterable(cut))
        # What repeats is encoded once: hostile texts repeat themselves.
        different = {window: number for number, window in enumerate(dict.fromkeys(every))}
        encoded = encodings(different, self._encoder, self._pieces)
        shown = numpy.broadcast_to(signs_of(found), (len(encoded), SIGNS))
        logits = self._head.logits(numpy.hstack([encoded, shown]))
        of_windows = logits[[different[window] for window in every]]
        starts = numpy.cumsum([0, *lengths[:-1]])
        worst = numpy.maximum.reduceat(
            counted(of_windows, hidden, self._head.bound), starts, axis=0
        )
        return numpy.asarray(worst + self._head.lexical * words.suspicion)


def windows_of(text: str, pieces: WordPieces) -> list[tuple[int, ...]]:
    """The word pieces of every window of a text, or of what is looked at beside it."""
    return [tuple(window) for window in windows(pieces.numbers(normalised(text)))]


def encodings(
    parts: Iterable[Sequence[int]], encoder: SentenceEncoder, pieces: WordPieces
) -> NDArray[numpy.float32]:
    """The encoding of every window, one a row."""
    return numpy.stack([encoder.encode([pieces.first, *part, pieces.last]) for part in parts])


def signs_of(found: Opened) -> NDArray[numpy.float32]:
    """The signs of an injection that a text or another reading of it shows."""
    shown = [signs(normalised(part)) for part in (found.text, *found.readings)]
    return numpy.asarray(numpy.max(shown, axis=0))
