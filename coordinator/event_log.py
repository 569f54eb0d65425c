"""The coordinator's log: named events with numbers and ids, one JSON object a line.

There is no free text: an event is a fixed name and fields of the types below, so that no prompt,
answer or exception message can reach the log by way of formatting. Strings are the ids and reasons
of a closed vocabulary; anything else is refused where it is written.
"""

import json
import re
import sys
from collections.abc import Callable
from typing import TextIO

# Peer ids, request ids, reasons, addresses and versions; without a space no sentence fits.
_WORDS = re.compile(r"[A-Za-z0-9_./:+,-]{0,120}")


class EventLog:
    """Writes events to a stream (standard error by default)."""

    def __init__(self, now_us: Callable[[], int], stream: TextIO | None = None) -> None:
        self._now_us = now_us
        self._stream = stream or sys.stderr

    def event(self, name: str, **fields: int | float | str | bool | None) -> None:
        """Write one event. A string outside the closed vocabulary is replaced, not written."""
        line: dict[str, int | float | str | bool | None] = {"at_us": self._now_us(), "event": name}
        for key, value in fields.items():
            safe = not isinstance(value, str) or _WORDS.fullmatch(value) is not None
            line[key] = value if safe else "<not loggable>"
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()
