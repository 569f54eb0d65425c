"""Undoing the ways a text is disguised before it is judged.

What is judged never leaves this room, so a rendering may be lossy as long as it keeps the words.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

# Cyrillic and Greek letters that pass for Latin ones (Unicode TR39 lists them as confusable).
_LOOK_ALIKES: Final = str.maketrans(
    "\u0430\u0432\u0435\u0451\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458"
    "\u0455\u0501\u051b\u051d\u04cf\u0261\u03b1\u03b2\u03b5\u03b7\u03b9\u03ba\u03bd\u03bf\u03c1"
    "\u03c4\u03c5\u03c7\u0131\u017f",
    "abeekmhopctyxijsdqwlgabenikvoptuxis",
)
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff\ud800-\udfff]"
)
_MARKS: Final = re.compile("[\u0300-\u036f]")
_LEET: Final = str.maketrans("013457@$!", "oieastasi")
# Digits or signs between or before letters; a number behind a word ("python3") is left alone.
_LEET_WORD: Final = re.compile(r"(?<![\w@$!])(?=[\w@$!]*[a-z])[a-z]*[013457@$!][\w@$!]*[a-z](?!\w)")
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
_BASE64: Final = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{16,65536}={0,2}(?![\w+/=-])")
# More encoded stretches than anybody sends in earnest; bounds the work on hostile text.
_MOST_DECODED: Final = 16
_READABLE_SHARE: Final = 0.95


def _unleet(match: re.Match[str]) -> str:
    word = match.group()
    return word if _UNIT.fullmatch(word) else word.translate(_LEET)


def _unspaced(match: re.Match[str]) -> str:
    letters = re.sub(r"[ .*_\-]", "", match.group())
    return letters if letters.isalpha() else match.group()


def composed(text: str) -> str:
    """`text` in compatibility form, without invisible signs; letters stay as they are."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


def unspaced(text: str) -> str:
    """`text` with words put together whose letters were written apart."""
    return _SPACED.sub(_unspaced, text)


def normalised(text: str) -> str:
    """`text` in lower-case compatibility form, without invisible, look-alike or spaced letters."""
    text = composed(text).casefold()
    text = _MARKS.sub("", unicodedata.normalize("NFKD", text)).translate(_LOOK_ALIKES)
    return _LEET_WORD.sub(_unleet, _CODE.sub(_NAMELESS, unspaced(text)))


def decoded_parts(text: str) -> Iterator[str]:
    """The readable texts that stretches of `text` hold in base64."""
    for number, found in enumerate(_BASE64.finditer(text)):
        if number == _MOST_DECODED:
            return
        encoded = found.group().rstrip("=").replace("-", "+").replace("_", "/")
        try:
            raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
            plain = raw.decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            continue
        readable = sum(mark.isalpha() or mark in " \n.,?!'" for mark in plain)
        if " " in plain and readable >= _READABLE_SHARE * len(plain):
            yield plain
