import os
import time
from datetime import datetime

import pytest

from peerllm.peer.conditions import MachineWatch, QuietClock
from peerllm.peer.limits import Limits

EVERYTHING = Limits(idle_minutes=1, memory_cap_bytes=1, maximum_celsius=90)


def test_only_what_a_limit_needs_is_read() -> None:
    watch = MachineWatch(lambda: [os.getpid()], local_now=lambda: datetime(2026, 11, 25, 13, 30))
    plain = watch.read(Limits(on_battery=True))
    assert (plain.weekday, plain.minute) == (2, 810)
    assert plain.memory_bytes is plain.idle_seconds is plain.celsius is plain.on_battery is None


def test_this_machine_can_be_read() -> None:
    watch = MachineWatch(lambda: [os.getpid(), 2**22 + 1])
    now = watch.read(EVERYTHING)
    assert now.memory_bytes is not None
    assert now.memory_bytes > 1_000_000
    assert now.idle_seconds == 0
    assert now.celsius is None or 0 < now.celsius < 150


def test_own_work_is_not_mistaken_for_the_owner_s() -> None:
    clock = QuietClock()
    assert clock.idle_seconds(100, 0, 0, cores=2) == 0
    # The engine uses a whole core, others next to nothing.
    assert clock.idle_seconds(110, 10.5, 10, cores=2) == 10
    # Others use half a core.
    assert clock.idle_seconds(120, 25.5, 20, cores=2) == 0
    assert clock.idle_seconds(130, 35.5, 30, cores=2) == 10
    # Too soon after the last reading to say anything new.
    assert clock.idle_seconds(130.125, 99, 30, cores=2) == 10.125


def test_a_restarted_engine_is_no_sign_of_use() -> None:
    clock = QuietClock()
    clock.idle_seconds(0, 0, 50, cores=2)
    assert clock.idle_seconds(10, 1, 0, cores=2) == 10


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this platform has one time zone a process")
def test_a_computer_that_travels_gets_its_new_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = MachineWatch(list)
    try:
        read = []
        for zone in ("XXX-3", "XXX+9"):
            monkeypatch.setenv("TZ", zone)
            read.append(watch.read(Limits()).minute)
    finally:
        monkeypatch.undo()
        time.tzset()
    # Half a day between them; a minute may have passed.
    assert (read[0] - read[1]) % 1440 in {719, 720}


def test_a_clock_that_nobody_sets_is_read_where_there_is_one() -> None:
    first, second = (MachineWatch(list).read(Limits()).boot_us for _ in range(2))
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert first is not None
        assert second is not None
        assert 0 < first <= second
    else:
        assert first is second is None
