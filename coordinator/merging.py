"""Making one answer of many parts' answers: nothing twice, nothing lost, no conflict hidden.

Items are the same only where rules say so that cannot be wrong about content: white space, list
marks, the form of quotes and dashes, a closing full stop; capitals where an item has two words or
more, since a single one may be a name or a word of a program's. Distance between spellings is
never looked at: invoice 1017 and invoice 1071 are two invoices.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count, pairwise

from peerllm.coordinator.value_forms import agree, differ, plain_values

# What a part is asked to say when it holds nothing of what is wanted.
NOTHING = "NONE"
# A key longer than this is a sentence with a colon in it.
_KEY_WORDS = 6
# A longer answer argues; one of this length names a value.
_VALUE_WORDS = 30

_BULLET = re.compile(r"\A\s*[-*\u2022\u2013]\s+")
_NUMBERED = re.compile(r"\A\s*\(?(?P<number>\d{1,4})[.)]\s+")
_NUMBER = re.compile(r"\d+")
# "NONE" and why, in one line.
_NOTHING_SINCE = re.compile(rf"\W*{NOTHING}\W*(?:[.:;,]\s|\()")
# The lines below it belong to it; not what only says that a list follows.
_HEADING = re.compile(r"#{1,6}\s.*|.*:[^\w:]*")
_INTRODUCTION = re.compile(r"\b(?:here|are|is|following|below|list(?:ed)?|found)\b", re.IGNORECASE)
_FENCE = re.compile(r"\s*(?:```|~~~)\w*\s*")
_FORMS = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2010": "-", "\u2011": "-",
     "\u2012": "-", "\u2013": "-", "\u2014": "-"}
)  # fmt: skip
_PAIRS = {('"', '"'), ("'", "'"), ("`", "`")}
_KEYED = re.compile(r"(?P<key>[^:\n]{1,80}):\s+(?P<value>\S.*)\Z")


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Different values that parts of one document gave for the same thing, in their order."""

    subject: str = field(repr=False)
    values: tuple[str, ...] = field(repr=False)
    parts: tuple[int, ...]

    def note(self) -> str:
        """What the customer is told."""
        given = "; ".join(
            f"{value} (part {part + 1})"
            for value, part in zip(self.values, self.parts, strict=True)
        )
        return f"Note: parts of the text give different values for {self.subject}: {given}"


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The items of all parts, each once, in the order of their first mention."""

    items: tuple[str, ...] = field(repr=False)
    conflicts: tuple[Conflict, ...] = ()

    @property
    def text(self) -> str:
        """The merged answer; parts that found nothing leave it saying so."""
        return "\n".join(self.items) or NOTHING

    @property
    def notes(self) -> str:
        """A paragraph for each conflict; empty without any."""
        return "\n\n".join(conflict.note() for conflict in self.conflicts)


def merge_items(answers: Sequence[str]) -> Merged:
    """Merge the parts' lists, one item a line.

    A key that one part gives several values belongs to records ("Name: …", "Role: …" again and
    again). A line of those, or one below another, says nothing without its neighbours: such parts
    are kept whole.
    """
    answers = list(map(_unfenced, answers))
    if _have_structure(answers):
        whole = (answer.splitlines() for answer in answers if not says_nothing(answer))
        lines = [line.rstrip() for lines in whole for line in lines if line.strip()]
        return Merged(items=tuple(lines))
    parts = [_lines(answer) for answer in answers]
    if any(_holds_records(lines) for lines in parts):
        return Merged(items=tuple(line for lines in parts for line in lines))
    if _hold_a_record_each(parts):
        different = dict.fromkeys(map(tuple, parts))
        return replace(_merged(parts), items=tuple(line for part in different for line in part))
    return _merged(parts)


def _merged(parts: Sequence[Sequence[str]]) -> Merged:
    seen: dict[str, None] = {}
    items: list[str] = []
    values: dict[str, dict[str, tuple[str, int]]] = {}
    for part, lines in enumerate(parts):
        for line in lines:
            form = canonical(line)
            if form in seen:
                continue
            seen[form] = None
            items.append(line)
            key, value = _keyed(line)
            if key:
                values.setdefault(canonical(key).casefold(), {})[canonical(value)] = (line, part)
    conflicts = tuple(
        Conflict(
            subject=_keyed(next(iter(found.values()))[0])[0],
            values=tuple(_keyed(line)[1] for line, _ in found.values()),
            parts=tuple(part for _, part in found.values()),
        )
        for found in values.values()
        if differ([canonical(_keyed(line)[1]) for line, _ in found.values()])
    )
    return Merged(items=tuple(items), conflicts=conflicts)


def canonical(item: str) -> str:
    """The form by which items are compared. Digits and letters are never changed."""
    text = " ".join(unicodedata.normalize("NFC", _BULLET.sub("", item, count=1)).split())
    text = text.translate(_FORMS).rstrip(".;,").rstrip()
    if len(text) > 2 and (text[0], text[-1]) in _PAIRS:
        text = text[1:-1].strip()
    return text.casefold() if " " in text else text


def renumbered(answers: Sequence[str]) -> list[str]:
    """Lists of which each is numbered from 1, as one that goes on; anything else as it is."""
    lists = [[line for line in answer.splitlines() if line.strip()] for answer in answers]
    for lines in lists:
        numbers = [found and found["number"] for found in map(_NUMBERED.match, lines)]
        if not lines or numbers != [str(number) for number in range(1, len(lines) + 1)]:
            return list(answers)
    going_on = count(1)
    return ["\n".join(_NUMBER.sub(str(next(going_on)), one, 1) for one in lines) for lines in lists]


def says_nothing(answer: str) -> bool:
    """Whether a part answered that it holds nothing of what was asked for."""
    said = canonical(answer).strip("*[]()").rstrip(".").casefold()
    one_line = "\n" not in answer.strip()
    return said in ("", NOTHING.casefold()) or (
        one_line and _NOTHING_SINCE.match(answer) is not None
    )


def conflict_of(question: str, answers: Sequence[str]) -> Conflict | None:
    """Parts that name different values in answer to a question for one value, else None.

    Values are numbers and placeholders, and only short answers count: two ways of saying the same
    share them, and what shares none of them cannot both be the answer. Questions for several
    things ("which cities") have none that conflict.
    """
    if not _ASKS_ONE.search(question):
        return None
    asked = _values(question)
    groups: list[tuple[set[str], str, int]] = []
    for part, answer in enumerate(answers):
        if says_nothing(answer) or len(answer.split()) > _VALUE_WORDS:
            continue
        named = {value for value in _values(answer) if not _agrees(value, asked)}
        if not named or any(_agrees(value, known) for known, _, _ in groups for value in named):
            continue
        groups.append((named, " ".join(answer.split()), part))
    if len(groups) < 2:
        return None
    return Conflict(
        subject="what was asked",
        values=tuple(text for _, text, _ in groups),
        parts=tuple(part for _, _, part in groups),
    )


_ASKS_ONE = re.compile(
    r"\b(?:who|when|where|how (?:much|long|old|far|tall|large|big|high))\b"
    r"|\b(?:what|which) (?:is|was)\b"
    r"|\b(?:what|which) (?:[a-z-]+ )?(?:year|date|day|time|number|amount|price|version|age|name)\b",
    re.IGNORECASE,
)
# A letter behind a placeholder's number tells how the same one is written ("Mr. Lee").
_VALUE = re.compile(r"(?<![A-Z])[A-Z]+_\d+(?=[A-Z]?\b)|\d+(?:[.,:/-]\d+)*")


def _values(text: str) -> set[str]:
    return {found.replace(",", "") for found in _VALUE.findall(plain_values(text))}


def _agrees(value: str, known: set[str]) -> bool:
    return any(agree(value, one) for one in known)


def _lines(answer: str) -> list[str]:
    """The items as said, without list marks. "12. March" alone is a date, no twelfth item."""
    lines = [_BULLET.sub("", line, count=1).strip() for line in answer.splitlines()]
    # Among others "None" may be an item; alone it is how models write that there is none.
    lines = [
        line
        for line in lines
        if line and canonical(line) != NOTHING and not _NOTHING_SINCE.match(line)
    ]
    if all(map(says_nothing, lines)):
        return []
    numbers = [found["number"] for found in map(_NUMBERED.match, lines) if found]
    if len(lines) > 1 and numbers == [str(n) for n in range(1, len(lines) + 1)]:
        lines = [_NUMBERED.sub("", line, count=1) for line in lines]
    return lines


def _keyed(line: str) -> tuple[str, str]:
    found = _KEYED.match(line)
    if found is None or len(found["key"].split()) > _KEY_WORDS:
        return "", ""
    return found["key"].strip(), found["value"].strip()


def _unfenced(answer: str) -> str:
    """The answer without a fence around the whole of it, which merging would leave open."""
    lines = answer.strip().splitlines()
    marks = [number for number, line in enumerate(lines) if _FENCE.fullmatch(line)]
    return "\n".join(lines[1:-1]) if marks == [0, len(lines) - 1] else answer


def _have_structure(answers: Sequence[str]) -> bool:
    """Whether lines stand below others: items of items, or under headings, or in fences."""
    headings: set[str] = set()
    for answer in answers:
        lines = [line for line in answer.splitlines() if line.strip()]
        items = [line for line in lines if _BULLET.match(line) or _NUMBERED.match(line)]
        if any(_indent(below) > _indent(line) for line, below in pairwise(items)):
            return True
        if any(map(_FENCE.fullmatch, lines)):
            return True
        bare = (_BULLET.sub("", line, count=1).strip() for line in lines)
        headings.update(
            canonical(line)
            for line in bare
            if _HEADING.fullmatch(line) and not _INTRODUCTION.search(line)
        )
    return len(headings) > 1


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _hold_a_record_each(parts: Sequence[Sequence[str]]) -> bool:
    """Whether parts begin with different values of one key, and others of their keys are the same.

    "Name: …" and "Role: …" of one person in each part.
    """
    of_key: dict[str, tuple[set[str], set[str]]] = {}
    for lines in parts:
        key, value = _keyed(lines[0]) if lines else ("", "")
        if not key:
            continue
        values, others = of_key.setdefault(canonical(key).casefold(), (set(), set()))
        keys = {canonical(_keyed(line)[0]).casefold() for line in lines[1:]} - {""}
        values.add(canonical(value))
        if len(values) > 1 and others & keys:
            return True
        others |= keys
    return False


def _holds_records(lines: Sequence[str]) -> bool:
    values: dict[str, str] = {}
    for line in lines:
        key, value = _keyed(line)
        if key and values.setdefault(canonical(key).casefold(), canonical(value)) != canonical(
            value
        ):
            return True
    return False
