import msgspec
import pytest

from peerllm.peer.limits import (
    LARGEST_CAP_BYTES,
    YEAR_2100_US,
    Conditions,
    HoldReason,
    Limits,
    ScheduleWindow,
    after_clock_was_set,
    holds,
)

# A Wednesday, 13:30.
NOON = Conditions(weekday=2, minute=13 * 60 + 30)
HOUR_US = 3600 * 1_000_000


def window(days: list[int], start: int, end: int) -> Limits:
    return Limits(schedule=[ScheduleWindow(days=days, start_minute=start, end_minute=end)])


def changed(**facts: float | bool | None) -> Conditions:
    return Conditions(weekday=2, minute=810, **facts)


@pytest.mark.parametrize(
    ("limits", "now", "reasons"),
    [
        (Limits(), NOON, set()),
        (Limits(paused=True), NOON, {"paused"}),
        (window([2], 810, 811), NOON, set()),
        (window([2], 0, 810), NOON, {"schedule"}),
        (window([1, 3], 0, 1440), NOON, {"schedule"}),
        # Over midnight: from Tuesday evening until Wednesday at two.
        (window([1], 1200, 840), NOON, set()),
        (window([1], 1200, 800), NOON, {"schedule"}),
        (window([2], 1200, 840), NOON, {"schedule"}),
        (window([2], 800, 60), NOON, set()),
        (Limits(idle_minutes=2), changed(idle_seconds=119), {"owner_active"}),
        (Limits(idle_minutes=2), changed(idle_seconds=120), set()),
        (Limits(on_battery=False), changed(on_battery=True), {"battery"}),
        (Limits(), changed(on_battery=True), set()),
        (Limits(on_metered=False), changed(on_metered=True), {"metered"}),
        (Limits(on_metered=False), changed(on_metered=False), set()),
        (Limits(), changed(on_metered=True), set()),
        (Limits(beside_full_screen=False), changed(full_screen=True), {"full_screen"}),
        (Limits(beside_full_screen=False), changed(full_screen=False), set()),
        (Limits(), changed(full_screen=True), set()),
        (Limits(on_metered=False, beside_full_screen=False), NOON, set()),
        (Limits(memory_cap_bytes=100), changed(memory_bytes=101), {"memory"}),
        (Limits(memory_cap_bytes=100), changed(memory_bytes=100), set()),
        (Limits(maximum_celsius=80), changed(celsius=80.5), {"temperature"}),
        (Limits(), changed(celsius=120, memory_bytes=10**12, idle_seconds=0), set()),
        # What cannot be read does not hold.
        (Limits(idle_minutes=2, maximum_celsius=1, memory_cap_bytes=1), NOON, set()),
        (
            Limits(paused=True, idle_minutes=1, on_battery=False),
            changed(on_battery=True, idle_seconds=0),
            {"paused", "battery", "owner_active"},
        ),
    ],
)
def test_reasons_to_hold(limits: Limits, now: Conditions, reasons: set[HoldReason]) -> None:
    assert holds(limits, now) == reasons


def test_at_its_edge_a_limit_does_not_flap() -> None:
    limits = Limits(maximum_celsius=80, memory_cap_bytes=1000)
    hot = frozenset[HoldReason]({"temperature", "memory"})
    edge = changed(celsius=76, memory_bytes=960)
    assert holds(limits, edge) == frozenset()
    assert holds(limits, edge, hot) == hot
    assert holds(limits, changed(celsius=75, memory_bytes=950), hot) == frozenset()


@pytest.mark.parametrize(
    "wrong",
    [
        {"nice": -1},
        {"threads": -1},
        {"idle_minutes": 99_999},
        {"schedule": [{"days": [], "start_minute": 0, "end_minute": 1}]},
        {"schedule": [{"days": [7], "start_minute": 0, "end_minute": 1}]},
        {"schedule": [{"days": [0], "start_minute": 0, "end_minute": 1441}]},
        {"bandwidth_bytes_per_second": 1000},
        {"bandwidth_bytes_per_second": LARGEST_CAP_BYTES + 1},
        {"memory_cap_bytes": LARGEST_CAP_BYTES + 1},
        {"memory_cap_bytes": "much"},
        {"colour": 1},
    ],
)
def test_limits_out_of_bounds_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(wrong), type=Limits)


@pytest.mark.parametrize(
    ("hours_left", "held"), [(1, True), (24, True), (0, False), (-1, False), (25, False)]
)
def test_a_pause_for_a_while_ends_by_itself_even_if_the_clock_was_set_back(
    hours_left: int, held: bool
) -> None:
    now_us = 1_700_000_000_000_000
    limits = Limits(paused_until_us=now_us + hours_left * HOUR_US)
    now = Conditions(weekday=0, minute=0, now_us=now_us)
    assert holds(limits, now) == (frozenset({"paused"}) if held else frozenset())


@pytest.mark.parametrize(
    ("by_us", "until_us"),
    [
        (HOUR_US, 9 * HOUR_US),
        (-3 * HOUR_US, 5 * HOUR_US),
        # A clock that is being kept right.
        (4_000_000, 8 * HOUR_US),
        # Nonsense stays within what can be kept, and is a pause that is over.
        (-20 * HOUR_US, 1),
        (10**18, YEAR_2100_US),
    ],
)
def test_an_hour_stays_an_hour_when_the_clock_is_set(by_us: int, until_us: int) -> None:
    paused = Limits(paused_until_us=8 * HOUR_US)
    assert after_clock_was_set(paused, by_us) == Limits(paused_until_us=until_us)
    assert after_clock_was_set(Limits(), by_us) == Limits()
