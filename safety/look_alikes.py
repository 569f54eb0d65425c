"""Letters that a reader takes for others: those of other scripts, and Latin ones in costume.

What looks like what, the Unicode consortium lists (TR39, by `confusable_homoglyphs`); which letter
one in costume is, its name says.
"""

import re
import unicodedata
from functools import cache
from typing import Final

from confusable_homoglyphs.confusables import confusables_data

# What TR39 sees otherwise or not at all, and writers of disguises use.
_MORE: Final = dict(zip(
    "\u0432\u0451\u043a\u043c\u043d\u0442\u04cf\u03b2\u03b5\u03b7\u03ba\u03c4\u03c7\u0131\u017f",
    "bekmhtlbenktxis",
    strict=True,
))  # fmt: skip
# Small capitals, letters in boxes and circles, flags: nobody's language is written in them.
_COSTUME: Final = re.compile(
    r"(?:NEGATIVE )?(?:SQUARED|CIRCLED|PARENTHESIZED) LATIN (?:CAPITAL|SMALL) LETTER ([A-Z])"
    r"|REGIONAL INDICATOR SYMBOL LETTER ([A-Z])"
    r"|(?:LATIN|MODIFIER) LETTER SMALL CAPITAL (?:REVERSED |TURNED )?([A-Z])"
    r"|LATIN SMALL LETTER (?:TURNED |REVERSED )([A-Z])"
    r"|MODIFIER LETTER (?:CAPITAL|SMALL) ([A-Z])"
)
# Strokes and hooks that are no marks of their own; Poles, Danes and Vietnamese write some of them.
_STROKED: Final = re.compile(r"LATIN (?:CAPITAL|SMALL) LETTER ([A-Z]) WITH [A-Z ]+")
_STRANGE: Final = re.compile(r"[^\x00-\x7f]")
# The blocks that hold them: phonetic letters, more Latin ones, and what is enclosed.
_DRESSED: Final = re.compile("[\u0250-\u02af\u1d00-\u1dbf\ua720-\ua7ff\U0001f110-\U0001f1ff]")


@cache
def _undressed(letter: str) -> str:
    found = _COSTUME.fullmatch(unicodedata.name(letter, ""))
    if found is None:
        return letter
    return found.group(found.lastindex or 0).lower()


@cache
def _latin(letter: str) -> str:
    small = letter.lower()
    plain = _MORE.get(small) or _listed(small) or _listed(letter.upper()) or letter
    return plain.upper() if letter.isupper() else plain.lower()


@cache
def _unstroked(letter: str) -> str:
    found = _STROKED.fullmatch(unicodedata.name(letter, ""))
    if found is None:
        return letter
    return found.group(1) if letter.isupper() else found.group(1).lower()


def _listed(letter: str) -> str | None:
    """The Latin letter that looks like this one, of whatever case."""
    alike = (one["c"] for one in confusables_data.get(letter, ()) if letter.isalpha())
    return next((one for one in alike if one.isascii() and one.isalpha() and len(one) == 1), None)


def undressed(text: str) -> str:
    """`text` with plain small letters for Latin ones in costume; those of languages stay."""
    if text.isascii():
        return text
    return _DRESSED.sub(lambda found: _undressed(found.group()), text)


def latin(text: str) -> str:
    """`text` with Latin letters for those of other scripts that look like them."""
    if text.isascii():
        return text
    return _STRANGE.sub(lambda found: _latin(found.group()), text)


def unstroked(text: str) -> str:
    """`text` without the strokes and hooks of its Latin letters."""
    if text.isascii():
        return text
    return _STRANGE.sub(lambda found: _unstroked(found.group()), text)
