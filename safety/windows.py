"""Which part of a streamed answer may be released, and what must be judged before it is.

A pure state machine. An answer is cut into windows of new words; each window is judged together
with the last words already released, so that something unsafe cannot hide across a cut. The whole
text is judged before the last words leave.
"""

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from peerllm.safety.errors import StreamOrderError

WINDOW_NEW_WORDS: Final = 35
WINDOW_CONTEXT_WORDS: Final = 15
# The reader waits for the first window, so it is short; nothing precedes it that needs context.
FIRST_WINDOW_WORDS: Final = 12
# Scripts without spaces and hostile unbroken runs must still be released in bounded windows:
# 35 English words are about 210 characters, so this bound does not cut ordinary prose.
WINDOW_NEW_CHARACTERS: Final = 480
WINDOW_CONTEXT_CHARACTERS: Final = 240

_COMPLETE_WORD = re.compile(r"\s*\S+(?=\s)")


@dataclass(frozen=True, slots=True)
class Window:
    """`release` may leave once `text_to_judge` (and every window before it) was found safe."""

    text_to_judge: str = field(repr=False)
    release: str = field(repr=False)


@dataclass(slots=True)
class ReleaseWindows:
    """Push the pieces of one answer, then finish; act on the windows strictly in order.

    The releases of all windows, joined, are the answer; a window's release is always part of what
    that window, or one before it, gives to judge.
    """

    _pending: str = field(default="", repr=False)
    _context: str = field(default="", repr=False)
    _whole: list[str] = field(default_factory=list, repr=False)
    _started: bool = False
    _finished: bool = False

    def push(self, piece: str) -> list[Window]:
        """The windows that `piece` completes, oldest first.

        Raises `StreamOrderError` after `finish`.
        """
        if self._finished:
            raise StreamOrderError("a piece arrived after the stream was finished")
        self._whole.append(piece)
        self._pending += piece
        windows: list[Window] = []
        start = 0
        while (end := self._window_end(start)) is not None:
            windows.append(self._window(self._pending[start:end]))
            start = end
        self._pending = self._pending[start:]
        return windows

    def finish(self) -> list[Window]:
        """The last windows: what is left with its context, and the whole text.

        The rest is released by the very last window, once the whole has been judged as well. Empty
        for an empty answer. Raises `StreamOrderError` when called twice.
        """
        if self._finished:
            raise StreamOrderError("the stream was finished twice")
        self._finished = True
        rest, whole = self._pending, "".join(self._whole)
        self._pending, self._whole = "", []
        if not whole:
            return []
        tail = self._context + rest
        last = Window(whole, rest)
        return [last] if tail == whole or not rest.strip() else [Window(tail, ""), last]

    def _window_end(self, start: int) -> int | None:
        """Where the window that begins at `start` of the pending text ends, if it is complete."""
        wanted = WINDOW_NEW_WORDS if self._started else FIRST_WINDOW_WORDS
        limit = start + WINDOW_NEW_CHARACTERS
        end = start
        for _ in range(wanted):
            # One character beyond the limit shows whether a word ends exactly there.
            word = _COMPLETE_WORD.match(self._pending, end, limit + 1)
            if word is None:
                return limit if len(self._pending) > limit else None
            end = word.end()
        return end

    def _window(self, new: str) -> Window:
        window = Window(self._context + new, new)
        self._context = last_words(window.text_to_judge)
        self._started = True
        return window


def last_words(text: str) -> str:
    """The last words of `text` that give the next window its context."""
    start = max(0, len(text) - WINDOW_CONTEXT_CHARACTERS)
    starts = deque(
        (word.start() for word in re.finditer(r"\S+", text[start:])), maxlen=WINDOW_CONTEXT_WORDS
    )
    return text[start + starts[0] :] if starts else ""
