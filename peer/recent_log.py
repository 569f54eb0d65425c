"""The last lines of a host's log, for those who look in later, and the next, as they come."""

import io
from collections import deque
from collections.abc import Callable
from typing import Final, TextIO

# A chunk leaves two lines: the last hours of a quiet host, the last minutes of a busy one.
_KEPT_LINES: Final = 1000


class RecentLog(io.StringIO):
    """A stream for `EventLog` that passes everything on and remembers the end of it."""

    def __init__(self, onward: TextIO, turn_over: Callable[[], None] = lambda: None) -> None:
        """`turn_over` is called after every line, to begin a large file anew."""
        super().__init__()
        self._onward = onward
        self._turn_over = turn_over
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.on_line: Callable[[str], None] = lambda _line: None

    def write(self, text: str) -> int:
        """Take one line."""
        line = text.rstrip("\n")
        self.lines.append(line)
        self.on_line(line)
        return self._onward.write(text)

    def flush(self) -> None:
        """Flush what it is passed on to."""
        self._onward.flush()
        self._turn_over()
