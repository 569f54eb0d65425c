"""A schedule as a person writes it: `mon-fri 18:00-08:00`."""

import re
from collections.abc import Sequence
from typing import Final

from peerllm.peer.errors import ConfigurationError
from peerllm.peer.limits import ScheduleWindow

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = "(?:" + "|".join(_DAYS) + ")"
_WINDOW: Final = re.compile(
    rf"(?:(?P<days>{_DAY}(?:[-,]{_DAY})*) )?"
    r"(?P<start>[0-9]{1,2}:[0-9]{2})-(?P<end>[0-9]{1,2}:[0-9]{2})"
)


def schedule_window(text: str) -> ScheduleWindow:
    """Days (all without them) and hours, local time. Raises `ConfigurationError`."""
    found = _WINDOW.fullmatch(text.strip().lower())
    if found is not None:
        start, end = _minute(found["start"]), _minute(found["end"])
        if start is not None and end is not None and start != end:
            days = _days(found["days"] or "mon-sun")
            return ScheduleWindow(days=days, start_minute=start, end_minute=end)
    raise ConfigurationError(
        f'a schedule reads like "mon-fri 18:00-08:00" or "sat,sun 00:00-24:00", got {text!r}'
    )


def describe_schedule(windows: Sequence[ScheduleWindow]) -> str:
    """The windows as they can be written again; empty without any."""
    return ", ".join(
        f"{','.join(_DAYS[day] for day in sorted(set(window.days)))} "
        f"{_clock(window.start_minute)}-{_clock(window.end_minute)}"
        for window in windows
    )


def _days(text: str) -> list[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, *more = (_DAYS.index(name) for name in part.split("-"))
        last = more[-1] if more else first
        # From Friday to Monday goes over the end of the week.
        days |= {(first + step) % 7 for step in range((last - first) % 7 + 1)}
    return sorted(days)


def _minute(text: str) -> int | None:
    hours, minutes = map(int, text.split(":"))
    minute = hours * 60 + minutes
    return minute if minutes < 60 and minute <= 24 * 60 else None


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
