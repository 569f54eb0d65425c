"""From token bytes to text that may leave the engine.

Pure state machine. A byte-level token may hold half a character, and a stop string may
span several tokens: both are held back until they are decided.
"""

import codecs
from collections.abc import Sequence


class ReleasedText:
    """Text of one answer, released as soon as no stop string can still claim it."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._longest = max(map(len, self._stop), default=0)
        # An invalid byte inside the text becomes U+FFFD; an unfinished character waits.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def __repr__(self) -> str:
        return f"ReleasedText(stopped={self.stopped})"

    def push(self, piece: bytes) -> str:
        """Take a token's bytes, give what may be released; after a stop string, nothing."""
        if self.stopped:
            return ""
        self._held += self._decoder.decode(piece)
        found = [at for at in (self._held.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped = True
            return self._take(min(found))
        return self._take(len(self._held) - self._undecided())

    def finish(self) -> str:
        """The rest, when no token follows. Bytes of an unfinished character are dropped."""
        return "" if self.stopped else self._take(len(self._held))

    def _take(self, length: int) -> str:
        released, self._held = self._held[:length], self._held[length:]
        return released

    def _undecided(self) -> int:
        """Length of the longest tail of the held text that begins a stop string."""
        for length in range(min(self._longest - 1, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._stop):
                return length
        return 0
