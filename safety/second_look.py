"""The shipped gate: a cheap look at every text, a dear one at what that does not find harmless.

The first is that of the language gate's encoder, which costs a third of the other's, and of the
words alone. Most ordinary texts end there. What is left the local gate sees as well, and of what
is looked at for itself that which the first look does not find harmless. Two encoders err
differently: the logits of both heads are joined. What raters would say of a post is added to both,
to each part what they would say of that part: a request in a story is no better for the story.
`benchmarks/safety/train_second_look.py` chose the threshold of the joined logits. What is not
English, the first encoder's head judges alone: there the local gate is no witness, and the stricter
of both verdicts counts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Final

import numpy
from numpy.typing import NDArray

from peerllm.safety.asides import Opened, opened
from peerllm.safety.errors import ModelFileError
from peerllm.safety.gate_categories import CATEGORIES, scores_of
from peerllm.safety.language_gate import LanguageGate
from peerllm.safety.local_gate import LocalGate, Words, bounded
from peerllm.safety.normalisation import composed
from peerllm.safety.rated_posts import RatedPosts

MODEL_PATH: Final = Path(__file__).parent / "data" / "second_look.json"
# One unit of the lexical gate's suspicion counts as so many logits of the head in the first look.
WORDS: Final = 1.4
# Of a text of so many characters or more the first look is enough where it finds nothing. What
# asks for harm is mostly shorter, and a short text costs little.
SHORT: Final = 150
# Below this in every category a text is harmless. Of such long ones, held out, so are nine ordinary
# ones in ten, half of the moderation set's harmless ones, and of the harmful ones that both looks
# would refuse one in 140.
HARMLESS: Final = -4.5
# What is looked at beside a text and is below this in the first look is not looked at again. At -4
# no more requests beside harmless text were refused, but ten rows of NotInject and self-instruct in
# place of seven, and more was paid.
HARMLESS_ASIDE: Final = -2.0


@dataclass(frozen=True, slots=True)
class Joining:
    """How the logits of both heads become one: `share` is the other encoder's, 0 to 1.

    `threshold` is taken from the sum, one number a category.
    """

    share: float
    threshold: NDArray[numpy.float32]

    def joined(
        self, local: NDArray[numpy.float32], other: NDArray[numpy.float32]
    ) -> NDArray[numpy.float32]:
        """The logits of one text or, a text a row, of many."""
        total = (1 - self.share) * local + self.share * other - self.threshold
        return numpy.asarray(total, dtype=numpy.float32)


@dataclass(frozen=True, slots=True)
class Seen:
    """Both looks at one text: `second` is none where the first one finds nothing."""

    first: NDArray[numpy.float32]
    second: NDArray[numpy.float32] | None


class SecondLook:
    """Both gates and how they are joined."""

    def __init__(
        self, local: LocalGate, other: LanguageGate, posts: RatedPosts, joining: Joining
    ) -> None:
        self._local = local
        self._other = other
        self._posts = posts
        self._joining = joining

    @classmethod
    def load(cls, local: LocalGate, other: LanguageGate, path: Path = MODEL_PATH) -> "SecondLook":
        """The shipped joining. Raises `ModelFileError` when the file is missing or damaged."""
        return cls(local, other, RatedPosts.load(), read_joining(path))

    def scores(self, text: str, /) -> Mapping[str, float]:
        """For every category how certain the worst part of `text` is of it, 0 to 1."""
        found = opened(text)
        logits = self._joined(self.seen(found))
        foreign = self._other.foreign_logits(found)
        return scores_of(logits if foreign is None else numpy.maximum(logits, foreign))

    def _joined(self, seen: Seen) -> NDArray[numpy.float32]:
        if seen.second is None:
            return seen.first
        return self._joining.joined(seen.second, seen.first)

    def seen(self, found: Opened, /) -> Seen:
        """The logits of both looks."""
        words = self._local.words(found)
        look = self._other.look(found, words.asides)
        rated = self._posts.logits(look.means)[:, None]
        first = look.logits + rated
        long = readable_length(found.text) >= SHORT
        if long and (alone := with_words(first, words)).max() < HARMLESS:
            return Seen(alone, None)
        seen_again = numpy.r_[True, look.logits[1:].max(axis=1) >= HARMLESS_ASIDE]
        beside = tuple(compress(words.asides, seen_again[1:]))
        second = self._local.logits(found, replace(words, asides=beside)) + rated[seen_again]
        return Seen(first.max(axis=0), second.max(axis=0))


def readable_length(text: str) -> int:
    """How many characters a reader sees: blanks and invisible signs make no text a long one."""
    return len(" ".join(composed(text).split()))


def with_words(parts: NDArray[numpy.float32], words: Words) -> NDArray[numpy.float32]:
    """The logits of the worst part of a text, each with the suspicion of its own words.

    `parts` are those of the text and of each aside, one a row. The words of a harmless text would
    outweigh a harmful sentence in it.
    """
    own = (words.suspicion if one.suspicion is None else one.suspicion for one in words.asides)
    suspicion = [words.suspicion, *map(bounded, own)]
    return numpy.asarray((parts + WORDS * numpy.array([suspicion], numpy.float32).T).max(axis=0))


def read_joining(path: Path) -> Joining:
    """Raises `ModelFileError` when the file is missing, damaged or of another version."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        share, threshold = float(stored["share"]), stored["threshold"]
        numbers = numpy.array([float(threshold[name]) for name in CATEGORIES], dtype=numpy.float32)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"the model {path} cannot be read; install again") from error
    if (
        len(threshold) != len(CATEGORIES)
        or not 0 <= share <= 1
        or not numpy.isfinite(numbers).all()
    ):
        raise ModelFileError(f"the model {path} is of another version; install again")
    return Joining(share, numbers)
