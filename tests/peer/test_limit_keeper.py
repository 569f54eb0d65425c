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
        self.looks = 0
        self.tunings: list[tuple[int, int, int]] = []
        self.holds: list[frozenset[HoldReason]] = []

    async def look(self, limits: Limits) -> Conditions:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        self.looks += 1
        return Conditions(weekday=0, minute=0, now_us=self.now_us, on_battery=self.on_battery)

    def tune(self, *, threads: int, nice: int, memory_cap_bytes: int) -> None:
        self.tunings.append((threads, nice, memory_cap_bytes))


@pytest.fixture
def machine() -> Machine:
    return Machine()


def keeper(tmp_path: Path, machine: Machine) -> LimitKeeper:
    return LimitKeeper(tmp_path / "limits.json", look=machine.look, on_change=machine.holds.append)


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


def test_damaged_limits_stop_the_host_instead_of_being_ignored(
    tmp_path: Path, machine: Machine
) -> None:
    (tmp_path / "limits.json").write_text('{"nice": 99}')
    with pytest.raises(ConfigurationError, match=r"limits.json cannot be read"):
        keeper(tmp_path, machine)
