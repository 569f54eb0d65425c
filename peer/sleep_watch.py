"""Leaves the network in order before the computer sleeps, as systemd-logind announces it.

logind waits for those who asked it to: a few seconds, which its owner sets. Within them no
new work is taken, answers end, and the coordinator hears goodbye instead of finding a host
that is silent.
"""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio
from jeepney import DBusAddress, MatchRule, Message, new_method_call
from jeepney.fds import FileDescriptor
from jeepney.io.trio import DBusRouter

from peerllm.peer.senses import Blindness
from peerllm.peer.system_bus import Service, is_change_of_owner

_LOGIND: Final = DBusAddress(
    "/org/freedesktop/login1",
    bus_name="org.freedesktop.login1",
    interface="org.freedesktop.login1.Manager",
)
_PREPARE: Final = MatchRule(
    type="signal",
    interface="org.freedesktop.login1.Manager",
    member="PrepareForSleep",
    path="/org/freedesktop/login1",
)
# InhibitDelayMaxSec of logind.conf(5) where it is not told.
_USUAL_DELAY_SECONDS: Final = 5.0
# Whoever closes the lid does not mean to wait for more, even where logind would.
_LONGEST_DELAY_SECONDS: Final = 30.0
# A machine that is still awake so long after it was to sleep does not. Time asleep does not
# count by this clock.
_NOT_ASLEEP_SECONDS: Final = 60.0
# For the goodbye to leave, and for logind to hear that we are done.
_FAREWELL_SECONDS: Final = 1.0


class SleepWatch:
    """Follows logind. `rest` is given the seconds that answers may go on, `wake` ends it."""

    def __init__(
        self,
        *,
        rest: Callable[[float], Awaitable[None]],
        wake: Callable[[], None],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._rest = rest
        self._wake = wake
        self._on_change = on_change
        self._is_resting = False
        # While it is open, logind waits.
        self._delay: FileDescriptor | None = None
        self.blindness: Blindness = "starting"

    async def follow(self, router: DBusRouter) -> None:
        """Until the connection ends."""
        service = Service(router, _LOGIND)
        try:
            changes = await service.changes(_PREPARE)
            await self._begin(service)
            while True:
                message: Message | None = None
                with trio.move_on_after(_NOT_ASLEEP_SECONDS if self._is_resting else math.inf):
                    message = await changes.receive()
                if message is None:
                    await self._on_awake(service)
                else:
                    await self._on_message(service, message)
        finally:
            self._let_go()

    def lose(self, why: Blindness) -> None:
        """Nobody would say that the computer is awake again."""
        self._let_go()
        if self._is_resting:
            self._is_resting = False
            self._wake()
        self._show(why)

    async def _on_message(self, service: Service, message: Message) -> None:
        if is_change_of_owner(message):
            self.lose("no_login_manager")
            await self._begin(service)
        elif service.is_from(message) and message.body == (True,):
            await self._on_sleep(service)
        elif service.is_from(message) and message.body == (False,):
            await self._on_awake(service)

    async def _begin(self, service: Service) -> None:
        if await service.find():
            await self._ask_for_time(service)
            self._show("")
        else:
            self._show("no_login_manager")

    async def _ask_for_time(self, service: Service) -> None:
        self._let_go()
        ask = new_method_call(
            _LOGIND,
            "Inhibit",
            "ssss",
            ("sleep", "PeerLLM", "Running answers are finished", "delay"),
        )
        match await service.call(ask):
            case (FileDescriptor() as delay,):
                self._delay = delay

    async def _on_sleep(self, service: Service) -> None:
        if self._is_resting:
            return
        self._is_resting = True
        delay = 0.0
        if self._delay is not None:
            told = await service.property("InhibitDelayMaxUSec")
            delay = told / 1e6 if isinstance(told, int) else _USUAL_DELAY_SECONDS
            delay = min(delay, _LONGEST_DELAY_SECONDS)
        with trio.move_on_after(max(0.0, delay - _FAREWELL_SECONDS / 2)):
            await self._rest(max(0.0, delay - _FAREWELL_SECONDS))
        self._let_go()

    async def _on_awake(self, service: Service) -> None:
        if self._is_resting:
            self._is_resting = False
            self._wake()
        await self._ask_for_time(service)

    def _let_go(self) -> None:
        if self._delay is not None:
            with suppress(OSError):
                self._delay.close()
            self._delay = None

    def _show(self, blindness: Blindness) -> None:
        if blindness != self.blindness:
            self.blindness = blindness
            self._on_change()
