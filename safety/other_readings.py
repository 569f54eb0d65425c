"""What a text says to a reader who decodes it: the readings that the gates judge beside the text.

Ordinary texts have none. A reading is given only where it is made of words and the text, as it
stands, is not; a wrong one costs a look and refuses nothing by itself.
"""

import base64
import binascii
import html
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from operator import add
from typing import Final
from urllib.parse import unquote

from peerllm.safety.english_words import english_words, is_word, parted, unscrambled
from peerllm.safety.normalisation import composed, plain_letters, undisguised

# Something encoded in what was encoded, once more; nobody nests deeper by hand.
_DEEPEST: Final = 3
# More readings than anybody hides in earnest.
_EACH_READ: Final = 16
# In characters: a long text is read twice more at most, a short one as often as it takes.
_MOST_TIMES: Final = 2
_ALWAYS_READ: Final = 20_000
_READABLE_SHARE: Final = 0.8

_BASE64: Final = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{16,65536}={0,2}(?![\w+/=-])")
# Cut into lines, as mail does.
_WRAPPED: Final = re.compile(
    r"(?<![\w+/=-])(?:[A-Za-z0-9+/]{12,76}\r?\n){1,900}[A-Za-z0-9+/]{2,76}={0,2}(?![\w+/=-])"
)
_HEXADECIMAL: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:0x|\\x|%)?[0-9a-fA-F]{2}"
    r"(?:[ ,:]{0,2}(?:0x|\\x|%)?[0-9a-fA-F]{2}){11,}(?![0-9A-Za-z])"
)
_BASE32: Final = re.compile(r"(?<![\w=])(?:[A-Z2-7]{8}){2,8000}(?:[A-Z2-7]{2,7}={1,6})?(?![\w=])")
_BINARY: Final = re.compile(r"(?<!\d)[01]{8}(?:[ ,]?[01]{8}){7,}(?!\d)")
_DECIMAL: Final = re.compile(r"(?<!\d)\d{2,3}(?:[ ,]{1,2}\d{2,3}){7,}(?!\d)")
_ESCAPE: Final = re.compile(
    r"%[0-9a-fA-F]{2}|&#?\w{2,8};|\\u(?P<unicode>[0-9a-fA-F]{4})|\\x(?P<byte>[0-9a-fA-F]{2})"
)
_FEWEST_ESCAPES: Final = 3
# A page of text has a sign escaped now and then; "how%20to" every few letters.
_LETTERS_AN_ESCAPE: Final = 20
# What stands before the first escape and behind the last one without a space.
_LONGEST_EDGE: Final = 20
_SPACE: Final = re.compile(r"\s")

_WORD: Final = re.compile(r"[^\W_]+")
_TAG: Final = re.compile(r"<[^<>]{1,80}>")
# What stands between the words of a text that hides none.
_ORDINARY_GAP: Final = re.compile(r"[.,;:!?)\"']{1,3}[ \t]+|[ \t]+[(\"']?|['\u2019]")
# So many words between gaps of the same unusual kind are no list of names.
_FEWEST_GAPS: Final = 4
# Fewer unknown words are names; shorter ones say nothing about how they were changed.
_FEWEST_STRANGE: Final = 3
_SHORTEST_STRANGE: Final = 3
# What halves of a word are kept apart by; an apostrophe stands in whole ones.
_CUTS: Final = frozenset(("", " ", "-", ".", "*", "_", "|", "/", "~", "\u00b7"))
# As many as "how make bomb" has: fewer of them come about by chance.
_FEWEST_LETTERS: Final = 11
# So far apart are at most the words of a stretch that tell what was done to it.
_WORDS_BETWEEN: Final = 6
_HUMP: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# Names in programs have fewer parts, and words of other languages are shorter.
_FEWEST_PARTS: Final = 5
_SHORTEST_RUN: Final = 14
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def other_readings(text: str) -> list[str]:
    """Every reading of `text`, and of its readings, each once; from so many on together."""
    left = max(_ALWAYS_READ, _MOST_TIMES * len(text))
    seen, level, readings = {text}, [text], list[str]()
    for _ in range(_DEEPEST):
        found = dict.fromkeys(one for part in level for one in _candidates(part))
        level = []
        for one in found:
            if one not in seen and len(one) <= left:
                left -= len(one)
                seen.add(one)
                level.append(one)
        readings.extend(filter(_is_plain, level))
    more = readings[_EACH_READ:]
    return [*readings[:_EACH_READ], *(["\n".join(more)] if more else [])]


