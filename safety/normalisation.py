"""Undoing the ways a text is disguised before it is judged.

What is judged never leaves this room, so a rendering may be lossy as long as it keeps the words.
"""

import re
import unicodedata
from typing import Final

from peerllm.safety.english_words import parted
from peerllm.safety.look_alikes import latin, undressed, unstroked

_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff\ud800-\udfff]"
)
# Accents and strokes by themselves. The marks of other scripts, vowels among them, are not here.
_MARKS: Final = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
_LEET: Final = str.maketrans("013457@$!", "oieastasi")
# Digits or signs before a letter; a number behind a word ("python3") is left alone.
_LEET_WORD: Final = re.compile(r"(?<![\w@$!])[a-z]*[013457@$!][\w@$!]*[a-z][\w@$!]*", re.IGNORECASE)
# Where so many words are written so, one in so many and two at least, numbers are words, too.
_LEET_EVERY: Final = 5
_MAYBE_LEET: Final = re.compile(
    r"(?<![\w@$!])[a-z013457@$!]*[013457@$!][a-z013457@$!]*(?!\w)", re.IGNORECASE
)
# A line of fewer words may be a name.
_FEWEST_SHOUTED: Final = 4
_ANY_WORD: Final = re.compile(r"[\w@$!]+")
_LATIN: Final = re.compile("[a-zA-Z]")
_UNIT: Final = re.compile(r"[0-9]+(?:st|nd|rd|th|s|x|k|m|g|kg|km|cm|mm|ms|am|pm|d|h|gb|mb|kb|px)")
# Keys, digests, numbers of cases: letters among at least three digits, one of which stands for no
# letter in leetspeak. Read as words they would mean whatever their pieces resemble.
_CODE: Final = re.compile(
    r"(?<![\w-])(?=[a-z0-9_-]{0,64}[2689])(?=(?:[a-z_-]{0,64}[0-9]){3})(?=[0-9_-]{0,64}[a-z])"
    r"[a-z0-9_-]{10,64}(?![\w-])"
)
# Of the words tried, the one that least changed what a sentence around it was taken for.
_NAMELESS: Final = "item 5"
_SPACED: Final = re.compile(r"(?<!\w)(?:[^\W_][ .*_\-]{1,3}){3,}[^\W_](?!\w)")
_BETWEEN_LETTERS: Final = re.compile(r"[ .*_\-]+")


def _unleet(match: re.Match[str]) -> str:
    word = match.group()
    return word if _UNIT.fullmatch(word.casefold()) else word.translate(_LEET)


def _unspaced(match: re.Match[str]) -> str:
    run = match.group()
    gaps = _BETWEEN_LETTERS.findall(run)
    least = min(map(len, gaps))
    # Words are further apart than their letters.
    words = re.split(rf"[ .*_\-]{{{least + 1},}}", run)
    joined = [_BETWEEN_LETTERS.sub("", word) for word in words]
    if not all(word.isalpha() for word in joined):
        return run
    return " ".join(joined) if len(joined) > 1 else parted(joined[0])


def composed(text: str) -> str:
    """`text` in compatibility form, without invisible signs and loose marks.

    Letters of languages stay as they are, with the marks that belong to them.
    """
    if text.isascii():
        return text
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    return _MARKS.sub("", undressed(visible))


def unspaced(text: str) -> str:
    """`text` with words put together whose letters were written apart."""
    return _SPACED.sub(_unspaced, text)


def unleeted(text: str) -> str:
    """`text` with letters for the digits and signs that stand for them in words."""
    found, count = _LEET_WORD.subn(_unleet, text)
    if count > 1 and count * _LEET_EVERY >= sum(1 for _ in _ANY_WORD.finditer(text)):
        return _MAYBE_LEET.sub(_unleet, found)
    return found


def unmixed(text: str) -> str:
    """`text` with Latin letters for those of other scripts that stand among them in a word."""
    return _ANY_WORD.sub(_unmixed, text) if not text.isascii() else text


def _unmixed(match: re.Match[str]) -> str:
    word = match.group()
    return latin(word) if _LATIN.search(word) else word


def unshouted(text: str) -> str:
    """`text` with its lines in lower case that are in capitals throughout."""
    return "\n".join(
        line.lower() if line.isupper() and len(line.split()) >= _FEWEST_SHOUTED else line
        for line in text.split("\n")
    )


def undisguised(text: str) -> str:
    """`text` in whatever language without what hides its words from a reader."""
    return unshouted(unleeted(unspaced(unmixed(composed(text))))).strip()


def normalised(text: str) -> str:
    """`text` in lower-case compatibility form, without invisible, look-alike or spaced letters."""
    return unleeted(_CODE.sub(_NAMELESS, unspaced(plain_letters(composed(text)))))


def plain_letters(text: str) -> str:
    """`text` in small letters without marks and strokes, and with Latin letters for their like."""
    if text.isascii():
        return text.lower()
    small = unicodedata.normalize("NFKD", text.casefold())
    return unstroked(latin(_MARKS.sub("", small)))
