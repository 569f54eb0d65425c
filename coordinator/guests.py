"""Hosts in line for a seat that look in: few at once, and none for long."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import trio

# Beside two thousand hosts. Each may make the node hold 4 MiB unread, so 256 MiB in all.
MAXIMUM_GUESTS: Final = 64
# A question and its answer take a second or two; a hello that is refused takes less.
GUEST_SECONDS: Final = 20.0
# How many are remembered of those that came in the last seconds and have left again.
MAXIMUM_VISITS: Final = 1024
_LOOK_SECONDS: Final = 5.0


class Doorkeeper(Protocol):
    """Who can end a connection."""

    async def disconnect(self, peer_id: str) -> None:
        """Cut every connection to a peer."""


@dataclass
class _Visit:
    since: float
    streams: int = 0
    has_asked: bool = False

    @property
    def takes_room(self) -> bool:
        """It is being served, or about to ask."""
        return self.streams > 0 or not self.has_asked


class Guests:
    """Who is let in without a seat: whoever the operator has put in line, and nobody else.

    `seated` says who needs no leave, `in_line` who has it; `clock` gives seconds. Nobody tells when
    a connection ends, so a visit lasts `GUEST_SECONDS` whatever becomes of it: whoever keeps asking
    over one connection is cut at its end like whoever says nothing.
    """

    def __init__(
        self,
        *,
        seated: Callable[[str], bool],
        in_line: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._seated = seated
        self._in_line = in_line
        self._clock = clock
        self._visits: dict[str, _Visit] = {}

    def admits(self, peer_id: str) -> bool:
        """Whether it is in line and there is room; one that is here already keeps its time."""
        if not self._in_line(peer_id):
            return False
        if peer_id in self._visits:
            return True
        here = sum(visit.takes_room for visit in self._visits.values())
        if here >= MAXIMUM_GUESTS or len(self._visits) >= MAXIMUM_VISITS:
            return False
        self._visits[peer_id] = _Visit(self._clock())
        return True

    async def attend(self, peer_id: str, serve: Callable[[], Awaitable[None]]) -> None:
        """Serve one stream, of a guest or of a host."""
        visit = self._visits.get(peer_id)
        if visit is None:
            await serve()
            return
        visit.streams += 1
        visit.has_asked = True
        try:
            await serve()
        finally:
            visit.streams -= 1

    async def see_out(self, doorkeeper: Doorkeeper) -> None:
        """For ever: end the connections of guests whose time is over."""
        while True:
            await trio.sleep(_LOOK_SECONDS)
            late = self._clock() - GUEST_SECONDS
            for peer_id in [one for one, visit in self._visits.items() if visit.since <= late]:
                del self._visits[peer_id]
                # It may have been given a seat meanwhile.
                if not self._seated(peer_id):
                    await doorkeeper.disconnect(peer_id)
