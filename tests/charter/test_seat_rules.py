"""How many seats there are, and who gets the next one."""

from typing import Final

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from peerllm.charter.promises import SeatPolicy
from peerllm.charter.seat_rules import (
    DAY_US,
    HOUR_US,
    Offers,
    SeatNeed,
    Waiting,
    next_offers,
    seat_need,
)

POLICY: Final = SeatPolicy(statement="as published")
DAYS: Final = POLICY.steady_days


def need(
    hours: float | list[float], offered: int, redundancy: int = 2, target: int | None = None
) -> SeatNeed:
    """`hours`: how many streams were useful at once in the busiest hour of each day."""
    days = hours if isinstance(hours, list) else [hours] * DAYS
    return seat_need(
        [round(hour * HOUR_US) for hour in days],
        redundancy=redundancy,
        offered=offered,
        policy=POLICY,
        target_utilisation_basis_points=target,
    )


def test_a_region_without_demand_offers_the_least() -> None:
    assert need([], 0).seats == POLICY.minimum_seats_per_model == 3
    assert need(0, 0).seats == 3
    assert need([], 0, redundancy=4).seats == 4


def test_demand_times_redundancy_at_the_target_is_what_is_needed() -> None:
    grown = need(4, 10)
    assert grown.utilisation == (8_000,) * DAYS
    # Four streams, each run twice, at 60%: 13.3 seats.
    assert (grown.needed, grown.seats) == (14, 14)
    assert need(4, 10, target=8_000).seats == 10


def test_seats_shrink_when_they_stand_idle() -> None:
    shrunk = need(1.5, 10)
    assert shrunk.utilisation == (3_000,) * DAYS
    assert (shrunk.needed, shrunk.seats) == (5, 5)


def test_between_the_bounds_nothing_changes() -> None:
    for hours in (2.0, 3.0, 3.75):
        assert need(hours, 10).seats == 10


def test_one_day_within_the_bounds_keeps_everything_as_it_is() -> None:
    for hours, odd in ((4.0, 3.0), (1.0, 3.0)):
        for day in range(DAYS):
            days = [hours] * DAYS
            days[day] = odd
            assert need(days, 10).seats == 10


def test_a_short_history_changes_nothing() -> None:
    assert need([9.0] * (DAYS - 1), 10).seats == 10
    assert need([0.0] * (DAYS - 1), 10).seats == 10


def test_only_the_latest_days_count() -> None:
    assert need([99.0] * 5 + [4.0] * DAYS, 10) == need(4, 10)


@given(hours=st.floats(0, 5_000), offered=st.integers(0, 20_000), redundancy=st.integers(1, 4))
def test_seats_settle_at_once_and_never_flap(hours: float, offered: int, redundancy: int) -> None:
    first = need(hours, offered, redundancy)
    again = need(hours, first.seats, redundancy)
    assert again.seats == first.seats
    assert first.seats >= max(redundancy, POLICY.minimum_seats_per_model)
    if min(first.utilisation) > POLICY.grow_above_basis_points:
        assert first.seats > offered or first.seats == max(redundancy, 3)
    if max(first.utilisation) < POLICY.shrink_below_basis_points:
        assert first.seats <= max(offered, redundancy, 3)


def waiting(position: int, peer: str, operator: str = "", offered: int | None = None) -> Waiting:
    return Waiting(
        position=position,
        peer_id=peer,
        operator=operator or f"of-{peer}",
        model="m",
        offered_at_us=offered,
    )


def offers(*line: Waiting, free: int, cap: int = 9, now_us: int = 0, seated: int = 0) -> Offers:
    return next_offers(
        line,
        offered={"m": free + 5},
        held={"m": 5},
        hosts_of_operator={"big": frozenset(f"s{number}" for number in range(seated))},
        operator_cap=cap,
        offer_days=POLICY.offer_days,
        now_us=now_us,
    )


def test_first_come_first_served() -> None:
    a, b, c = waiting(1, "a"), waiting(2, "b"), waiting(3, "c")
    assert offers(c, a, b, free=2).offer == (a, b)
    assert offers(c, a, b, free=0).offer == ()
    assert offers(c, a, b, free=-4).offer == ()


def test_an_operator_at_its_cap_is_passed_over_and_keeps_its_place() -> None:
    line = (waiting(1, "a", "big"), waiting(2, "b", "big"), waiting(3, "c"))
    given = offers(*line, free=3, cap=3, seated=2)
    assert given == Offers((line[0], line[2]), (), (line[1],))
    assert offers(*line, free=3, cap=2, seated=2).passed_over == line[:2]


def test_a_host_seated_already_may_be_offered_another_model_at_the_cap() -> None:
    again = waiting(1, "s0", "big")
    assert offers(again, free=1, cap=2, seated=2).offer == (again,)


def test_an_offer_keeps_its_seat_until_it_lapses() -> None:
    held, next_one = waiting(1, "a", offered=0), waiting(2, "b")
    until = POLICY.offer_days * DAY_US
    assert offers(held, next_one, free=1, now_us=until - 1) == Offers((), (), ())
    assert offers(held, next_one, free=1, now_us=until) == Offers((next_one,), (held,), ())


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=20),
    st.integers(-2, 12),
    st.integers(1, 5),
)
def test_no_more_is_offered_than_is_free_nor_beyond_the_cap(
    line: list[tuple[int, bool]], free: int, cap: int
) -> None:
    entries = [
        waiting(number, f"p{number}", f"o{operator}", 0 if offered else None)
        for number, (operator, offered) in enumerate(line)
    ]
    given_out = offers(*entries, free=free, cap=cap)
    pending = [entry for entry in entries if entry.offered_at_us is not None]
    assert len(given_out.offer) <= max(0, free - len(pending))
    for operator in {entry.operator for entry in given_out.offer}:
        assert sum(one.operator == operator for one in (*given_out.offer, *pending)) <= max(
            cap, sum(one.operator == operator for one in pending)
        )
    assert not set(given_out.offer) & set(pending)


def test_a_policy_of_ones_own_is_obeyed() -> None:
    eager = msgspec.structs.replace(POLICY, steady_days=1, minimum_seats_per_model=0)
    assert seat_need([10 * HOUR_US], redundancy=1, offered=1, policy=eager).seats == 17
