import random
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from peerllm.coordinator.selection import Candidate, Exposure, RaceRule, choose


def candidate(host: str = "h", **fields: Any) -> Candidate:
    values: dict[str, Any] = {
        "operator": f"operator-{host}",
        "network": None,
        "dedicated": False,
        "free_slots": 2,
        "slots": 2,
        "first_token_seconds": 0.5,
        "error_rate": 0.0,
    }
    return Candidate(host=host, **(values | fields))


def chosen(candidates: list[Candidate], **more: Any) -> Candidate | None:
    values: dict[str, Any] = {
        "racing": [],
        "rule": RaceRule(),
        "exposure": Exposure(),
        "sample": random.Random(1),
    }
    return choose(candidates, **(values | more))


def tally(candidates: list[Candidate], **more: Any) -> Counter[str]:
    sample = random.Random(5)
    found = (chosen(candidates, sample=sample, **more) for _ in range(200))
    return Counter(one.host for one in found if one is not None)


def test_nobody_among_nobody() -> None:
    assert chosen([]) is None


def test_the_full_the_suspended_and_the_excluded_are_not_chosen() -> None:
    bad = [
        candidate("full", free_slots=0),
        candidate("paused", suspended=True),
        candidate("failed"),
        candidate("ours", dedicated=True),
    ]
    assert chosen(bad, excluded={"failed"}) is None
    good = chosen([*bad, candidate("good")], excluded={"failed"})
    assert good is not None
    assert good.host == "good"
    fallback = chosen(bad, dedicated=True)
    assert fallback is not None
    assert fallback.host == "ours"


def test_a_race_is_between_strangers() -> None:
    runner = candidate("a", operator="ada", network="192.0.2.0/24")
    same_host = candidate("a", operator="x", network="198.51.100.0/24")
    same_operator = candidate("b", operator="ada", network="198.51.100.0/24")
    same_network = candidate("c", network="192.0.2.0/24")
    stranger = candidate("d", network="198.51.100.0/24")
    for related in (same_host, same_operator, same_network):
        assert chosen([related], racing=[runner]) is None
    assert chosen([stranger], racing=[runner]) == stranger
    loose = RaceRule(distinct_operators=False, distinct_networks=False)
    assert chosen([same_host], racing=[runner], rule=loose) is None
    assert chosen([same_operator], racing=[runner], rule=loose) == same_operator


def test_hosts_of_unknown_network_are_told_apart_by_operator() -> None:
    assert chosen([candidate("b")], racing=[candidate("a")]) is not None


def test_the_idle_are_preferred_then_the_reliable_then_the_fast() -> None:
    best = candidate("best")
    for worse in (
        candidate("busy", free_slots=1),
        candidate("failing", error_rate=0.4, first_token_seconds=0.1),
        candidate("slow", first_token_seconds=5.0),
    ):
        assert tally([best, worse]) == {"best": 200}


def test_work_is_spread_over_equals() -> None:
    counts = tally([candidate(f"h{number}") for number in range(4)])
    assert len(counts) >= 2


def test_an_exposed_operator_waits_while_another_is_free() -> None:
    exposure = Exposure(shown={"ada": 2}, chunks=4, bound_basis_points=5_000)
    ada, bob = candidate("a", operator="ada"), candidate("b", operator="bob", error_rate=0.9)
    assert tally([ada, bob], exposure=exposure) == {"b": 200}
    # Better an exposed operator's answer than none.
    assert chosen([ada], exposure=exposure) == ada


def test_exposure_is_counted_in_chunks_of_the_request() -> None:
    half = Exposure(shown={"ada": 1}, chunks=4, bound_basis_points=5_000)
    assert not half.exceeded_by("ada")
    assert not half.exceeded_by("bob")
    assert Exposure(shown={"ada": 2}, chunks=4, bound_basis_points=5_000).exceeded_by("ada")
    assert not Exposure(shown={}, chunks=1).exceeded_by("ada")


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        host=st.sampled_from("abcdef"),
        operator=st.sampled_from("xyz"),
        network=st.sampled_from([None, "n1", "n2"]),
        dedicated=st.booleans(),
        free_slots=st.integers(0, 3),
        slots=st.just(3),
        first_token_seconds=st.floats(0, 100),
        error_rate=st.floats(0, 1),
        suspended=st.booleans(),
    ),
    max_size=8,
)


@given(candidates=CANDIDATES, racing=CANDIDATES, dedicated=st.booleans(), seed=st.integers())
def test_whoever_is_chosen_may_be(
    candidates: list[Candidate], racing: list[Candidate], dedicated: bool, seed: int
) -> None:
    found = chosen(candidates, racing=racing, dedicated=dedicated, sample=random.Random(seed))
    allowed = [
        one
        for one in candidates
        if one.free_slots
        and not one.suspended
        and one.dedicated is dedicated
        and all(
            one.host != other.host
            and one.operator != other.operator
            and (one.network is None or one.network != other.network)
            for other in racing
        )
    ]
    assert (found in allowed) if allowed else (found is None)
