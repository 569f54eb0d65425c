"""Which letters are an English word, and where words end that run into one another."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from operator import eq
from typing import Final

from peerllm.safety.wordlists import word_list

# Beyond that many letters nobody reads words that run into one another.
_MOST_JOINED: Final = 2_000
_LONGEST_WORD: Final = 20
# Of shorter ones the lists hold symbols and abbreviations, of which any letters can be made.
_SHORTEST_LISTED: Final = 3
_SHORT_WORDS: Final = frozenset((
    "a", "i", "am", "an", "as", "at", "be", "by", "do", "go", "he", "hi", "if", "in", "is", "it",
    "me", "my", "no", "of", "ok", "on", "or", "so", "to", "up", "us", "we",
))  # fmt: skip
# Shorter runs are one word.
_FEWEST_JOINED: Final = 8


def parted(letters: str) -> str:
    """English words that run into one another, as few as possible; others stay as they are."""
    if not _FEWEST_JOINED <= len(letters) <= _MOST_JOINED:
        return letters
    small = letters.casefold()
    # How many words it takes to the place of each letter, and where the last of them begins.
    best: list[tuple[int, int] | None] = [(0, 0)]
    for end in range(1, len(small) + 1):
        starts = range(max(0, end - _LONGEST_WORD), end)
        found = (
            (before[0] + 1, start)
            for start in starts
            if (before := best[start]) is not None and is_word(small[start:end])
        )
        best.append(min(found, default=None))
    words, end = [], len(small)
    while end:
        last = best[end]
        if last is None:
            return letters
        words.append(letters[last[1] : end])
        end = last[1]
    return " ".join(reversed(words))


def is_word(word: str) -> bool:
    """Whether a word in lower case is an English one."""
    return word in english_words()


@cache
def english_words() -> frozenset[str]:
    """All of them, in lower case."""
    listed = word_list("dictionary") | word_list("english_words")
    return _SHORT_WORDS | {word for word in listed if len(word) >= _SHORTEST_LISTED}


def unscrambled(word: str) -> str:
    """The English word of the same letters that most resembles `word`, with the same first one."""
    alike = _by_letters().get(_letters_of(word), (word,))
    return max(alike, key=lambda one: sum(map(eq, one, word)))


@cache
def _by_letters() -> Mapping[tuple[str, str], Sequence[str]]:
    found = defaultdict[tuple[str, str], list[str]](list)
    for word in sorted(english_words()):
        found[_letters_of(word)].append(word)
    return dict(found)


def _letters_of(word: str) -> tuple[str, str]:
    return word[:1], "".join(sorted(word))
