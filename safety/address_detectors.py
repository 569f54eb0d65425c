"""Postal addresses, found from their postal code backwards to the house.

The trained tagger knows streets by their words; what it often tears is the whole, written over
several lines, with flats, floors and codes. Here the form alone decides: a house's number or a
street's name, then nothing but names and numbers up to a postal code. Written as in the United
States, the United Kingdom, India, Germany, France, Spain and Italy.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from peerllm.safety.identifier_kinds import Identifier
from peerllm.safety.wordlists import word_list

_CODE: Final = re.compile(
    r"(?<![\w.])(?:[A-Z]{1,2}[0-9][A-Z0-9]?[ ][0-9][A-Z]{2}"
    r"|(?<![0-9][-/])(?:[0-9]{5}(?:-[0-9]{4})?|[0-9]{6}|[0-9]{3} [0-9]{3}))(?![\w]|[-/.,][0-9])"
)
# Farther from its code than this no street is written: four lines of thirty characters.
_REACH: Final = 128
_MOST_TOKENS: Final = 16
# How many words the name of a street, or of a town behind the code, has at most.
_MOST_NAME_WORDS: Final = 5

_TOKEN: Final = re.compile(r"[^\W_](?:[\w'\u2019/]|[.-](?=\w))*\.?")
# A comma without a space behind it parts the columns of a table.
_SEPARATOR: Final = re.compile(r"(?:[ \t\n-]|,(?=\s)){1,4}")
# "Rothenburg ob der Tauber"; a letter alone, as "I" is, belongs to the sentence.
_TOWN: Final = re.compile(
    r"(?:,? |,?\n)([^\W\d_a-z][\w'\u2019-]+(?:(?: [a-z]{1,5}){0,2} [^\W\d_a-z]"
    r"(?:[\w'\u2019-]+|(?<!I)(?= ))){0,6})(?: \([A-Z]{2}\))?"
)
_NUMBER: Final = re.compile(r"[0-9]{1,5}[A-Za-z]?(?:[/-][0-9]{1,4}[A-Za-z]?)?")
_UNIT: Final = frozenset(
    {"flat", "studio", "unit", "suite", "apartment", "apt", "apt.", "room", "floor", "house",
     "block", "box", "psc", "piano", "appartamento", "interno", "piso", "puerta", "escalera", "no",
     "no.", "h.no", "h.no.", "hno", "plot", "door", "etage", "bte", "appt", "wohnung"}
)  # fmt: skip
_PARTICLES: Final = frozenset(
    {"de", "del", "della", "di", "du", "des", "da", "do", "dos", "la", "le", "les", "las", "los",
     "el", "der", "den", "am", "an", "im", "zum", "zur", "und", "y", "et", "e", "of", "the", "and",
     "sur", "sous", "en"}
)  # fmt: skip
_STREET_BEGINS: Final = frozenset(
    {"rue", "chemin", "avenue", "boulevard", "all\u00e9e", "place", "impasse", "quai", "route",
     "cours", "square", "passage", "calle", "c.", "avenida", "v\u00eda", "via", "vial", "rambla",
     "glorieta", "urbanizaci\u00f3n", "callej\u00f3n", "ca\u00f1ada", "alameda", "acceso", "ronda",
     "pasaje", "cuesta", "pasadizo", "paseo", "camino", "plaza", "carretera", "traves\u00eda",
     "piazza", "strada", "borgo", "contrada", "rotonda", "incrocio", "viale", "stretto", "vicolo",
     "canale", "corso", "largo", "piazzale", "rua", "travessa", "pra\u00e7a"}
)  # fmt: skip
_STREET_ENDS: Final = re.compile(
    r"(?:stra\u00dfe|strasse|str\.|gasse|platz|ring|weg|allee|ufer|damm|steig|chaussee)\Z",
    re.IGNORECASE,
)
_STREET_WORDS: Final = frozenset({"nagar", "zila", "ganj", "path", "marg", "chowk"})
_SHIPS: Final = frozenset({"uss", "usns", "uscgc", "usnv"})
_FIELD_POST: Final = frozenset({"apo", "dpo", "fpo"})


def _words_before(text: str, code: re.Match[str]) -> list[tuple[int, int, str]]:
    """The words before a code, nearest first, as long as an address could hold them."""
    words: list[tuple[int, int, str]] = []
    end = code.start()
    for found in reversed(list(_TOKEN.finditer(text, max(0, end - _REACH), end))):
        fits = _SEPARATOR.fullmatch(text, found.end(), end) and _may_stand_inside(found.group())
        if not fits or len(words) == _MOST_TOKENS:
            break
        words.append((found.start(), found.end(), found.group()))
        end = found.start()
    return words


def _may_stand_inside(word: str) -> bool:
    folded = word.casefold()
    return (
        word[0].isupper()
        or _NUMBER.fullmatch(word) is not None
        or folded in _PARTICLES
        or folded in _STREET_BEGINS
        or folded in _UNIT
    )


def _is_unit(words: Sequence[tuple[int, int, str]], at: int) -> bool:
    """Whether a flat's or floor's number is at this place: it has a digit and a word before it."""
    return (
        at + 1 < len(words)
        and words[at + 1][2].casefold() in _UNIT
        and any(mark.isdigit() for mark in words[at][2])
    )


def _street_begins(words: Sequence[tuple[int, int, str]], number: int) -> int | None:
    """Where, before this place, the name of a street begins by its first word or ends by form."""
    for at in range(number + 1, min(len(words), number + 2 + _MOST_NAME_WORDS)):
        folded = words[at][2].casefold()
        if folded in _STREET_BEGINS:
            return at
        if at == number + 1 and _STREET_ENDS.search(words[at][2]):
            return at
        if not words[at][2][0].isalpha():
            return None
    return None


def _first_of_house(words: Sequence[tuple[int, int, str]], text: str) -> int | None:
    """The place of the house's number, or of the first word of a street that stands before it."""
    numbers = [
        at
        for at, (_, _, word) in enumerate(words)
        if _NUMBER.fullmatch(word) and not _is_unit(words, at)
    ]
    start: int | None = None
    for at in numbers:
        street = _street_begins(words, at)
        if street is not None:
            return street
        if at > 0:
            start = at
        # "65 Alt Reinickendorf 86\nCandeias": before one that ends its line another may stand.
        ends_line = at == 0 or "\n" in text[words[at][1] : words[at - 1][0]]
        if start is not None and not (
            ends_line and any(at < other <= at + _MOST_NAME_WORDS for other in numbers)
        ):
            return start
    return start


