"""All that a host looks at beside its work: the machine, its network, its screen, its sleep."""

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

import trio
from msgspec import structs

from peerllm.peer.conditions import MachineWatch
from peerllm.peer.full_screen import FullScreenWatch
from peerllm.peer.limits import Conditions, Limits
from peerllm.peer.metered_network import MeteredNetwork
from peerllm.peer.senses import Senses
from peerllm.peer.sleep_watch import SleepWatch
from peerllm.peer.system_bus import Follower, follow_system_bus

# Only to say whether the screen could be told, while no limit needs it.
_LOOK_SECONDS: Final = 30.0
# A little more than the system's bus has to answer; as a rule all is known in milliseconds.
_ALL_KNOWN_SECONDS: Final = 6.0


class Surroundings:
    """What limits are decided by, and who is told when it changes."""

    def __init__(
        self,
        own_processes: Callable[[], Sequence[int]],
        *,
        rest: Callable[[float], Awaitable[None]],
        wake: Callable[[], None],
        on_change: Callable[[], None],
        platform: str = sys.platform,
    ) -> None:
        self._on_change = on_change
        self._platform = platform
        self._machine = MachineWatch(own_processes)
        self._network = MeteredNetwork(on_change)
        self._screen = FullScreenWatch(os.environ, platform=platform)
        self._sleep = SleepWatch(rest=rest, wake=wake, on_change=on_change)

    async def look(self, limits: Limits) -> Conditions:
        """How everything is now, as far as these limits need it."""
        # In a thread: odd hardware answers slowly.
        machine = await trio.to_thread.run_sync(self._machine.read, limits)
        return replace(
            machine,
            on_metered=None if limits.on_metered else self._network.is_metered,
            full_screen=None if limits.beside_full_screen else await self._look_at_screen(),
        )

    def senses(self) -> Senses:
        """What can be told here, and why not."""
        return Senses(
            metered=self._network.blindness,
            full_screen=self._screen.blindness,
            sleep=self._sleep.blindness,
        )

    async def run(self) -> None:
        """Follow what tells of itself."""
        async with trio.open_nursery() as nursery:
            if self._platform == "linux":
                followers: list[Follower] = [self._network, self._sleep]
                nursery.start_soon(follow_system_bus, followers)
            else:
                self._network.lose("platform")
                self._sleep.lose("platform")
            try:
                while True:
                    await self._look_at_screen()
                    await trio.sleep(_LOOK_SECONDS)
            finally:
                self._screen.close()

    async def _look_at_screen(self) -> bool | None:
        before = self._screen.blindness
        found = await self._screen.look()
        if self._screen.blindness != before:
            self._on_change()
        return found


async def senses_here() -> Senses:
    """What a host that was started from here could be told; looked at once."""
    changed = trio.Event()

    async def rest(_seconds: float) -> None:
        """There is no work to finish."""

    def on_change() -> None:
        changed.set()

    found = Surroundings(list, rest=rest, wake=lambda: None, on_change=on_change)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run)
        with trio.move_on_after(_ALL_KNOWN_SECONDS):
            while "starting" in structs.astuple(found.senses()):
                await changed.wait()
                changed = trio.Event()
        nursery.cancel_scope.cancel()
    return found.senses()
