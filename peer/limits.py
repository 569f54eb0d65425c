"""What an owner lets a host take of the machine, and when: the decision alone.

Pure: conditions come in, reasons to hold come out. While there is a reason, no new slot is
granted; what runs goes on to its end.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

HoldReason = Literal[
    "paused",
    "schedule",
    "owner_active",
    "battery",
    "metered",
    "full_screen",
    "memory",
    "temperature",
    # No limit: the computer is about to sleep.
    "sleep",
]

# Beyond it a clock is wrong.
YEAR_2100_US: Final = 4_102_444_800_000_000
# A cap below this could not carry a session's heartbeats beside a chunk of 1 MiB in time.
SLOWEST_BANDWIDTH: Final = 64 * 1024
# More than any machine has, and still what every reader of JSON and MessagePack takes whole.
LARGEST_CAP_BYTES: Final = 2**53
# Let go only this far below the limit, so that a host does not flap at its edge.
_COOLER_CELSIUS: Final = 5.0
_SMALLER_SHARE: Final = 0.95
_DAY_MINUTES: Final = 24 * 60
# A clock that was set back must not turn an hour's pause into a year's.
LONGEST_PAUSE_SECONDS: Final = 24 * 3600
# Less is a clock that is being kept right, not one that was set.
CLOCK_SET_US: Final = 5_000_000

Minute = Annotated[int, Meta(ge=0, le=_DAY_MINUTES)]


class ScheduleWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Days (Monday is 0) and minutes of the day, local time, in which a host serves.

    A window that ends before it starts reaches into the next day.
    """

    days: Annotated[list[Annotated[int, Meta(ge=0, le=6)]], Meta(min_length=1, max_length=7)]
    start_minute: Minute
    end_minute: Minute


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All limits of one host; 0 or an empty list means no limit."""

    paused: bool = False
    # Epoch microseconds at which a pause for a while is over; 0 is none.
    paused_until_us: Annotated[int, Meta(ge=0, le=YEAR_2100_US)] = 0
    schedule: Annotated[list[ScheduleWindow], Meta(max_length=64)] = []
    # Serve only once other programs have been quiet for so long.
    idle_minutes: Annotated[int, Meta(ge=0, le=_DAY_MINUTES)] = 0
    on_battery: bool = True
    # On a network that is paid for by the byte, as a telephone's hotspot.
    on_metered: bool = True
    # While the program in front fills the screen: a film, a game, a talk.
    beside_full_screen: bool = True
    # Of the engine.
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    nice: Annotated[int, Meta(ge=0, le=19)] = 0
    # Daemon and engine together; checked before a model is loaded, too.
    memory_cap_bytes: Annotated[int, Meta(ge=0, le=LARGEST_CAP_BYTES)] = 0
    maximum_celsius: Annotated[int, Meta(ge=0, le=150)] = 0
    bandwidth_bytes_per_second: Annotated[int, Meta(ge=0, le=LARGEST_CAP_BYTES)] = 0
    # Whether hosts that the coordinator introduces may fetch models' files from this one.
    share_models: bool = False

    def __post_init__(self) -> None:
        if 0 < self.bandwidth_bytes_per_second < SLOWEST_BANDWIDTH:
            raise ValueError(
                f"the bandwidth cap must be 0 or at least {SLOWEST_BANDWIDTH} bytes/s, "
                f"got {self.bandwidth_bytes_per_second}"
            )


# A host that nobody watches stays off the battery, a network paid for by the byte and its
# owner's films until told otherwise; one that runs in a terminal does what it was started for.
UNATTENDED: Final = Limits(on_battery=False, on_metered=False, beside_full_screen=False)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How the machine is right now; None where this machine cannot tell."""

    weekday: int
    minute: int
    # Epoch microseconds.
    now_us: int = 0
    # Microseconds of a clock that nobody sets, and that goes on while the machine sleeps.
    boot_us: int | None = None
    on_battery: bool | None = None
    on_metered: bool | None = None
    full_screen: bool | None = None
    # How long other programs have been quiet.
    idle_seconds: float | None = None
    memory_bytes: int | None = None
    celsius: float | None = None


def holds(
    limits: Limits, now: Conditions, before: frozenset[HoldReason] = frozenset()
) -> frozenset[HoldReason]:
    """Every reason to grant no slots now. `before`: the reasons that held until now.

    What the machine cannot tell does not hold: a limit that could never be lifted would
    look like a broken host.
    """
    reasons: set[HoldReason] = set()
    left_us = limits.paused_until_us - now.now_us
    if limits.paused or 0 < left_us <= LONGEST_PAUSE_SECONDS * 1_000_000:
        reasons.add("paused")
    if limits.schedule and not any(_within(window, now) for window in limits.schedule):
        reasons.add("schedule")
    if limits.idle_minutes and _less(now.idle_seconds, 60 * limits.idle_minutes):
        reasons.add("owner_active")
    if now.on_battery and not limits.on_battery:
        reasons.add("battery")
    if now.on_metered and not limits.on_metered:
        reasons.add("metered")
    if now.full_screen and not limits.beside_full_screen:
        reasons.add("full_screen")
    memory: float = limits.memory_cap_bytes
    if _above(now.memory_bytes, memory * (_SMALLER_SHARE if "memory" in before else 1)):
        reasons.add("memory")
    celsius = limits.maximum_celsius
    if _above(now.celsius, celsius and celsius - _COOLER_CELSIUS * ("temperature" in before)):
        reasons.add("temperature")
    return frozenset(reasons)


def after_clock_was_set(limits: Limits, by_us: int) -> Limits:
    """The limits once the clock has been set forward by so much: an hour stays an hour."""
    if not limits.paused_until_us or abs(by_us) < CLOCK_SET_US:
        return limits
    until_us = min(max(limits.paused_until_us + by_us, 1), YEAR_2100_US)
    return msgspec.structs.replace(limits, paused_until_us=until_us)


def _within(window: ScheduleWindow, now: Conditions) -> bool:
    start, end = window.start_minute, window.end_minute
    if start <= end:
        return now.weekday in window.days and start <= now.minute < end
    yesterday = (now.weekday - 1) % 7
    return (now.weekday in window.days and now.minute >= start) or (
        yesterday in window.days and now.minute < end
    )


def _less(value: float | None, limit: float) -> bool:
    return value is not None and value < limit


def _above(value: float | None, limit: float) -> bool:
    return value is not None and limit > 0 and value > limit
