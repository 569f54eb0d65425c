"""A text as the detectors know it, and where each of its characters stands in what was written.

Some systems write an accent behind its letter, word processors and web pages put invisible signs
into numbers and addresses, and scripts that need no spaces put none around a number: patterns know
nothing of that, and the tagger takes a word for two.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from peerllm.safety.identifier_kinds import Identifier
from peerllm.safety.scripts import UNSPACED

# Soft hyphens, spaces without width, marks of direction. Between two words that only such a space
# parts, it stays.
_INVISIBLE: Final = (
    "(?:[\u00ad\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
    "|(?<![a-z])\u200b|\u200b(?![A-Z]))+"
)
_ACCENTED: Final = "[^\u0300-\u036f][\u0300-\u036f]+"
# Letters that stand right beside a number or an address: of scripts without spaces, and of those
# with particles or prefixes, Hangul, Hebrew and Arabic.
_BESIDE: Final = f"[{UNSPACED}\uac00-\ud7a3\u05d0-\u05ea\u0620-\u064a]"
# Digits and letters of ASCII, of full width, and digits as Arabic and Persian write them.
_PLAIN: Final = "A-Za-z0-9\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\u0660-\u0669\u06f0-\u06f9"
_BOUND: Final = f"(?<={_BESIDE})(?=[{_PLAIN}+@\uff0b\uff20])|(?<=[{_PLAIN}])(?={_BESIDE})"
_CHANGED: Final = re.compile(f"{_INVISIBLE}|(?P<accented>{_ACCENTED})|(?P<bound>{_BOUND})")


@dataclass(frozen=True, slots=True, repr=False)
class PlainText:
    """`text`, of which character i was written at `starts[i]` to `ends[i]`."""

    text: str
    starts: list[int]
    ends: list[int]

    def as_written(self, found: Identifier) -> Identifier:
        """Where what was found in `text` stands in the text as it was written."""
        start = self.starts[found.start]
        end = self.ends[found.end - 1] if found.end > found.start else start
        return Identifier(start, end, found.kind, found.score)


def plain_text(written: str) -> PlainText | None:
    """`written` with composed accents, spaces around what is plain and without invisible signs.

    None if it is so already.
    """
    if written.isascii() or _CHANGED.search(written) is None:
        return None
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0

    def keep(end: int) -> None:
        pieces.append(written[position:end])
        starts.extend(range(position, end))
        ends.extend(range(position + 1, end + 1))

    for found in _CHANGED.finditer(written):
        keep(found.start())
        position = found.end()
        accented, bound = found["accented"], found["bound"]
        new = " " if bound is not None else unicodedata.normalize("NFC", accented or "")
        pieces.append(new)
        starts.extend([found.start()] * len(new))
        ends.extend([found.end()] * len(new))
    keep(len(written))
    starts.append(len(written))
    return PlainText("".join(pieces), starts, ends)
