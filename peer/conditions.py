"""Looks at the machine: battery, temperature, memory, and whether its owner is using it."""

import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import psutil

from peerllm.peer.limits import Conditions, Limits

# Other programs together below a tenth of the machine: nobody is waiting for anything.
# A keyboard's last touch would tell more, but every desktop keeps it elsewhere and a
# service sees none of them.
_QUIET_SHARE: Final = 0.10
# Shorter spans give readings of single clock ticks.
_SHORTEST_SPAN: Final = 0.25


class MachineWatch:
    """Reads what the limits in force need, and nothing else."""

    def __init__(
        self,
        own_processes: Callable[[], Sequence[int]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        local_now: Callable[[], datetime] = datetime.now,
        boot_us: Callable[[], int | None] | None = None,
    ) -> None:
        self._own_processes = own_processes
        self._monotonic = monotonic
        self._local_now = local_now
        self._boot_us = boot_us or _boot_us
        self._quiet = QuietClock()

    def read(self, limits: Limits) -> Conditions:
        """The machine now. Takes about a millisecond; may block on odd hardware."""
        # A computer that travels gets another time zone while the host runs.
        getattr(time, "tzset", lambda: None)()
        now = self._local_now()
        return Conditions(
            weekday=now.weekday(),
            minute=now.hour * 60 + now.minute,
            now_us=int(now.timestamp() * 1_000_000),
            boot_us=self._boot_us(),
            on_battery=None if limits.on_battery else _on_battery(),
            idle_seconds=self._idle_seconds() if limits.idle_minutes else None,
            memory_bytes=self._memory_bytes() if limits.memory_cap_bytes else None,
            celsius=_hottest() if limits.maximum_celsius else None,
        )

    def _idle_seconds(self) -> float:
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
        # What a guest uses is counted as user time, too.
        busy -= getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        own = 0.0
        for process_id in self._own_processes():
            with contextlib.suppress(psutil.Error):
                spent = psutil.Process(process_id).cpu_times()
                own += spent.user + spent.system
        return self._quiet.idle_seconds(self._monotonic(), busy, own, cores=psutil.cpu_count() or 1)

    def _memory_bytes(self) -> int:
        total = 0
        for process_id in self._own_processes():
            with contextlib.suppress(psutil.Error):
                total += psutil.Process(process_id).memory_info().rss
        return total


class QuietClock:
    """How long other programs have used next to nothing of the processor."""

    def __init__(self) -> None:
        self._before: tuple[float, float, float] | None = None
        self._quiet_since: float | None = None
        self._last = 0.0

    def idle_seconds(self, now: float, busy: float, own: float, *, cores: int) -> float:
        """Take the clock and processor seconds spent by all and by ourselves, so far."""
        if self._quiet_since is None:
            self._quiet_since = now
        if self._before is None:
            self._before = (now, busy, own)
        then, busy_before, own_before = self._before
        if now - then >= _SHORTEST_SPAN:
            others = (busy - busy_before) - max(0.0, own - own_before)
            if others > _QUIET_SHARE * cores * (now - then):
                self._quiet_since = now
            self._before = (now, busy, own)
        return now - self._quiet_since


def _boot_us() -> int | None:
    # Linux alone has one that is known to count sleep as well.
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return None if clock is None else time.clock_gettime_ns(clock) // 1000


def _on_battery() -> bool | None:
    # Absent on platforms without an interface for it; None without a battery.
    read = getattr(psutil, "sensors_battery", lambda: None)
    with contextlib.suppress(OSError, RuntimeError):
        battery = read()
        return None if battery is None else not battery.power_plugged
    return None


def _hottest() -> float | None:
    read = getattr(psutil, "sensors_temperatures", dict)
    with contextlib.suppress(OSError, RuntimeError):
        readings = [one.current for sensors in read().values() for one in sensors]
        # A sensor that is switched off reads 0 or nonsense.
        return max((celsius for celsius in readings if 0 < celsius < 150), default=None)
    return None