def _candidates(text: str) -> Iterator[str]:
    whole = composed(text)
    yield from _decoded(whole)
    yield from _unescaped(whole)
    # What is encoded must keep its digits; words may be disguised as well.
    for one in dict.fromkeys((whole, undisguised(whole))):
        yield from _without_gaps(_TAG.sub("<>", one))
        words = list(_WORD.finditer(one))
        yield from _run_together(words)
        yield from _changed(one, words)


def _is_plain(text: str) -> bool:
    readable = sum(mark.isalpha() or mark in " \n.,?!'" for mark in text)
    return " " in text and readable >= _READABLE_SHARE * len(text)


def _decoded(text: str) -> Iterator[str]:
    """What stretches of `text` hold in base64 or as the numbers of letters."""
    ways: tuple[tuple[re.Pattern[str], Callable[[str], bytes]], ...] = (
        (_BASE64, _from_base64),
        (_WRAPPED, _from_base64),
        (_HEXADECIMAL, lambda found: bytes.fromhex(re.sub(r"0x|\\x|[ ,:%]", "", found))),
        (_BASE32, base64.b32decode),
        (_BINARY, lambda found: bytes(int(one, 2) for one in re.findall("[01]{8}", found))),
        (_DECIMAL, lambda found: bytes(map(int, re.findall(r"\d+", found)))),
    )
    for pattern, decode in ways:
        for found in pattern.finditer(text):
            try:
                plain = composed(decode(found.group()).decode("utf-8"))
            except (ValueError, binascii.Error):
                continue
            # What is neither words nor encoded once more is a key, or no text at all.
            if _is_plain(plain) or (plain.isascii() and plain.isprintable()):
                yield plain


def _from_base64(stretch: str) -> bytes:
    encoded = "".join(stretch.split()).rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)


def _unescaped(text: str) -> Iterator[str]:
    """The parts of `text` that are written in escapes, as in addresses, pages and programs."""
    spans = [found.span() for found in _ESCAPE.finditer(text)]
    for group in _groups([start for start, _ in spans], _LETTERS_AN_ESCAPE):
        if len(group) < _FEWEST_ESCAPES:
            continue
        start, end = spans[group[0]][0], spans[group[-1]][1]
        before = _SPACE.split(text[max(0, start - _LONGEST_EDGE) : start])[-1]
        behind = _SPACE.split(text[end : end + _LONGEST_EDGE])[0]
        stretch = before + text[start:end] + behind
        plain = _ESCAPE.sub(_character, stretch)
        # JSON writes a sign beyond the first 65,536 as two.
        paired = plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        yield composed(html.unescape(unquote(paired)))


def _groups(places: Sequence[int], reach: int) -> Iterator[list[int]]:
    """The numbers of `places` that follow one another by no more than `reach`, together."""
    group: list[int] = []
    for number, place in enumerate(places):
        if group and place - places[group[-1]] > reach:
            yield group
            group = []
        group.append(number)
    if group:
        yield group


def _character(escape: re.Match[str]) -> str:
    number = escape["unicode"] or escape["byte"]
    return chr(int(number, 16)) if number else escape.group()


def _without_gaps(text: str) -> Iterator[str]:
    """The words alone of stretches in which the same unusual signs part them: "make_a_cake"."""
    words = list(_WORD.finditer(text))
    gaps = [text[one.end() : two.start()] for one, two in pairwise(words)]
    letters = [len(one.group()) == len(two.group()) == 1 for one, two in pairwise(words)]
    start = 0
    for signs, run in groupby(map(_unusual_signs, gaps, letters)):
        end = start + sum(1 for _ in run)
        if signs and end - start >= _FEWEST_GAPS:
            # Where single letters stand apart, words stand further apart.
            least = min(map(len, gaps[start:end]))
            spaces = ("  " if len(gap) > least else " " for gap in gaps[start:end])
            first, *others = (one.group() for one in words[start : end + 1])
            yield first + "".join(map(add, spaces, others))
        start = end


