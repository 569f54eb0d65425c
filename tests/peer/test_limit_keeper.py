import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from peerllm.peer.errors import ConfigurationError
from peerllm.peer.limit_keeper import LimitKeeper
from peerllm.peer.limits import UNATTENDED, Conditions, HoldReason, Limits


class Machine:
    """A machine that a test can take off its charger."""

    def __init__(self) -> None:
        self.on_battery = False
        self.now_us = 0
        self.boot_us: int | None = None
        self.looks = 0
        self.tunings: list[tuple[int, int, int]] = []
        self.holds: list[frozenset[HoldReason]] = []

    async def look(self, limits: Limits) -> Conditions:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        self.looks += 1
        return Conditions(
            weekday=0,
            minute=0,
            now_us=self.now_us,
            boot_us=self.boot_us,
            on_battery=self.on_battery,
        )

    def pass_time(self, seconds: int, *, clock_set_by: int = 0) -> None:
        """Awake or asleep; and then somebody sets the clock."""
        assert self.boot_us is not None
        self.boot_us += seconds * 1_000_000
        self.now_us += (seconds + clock_set_by) * 1_000_000

    def tune(self, *, threads: int, nice: int, memory_cap_bytes: int) -> None:
        self.tunings.append((threads, nice, memory_cap_bytes))


@pytest.fixture
def machine() -> Machine:
    return Machine()


def keeper(tmp_path: Path, machine: Machine) -> LimitKeeper:
    return LimitKeeper(tmp_path / "limits.json", look=machine.look, on_change=machine.holds.append)


async def comes(is_so: Callable[[], bool]) -> None:
    """Wait for what a thread has a part in: for the test's clock it takes no time."""
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        await trio.sleep(0.1)


async def test_a_change_is_in_force_at_once_and_survives(tmp_path: Path, machine: Machine) -> None:
    kept = keeper(tmp_path, machine)
    kept.govern(machine)
    await kept.set(Limits(paused=True, threads=2, nice=10, memory_cap_bytes=7))
    assert kept.holds == {"paused"}
    assert machine.tunings == [(0, 0, 0), (2, 10, 7)]
    again = keeper(tmp_path, machine)
    assert again.limits.paused
    assert again.limits.nice == 10
    await kept.set(msgspec.structs.replace(kept.limits, paused=False))
    assert kept.holds == frozenset()
    assert machine.holds == [{"paused"}, frozenset()]


async def test_the_machine_is_looked_at_twice_a_second_while_it_matters(
    tmp_path: Path, machine: Machine, autojump_clock: MockClock
) -> None:
    kept = keeper(tmp_path, machine)
    await kept.set(UNATTENDED)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await trio.sleep(3)
        assert machine.holds == []
        machine.on_battery = True
        await trio.sleep(1)
        assert machine.holds == [{"battery"}]
        machine.on_battery = False
        await trio.sleep(1)
        assert machine.holds == [{"battery"}, frozenset()]
        # Nothing that the machine could change: nobody looks.
        await kept.set(Limits())
        await trio.sleep(1)
        looks = machine.looks
        await trio.sleep(3600)
        assert machine.looks == looks
        await kept.set(Limits(paused=True))
        await wait_all_tasks_blocked()
        assert kept.holds == {"paused"}
        nursery.cancel_scope.cancel()


async def test_a_pause_for_a_while_ends_by_itself_and_is_then_forgotten(
    tmp_path: Path, machine: Machine, autojump_clock: MockClock
) -> None:
    kept = keeper(tmp_path, machine)
    machine.now_us = 1_000_000_000
    await kept.set(Limits(paused_until_us=machine.now_us + 5_000_000))
    assert kept.holds == {"paused"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await trio.sleep(2)
        assert kept.holds == {"paused"}
        machine.now_us += 6_000_000
        await trio.sleep(1)
        assert machine.holds == [{"paused"}, frozenset()]
        looks = machine.looks
        await trio.sleep(3600)
        assert machine.looks == looks
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("set_by", [86_400, -86_400, 3_000, -3_000, 0])
async def test_a_pause_lasts_as_long_as_it_was_meant_to_whatever_the_clock_does(
    tmp_path: Path, machine: Machine, autojump_clock: MockClock, set_by: int
) -> None:
    told: list[int] = []
    kept = LimitKeeper(
        tmp_path / "limits.json",
        look=machine.look,
        on_change=machine.holds.append,
        on_limits=lambda: told.append(kept.limits.paused_until_us),
    )
    machine.now_us, machine.boot_us = 1_700_000_000_000_000, 60_000_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        until_us = machine.now_us + 3_600_000_000
        await kept.set(Limits(paused_until_us=until_us))
        # Half of it asleep.
        machine.pass_time(1800)
        await trio.sleep(1)
        machine.pass_time(1000, clock_set_by=set_by)
        await trio.sleep(1)
        assert kept.holds == {"paused"}
        after_us = until_us + set_by * 1_000_000
        assert kept.limits.paused_until_us == after_us
        await comes(lambda: keeper(tmp_path, machine).limits.paused_until_us == after_us)
        machine.pass_time(790)
        await trio.sleep(1)
        assert kept.holds == {"paused"}
        machine.pass_time(20)
        await trio.sleep(1)
        await comes(lambda: kept.holds == frozenset())
        # The next start does not remember a pause that is over.
        await comes(lambda: not keeper(tmp_path, machine).limits.paused_until_us)
        assert told == ([after_us, 0] if set_by else [0])
        nursery.cancel_scope.cancel()


async def test_a_pause_begun_after_the_clock_was_set_is_not_moved(
    tmp_path: Path, machine: Machine, autojump_clock: MockClock
) -> None:
    kept = keeper(tmp_path, machine)
    machine.now_us, machine.boot_us = 1_700_000_000_000_000, 60_000_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await kept.set(UNATTENDED)
        await trio.sleep(1)
        machine.pass_time(1, clock_set_by=7200)
        until_us = machine.now_us + 60_000_000
        await kept.set(Limits(paused_until_us=until_us))
        await trio.sleep(1)
        assert kept.limits.paused_until_us == until_us
        nursery.cancel_scope.cancel()


async def test_a_full_disk_does_not_end_the_watch(
    tmp_path: Path, machine: Machine, autojump_clock: MockClock
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    kept = keeper(folder, machine)
    machine.now_us = 1_700_000_000_000_000
    await kept.set(Limits(paused_until_us=machine.now_us + 1_000_000))
    (folder / "limits.json").unlink()
    folder.rmdir()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        machine.now_us += 2_000_000
        await trio.sleep(1)
        assert machine.holds == [{"paused"}, frozenset()]
        nursery.cancel_scope.cancel()


def test_damaged_limits_stop_the_host_instead_of_being_ignored(
    tmp_path: Path, machine: Machine
) -> None:
    (tmp_path / "limits.json").write_text('{"nice": 99}')
    with pytest.raises(ConfigurationError, match=r"limits.json cannot be read"):
        keeper(tmp_path, machine)
