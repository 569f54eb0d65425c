"""Server-sent events out of bytes as they arrive (WHATWG HTML, section 9.2), bounded."""

from dataclasses import dataclass, field
from typing import Final

# A status of 64 models takes 40 KB; whoever sends more in one event is not a host.
MAXIMUM_EVENT_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class StreamEvent:
    """One event; its data may be content."""

    name: str
    data: bytes = field(repr=False)


class EventStreamError(Exception):
    """The other end does not speak server-sent events; nothing more can be read of it."""


class EventStream:
    """Takes bytes in any pieces, gives whole events."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []
        self._held = 0

    def feed(self, raw: bytes) -> list[StreamEvent]:
        """The events that are complete with these bytes. Raises `EventStreamError`."""
        lines = (self._rest + raw).split(b"\n")
        self._rest = lines.pop()
        found = [event for line in lines if (event := self._line(line.removesuffix(b"\r")))]
        if self._held + len(self._rest) > MAXIMUM_EVENT_BYTES:
            raise EventStreamError
        return found

    def _line(self, line: bytes) -> StreamEvent | None:
        if not line:
            event = StreamEvent(self._name, b"\n".join(self._data)) if self._data else None
            self._name, self._data, self._held = "", [], 0
            return event
        self._held += len(line)
        field_name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field_name == b"event":
            self._name = value.decode("ascii", "replace")
        elif field_name == b"data":
            self._data.append(value)
        return None
