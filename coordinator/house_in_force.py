"""The house that new requests enter, under the charter in force, which is read anew all the time.

What stewards publish counts without a restart. A request is served to its end in the house it
entered. When the charter ends and no newer one is there, nobody is let in any more.
"""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from peerllm.charter.errors import CharterError
from peerllm.charter.loading import Charter
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.events import CoordinatorEvent
from peerllm.coordinator.house import House
from peerllm.privacy.event_log import EventLog

# Verifying a charter anew takes some ten milliseconds in a thread; notices are given in days.
LOOK_SECONDS = 15.0


@dataclass
class HouseInForce:
    """The house of now and when its charter expires, in epoch microseconds."""

    house: House
    expires_at_us: int
    now_us: Callable[[], int]

    @property
    def expired(self) -> bool:
        """Whether the charter's time is over."""
        return self.now_us() >= self.expires_at_us


@dataclass(frozen=True)
class Looks:
    """How a charter is read and a house kept under it; both are called in a thread."""

    read: Callable[[], Charter]
    rehouse: Callable[[House, Charter, Charter], House]


def expiry_us(charter: Charter) -> int:
    """When a charter ends, in epoch microseconds."""
    return int(charter.expires_at.timestamp() * 1_000_000)


async def keep_in_force(
    in_force: HouseInForce, charter: Charter, looks: Looks, log: EventLog[CoordinatorEvent]
) -> None:
    """Take up what is newly published after `charter`, for ever.

    What cannot be read, verified or served changes nothing: it is told once, by its kind.
    """
    told = ""
    while True:
        await trio.sleep(LOOK_SECONDS)
        try:
            newer = await trio.to_thread.run_sync(looks.read)
            if newer != charter:
                in_force.house = await trio.to_thread.run_sync(
                    looks.rehouse, in_force.house, charter, newer
                )
                in_force.expires_at_us = expiry_us(newer)
                charter = newer
                log.event("charter_in_force", version=charter.version)
            told = ""
        except (CharterError, CoordinatorError, OSError) as error:
            kind = type(error).__name__
            if kind != told:
                log.event("charter_refused", error=kind)
            told = kind