def _unusual_signs(gap: str, between_letters: bool) -> str:
    """The signs between two words, where these are not the usual ones of a sentence."""
    if gap == " ":
        return ""
    if not between_letters and _ORDINARY_GAP.fullmatch(gap):
        return ""
    return "".join(sorted(set(gap.replace(" ", ""))))


def _run_together(words: Sequence[re.Match[str]]) -> Iterator[str]:
    """The words of those that were written as one: "MakeACakeAtHome", "makeacakeathome"."""
    long = {word for found in words if len(word := found.group()) >= _SHORTEST_RUN}
    for run in sorted(long):
        humps = _HUMP.findall(run)
        parts = humps if len(humps) >= _FEWEST_PARTS else parted(run).split()
        if len(parts) >= _FEWEST_PARTS and _mostly_known(parts):
            yield " ".join(parts)


def _changed(text: str, words: Sequence[re.Match[str]]) -> Iterator[str]:
    """Stretches of `text` whose words are English once their letters are changed back."""
    folded = [one.group().casefold() for one in words]
    known = list(map(_known, folded))
    strange = [number for number, one in enumerate(known) if not one]
    if len(strange) < _FEWEST_STRANGE:
        return
    yield from _halves_joined(text, words, known)
    tried = {folded[number] for number in strange if len(folded[number]) >= _SHORTEST_STRANGE}
    english, together = english_words(), "\n".join(tried)
    for change in _CHANGES:
        # At once, since most changes make a word of none.
        if english.isdisjoint(change(together).split("\n")):
            continue
        back = {word for word in tried if change(word) in english}
        if sum(map(len, back)) < _FEWEST_LETTERS:
            continue
        places = [number for number in strange if folded[number] in back]
        for group in _groups(places, _WORDS_BETWEEN):
            first, last = places[group[0]], places[group[-1]]
            found = {folded[places[one]] for one in group}
            if sum(map(len, found)) >= _FEWEST_LETTERS:
                read = change(text[words[first].start() : words[last].end()].casefold())
                if _mostly_known(_WORD.findall(read)):
                    yield read


def _mostly_known(words: Sequence[str]) -> bool:
    return 3 * sum(map(_known, words)) >= 2 * len(words)


def _known(word: str) -> bool:
    return word.isdigit() or is_word(word.casefold())


def _halves_joined(
    text: str, words: Sequence[re.Match[str]], known: Sequence[bool]
) -> Iterator[str]:
    """Stretches of `text` with words in one piece again that were cut in two: "ma-ke a ca ke"."""
    joints: list[int] = []
    for number, (one, two) in enumerate(pairwise(words)):
        if known[number] and known[number + 1]:
            continue
        near = text[one.end() : two.start()] in _CUTS
        if near and (not joints or number - joints[-1] > 1) and _is_one(one.group(), two.group()):
            joints.append(number)
    for group in _groups(joints, _WORDS_BETWEEN):
        if len(group) >= _FEWEST_STRANGE:
            inside = [joints[one] for one in group]
            starts = [words[inside[0]].start(), *(words[one + 1].start() for one in inside)]
            ends = [*(words[one].end() for one in inside), words[inside[-1] + 1].end()]
            yield "".join(text[start:end] for start, end in zip(starts, ends, strict=True))


def _is_one(one: str, two: str) -> bool:
    return is_word((one + two).casefold())


def _shifted(by: int) -> Callable[[str], str]:
    table = str.maketrans(_LETTERS, _LETTERS[by:] + _LETTERS[:by])
    return lambda text: text.translate(table)


def _mirrored(text: str) -> str:
    return text.translate(str.maketrans(_LETTERS, _LETTERS[::-1]))


def _undoubled(text: str) -> str:
    return re.sub(r"(\w)\1", r"\1", text)


def _unscrambled(text: str) -> str:
    return _WORD.sub(lambda found: unscrambled(found.group()), text)


def _backwards(text: str) -> str:
    return text[::-1]


_CHANGES: Final = (
    plain_letters,
    _unscrambled,
    _backwards,
    _undoubled,
    _mirrored,
    *map(_shifted, range(1, 26)),
)
