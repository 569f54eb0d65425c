"""Cutting a document into passages of bounded token count, at the boundaries readers use.

Fenced code and tables stay whole, then paragraphs, then sentences; a single sentence longer than
the bound is cut between words, a single word longer than the bound between characters.
"""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from peerllm.safety.sentences import sentence_spans

Count = Callable[[str], int]

_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.DOTALL | re.MULTILINE)
_BLANK_LINES = re.compile(r"\n\s*\n")


def pack_passages(text: str, bound: int, count: Count) -> tuple[str, ...]:
    """Cut `text` into passages of at most `bound` tokens, as even in size as whole units allow.

    A fence or table longer than `bound` is cut by lines only when it could not be sent at all.
    """
    units = [(unit, count(unit)) for unit in _units(text, bound, count)]
    total = sum(tokens for _, tokens in units)
    if not units:
        return ()
    wanted = -(-total // bound)
    even = min(bound, -(-total // wanted))
    passages: list[str] = []
    gathered, size = "", 0
    for unit, tokens in units:
        # A unit may pass the even share by half of itself, so that parts do not all end short.
        if gathered and (size + tokens > bound or size + tokens / 2 > even):
            passages.append(gathered.strip())
            gathered, size = "", 0
        gathered += unit
        size += tokens
    passages.append(gathered.strip())
    return tuple(passage for passage in passages if passage)


def _units(text: str, bound: int, count: Count) -> Iterator[str]:
    position = 0
    for fence in _FENCE.finditer(text):
        yield from _prose_units(text[position : fence.start()], bound, count)
        yield from _fit(fence.group(0), bound, count, _lines)
        position = fence.end()
    yield from _prose_units(text[position:], bound, count)


def _prose_units(text: str, bound: int, count: Count) -> Iterator[str]:
    position = 0
    for gap in (*_BLANK_LINES.finditer(text), None):
        end = gap.end() if gap else len(text)
        paragraph = text[position:end]
        position = end
        if not paragraph.strip():
            continue
        if _is_table(paragraph):
            yield from _fit(paragraph, bound, count, _lines)
        else:
            for sentence in _sentences(paragraph):
                yield from _fit(sentence, bound, count, _words)


def _is_table(paragraph: str) -> bool:
    lines = [line for line in paragraph.splitlines() if line.strip()]
    return len(lines) > 1 and all(line.count("|") > 1 or "\t" in line for line in lines)


def _sentences(paragraph: str) -> Iterator[str]:
    """Sentences with the white space that follows them, so that joining them gives the text."""
    starts = [start for start, _ in sentence_spans(paragraph)]
    bounds = [0, *starts[1:], len(paragraph)]
    for start, end in pairwise(bounds):
        yield paragraph[start:end]


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*$|\s*\S+", text)


def _fit(unit: str, bound: int, count: Count, cut: Callable[[str], list[str]]) -> Iterator[str]:
    """The unit itself where it fits, else its pieces gathered up to the bound."""
    if count(unit) <= bound:
        yield unit
        return
    gathered, size = "", 0
    for piece in cut(unit):
        tokens = count(piece)
        if gathered and size + tokens > bound:
            yield gathered
            gathered, size = "", 0
        if tokens > bound:
            yield from _slices(piece, bound, count)
        else:
            gathered += piece
            size += tokens
    if gathered:
        yield gathered


def _slices(word: str, bound: int, count: Count) -> Iterator[str]:
    """Slices of one over-long word, halved until they fit: tokens are unevenly dense."""
    if len(word) == 1 or count(word) <= bound:
        yield word
        return
    middle = len(word) // 2
    yield from _slices(word[:middle], bound, count)
    yield from _slices(word[middle:], bound, count)
