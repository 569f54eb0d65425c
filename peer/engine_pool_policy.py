"""Which of a host's models are loaded, and which make room for another: the decisions alone.

Pure: models, memory and times come in, names of models to evict come out. Sizes in bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from peerllm.peer.memory import MemoryNeed, megabytes


@dataclass(frozen=True, kw_only=True)
class Resident:
    """A model that has an engine process, or is about to have one.

    `unseen` is what of its need the system's free memory does not show yet, or never will:
    all of it while it loads, and mapped weights where the system counts them as free.
    `kept` models make no room for others.
    """

    name: str
    need: int
    unseen: int
    last_used: float
    busy: bool = False
    loading: bool = False
    kept: bool = False

    @property
    def may_go(self) -> bool:
        """Whether it may be evicted at all."""
        return not (self.busy or self.loading)


@dataclass(frozen=True)
class Memory:
    """What is free on the machine now, and what the owner lets all models take (0: no cap)."""

    available: int
    cap: int = 0


@dataclass(frozen=True)
class Room:
    """There is room once these models are evicted, in this order."""

    evict: tuple[str, ...] = ()


@dataclass(frozen=True)
class NoRoom:
    """There is none; one sentence for the owner."""

    sentence: str


def make_room(need: MemoryNeed, residents: Sequence[Resident], memory: Memory) -> Room | NoRoom:
    """How to make room for a model that is not loaded: the least recently used go first.

    No model goes that works, loads or is kept, and none goes when it would not suffice.
    """
    staying = list(residents)
    evicted: list[str] = []
    by_age = _least_recent(resident for resident in residents if not resident.kept)
    free = _free(memory, residents)
    while need.total > min(free, _under_cap(memory.cap, staying)):
        if not by_age:
            return _no_room(need, staying, free, _under_cap(memory.cap, staying))
        oldest = by_age.pop(0)
        staying.remove(oldest)
        evicted.append(oldest.name)
        free += oldest.need
    return Room(tuple(evicted))


def above_cap(residents: Sequence[Resident], cap: int) -> tuple[str, ...]:
    """Which models must go after the owner lowered the cap; kept ones go last.

    The last model stays: alone it is the owner's one model, whose slots the limits hold back.
    """
    staying = list(residents)
    evicted: list[str] = []
    ordinary = _least_recent(resident for resident in residents if not resident.kept)
    kept = _least_recent(resident for resident in residents if resident.kept)
    for oldest in ordinary + kept:
        if _under_cap(cap, staying) >= 0 or len(staying) == 1:
            break
        staying.remove(oldest)
        evicted.append(oldest.name)
    return tuple(evicted)


def cap_for(name: str, residents: Iterable[Resident], cap: int) -> int:
    """What the cap leaves to one engine beside the others; 0 is no cap."""
    others = sum(resident.need for resident in residents if resident.name != name)
    # Not 0, which would lift the cap.
    return max(1, cap - others) if cap else 0


def share_threads(threads: int, busy: int) -> int:
    """How many of an engine's threads it may use while so many models are at work.

    More threads than cores slow all of them down: each waits for its slowest in every step.
    """
    return max(1, threads // max(1, busy))


def _least_recent(residents: Iterable[Resident]) -> list[Resident]:
    return sorted(
        (resident for resident in residents if resident.may_go),
        key=lambda resident: resident.last_used,
    )


def _free(memory: Memory, residents: Iterable[Resident]) -> int:
    return memory.available - sum(resident.unseen for resident in residents)


def _under_cap(cap: int, staying: Iterable[Resident]) -> int:
    # Without a cap more than any machine has.
    return (cap or 1 << 62) - sum(resident.need for resident in staying)


def _no_room(need: MemoryNeed, staying: Sequence[Resident], free: int, under_cap: int) -> NoRoom:
    whose = "under the memory cap" if under_cap < free else "free"
    beside = ", ".join(sorted(resident.name for resident in staying))
    return NoRoom(
        f"it takes {megabytes(need.total)}, {megabytes(max(0, min(free, under_cap)))} are {whose}"
        + (f" beside {beside}" if beside else "")
    )