def _house(words: Sequence[tuple[int, int, str]], text: str) -> int | None:
    """The place among `words`, which stand nearest first, at which the address begins."""
    start = _first_of_house(words, text)
    if start is None:
        start = _street_begins(words, -1)
    if start is None:
        start = next((at for at, word in enumerate(words) if word[2].casefold() in _SHIPS), None)
    units = (at + 1 for at in range(len(words)) if _is_unit(words, at))
    return max((at for at in (start, *units) if at is not None), default=None)


def detect_addresses(text: str) -> Iterator[Identifier]:
    """Addresses with a postal code: from the flat, the house or the street to the code or town."""
    reached = 0
    for code in _CODE.finditer(text):
        words = _words_before(text, code) if code.start() >= reached else []
        first = _house(words, text)
        if first is None:
            continue
        inside = words[: first + 1]
        if inside[-1][0] >= reached and _is_an_address(text, code.group(), inside):
            reached = _end(text, code, inside)
            yield Identifier(inside[-1][0], reached, "ADDRESS", 0.88)


def _names_a_street(word: str) -> bool:
    folded = word.casefold()
    return (
        folded in word_list("streets")
        or folded in _STREET_WORDS
        or folded in _STREET_BEGINS
        or folded in _UNIT
        or folded in _FIELD_POST
        or _STREET_ENDS.search(word) is not None
    )


def _is_an_address(text: str, code: str, words: Sequence[tuple[int, int, str]]) -> bool:
    """Whether more stands there than a number, names and another number."""
    if not any(word[0].isupper() and word.casefold() not in _UNIT for _, _, word in words):
        return False
    if not code.isdigit() or any(_names_a_street(word) for _, _, word in words):
        return True
    # India's codes have six digits, and many streets there no word that says so.
    _, end, house = words[-1]
    return len(code) == 6 and ("/" in house or text[end : end + 1] in {",", "\n"})


def _end(text: str, code: re.Match[str], words: Sequence[tuple[int, int, str]]) -> int:
    """Where the address ends: the town stands before the code or behind it."""
    before = text[words[0][1] : code.start()]
    town_may_follow = code.group().isdigit() and (
        _NUMBER.fullmatch(words[0][2]) is not None
        or "\n" in before
        or "," in before
        or any(word in _STREET_BEGINS for _, _, word in words)
    )
    town = _TOWN.match(text, code.end()) if town_may_follow else None
    # "Bad Kissingen" is a town, "Please answer" is not.
    common = word_list("english_words")
    if town is None or all(word.casefold() in common for word in town[1].split()):
        return code.end()
    return town.end()
