"""Cutting a document into passages of bounded token count, at the boundaries readers use.

Fenced code and tables stay whole, then paragraphs, then sentences with the number before them; a
single sentence longer than the bound is cut between lines, a line between words, a single word
between characters.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from peerllm.safety.sentences import sentence_spans

Count = Callable[[str], int]
# A stretch of text that is not torn, and its tokens.
Unit = tuple[str, int]

_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.DOTALL | re.MULTILINE)
_BLANK_LINES = re.compile(r"\n\s*\n")
_LINE_ENDS = re.compile(r"\n+")
_HEADING_CHARACTERS = 240
_HEADING = re.compile(r"#{1,6} [^\n]+|[^\n]+\n(?:={3,}|-{3,}|\*{3,}|~{3,})")
# "7." and "(a)" begin what follows; Punkt takes them for sentences.
_LIST_MARK = re.compile(
    r"\s*\(?(?:\d{1,3}(?:\.\d{1,3})*|[a-zA-Z]|[ivxlc]{1,5}|[IVXLC]{1,5})[.)]\s*"
)
_SPEAKER = re.compile(r"(?:\[[^\]\n]{1,20}\] ?)?[^\W\d_][\w .'-]{0,30}: \S")


def pack_passages(
    text: str, bound: int, count: Count, *, overlap: int = 0, entries: bool = False
) -> tuple[str, ...]:
    """Cut `text` into passages of at most `bound` tokens, as even in size as whole units allow.

    A fence or table longer than `bound` is cut by lines only when it could not be sent at all.
    `overlap`: a passage begins with the last whole units of the one before, up to so many tokens.
    `entries`: the text is a list of entries, which are the units: its paragraphs, else its lines.
    """
    bound = max(1, bound - overlap)
    found = _entries(text, bound, count) if entries else _units(text, bound, count)
    units = [(unit, count(unit)) for unit in found]
    passages = _packed(units, bound)
    repeated = [[], *(_last_units(passage, overlap) for passage in passages[:-1])]
    texts = (
        "".join((*before, *(unit for unit, _ in passage))).strip()
        for before, passage in zip(repeated, passages, strict=False)
    )
    return tuple(passage for passage in texts if passage)


def gaps_between(text: str, passages: Sequence[str]) -> tuple[str, ...]:
    """What parted each of these passages without overlap from the one before it in `text`.

    A blank line or a line's end, with the indentation behind it, a space or nothing; nothing before
    the first.
    """
    gaps: list[str] = []
    position = 0
    for passage in passages:
        first = passage.split(maxsplit=1)[0]
        start = max(position, text.find(first, position))
        gaps.append(_gap(text[position:start]) if gaps else "")
        position = _end_of(passage, text, start)
    return tuple(gaps)


def _end_of(passage: str, text: str, start: int) -> int:
    """Where a passage that begins at `start` ends; white space may differ from the text's."""
    for word in passage.split():
        start = max(start, text.find(word, start) + len(word))
    return start


def _gap(space: str) -> str:
    if "\n" in space:
        return "\n" * min(2, space.count("\n")) + space.rpartition("\n")[2]
    return " " if space else ""


def _packed(units: Sequence[Unit], bound: int) -> list[list[Unit]]:
    total = sum(tokens for _, tokens in units)
    if not units:
        return []
    wanted = -(-total // bound)
    even = min(bound, -(-total // wanted)) if wanted else bound
    passages: list[list[Unit]] = [[]]
    size = 0
    for unit, tokens in units:
        # A unit may pass the even share by half of itself, so that parts do not all end short.
        if passages[-1] and (size + tokens > bound or size + tokens / 2 > even):
            passages.append([])
            size = 0
        passages[-1].append((unit, tokens))
        size += tokens
    return passages


def _last_units(passage: Sequence[Unit], overlap: int) -> list[str]:
    kept: list[str] = []
    for unit, tokens in reversed(passage):
        if tokens > overlap:
            break
        overlap -= tokens
        kept.insert(0, unit)
    return kept


def _entries(text: str, bound: int, count: Count) -> Iterator[str]:
    position = 0
    form = _BLANK_LINES if _BLANK_LINES.search(text.strip()) else _LINE_ENDS
    for gap in (*form.finditer(text), None):
        end = gap.end() if gap else len(text)
        if text[position:end].strip():
            yield from _by_lines(text[position:end], bound, count)
        position = end


def _units(text: str, bound: int, count: Count) -> Iterator[str]:
    position = 0
    for fence in _FENCE.finditer(text):
        yield from _prose_units(text[position : fence.start()], bound, count)
        yield from _fit(fence.group(0), bound, count, _lines)
        position = fence.end()
    yield from _prose_units(text[position:], bound, count)


def _prose_units(text: str, bound: int, count: Count) -> Iterator[str]:
    position = 0
    heading = ""
    for gap in (*_BLANK_LINES.finditer(text), None):
        end = gap.end() if gap else len(text)
        paragraph = text[position:end]
        position = end
        if not paragraph.strip():
            # Without it what follows would stand on the line that ends a fence.
            yield _gap(paragraph)
            continue
        short = len(paragraph) <= _HEADING_CHARACTERS
        if short and not heading and _HEADING.fullmatch(paragraph.strip()):
            heading = paragraph
            continue
        # A heading goes with what it heads: alone at a passage's end it would head nothing.
        units = _paragraph_units(heading + paragraph, len(heading), bound, count)
        heading = ""
        yield from units
    if heading:
        yield from _fit(heading, bound, count, _words)


def _paragraph_units(text: str, heading: int, bound: int, count: Count) -> Iterator[str]:
    """Units of a paragraph whose first `heading` characters are its heading."""
    head, paragraph = text[:heading], text[heading:]
    if _is_table(paragraph):
        yield from _fit(text, bound, count, _lines)
        return
    whole = _lines(paragraph) if _is_dialogue(paragraph) else list(_sentences(paragraph))
    if head and count(head + whole[0]) > bound:
        yield from _fit(head, bound, count, _words)
        head = ""
    whole[0] = head + whole[0]
    for unit in whole:
        yield from _by_lines(unit, bound, count)


def _by_lines(unit: str, bound: int, count: Count) -> Iterator[str]:
    """The unit itself where it fits, else its lines: a log or list is no sentence or entry."""
    several = count(unit) > bound and "\n" in unit.strip()
    for piece in _lines(unit) if several else [unit]:
        yield from _fit(piece, bound, count, _words)


def _is_dialogue(paragraph: str) -> bool:
    """Turns of a talk, one a line: what a speaker says is not torn."""
    lines = [line for line in paragraph.splitlines() if line.strip()]
    return len(lines) > 1 and all(_SPEAKER.match(line.lstrip()) for line in lines)


def _is_table(paragraph: str) -> bool:
    lines = [line for line in paragraph.splitlines() if line.strip()]
    return len(lines) > 1 and all(line.count("|") > 1 or "\t" in line for line in lines)


def _sentences(paragraph: str) -> Iterator[str]:
    """Sentences with the white space that follows them, so that joining them gives the text."""
    starts = [start for start, _ in sentence_spans(paragraph)]
    bounds = [0, *starts[1:], len(paragraph)]
    mark = ""
    for start, end in pairwise(bounds):
        sentence = mark + paragraph[start:end]
        mark = sentence if not mark and _LIST_MARK.fullmatch(sentence) else ""
        if not mark:
            yield sentence
    if mark:
        yield mark


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
