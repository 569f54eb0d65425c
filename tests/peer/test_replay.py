import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.peer.replay import LONGEST_LIFE_US, ReplayGuard

NOW = 1_000_000


def test_a_dispatch_is_taken_once_until_it_expires() -> None:
    guard = ReplayGuard()
    assert guard.admit(b"a", expires_at_us=NOW + 10, now_us=NOW) is None
    assert guard.admit(b"a", expires_at_us=NOW + 10, now_us=NOW + 9) == "refused_envelope"
    assert guard.admit(b"a", expires_at_us=NOW + 10, now_us=NOW + 10) == "expired"
    assert len(guard) == 0


@pytest.mark.parametrize(
    ("expires_at_us", "fault"),
    [
        (NOW, "expired"),
        (NOW - 1, "expired"),
        (NOW + LONGEST_LIFE_US, None),
        (NOW + LONGEST_LIFE_US + 1, "refused_envelope"),
    ],
)
def test_only_a_bounded_life_is_accepted(expires_at_us: int, fault: str | None) -> None:
    assert ReplayGuard().admit(b"a", expires_at_us=expires_at_us, now_us=NOW) == fault


def test_a_full_memory_refuses_instead_of_forgetting() -> None:
    guard = ReplayGuard(maximum=2)
    for name in (b"a", b"b"):
        assert guard.admit(name, expires_at_us=NOW + 10, now_us=NOW) is None
    assert guard.admit(b"c", expires_at_us=NOW + 10, now_us=NOW) == "overloaded"
    assert guard.admit(b"c", expires_at_us=NOW + 20, now_us=NOW + 10) is None


@given(
    st.lists(
        st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 20), st.integers(1, 9)),
        max_size=30,
    )
)
def test_no_id_is_ever_taken_twice_within_its_life(arrivals: list[tuple[bytes, int, int]]) -> None:
    guard = ReplayGuard()
    alive_until: dict[bytes, int] = {}
    for name, now_us, life_us in sorted(arrivals, key=lambda arrival: arrival[1]):
        taken = guard.admit(name, expires_at_us=now_us + life_us, now_us=now_us) is None
        assert taken == (alive_until.get(name, 0) <= now_us)
        if taken:
            alive_until[name] = now_us + life_us
