import pytest

from peerllm.peer.public_prefixes import PublicPrefixes


def prefix(number: int, length: int = 8) -> tuple[int, ...]:
    return (number,) * length


def never() -> bytes:
    raise AssertionError("read for nothing")


def test_a_kept_state_is_found_and_read_once() -> None:
    prefixes = PublicPrefixes()
    assert prefixes.find(prefix(1)) is None
    prefixes.keep(prefix(1), lambda: b"state")
    prefixes.keep(prefix(1), never)
    assert prefixes.find(prefix(1)) == b"state"
    assert prefixes.find(prefix(1)[:-1]) is None


def test_a_short_prefix_is_not_worth_it() -> None:
    prefixes = PublicPrefixes()
    prefixes.keep(prefix(1, 7), never)
    assert len(prefixes) == 0


def test_the_one_used_longest_ago_goes_first() -> None:
    prefixes = PublicPrefixes()
    for number in range(4):
        prefixes.keep(prefix(number), lambda: b"x")
    assert prefixes.find(prefix(0))
    prefixes.keep(prefix(4), lambda: b"x")
    assert prefixes.find(prefix(0))
    assert prefixes.find(prefix(1)) is None


@pytest.mark.parametrize(("size", "kept"), [(64_000_001, 0), (40_000_000, 1), (32_000_000, 2)])
def test_the_bytes_are_bounded(size: int, kept: int) -> None:
    prefixes = PublicPrefixes()
    for number in range(3):
        prefixes.keep(prefix(number), lambda: bytes(size))
    assert len(prefixes) == kept
