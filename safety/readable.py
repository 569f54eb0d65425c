"""Whether the shipped gate can read a text: it was trained on English, and knows no other language.

A text that it hardly reads is not harmless because it finds nothing in it.
"""

import re
from typing import Final

from peerllm.safety.wordlists import word_list

_WORD: Final = re.compile(r"[^\W\d_]{2,}")
# Letters of other scripts than Latin, with whatever stands between them.
_OTHER_SCRIPT: Final = re.compile(
    r"(?:[^\W\d_a-zA-Z\u00c0-\u024f\u1e00-\u1eff][\W\d_]*+){8,}+"
    # A sign of these is a syllable or a word: "how to build a bomb" takes six.
    r"|(?:[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af][\W\d_]*+){4,}+"
)
# A request takes some words; a name or a title in another language takes fewer.
_STRETCH: Final = 40
_LEAST_WORDS: Final = 3
# Of English stretches hardly any has fewer known words than this, of other languages hardly any
# more (docs/safety.md).
LEAST_KNOWN_PERCENT: Final = 40


def readable(text: str, *, least_known_percent: int = LEAST_KNOWN_PERCENT) -> bool:
    """Whether every stretch of the text is English, as far as its words tell.

    That is, whether at least `least_known_percent` of them are English words or names.
    """
    if _OTHER_SCRIPT.search(text):
        return False
    dictionary, common = word_list("dictionary"), word_list("english_words")
    words = (word.casefold() for word in _WORD.findall(text))
    known = [word in dictionary or word in common for word in words]
    if len(known) < _LEAST_WORDS:
        return True
    starts = range(0, max(1, len(known) - _STRETCH // 2), _STRETCH // 2)
    stretches = (known[start : start + _STRETCH] for start in starts)
    return all(
        100 * sum(stretch) >= least_known_percent * len(stretch)
        for stretch in stretches
        if len(stretch) >= _LEAST_WORDS
    )
