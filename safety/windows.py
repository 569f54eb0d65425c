"""Which part of a streamed answer may be released, and what must be judged before it is.

A pure state machine. An answer is cut into windows of new words; each window is judged together
with the last words already released, so that something unsafe cannot hide across a cut. The whole
text is judged before the last words leave.

How many new words a window has follows the stream: few where they come slowly, so that the reader
does not wait for them, more where judging could not keep up with them.
"""

import math
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from peerllm.safety.errors import StreamOrderError
from peerllm.safety.scripts import UNSPACED

# A reader waits for a window to fill: at 20 words/s, a good home machine's rate, one second.
FEWEST_NEW_WORDS: Final = 20
# What the gate looks at in one piece is about 100 words, so more save it nothing.
MOST_NEW_WORDS: Final = 120
WINDOW_CONTEXT_WORDS: Final = 15
# The reader waits for the first window, so it is short; nothing precedes it that needs context.
FIRST_WINDOW_WORDS: Final = 12
# Hostile unbroken runs must still be released in bounded windows: twice
# what an English word takes, so that this bound does not cut ordinary prose.
CHARACTERS_PER_WORD: Final = 14
WINDOW_CONTEXT_CHARACTERS: Final = 240
# Judging may take this share of the time in which a window's words come. A stream is then slowed
# by no more, and a coordinator's core judges about ten streams at once.
JUDGING_SHARE: Final = 0.1

# In scripts without spaces a word is taken for so many letters, between Chinese with fewer than two
# and Thai with more than four. Readers of them would wait for 14 letters a word otherwise.
LETTERS_PER_UNSPACED_WORD: Final = 3

_COMPLETE_WORD = re.compile(
    rf"\s*(?:[^\w\s]*[{UNSPACED}]{{{LETTERS_PER_UNSPACED_WORD}}}"
    rf"|[^\w\s]*[{UNSPACED}]{{1,{LETTERS_PER_UNSPACED_WORD - 1}}}(?=[^{UNSPACED}])"
    rf"|[^\s{UNSPACED}]+(?=[\s{UNSPACED}]))"
)


@dataclass(frozen=True, slots=True)
class Window:
    """`release` may leave once `text_to_judge` (and every window before it) was found safe."""

    text_to_judge: str = field(repr=False)
    release: str = field(repr=False)


def next_window_words(new_words: int, filling_seconds: float, judging_seconds: float) -> int:
    """How many new words the window after one of `new_words` should have.

    That one took `filling_seconds` to arrive, from cut to cut, and `judging_seconds` to be judged.
    What arrives all at once is judged in the largest windows.
    """
    if judging_seconds <= 0:
        return FEWEST_NEW_WORDS
    share = judging_seconds / filling_seconds if filling_seconds > 0 else math.inf
    wanted = min(new_words * share / JUDGING_SHARE, MOST_NEW_WORDS)
    return max(FEWEST_NEW_WORDS, math.ceil(wanted))


@dataclass(slots=True)
class ReleaseWindows:
    """Push the pieces of one answer and take its windows, then finish; act on them in order.

    The releases of all windows, joined, are the answer; a window's release is always part of what
    that window, or one before it, gives to judge.
    """

    _pending: str = field(default="", repr=False)
    _context: str = field(default="", repr=False)
    _whole: list[str] = field(default_factory=list, repr=False)
    # Where in the pending text the next window begins: cutting it off each time would cost the
    # square of an answer that arrives at once.
    _start: int = 0
    _finished: bool = False

    def push(self, piece: str) -> None:
        """More of the answer.

        Raises `StreamOrderError` after `finish`.
        """
        if self._finished:
            raise StreamOrderError("a piece arrived after the stream was finished")
        self._whole.append(piece)
        self._pending, self._start = self._pending[self._start :] + piece, 0

    def take(self, new_words: int) -> Window | None:
        """The next window, of so many new words, if they have arrived."""
        end = self._window_end(new_words)
        if end is None:
            return None
        new = self._pending[self._start : end]
        window = Window(self._context + new, new)
        self._context, self._start = last_words(window.text_to_judge), end
        return window

    def finish(self) -> list[Window]:
        """The last windows: what is left with its context, and the whole text.

        The rest is released by the very last window, once the whole has been judged as well. Empty
        for an empty answer. Raises `StreamOrderError` when called twice.
        """
        if self._finished:
            raise StreamOrderError("the stream was finished twice")
        self._finished = True
        rest, whole = self._pending[self._start :], "".join(self._whole)
        self._pending, self._start, self._whole = "", 0, []
        if not whole:
            return []
        tail = self._context + rest
        last = Window(whole, rest)
        return [last] if tail == whole or not rest.strip() else [Window(tail, ""), last]

    def _window_end(self, new_words: int) -> int | None:
        """Where the next window ends in the pending text, if it is complete."""
        limit = self._start + new_words * CHARACTERS_PER_WORD
        end = self._start
        for _ in range(new_words):
            # One character beyond the limit shows whether a word ends exactly there.
            word = _COMPLETE_WORD.match(self._pending, end, limit + 1)
            if word is None:
                return limit if len(self._pending) > limit else None
            end = word.end()
        return end


def last_words(text: str) -> str:
    """The last words of `text` that give the next window its context."""
    start = max(0, len(text) - WINDOW_CONTEXT_CHARACTERS)
    starts = deque(
        (word.start() for word in re.finditer(r"\S+", text[start:])), maxlen=WINDOW_CONTEXT_WORDS
    )
    return text[start + starts[0] :] if starts else ""
