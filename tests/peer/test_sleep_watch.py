"""systemd-logind's word, over a real message bus."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from peerllm.peer.sleep_watch import SleepWatch
from peerllm.peer.system_bus import follow_system_bus
from tests.peer.message_bus import MockService, on_bus, private_bus, until

NAME = "org.freedesktop.login1"
PATH = "/org/freedesktop/login1"
MANAGER = "org.freedesktop.login1.Manager"


class Logind:
    """Gives out locks as logind does: the other end of each shows when it is let go."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.delay_us: Any = 3_000_000
        self.asked: list[tuple[Any, ...]] = []
        self.locks: list[int] = []

    def __call__(self, member: str, body: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]] | None:
        if member == "Inhibit" and not self.refuses:
            mine, theirs = os.pipe()
            os.set_blocking(mine, False)
            self.asked.append(body)
            self.locks.append(mine)
            return "h", (_Once(theirs),)
        if (member, body) == (
            "Get",
            (MANAGER, "InhibitDelayMaxUSec"),
        ) and self.delay_us is not None:
            return "v", (("t", self.delay_us),)
        return None

    def is_held(self) -> bool:
        """Whether somebody still has the lock that was given out last."""
        try:
            return os.read(self.locks[-1], 1) != b""
        except BlockingIOError:
            return True

    def close(self) -> None:
        for lock in self.locks:
            os.close(lock)


class _Once:
    """A file that is closed here once it has been sent."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def __del__(self) -> None:
        os.close(self._number)


class Host:
    """What a host would be told."""

    def __init__(self) -> None:
        self.rests: list[float] = []
        self.wakes = 0
        self.answers_end = trio.Event()

    async def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        await self.answers_end.wait()

    def wake(self) -> None:
        self.wakes += 1


async def prepare(service: MockService, start: bool) -> None:
    await service.say(PATH, MANAGER, "PrepareForSleep", "b", (start,))


@asynccontextmanager
async def followed(
    folder: Path, logind: Logind, host: Host
) -> AsyncIterator[tuple[MockService, SleepWatch, str]]:
    watch = SleepWatch(rest=host.rest, wake=host.wake)
    with private_bus(folder) as address:
        async with on_bus(address, NAME, logind) as service, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: follow_system_bus([watch], address=address))
            await until(lambda: watch.blindness == "", "the watch")
            yield service, watch, address
            nursery.cancel_scope.cancel()
    logind.close()


async def test_answers_are_finished_before_the_computer_sleeps(tmp_path: Path) -> None:
    logind, host = Logind(), Host()
    async with followed(tmp_path, logind, host) as (service, _, address):
        assert logind.asked == [("sleep", "PeerLLM", "Running answers are finished", "delay")]
        # Anybody on the bus may send anything.
        async with on_bus(address, "", logind) as stranger:
            await prepare(stranger, True)
        await prepare(service, True)
        await until(lambda: host.rests, "the rest")
        # A second less than logind waits.
        assert host.rests == [2.0]
        assert logind.is_held()
        host.answers_end.set()
        await until(lambda: not logind.is_held(), "the lock let go")
        assert host.wakes == 0
        await prepare(service, False)
        await until(lambda: host.wakes, "awake")
        await until(lambda: len(logind.locks) == 2, "a lock for the next time")
        assert logind.is_held()
        await prepare(service, True)
        await until(lambda: not logind.is_held(), "the next sleep")
        assert len(host.rests) == 2


async def test_logind_is_not_kept_waiting_for_a_long_answer(tmp_path: Path) -> None:
    logind, host = Logind(), Host()
    logind.delay_us = 1_250_000
    async with followed(tmp_path, logind, host) as (service, _, _address):
        await prepare(service, True)
        # The answer never ends.
        await until(lambda: host.rests and not logind.is_held(), "the lock let go")
        assert host.rests == [0.25]


@pytest.mark.parametrize(
    ("told", "seconds"), [(0, 0.0), (2**62, 29.0), (10_000_000, 9.0), (None, 4.0)]
)
async def test_however_long_logind_would_wait_nobody_waits_longer_than_for_a_drain(
    tmp_path: Path, told: int | None, seconds: float
) -> None:
    logind, host = Logind(), Host()
    logind.delay_us = told
    host.answers_end.set()
    async with followed(tmp_path, logind, host) as (service, _, _address):
        await prepare(service, True)
        await until(lambda: not logind.is_held(), "the lock let go")
        assert host.rests == [seconds]


async def test_a_computer_that_stays_awake_after_all_is_served(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    logind, host = Logind(), Host()
    host.answers_end.set()
    async with followed(tmp_path, logind, host) as (service, _, _address):
        await prepare(service, True)
        await until(lambda: not logind.is_held(), "the rest")
        assert host.wakes == 0
        # Nobody says that it is awake.
        mock_clock.jump(60)
        await until(lambda: host.wakes, "awake")
        await until(lambda: len(logind.locks) == 2, "a lock for the next time")


async def test_a_logind_that_does_not_wait_is_still_heard(tmp_path: Path) -> None:
    logind, host = Logind(refuses=True), Host()
    async with followed(tmp_path, logind, host) as (service, _, _address):
        await prepare(service, True)
        await until(lambda: host.rests, "the rest")
        assert host.rests == [0.0]
        await prepare(service, False)
        await until(lambda: host.wakes, "awake")


async def test_a_host_does_not_sleep_on_when_logind_is_gone(tmp_path: Path) -> None:
    logind, host = Logind(), Host()
    watch = SleepWatch(rest=host.rest, wake=host.wake)
    host.answers_end.set()
    with private_bus(tmp_path) as address:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: follow_system_bus([watch], address=address))
            await until(lambda: watch.blindness == "no_login_manager", "nobody")
            async with on_bus(address, NAME, logind) as service:
                await until(lambda: watch.blindness == "", "logind")
                await prepare(service, True)
                await until(lambda: not logind.is_held(), "the rest")
            await until(lambda: host.wakes, "awake")
            assert watch.blindness == "no_login_manager"
            nursery.cancel_scope.cancel()
    logind.close()
