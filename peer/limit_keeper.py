"""Keeps the owner's limits: in a file, in force, and true to the machine as it changes."""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio

from peerllm.peer.files import read_state, write_state
from peerllm.peer.limits import (
    CLOCK_SET_US,
    Conditions,
    HoldReason,
    Limits,
    after_clock_was_set,
    holds,
)

# Twice in the second that a change of conditions may take.
_LOOK_SECONDS: Final = 0.5


class Tunable(Protocol):
    """What limits are applied to, besides the granting of slots."""

    def tune(self, *, threads: int, nice: int, memory_cap_bytes: int) -> None:
        """Use so many threads (0: as started), at this nice level, under this cap."""


class LimitKeeper:
    """Decides when slots are granted. Raises `ConfigurationError` for a damaged file."""

    def __init__(
        self,
        path: Path,
        *,
        look: Callable[[Limits], Awaitable[Conditions]],
        on_change: Callable[[frozenset[HoldReason]], None] = lambda _holds: None,
        on_limits: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._look = look
        self._on_change = on_change
        # Told when the limits have changed by themselves.
        self._on_limits = on_limits
        self.limits = read_state(path, Limits) or Limits()
        self.holds: frozenset[HoldReason] = frozenset()
        self._engine: Tunable | None = None
        self._changed = trio.Event()
        self._writing = trio.Lock()
        # How far the clock is ahead of the one that nobody sets, when it was last looked at.
        self._ahead_us: int | None = None

    def govern(self, engine: Tunable) -> None:
        """Apply the limits to this engine, now and at every change."""
        self._engine = engine
        self._apply()

    async def set(self, limits: Limits) -> None:
        """Put other limits in force, and only then in the file. Raises OSError."""
        self.limits = limits
        # A pause is reckoned by the clock as it is now.
        self._ahead_us = None
        self._apply()
        await self.look_now()
        self._changed.set()
        await self._keep()

    async def look_now(self) -> None:
        """See whether there is a reason to hold."""
        limits = self.limits
        now = await self._look(limits)
        if limits is not self.limits:
            # Changed while the machine was looked at: the change looks for itself.
            return
        limits = after_clock_was_set(limits, self._clock_set_by(now))
        found = holds(limits, now, self.holds)
        if limits.paused_until_us and "paused" not in found:
            # A pause that is over is no reason to look at the machine again and again.
            limits = msgspec.structs.replace(limits, paused_until_us=0)
        is_changed, self.limits = limits is not self.limits, limits
        if found != self.holds:
            self.holds = found
            self._on_change(found)
        if is_changed:
            self._on_limits()
            # A full disk costs no more than a pause that the next start remembers wrongly.
            with suppress(OSError):
                await self._keep()

    async def run(self) -> None:
        """Look at the machine for as long as it may matter."""
        while True:
            await self.look_now()
            self._changed = trio.Event()
            with trio.move_on_after(_LOOK_SECONDS if self._conditional else math.inf):
                await self._changed.wait()

    @property
    def _conditional(self) -> bool:
        """Whether the machine alone can change the answer."""
        limits = self.limits
        return bool(
            limits.paused_until_us
            or limits.schedule
            or limits.idle_minutes
            or limits.memory_cap_bytes
            or limits.maximum_celsius
            or not limits.on_battery
            or not limits.on_metered
            or not limits.beside_full_screen
        )

    def _clock_set_by(self, now: Conditions) -> int:
        """By how much the clock was set since the last look; small steps add up."""
        if now.boot_us is None:
            return 0
        ahead_us = now.now_us - now.boot_us
        by_us = 0 if self._ahead_us is None else ahead_us - self._ahead_us
        if self._ahead_us is None or abs(by_us) >= CLOCK_SET_US:
            self._ahead_us = ahead_us
        return by_us

    async def _keep(self) -> None:
        async with self._writing:
            await trio.to_thread.run_sync(write_state, self._path, self.limits)

    def _apply(self) -> None:
        if self._engine is not None:
            self._engine.tune(
                threads=self.limits.threads,
                nice=self.limits.nice,
                memory_cap_bytes=self.limits.memory_cap_bytes,
            )
