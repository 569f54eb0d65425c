"""A log of named events with numbers and short words, one JSON object a line.

There is no free text: an event is a name out of its room's closed list, and a string field with a
space in it is not written. So no prompt, answer or exception message can reach the log
by way of formatting.
"""

import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Final, Generic, TextIO, TypeVar

Event = TypeVar("Event", bound=str)

# Peer ids, model names, reasons, places in the code: without a space no sentence fits.
_WORD: Final = re.compile(r"[A-Za-z0-9_./:+,-]{0,128}")


class EventLog(Generic[Event]):
    """Writes events to a stream, standard error by default."""

    def __init__(self, now_us: Callable[[], int], stream: TextIO | None = None) -> None:
        self._now_us = now_us
        self._stream = stream or sys.stderr
        self._lost = 0

    def event(self, name: Event, **fields: int | str) -> None:
        """Write one event; a string that is no single word is replaced, not written.

        A line that a full disk or a closed stream does not take is lost; the next one that is
        written says how many.
        """
        line: dict[str, int | str] = {"at_us": self._now_us(), "event": name}
        for key, value in fields.items():
            is_safe = isinstance(value, int) or _WORD.fullmatch(value) is not None
            line[key] = value if is_safe else "<withheld>"
        if self._lost:
            line["lost_lines"] = self._lost
        written = json.dumps(line) + "\n"
        try:
            self._stream.write(written)
            self._stream.flush()
        except (OSError, ValueError):
            # It costs the line, not the work that it tells of. ValueError: the stream is closed.
            self._lost += 1
        else:
            self._lost = 0


class LibraryLog(logging.Handler, Generic[Event]):
    """What libraries log, reduced to who and where: their messages may quote anything."""

    def __init__(self, log: EventLog[Event], event: Event) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._event = event

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event with the logger's name, the level and the line in the code."""
        self._log.event(
            self._event,
            logger=record.name,
            level=record.levelname,
            place=f"{record.module}:{record.lineno}",
        )
