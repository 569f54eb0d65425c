from hypothesis import given
from hypothesis import strategies as st

from peerllm.peer.engine_pool_policy import (
    Memory,
    NoRoom,
    Resident,
    Room,
    above_cap,
    cap_for,
    make_room,
)
from peerllm.peer.memory import MemoryNeed


def need(total: int) -> MemoryNeed:
    return MemoryNeed(weights=total, cache=0, computing=0, process=0)


def resident(name: str, total: int = 100, last_used: float = 0, **more: bool) -> Resident:
    return Resident(name=name, need=total, unseen=0, last_used=last_used, **more)


@st.composite
def hosts(draw: st.DrawFn) -> tuple[list[Resident], Memory]:
    """Loaded models, and a machine's memory; some of it not yet taken by loading models."""
    residents = []
    for number in range(draw(st.integers(0, 6))):
        total = draw(st.integers(1, 50))
        loading = draw(st.booleans())
        residents.append(
            Resident(
                name=f"m{number}",
                need=total,
                unseen=total if loading else draw(st.integers(0, total)),
                # Few values: models used at the same moment happen.
                last_used=draw(st.integers(0, 4)),
                busy=draw(st.booleans()),
                loading=loading,
                kept=draw(st.booleans()),
            )
        )
    cap = draw(st.one_of(st.just(0), st.integers(1, 200)))
    return residents, Memory(draw(st.integers(0, 200)), cap)


@given(hosts(), st.integers(1, 100))
def test_room_is_made_by_the_least_recently_used_and_never_beyond_memory(
    host: tuple[list[Resident], Memory], total: int
) -> None:
    residents, memory = host
    room = make_room(need(total), residents, memory)
    movable = [r for r in residents if not (r.busy or r.loading or r.kept)]
    free = memory.available - sum(r.unseen for r in residents)
    if isinstance(room, NoRoom):
        # Even without all that may go it would not fit.
        staying = sum(r.need for r in residents if r not in movable)
        assert total > free + sum(r.need for r in movable) or 0 < memory.cap < staying + total
        return
    evicted = [r for r in residents if r.name in room.evict]
    assert all(r in movable for r in evicted)
    ages = [next(r.last_used for r in residents if r.name == name) for name in room.evict]
    assert ages == sorted(ages)
    spared = [r.last_used for r in movable if r.name not in room.evict]
    assert not ages or not spared or max(ages) <= min(spared)
    assert total <= free + sum(r.need for r in evicted)
    after = sum(r.need for r in residents if r.name not in room.evict) + total
    assert not memory.cap or after <= memory.cap
    # And no more than it takes: without the last one gone it would not have fitted.
    if room.evict:
        shorter = next(r for r in residents if r.name == room.evict[-1]).need
        too_full = total > free + sum(r.need for r in evicted) - shorter
        assert too_full or 0 < memory.cap < after + shorter


@given(hosts())
def test_a_lower_cap_sends_idle_models_away_and_never_the_last(
    host: tuple[list[Resident], Memory],
) -> None:
    residents, memory = host
    evicted = above_cap(residents, memory.cap)
    by_name = {r.name: r for r in residents}
    assert not any(by_name[name].busy or by_name[name].loading for name in evicted)
    assert len(evicted) < max(1, len(residents))
    left = [r for r in residents if r.name not in evicted]
    beyond = memory.cap and sum(r.need for r in left) > memory.cap
    assert not beyond or len(left) == 1 or all(r.busy or r.loading for r in left)
    # Preloaded ones only after all others.
    if any(by_name[name].kept for name in evicted):
        assert all(r.kept or r.busy or r.loading for r in left)


def test_a_model_that_does_not_fit_is_refused_with_the_numbers() -> None:
    residents = [resident("a", 100_000_000, busy=True), resident("b", 1, kept=True)]
    room = make_room(need(500_000_000), residents, Memory(200_000_000))
    assert room == NoRoom("it takes 500 MB, 200 MB are free beside a, b")
    capped = make_room(need(500_000_000), [], Memory(900_000_000, cap=300_000_000))
    assert capped == NoRoom("it takes 500 MB, 300 MB are under the memory cap")


def test_who_was_used_last_stays() -> None:
    residents = [resident("new", last_used=9), resident("old", last_used=1), resident("mid", 50, 5)]
    assert make_room(need(100), residents, Memory(0)) == Room(("old",))
    assert make_room(need(120), residents, Memory(0)) == Room(("old", "mid"))
    assert make_room(need(100), residents, Memory(100)) == Room(())


def test_an_engine_may_take_what_the_cap_leaves_beside_the_others() -> None:
    residents = [resident("a", 100), resident("b", 50)]
    assert cap_for("a", residents, 400) == 350
    assert cap_for("a", residents, 0) == 0
    # Nothing left is not the same as no cap.
    assert cap_for("b", residents, 60) == 1
