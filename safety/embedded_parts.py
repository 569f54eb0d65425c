"""Stretches inside a text that its reader hardly sees: comments, captions, cells, descriptions.

Orders to a model are hidden there; among a page's other words they would not weigh much.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

# More than this says enough where it stands; less is a label.
_MOST_WORDS: Final = 60
_FEWEST_WORDS: Final = 4
# A page has hundreds; an order hidden behind more of them is still read with the whole text.
_MOST_PARTS: Final = 24
_WORD: Final = re.compile(r"[^\W\d_]{2,40}")
# The end of a line, also where the text came with its line breaks escaped.
_LINE: Final = r"(?:(?!\\n)[^\n]){8,600}"
_PART: Final = re.compile(
    r"<!--(?P<comment>(?:(?!-->|<!--).){8,600})"
    r"|/\*(?P<block>(?:(?!\*/|/\*).){8,600})"
    rf"|(?:(?<=\s)|\A)(?://|\#|(?:(?<=[;)]\s)|(?<=\n))--)\s(?P<line>{_LINE})"
    r"|\b(?:alt|title|content|label)\s?=\s?[\"'](?P<value>[^\"'<>\n]{8,600})"
    r"|!\[(?P<picture>[^\[\]\n]{8,600})\]\("
    r"|>(?P<element>[^<>]{8,600})(?=<)"
    r"|(?<=\|)(?P<cell>[^|\n]{8,600})(?=\|)",
    re.DOTALL,
)
_SENTENCE_END: Final = re.compile(r"[.!?:]['\"\u201d\u2019)]?\s+(?=\S)")
# What ends a document that a request holds.
_CLOSING: Final = frozenset("'\"\u2019\u201d>)]}")
# And what begins one; a story that ends with what somebody says holds none.
_OPENING: Final = re.compile("[:(]\\s?['\"\u2018\u201c<{\\[]")
# Only the end of a text is looked at for its last sentence.
_LAST_CHARACTERS: Final = 400


def embedded_parts(text: str) -> Iterator[str]:
    """Comments, picture descriptions, elements and table cells of a few words up to a few lines.

    And the last sentence of a text that ends with the document it is about.
    """
    found = (match.group(match.lastgroup or 0) for match in _PART.finditer(text))
    wordy = (part for part in found if _FEWEST_WORDS <= _words(part) <= _MOST_WORDS)
    yield from islice(wordy, _MOST_PARTS)
    yield from _last_sentence(text.rstrip())


def _words(part: str) -> int:
    return sum(1 for _ in _WORD.finditer(part))


def _last_sentence(text: str) -> Iterator[str]:
    if text[-1:] not in _CLOSING or _OPENING.search(text) is None:
        return
    end = text[-_LAST_CHARACTERS:]
    for cut in reversed([match.end() for match in _SENTENCE_END.finditer(end)]):
        if _words(end[cut:]) >= _FEWEST_WORDS:
            yield end[cut:]
            return
