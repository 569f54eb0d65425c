"""Stretches of a text that are masked, and making them whole words."""

from collections.abc import Iterable
from string import ascii_letters, digits
from typing import Final, NamedTuple

_ALPHANUMERIC: Final = frozenset(ascii_letters + digits)


class Span(NamedTuple):
    """Characters `start` to `end` of a text are an identifier of this kind."""

    start: int
    end: int
    kind: str


def whole_words(text: str, spans: Iterable[Span]) -> list[Span]:
    """Spans widened to whole words and, where they overlap or touch, merged; the widest names it.

    A placeholder is recognised between characters that are no ASCII letters or digits, so its
    original has to stand between such characters, too.
    """
    merged: list[Span] = []
    widest = 0
    for span in sorted(spans):
        last = merged[-1] if merged else Span(-1, -1, "")
        start, end = max(span.start, last.end), span.end
        # Nothing is looked at twice: what was merged already ends at the end of a word.
        while start > max(last.end, 0) and text[start - 1] in _ALPHANUMERIC:
            start -= 1
        while last.end < end < len(text) and text[end] in _ALPHANUMERIC:
            end += 1
        width = end - min(start, span.start)
        if span.end == span.start:
            continue
        if start == last.end:
            kind, widest = (span.kind, width) if width > widest else (last.kind, widest)
            merged[-1] = Span(last.start, max(end, last.end), kind)
        else:
            merged.append(Span(start, end, span.kind))
            widest = width
    return merged
