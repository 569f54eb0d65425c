"""Undoing the ways a text is disguised before it is judged.

What is judged never leaves this room, so a rendering may be lossy as long as it keeps the words.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from peerllm.safety.wordlists import word_list

# Cyrillic and Greek letters that pass for Latin ones (Unicode TR39 lists them as confusable).
_LOOK_ALIKES: Final = str.maketrans(
    "\u0430\u0432\u0435\u0451\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458"
    "\u0455\u0501\u051b\u051d\u04cf\u0261\u03b1\u03b2\u03b5\u03b7\u03b9\u03ba\u03bd\u03bf\u03c1"
    "\u03c4\u03c5\u03c7\u0131\u017f",
    "abeekmhopctyxijsdqwlgabenikvoptuxis",
)
_CASED_LOOK_ALIKES: Final = _LOOK_ALIKES | {
    ord(chr(strange).upper()): chr(latin).upper() for strange, latin in _LOOK_ALIKES.items()
}
_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff\ud800-\udfff]"
)
_MARKS: Final = re.compile("[\u0300-\u036f]")
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
# Beyond that many letters nobody reads words that run into one another.
_MOST_JOINED: Final = 2_000
_LONGEST_WORD: Final = 20
# Shorter runs are one word.
_FEWEST_JOINED: Final = 8
_BASE64: Final = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{16,65536}={0,2}(?![\w+/=-])")
# More encoded stretches than anybody sends in earnest; bounds the work on hostile text.
_MOST_DECODED: Final = 16
_READABLE_SHARE: Final = 0.95


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


def parted(letters: str) -> str:
    """English words that run into one another, as few as possible; others stay as they are."""
    if not _FEWEST_JOINED <= len(letters) <= _MOST_JOINED:
        return letters
    small = letters.casefold()
    # How many words it takes to the place of each letter, and where the last of them begins.
    best: list[tuple[int, int] | None] = [(0, 0)]
    for end in range(1, len(small) + 1):
        starts = range(max(0, end - _LONGEST_WORD), end)
        found = (
            (before[0] + 1, start)
            for start in starts
            if (before := best[start]) is not None and is_word(small[start:end])
        )
        best.append(min(found, default=None))
    words, end = [], len(small)
    while end:
        last = best[end]
        if last is None:
            return letters
        words.append(letters[last[1] : end])
        end = last[1]
    return " ".join(reversed(words))


def is_word(word: str) -> bool:
    """Whether a word in lower case is an English one."""
    if len(word) == 1:
        return word in "ai"
    return word in word_list("dictionary") or word in word_list("english_words")


def composed(text: str) -> str:
    """`text` in compatibility form, without invisible signs; letters stay as they are."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))


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
    return word.translate(_CASED_LOOK_ALIKES) if _LATIN.search(word) else word


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
    text = composed(text).casefold()
    text = _MARKS.sub("", unicodedata.normalize("NFKD", text)).translate(_LOOK_ALIKES)
    return unleeted(_CODE.sub(_NAMELESS, unspaced(text)))


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
