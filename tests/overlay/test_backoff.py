import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.overlay.backoff import full_jitter


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_waits_between_nothing_and_the_cap(attempt: int, drawn: float) -> None:
    wait = full_jitter(attempt, lambda: drawn)
    assert 0 <= wait <= min(60.0, 0.5 * 2.0 ** min(attempt, 10))


def test_grows_until_the_cap() -> None:
    longest = [full_jitter(attempt, lambda: 1.0) for attempt in range(9)]
    assert longest == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_uses_the_whole_range() -> None:
    assert full_jitter(3, lambda: 0.0) == 0.0


def test_refuses_a_negative_attempt() -> None:
    with pytest.raises(ValueError, match="counted from 0"):
        full_jitter(-1, lambda: 0.0)
