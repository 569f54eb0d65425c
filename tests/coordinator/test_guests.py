"""Guests: few at once, none for long, and never one that holds a seat."""

import trio
from trio.testing import MockClock

from peerllm.coordinator.guests import (
    GUEST_SECONDS,
    MAXIMUM_GUESTS,
    MAXIMUM_VISITS,
    Guests,
)


class Door:
    """Notes who is shown out, and when."""

    def __init__(self) -> None:
        self.cut: list[tuple[str, float]] = []

    async def disconnect(self, peer_id: str) -> None:
        await trio.lowlevel.checkpoint()
        self.cut.append((peer_id, trio.current_time()))


async def ask() -> None:
    await trio.sleep(0.1)


def guests(*seated: str) -> Guests:
    return Guests(
        seated=lambda peer: peer in seated,
        in_line=lambda peer: peer != "stranger",
        clock=trio.current_time,
    )


async def test_nobody_is_let_in_who_is_not_in_line() -> None:
    found = guests()
    assert found.admits("g1")
    assert not found.admits("stranger")


async def test_there_is_room_for_so_many_and_a_place_is_free_after_its_question(
    autojump_clock: MockClock,
) -> None:
    found = guests()
    assert all(found.admits(f"g{number}") for number in range(MAXIMUM_GUESTS))
    assert not found.admits("late")
    # One that is here may come over a second connection.
    assert found.admits("g3")
    await found.attend("g3", ask)
    assert found.admits("late")
    assert not found.admits("later")


async def test_those_who_come_and_go_are_not_remembered_without_bound(
    autojump_clock: MockClock,
) -> None:
    found = guests()
    for number in range(MAXIMUM_VISITS):
        assert found.admits(f"g{number}")
        await found.attend(f"g{number}", trio.lowlevel.checkpoint)
    assert not found.admits("one more")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.see_out, Door())
        await trio.sleep(GUEST_SECONDS + 6)
        assert found.admits("one more")
        nursery.cancel_scope.cancel()


async def test_who_keeps_asking_is_cut_like_who_says_nothing(autojump_clock: MockClock) -> None:
    found, door = guests("seated"), Door()
    began = trio.current_time()
    for peer in ("silent", "asking", "seated"):
        assert found.admits(peer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.see_out, door)

        async def keep_asking() -> None:
            while True:
                assert found.admits("asking")
                await found.attend("asking", ask)

        nursery.start_soon(keep_asking)
        await trio.sleep(GUEST_SECONDS + 6)
        nursery.cancel_scope.cancel()
    assert {peer for peer, _ in door.cut} == {"silent", "asking"}
    assert all(GUEST_SECONDS <= at - began <= GUEST_SECONDS + 5 for _, at in door.cut)


async def test_a_host_with_a_seat_is_served_without_being_counted() -> None:
    found = guests("host")
    served = []

    async def serve() -> None:
        served.append("host")
        await trio.lowlevel.checkpoint()

    await found.attend("host", serve)
    assert served == ["host"]
