import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.peer.errors import ConfigurationError
from peerllm.peer.limits import ScheduleWindow
from peerllm.peer.schedule import describe_schedule, schedule_window


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("mon-fri 18:00-08:00", [0, 1, 2, 3, 4], 1080, 480),
        ("Sat,Sun 00:00-24:00", [5, 6], 0, 1440),
        ("fri-mon 1:05-2:00", [0, 4, 5, 6], 65, 120),
        ("22:00-06:00", [0, 1, 2, 3, 4, 5, 6], 1320, 360),
    ],
)
def test_a_schedule_reads_as_people_write_it(
    text: str, days: list[int], start: int, end: int
) -> None:
    assert schedule_window(text) == ScheduleWindow(days=days, start_minute=start, end_minute=end)


@pytest.mark.parametrize(
    "text",
    ["", "always", "mon 8", "mon 25:00-26:00", "mon 8:61-9:00", "8:00-8:00", "xyz 1:00-2:00"],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match="mon-fri 18:00-08:00"):
        schedule_window(text)


@given(
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(0, 1440),
)
def test_what_is_described_can_be_written_again(days: set[int], start: int, end: int) -> None:
    if start == end:
        return
    window = ScheduleWindow(days=sorted(days), start_minute=start, end_minute=end)
    assert schedule_window(describe_schedule([window])) == window
