"""The owner's limits as a form shows them, and back: without a widget."""

from dataclasses import dataclass
from typing import Final

import msgspec

from peerllm.peer.desktop.strings import tr
from peerllm.peer.limits import SLOWEST_BANDWIDTH, Limits, ScheduleWindow
from peerllm.peer.senses import Blindness

_DAYS: Final = 7
_DAY_MINUTES: Final = 24 * 60
_MEGABYTE: Final = 1_000_000
_KIBIBYTE: Final = 1024
# What a field shows of megabytes and KiB a second. The command line takes more than a field holds.
LARGEST_SHOWN: Final = 10_000_000
# When people with day work are not at their computers.
_EVENING: Final = 18 * 60
_MORNING: Final = 8 * 60


@dataclass(frozen=True)
class DayHours:
    """The hours of one day, in minutes; an end before the start is on the next day."""

    on: bool
    start: int = _EVENING
    end: int = _MORNING


@dataclass(frozen=True, kw_only=True)
class LimitsForm:
    """What the page of limits shows; 0 is no limit."""

    scheduled: bool
    days: tuple[DayHours, ...]
    # A schedule with several spans a day, as the command line can write it.
    is_intricate: bool = False
    idle_minutes: int = 0
    on_battery: bool = False
    on_metered: bool = False
    beside_full_screen: bool = False
    threads: int = 0
    nice: int = 0
    memory_megabytes: int = 0
    celsius: int = 0
    bandwidth_kib: int = 0
    share_models: bool = False


def form_of(limits: Limits) -> LimitsForm:
    """The limits as a form."""
    spans: list[list[DayHours]] = [[] for _ in range(_DAYS)]
    for window in limits.schedule:
        for day in set(window.days):
            # Until midnight is 24:00; from midnight to midnight may be a window of no length.
            end = window.end_minute or (_DAY_MINUTES if window.start_minute else 0)
            spans[day].append(DayHours(True, window.start_minute, end))
    return LimitsForm(
        scheduled=bool(limits.schedule),
        days=tuple(found[0] if found else DayHours(False) for found in spans),
        is_intricate=any(len(found) > 1 for found in spans),
        idle_minutes=limits.idle_minutes,
        on_battery=limits.on_battery,
        on_metered=limits.on_metered,
        beside_full_screen=limits.beside_full_screen,
        threads=limits.threads,
        nice=limits.nice,
        memory_megabytes=_shown(limits.memory_cap_bytes, _MEGABYTE),
        celsius=limits.maximum_celsius,
        bandwidth_kib=_shown(limits.bandwidth_bytes_per_second, _KIBIBYTE),
        share_models=limits.share_models,
    )


def limits_of(form: LimitsForm, before: Limits) -> Limits | str:
    """What the form says, on top of what it does not show; or what is wrong with it."""
    if 0 < form.bandwidth_kib * _KIBIBYTE < SLOWEST_BANDWIDTH:
        least = tr("Limits", "The slowest bandwidth that still works is {least} KiB a second.")
        return least.format(least=SLOWEST_BANDWIDTH // _KIBIBYTE)
    if form.is_intricate:
        schedule = before.schedule
    elif not form.scheduled:
        schedule = []
    elif not any(day.on for day in form.days):
        return tr("Limits", "Choose at least one day, or switch the schedule off.")
    elif any(day.on and day.start == day.end for day in form.days):
        return tr("Limits", "A day's hours must begin and end at different times.")
    else:
        schedule = _windows(form.days)
    return msgspec.structs.replace(
        before,
        schedule=schedule,
        idle_minutes=form.idle_minutes,
        on_battery=form.on_battery,
        on_metered=form.on_metered,
        beside_full_screen=form.beside_full_screen,
        threads=form.threads,
        nice=form.nice,
        # What the form cannot show exactly stays as it was unless it was changed.
        memory_cap_bytes=_kept(form.memory_megabytes, before.memory_cap_bytes, _MEGABYTE),
        maximum_celsius=form.celsius,
        bandwidth_bytes_per_second=_kept(
            form.bandwidth_kib, before.bandwidth_bytes_per_second, _KIBIBYTE
        ),
        share_models=form.share_models,
    )


def typed_end(minute: int, shown: DayHours) -> int:
    """The end of a day's hours out of a field that reads 00:00 for 24:00."""
    if minute == shown.end % _DAY_MINUTES:
        return shown.end
    return minute or _DAY_MINUTES


def blindness_sentence(blindness: Blindness) -> str:
    """Why a limit cannot be kept on this computer, where it cannot; else nothing."""
    return {
        "": "",
        "starting": "",
        "platform": tr("Limits", "Not available on macOS and Windows yet."),
        "no_system_bus": tr(
            "Limits", "This computer does not tell: it has no message bus (D-Bus)."
        ),
        "no_network_manager": tr(
            "Limits", "This computer does not tell: NetworkManager does not run."
        ),
        "no_login_manager": tr(
            "Limits", "This computer does not tell: systemd-logind does not run."
        ),
        "no_display": tr(
            "Limits",
            "The host cannot see this screen: it was started outside the desktop, or the "
            "display does not let it in. Stop it, and start it from this window.",
        ),
        "wayland": tr(
            "Limits",
            "This desktop (Wayland) does not tell programs of each other. It works on X11.",
        ),
        "no_window_manager": tr(
            "Limits", "This desktop does not tell: no window manager runs that would say."
        ),
    }[blindness]


def _kept(shown: int, before: int, unit: int) -> int:
    return before if _shown(before, unit) == shown else shown * unit


def _shown(count: int, unit: int) -> int:
    # Rounded up, or a small cap would show as none.
    return min(-(-count // unit), LARGEST_SHOWN)


def _windows(days: tuple[DayHours, ...]) -> list[ScheduleWindow]:
    """One window for all days with the same hours."""
    by_hours: dict[tuple[int, int], list[int]] = {}
    for number, day in enumerate(days):
        if day.on:
            by_hours.setdefault((day.start, day.end), []).append(number)
    return [
        ScheduleWindow(days=numbers, start_minute=start, end_minute=end or _DAY_MINUTES)
        for (start, end), numbers in by_hours.items()
    ]
