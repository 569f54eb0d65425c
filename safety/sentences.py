"""Where sentences begin and end, by Punkt (Kiss and Strunk, 2006) with shipped data."""

import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, cast

import nltk.data
from nltk.tokenize.punkt import PunktTokenizer

_NLTK_DATA = str(Path(__file__).parent / "data" / "nltk_data")

# A blank line ends a sentence whatever the punctuation says: headings and list items carry none.
_PARAGRAPH = re.compile(r"\S(?:[^\n]|\n(?![^\S\n]*\n))*")

# Punkt knows the full stops of Latin script alone. Ideographic, Indic, Arabic and Ethiopic ones end
# a sentence wherever they stand, with the quotes and brackets that close behind them.
_OTHER_END = re.compile(
    "[\u3002\uff01\uff1f\uff61\u0964\u0965\u061f\u06d4\u1362]+"
    "[\"')\\]\u2019\u201d\u300d\u300f\uff09]*"
)

# Punkt looks back over everything it was given at each full stop, quadratic on hostile text. It is
# therefore handed stretches that hold any sentence people write, each begun where the last
# complete sentence of the one before ended.
_STRETCH_CHARACTERS: Final = 1_500


@cache
def _tokenizer() -> PunktTokenizer:
    # nltk opens nothing outside its own search path, so the shipped folder has to be on it; in
    # front, so that no data found elsewhere on the machine is used instead.
    if _NLTK_DATA not in nltk.data.path:
        nltk.data.path.insert(0, _NLTK_DATA)
    return PunktTokenizer("english")


def _paragraph_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    while start < end:
        stretch = text[start : min(end, start + _STRETCH_CHARACTERS)]
        found = cast("list[tuple[int, int]]", list(_tokenizer().span_tokenize(stretch)))
        whole = start + len(stretch) >= end
        if not whole and len(found) > 1:
            # The last one may go on beyond the stretch: leave it for the next.
            found, consumed = found[:-1], found[-1][0]
        elif not whole and found:
            consumed = _last_break(stretch, found[0][0] + 1)
            found = [(found[0][0], consumed)]
        else:
            consumed = len(stretch)
        spans.extend((start + first, start + last) for first, last in found)
        start += consumed
    return spans


def _last_break(stretch: str, after: int) -> int:
    """Where the last line, else the last word, of a stretch without a full stop begins."""
    lines = stretch.rfind("\n", after) + 1
    return lines or max(map(stretch.rfind, " \t", (after, after))) + 1 or len(stretch)


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Character spans of the sentences of `text`, in order, without the space between them."""
    spans: list[tuple[int, int]] = []
    for paragraph in _PARAGRAPH.finditer(text):
        ends = [other.end() for other in _OTHER_END.finditer(text, *paragraph.span())]
        for first, last in pairwise((paragraph.start(), *ends, paragraph.end())):
            for start, end in _paragraph_spans(text, first, last):
                sentence = text[start:end]
                left = len(sentence) - len(sentence.lstrip())
                if left < len(sentence):
                    spans.append((start + left, start + len(sentence.rstrip())))
    return spans
