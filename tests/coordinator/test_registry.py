from dataclasses import replace

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from simulated_host import DIGEST, NOW_US, SimulatedHost, echo, new_registry
from trio.testing import MockClock

from peerllm.coordinator.accounts import Seat, SeatPause
from peerllm.coordinator.registry import (
    ChunkMessage,
    LiveHost,
    Record,
    Registry,
    network_of,
    offered_digests,
)
from peerllm.overlay.messages import Accepted, CoordinatorMessage, ModelOffer, Slots

OTHER = bytes(32)
DISPATCH = b"d" * 16


class Waiting:
    """A route that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: list[ChunkMessage] = []
        self.losses = 0

    def deliver(self, message: ChunkMessage) -> None:
        self.messages.append(message)

    def lost(self) -> None:
        self.losses += 1


async def nowhere(_message: CoordinatorMessage) -> None:
    await trio.lowlevel.checkpoint()


def offer(slots: int = 2, context: int = 4096, digest: bytes = DIGEST) -> ModelOffer:
    return ModelOffer(
        digest=digest,
        name="toy",
        context_tokens=context,
        slots=slots,
        tokens_per_second_milli=1,
    )


def seat(name: str = "host", digests: frozenset[bytes] = frozenset({DIGEST})) -> Seat:
    return Seat(name, f"operator-{name}", "community", digests, "default", NOW_US)


def live(registry: Registry, name: str = "host", slots: int = 2, context: int = 4096) -> LiveHost:
    return LiveHost(
        seat=seat(name),
        network=None,
        sealing_key=bytes(32),
        sealing_key_expires_at_us=NOW_US + 1,
        offers={DIGEST: offer(slots, context)},
        send=nowhere,
        record=registry.record_of(name),
    )


@pytest.fixture
def registry() -> Registry:
    return Registry(lambda: 0.0, lambda: NOW_US)


async def test_a_dispatch_takes_a_slot_and_gives_it_back_once(registry: Registry) -> None:
    host = live(registry)
    registry.join(host)
    assert host.free_slots(DIGEST) == 2
    registry.open_route(host, DISPATCH, DIGEST, Waiting())
    assert host.free_slots(DIGEST) == 1
    registry.close_route(host, DISPATCH, DIGEST)
    registry.close_route(host, DISPATCH, DIGEST)
    assert host.free_slots(DIGEST) == 2


async def test_a_hosts_own_word_on_slots_counts_but_never_above_its_offer(
    registry: Registry,
) -> None:
    host = live(registry)
    registry.join(host)
    registry.on_message(host, Slots(digest=DIGEST, free=0))
    assert host.free_slots(DIGEST) == 0
    registry.on_message(host, Slots(digest=DIGEST, free=4096))
    assert host.free_slots(DIGEST) == 2
    registry.on_message(host, Slots(digest=DIGEST, free=1))
    registry.open_route(host, DISPATCH, DIGEST, Waiting())
    assert host.free_slots(DIGEST) == 0


@given(st.lists(st.tuples(st.sampled_from("ocs"), st.integers(0, 5)), max_size=40))
def test_free_slots_are_never_negative_nor_above_the_offer(moves: list[tuple[str, int]]) -> None:
    async def play() -> None:
        registry = Registry(lambda: 0.0, lambda: NOW_US)
        host = live(registry, slots=3)
        registry.join(host)
        taken: set[bytes] = set()
        for move, number in moves:
            name = bytes([number]) * 16
            if move == "o" and name not in taken:
                taken.add(name)
                registry.open_route(host, name, DIGEST, Waiting())
            elif move == "c":
                taken.discard(name)
                registry.close_route(host, name, DIGEST)
            elif move == "s":
                registry.on_message(host, Slots(digest=DIGEST, free=number))
            assert 0 <= host.free_slots(DIGEST) <= max(0, 3 - len(taken))

    trio.run(play)


async def test_slots_of_models_never_offered_are_not_remembered(registry: Registry) -> None:
    host = live(registry)
    registry.join(host)
    for number in range(100):
        registry.on_message(host, Slots(digest=bytes([number]) * 32, free=5))
    assert host.credit == {}
    assert host.free_slots(OTHER) == 0


async def test_messages_reach_only_the_dispatch_of_their_own_host(registry: Registry) -> None:
    ours, theirs = live(registry, "ours"), live(registry, "theirs")
    registry.join(ours)
    registry.join(theirs)
    route = Waiting()
    registry.open_route(ours, DISPATCH, DIGEST, route)
    registry.on_message(theirs, Accepted(dispatch_id=DISPATCH))
    registry.on_message(ours, Accepted(dispatch_id=b"x" * 16))
    assert route.messages == []
    registry.on_message(ours, Accepted(dispatch_id=DISPATCH))
    assert route.messages == [Accepted(dispatch_id=DISPATCH)]
    registry.close_route(ours, DISPATCH, DIGEST)
    registry.on_message(ours, Accepted(dispatch_id=DISPATCH))
    assert len(route.messages) == 1


async def test_a_host_that_joins_again_replaces_its_old_session(registry: Registry) -> None:
    old, new = live(registry), live(registry)
    registry.join(old)
    route = Waiting()
    registry.open_route(old, DISPATCH, DIGEST, route)
    registry.join(new)
    assert route.losses == 1
    assert registry.hosts == (new,)
    assert new.free_slots(DIGEST) == 2
    registry.leave(old)  # the old session's end must not take the new one along
    assert registry.find("host") is new
    registry.leave(new)
    assert registry.hosts == ()


async def test_leaving_tells_every_race(registry: Registry) -> None:
    host = live(registry)
    registry.join(host)
    routes = [Waiting(), Waiting()]
    for number, route in enumerate(routes):
        registry.open_route(host, bytes([number]) * 16, DIGEST, route)
    registry.leave(host)
    assert [route.losses for route in routes] == [1, 1]
    assert registry.find("host") is None


async def test_a_second_hello_keeps_what_is_in_flight(registry: Registry) -> None:
    host = live(registry)
    registry.join(host)
    route = Waiting()
    registry.open_route(host, DISPATCH, DIGEST, route)
    registry.on_message(host, Slots(digest=DIGEST, free=0))
    registry.renew(host, live(registry, slots=5))
    assert route.losses == 0
    assert host.free_slots(DIGEST) == 4


async def test_only_hosts_that_can_take_the_chunk_are_candidates() -> None:
    now = NOW_US
    registry = Registry(lambda: 0.0, lambda: now)
    registry.join(live(registry, "small", context=100))
    registry.join(live(registry, "large"))
    assert [c.host for c in registry.candidates(DIGEST, 101)] == ["large"]
    assert {c.host for c in registry.candidates(DIGEST, 100)} == {"small", "large"}
    assert registry.candidates(OTHER, 1) == []
    assert registry.largest_context(DIGEST) == 4096
    assert registry.largest_context(OTHER) is None
    now += 1  # the sealing keys have expired
    assert registry.candidates(DIGEST, 1) == []


async def test_a_model_beyond_the_seat_is_no_candidate(registry: Registry) -> None:
    host = live(registry)
    host.seat = seat(digests=frozenset({OTHER}))
    registry.join(host)
    assert registry.candidates(DIGEST, 1) == []
    assert offered_digests(host.seat, [offer(), offer(digest=OTHER)]).keys() == {OTHER}


async def test_a_paused_host_stays_connected_and_gets_no_work(registry: Registry) -> None:
    host, other = live(registry, "paused"), live(registry, "other")
    registry.join(host)
    registry.join(other)
    before = registry.changes
    registry.reseat({"paused": host.seat, "stranger": seat("stranger")})
    assert registry.changes == before
    pause = SeatPause("slow", paused_at_us=NOW_US, until_us=NOW_US + 1)
    registry.reseat({"paused": replace(host.seat, pause=pause)})
    assert registry.changes == before + 1
    assert [candidate.host for candidate in registry.candidates(DIGEST, 1)] == ["other"]
    assert registry.free_slots(DIGEST) == other.free_slots(DIGEST)
    registry.leave(other)
    assert registry.largest_context(DIGEST) is None
    registry.reseat({"paused": replace(host.seat, pause=None)})
    assert [candidate.host for candidate in registry.candidates(DIGEST, 1)] == ["paused"]


def test_the_breaker_opens_after_three_failures_and_pauses_longer_each_time() -> None:
    record = Record()
    record.failed(0)
    record.failed(0)
    assert record.suspended_until == 0
    pauses = []
    for _ in range(10):
        record.failed(100)
        pauses.append(record.suspended_until - 100)
    assert pauses[:3] == [5, 10, 20]
    assert pauses == sorted(pauses)
    assert max(pauses) == 300


def test_a_success_forgives_the_row_and_mends_the_rate() -> None:
    record = Record()
    for _ in range(3):
        record.failed(0)
    worst = record.error_rate
    record.succeeded(0.5)
    assert record.error_rate < worst
    record.failed(100)
    assert record.suspended_until == 5


def test_being_outrun_makes_a_record_slower_and_never_faster() -> None:
    record = Record()
    record.outrun(0.1)
    assert record.first_token_seconds == 1.0
    record.outrun(6.0)
    assert record.first_token_seconds == 2.0
    assert record.error_rate == 0


async def test_a_record_outlives_the_session_and_suspends(registry: Registry) -> None:
    host = live(registry)
    registry.join(host)
    for _ in range(3):
        host.record.failed(0)
    registry.leave(host)
    registry.join(live(registry))
    assert [c.suspended for c in registry.candidates(DIGEST, 1)] == [True]


async def test_whoever_waits_is_woken_by_a_host_a_slot_or_the_end_of_a_pause(
    autojump_clock: MockClock,
) -> None:
    registry = new_registry()
    async with trio.open_nursery() as nursery:
        with trio.fail_after(1):
            nursery.start_soon(registry.changed)
            await trio.testing.wait_all_tasks_blocked()
            host = SimulatedHost("host", registry, nursery, echo(""))
    for _ in range(3):
        registry.record_of(host.peer_id).failed(trio.current_time())
    with trio.fail_after(5.1):
        await registry.changed()
    assert not registry.candidates(DIGEST, 1)[0].suspended


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (None, None),
        ("nonsense", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("::ffff:127.0.0.1", None),
    ],
)
def test_the_network_of_an_address(address: str | None, network: str | None) -> None:
    assert network_of(address) == network


def test_hosts_that_are_busy_or_suspended_are_not_free(registry: Registry) -> None:
    hosts = {name: live(registry, name, slots=1) for name in ("a", "b", "c", "d")}
    hosts["d"].seat = replace(hosts["d"].seat, tier="dedicated")
    for host in hosts.values():
        registry.join(host)
    assert registry.free_hosts(DIGEST) == 3
    registry.open_route(hosts["a"], DISPATCH, DIGEST, Waiting())
    hosts["b"].record.suspended_until = 10.0**12
    assert registry.free_hosts(DIGEST) == 1
    registry.leave(hosts["c"])
    assert registry.free_hosts(DIGEST) == 1  # the dedicated one is what is left
    assert registry.free_hosts(OTHER) == 0
