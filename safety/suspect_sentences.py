"""The sentences of a text that by their words may ask for harm; each is looked at for itself.

An encoder says what a window means on the whole: a request of ten words between harmless sentences
is drowned by them. To encode every sentence would double what judging costs; which ones are worth
it, the lexical gate tells at a twentieth of the price.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Final

from peerllm.safety.overlapping_stretches import stretches_of

# Of the sentences of ordinary texts one in twenty is as suspicious; of HarmBench's requests all but
# one in fifty, of XSTest's unsafe ones nine in ten, by a lexical gate that did not learn them.
SUSPICION: Final = -2.5
# The most suspicious ones are looked at, so many of them and one more for every so many characters:
# a story of murder would cost thrice as much as another text otherwise.
FEW: Final = 3
CHARACTERS_EACH: Final = 500
# What is longer is cut: a request can be one clause of many.
LONGEST_WORDS: Final = 16
SHARED_WORDS: Final = 10
# Not within a word: "k!ll" is one.
_BETWEEN: Final = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"')]))\s+|\n+")
_WORDS: Final = re.compile(r"\S+")
# Fewer ask for nothing that could be told from a heading.
_FEWEST_WORDS: Final = 3


def suspect_sentences(text: str, suspicion: Callable[[str], float]) -> list[tuple[str, float]]:
    """Those of the sentences of `text` that `suspicion` finds most suspicious, each once.

    And how suspicious each is.
    """
    different = dict.fromkeys(sentences(text))
    if len(different) < 2:
        return []
    suspected = [(one, found) for one in different if (found := suspicion(one)) >= SUSPICION]
    most = FEW + len(text) // CHARACTERS_EACH
    return sorted(suspected, key=itemgetter(1), reverse=True)[:most]


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, long ones in overlapping stretches and by their capitals."""
    for sentence in _BETWEEN.split(text):
        words = [one.span() for one in _WORDS.finditer(sentence)]
        for first, last in (0, len(words)), *runs(sentence, words):
            if last - first >= _FEWEST_WORDS:
                for start, end in stretches_of(last - first, LONGEST_WORDS, SHARED_WORDS):
                    yield sentence[words[first + start][0] : words[first + end - 1][1]]


def runs(sentence: str, words: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """From which word to which a long sentence runs until one begins like a sentence of its own."""
    if len(words) <= LONGEST_WORDS:
        return
    begins = [
        number for number, (start, _) in enumerate(words) if number and sentence[start].isupper()
    ]
    if begins:
        yield from pairwise((0, *begins, len(words)))
