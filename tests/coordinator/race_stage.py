"""A registry full of simulated hosts, ready to run one order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from simulated_host import (
    Faults,
    OpenLog,
    SimulatedHost,
    all_slots_free,
    dispatcher,
    echo,
    new_registry,
    order,
)

from peerllm.coordinator.orders import ChunkServed, ChunkUnserved, Order
from peerllm.coordinator.registry import Registry
from peerllm.coordinator.selection import RaceRule

ANSWER = "one two three four five six seven eight nine ten eleven twelve"


@dataclass
class Stage:
    """A registry with simulated hosts, and what one order releases."""

    registry: Registry
    nursery: trio.Nursery
    released: list[str] = field(default_factory=list)
    log: OpenLog = field(default_factory=OpenLog)
    hosts: list[SimulatedHost] = field(default_factory=list)

    def host(self, name: str, faults: Faults | None = None, **more: object) -> SimulatedHost:
        answer = more.pop("answer", None) or echo(ANSWER)
        made = SimulatedHost(
            name,
            self.registry,
            self.nursery,
            answer,
            faults or Faults(),
            **more,  # type: ignore[arg-type]
        )
        self.hosts.append(made)
        return made

    async def release(self, text: str) -> None:
        self.released.append(text)

    async def run(
        self, wanted: Order | None = None, *, seed: int = 0, rule: RaceRule | None = None
    ) -> ChunkServed | ChunkUnserved:
        return await dispatcher(self.registry, seed, rule).run(
            wanted or order(), self.log, self.release
        )


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    async with trio.open_nursery() as nursery:
        made = Stage(new_registry(), nursery)
        yield made
        await trio.sleep(1)  # whatever the hosts still had to say
        assert all_slots_free(*made.hosts)
        nursery.cancel_scope.cancel()
