"""The seats in force: read anew from storage, held to the charter's cap, suspended for strikes."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace

import trio

from peerllm.charter.promises import StrikePolicy
from peerllm.coordinator.accounts import Seat, SeatPause, Strike
from peerllm.coordinator.storage import Storage
from peerllm.coordinator.strike_rules import suspension
from peerllm.overlay.node import Node

# A seat given, paused or taken by an administrator takes effect within this many seconds.
SEATS_SECONDS = 2.0


class SeatsInForce:
    """The seats in force, by peer id, refreshed from storage.

    Beyond the charter's number of seats for a model an operator's newest ones do not count for it.
    A host that its strikes suspend keeps its seat and is paused until they weigh too little; no
    other pause shortens that, nor does `resume` end it. `now_us` is the clock of the strikes. An
    appeal whose time is over ends what its strike did, and is written down for good.
    """

    def __init__(
        self,
        storage: Storage,
        maximum_per_operator: int,
        *,
        strike_policy: StrikePolicy,
        now_us: Callable[[], int],
    ) -> None:
        self._storage = storage
        self._now_us = now_us
        self.maximum_per_operator = maximum_per_operator
        self.strike_policy = strike_policy
        self.current: Mapping[str, Seat] = {}
        self.in_line: frozenset[str] = frozenset()

    async def refresh(self) -> None:
        """Read the seats anew."""
        strikes: defaultdict[str, list[Strike]] = defaultdict(list)
        known = await self._storage.strikes()
        if not all(strike.withdrawal_written for strike in known):
            await self._storage.write_due_appeals()
        for strike in known:
            strikes[strike.peer_id].append(strike)
        held: Counter[tuple[str, bytes]] = Counter()
        current = {}
        for seat in sorted(await self._storage.seats(), key=lambda seat: seat.seated_at_us):
            held.update((seat.operator, digest) for digest in seat.digests)
            digests = frozenset(
                digest
                for digest in seat.digests
                if held[seat.operator, digest] <= self.maximum_per_operator
            )
            if digests:
                pause = self._pause(seat, strikes.get(seat.peer_id, []))
                current[seat.peer_id] = replace(seat, digests=digests, pause=pause)
        self.current = current
        self.in_line = frozenset(one.peer_id for one in await self._storage.all_waiting())

    def _pause(self, seat: Seat, strikes: list[Strike]) -> SeatPause | None:
        suspended = suspension(strikes, self.strike_policy, self._now_us())
        if suspended is None:
            return seat.pause
        return SeatPause("suspended", suspended.since_us, suspended.until_us)

    async def keep_fresh(self, node: Node, refreshed: Callable[[], None]) -> None:
        """Reload the seats for ever; a host whose seat is gone is disconnected."""
        while True:
            await trio.sleep(SEATS_SECONDS)
            before = set(self.current)
            await self.refresh()
            refreshed()
            for peer_id in before - set(self.current):
                await node.disconnect(peer_id)
