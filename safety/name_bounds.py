"""Where a name that was found begins and ends: with its title, its particles and its other words.

The tagger often knows one word of a name and not the next: "Cable" of Time Warner Cable. And where
a sentence ends with a name, it may take the next one's first word for a part of it.
"""

import re
from collections.abc import Iterator
from typing import Final

from peerllm.safety.identifier_kinds import Identifier
from peerllm.safety.wordlists import word_list

_NAMES: Final = frozenset({"PERSON", "LOCATION", "ORGANIZATION"})
_TITLE: Final = re.compile(r"\b(?:mr|mrs|ms|miss|dr|prof)\.? \Z", re.IGNORECASE)
_TITLE_CHARACTERS: Final = 6
_BEHIND_PARTICLE: Final = re.compile(
    r" (?:da|de|del|della|der|dos|du|van|von|bin|ibn)(?: (?:la|las|los|den|der|het))? [A-Z][\w'-]+"
)
# One or two words with a capital; where a third follows, the line is a headline and tells nothing.
_CAPITALISED: Final = r"[^\W\d_a-z](?:[^\W_]|['&-](?=[^\W_])){0,24}"
_BEHIND: Final = re.compile(rf"(?: {_CAPITALISED}){{1,2}}(?![\w'&-])(?! [^\W\d_a-z])")
_BEFORE: Final = re.compile(rf"(?<![\w'&@#-])(?:{_CAPITALISED} ){{1,2}}\Z")
_BEFORE_CHARACTERS: Final = 52
_SENTENCE_END: Final = re.compile(r"(?:\A|[.!?:\"\n])\s{0,3}\Z")
_WORD: Final = re.compile(r"[^\W_]+")
# A full stop behind a word; behind shorter ones it stands for the rest of them, as in "St. Louis".
_STOP: Final = re.compile(r"(?<![^\W\d_])([^\W\d_]{3,}+)\.(?=\s|\Z)")
# Behind these a name may end with its sentence or go on; behind titles it goes on.
_SHORTENED: Final = frozenset(
    {"ave", "blvd", "bros", "corp", "dept", "est", "gmbh", "inc", "intl", "llc", "ltd", "mfg"}
)
_SHORTENED_TITLES: Final = frozenset(
    {"adm", "capt", "col", "fr", "gen", "gov", "hon", "jr", "lieut", "maj", "messrs", "mme", "mrs",
     "pres", "prof", "rep", "rev", "sen", "sgt", "sr", "supt"}
)  # fmt: skip


def whole_name(text: str, found: Identifier) -> Identifier:
    """What was found with the words that belong to it; other kinds stay as they are."""
    if found.kind not in _NAMES or not text[found.start : found.start + 1].isalpha():
        return found
    start, end = found.start, found.end
    if text[start].isupper():
        end = _end(text, found)
        start = _start(text, start)
    if found.kind == "PERSON":
        particle = _BEHIND_PARTICLE.match(text, end)
        end = end if particle is None else particle.end()
        title = _TITLE.search(text, max(0, start - _TITLE_CHARACTERS), start)
        start = start if title is None else title.start()
    return Identifier(start, end, found.kind, found.score)


def in_one_sentence(text: str, found: Identifier) -> Iterator[Identifier]:
    """What was found without the full stop of its sentence; and what of it the next one says.

    Words of the next sentence that are common ones name nobody.
    """
    start = found.start
    for stop in _STOP.finditer(text, found.start, found.end):
        word = stop.group(1).casefold()
        if word in _SHORTENED_TITLES or (stop.end() == found.end and word in _SHORTENED):
            continue
        rest = text[stop.end() : found.end]
        common = all(map(_is_common, _WORD.findall(rest)))
        if word in _SHORTENED and not common:
            continue
        end = stop.end() if word in _SHORTENED else stop.end() - 1
        yield Identifier(start, end, found.kind, found.score)
        if common:
            return
        start = stop.end() + len(rest) - len(rest.lstrip())
    yield Identifier(start, found.end, found.kind, found.score)


def _end(text: str, found: Identifier) -> int:
    behind = _BEHIND.match(text, found.end)
    if behind is None or not _belong(behind.group()):
        return found.end
    stopped = _STOP.search(text, found.start, found.end) is not None
    new_sentence = stopped and _is_common(_WORD.findall(behind.group())[0])
    return found.end if new_sentence else behind.end()


def _start(text: str, position: int) -> int:
    before = _BEFORE.search(text, max(0, position - _BEFORE_CHARACTERS), position)
    if before is None or not _belong(before.group()):
        return position
    words = before.group().split()
    begins = _SENTENCE_END.search(text, max(0, before.start() - 4), before.start())
    if begins is None or words[0] == "The" or not _is_common(words[0]):
        return before.start()
    # The capital of "Ask" in "Ask Maria" is the sentence's.
    return position if len(words) == 1 else before.start() + len(words[0]) + 1


def _belong(words: str) -> bool:
    """Whether none of the words is one that never is part of a name, as "Monday" is not."""
    never = word_list("no_identifiers") | word_list("titles")
    return not any(word.casefold() in never for word in _WORD.findall(words) if word != "The")


def _is_common(word: str) -> bool:
    folded = word.casefold()
    return folded in word_list("english_words") or folded in word_list("dictionary")
