"""Restoring identifiers inside the strings of a JSON answer, so that it stays JSON.

An identifier may hold quotation marks, backslashes or line feeds, and a placeholder may stand
right behind an escape such as `\\n`, whose letter would hide where the word begins. So strings are
read as what they say, restored, and written again.
"""

import json
import re
from typing import Final

from peerllm.safety.vault import StreamRestorer, Vault

_PART: Final = re.compile(r'"|\\(?:u[0-9A-Fa-f]{4}|.)|[^"\\]+', re.DOTALL)
_UNFINISHED_ESCAPE: Final = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# Half a character in UTF-16: it cannot leave as it is.
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class JsonRestorer:
    """Takes a JSON answer in pieces; has the face of `StreamRestorer`.

    Strings may be escaped otherwise than they came, but say the same. What is no JSON passes
    as well, restored like text outside of strings. `longest`: where strings had to end; one of
    such a length may have been cut off within a placeholder's number.
    """

    def __init__(self, vault: Vault, *, longest: frozenset[int] = frozenset()) -> None:
        self._vault = vault
        self._longest = longest
        self._length = 0
        self._in_string = False
        # The beginning of an escape whose rest has not arrived.
        self._held = ""
        self._restorer: StreamRestorer = vault.restorer()

    def __repr__(self) -> str:
        return "<JsonRestorer>"

    def push(self, piece: str) -> str:
        """The restored text that is certain once `piece` has arrived.

        Raises `StreamOrderError` after `finish`.
        """
        text = self._held + piece
        self._held = ""
        restored: list[str] = []
        position = 0
        while position < len(text):
            if self._in_string and _UNFINISHED_ESCAPE.match(text, position):
                self._held = text[position:]
                break
            part = _PART.match(text, position)
            # Only a backslash at the very end, outside of a string, is no part.
            found = part.group() if part else text[position:]
            position += len(found)
            if found == '"':
                cut = self._in_string and self._length in self._longest
                restored += (self._written(self._restorer.finish(cut=cut)), '"')
                self._in_string = not self._in_string
                self._length = 0
                self._restorer = self._vault.restorer()
            else:
                said = _unescaped(found) if self._in_string else found
                self._length += len(said)
                restored.append(self._written(self._restorer.push(said)))
        return "".join(restored)

    def finish(self, *, cut: bool = False) -> str:
        """The restored rest; see `StreamRestorer`. Raises `StreamOrderError` when called twice."""
        return self._written(self._restorer.finish(cut=cut)) + self._held

    def _written(self, text: str) -> str:
        if not self._in_string:
            return text
        written = json.dumps(text, ensure_ascii=False)[1:-1]
        return _SURROGATE.sub(lambda half: f"\\u{ord(half.group()):04x}", written)


def _unescaped(part: str) -> str:
    if not part.startswith("\\"):
        return part
    letter, digits = part[1], part[2:]
    if digits:
        return chr(int(digits, 16))
    return _ESCAPES.get(letter, letter)
