from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.coordinator.errors import LedgerError
from peerllm.coordinator.ledger import UNCLAIMED_ACCOUNT, Reservation, charge_transfers
from peerllm.coordinator.settlement import (
    ChunkWork,
    HostShareTooLow,
    HostWork,
    Role,
    Settlement,
    Shares,
    charge_of,
    settle,
    split,
)

SHARES = Shares(host_share_basis_points=9_500, backup_share_basis_points=2_000)

charges = st.integers(0, 10**12)
tokens = st.integers(0, 5_000)
roles: st.SearchStrategy[Role] = st.sampled_from(["leader", "backup"])
works = st.builds(HostWork, st.sampled_from("ABCDEF"), roles, st.none() | tokens, tokens, tokens)
chunks = st.builds(ChunkWork, st.integers(0, 10_000), st.lists(works, max_size=4).map(tuple))
shares = st.builds(Shares, st.integers(9_500, 10_000), st.integers(0, 10_000))


@dataclass(frozen=True)
class Price:
    input_nano_usd_per_million: int
    output_nano_usd_per_million: int


def leader(host: str, claimed: int | None, delivered: int, counted: int | None = None) -> HostWork:
    return HostWork(host, "leader", claimed, delivered if counted is None else counted, delivered)


def backup(host: str, claimed: int | None, counted: int, delivered: int = 0) -> HostWork:
    return HostWork(host, "backup", claimed, counted, delivered)


def settled(charge: int, *work: ChunkWork, shares: Shares = SHARES) -> Settlement:
    settlement = settle(charge, shares, work)
    assert isinstance(settlement, Settlement)
    return settlement


@given(charges, shares, st.lists(chunks, max_size=5))
def test_legs_sum_exactly_nobody_is_negative_and_hosts_get_their_share(
    charge: int, shares: Shares, work: list[ChunkWork]
) -> None:
    settlement = settled(charge, *work, shares=shares)
    assert sum(leg.amount for leg in settlement.legs) == charge
    assert all(leg.amount > 0 for leg in settlement.legs)
    assert settlement.host_share + settlement.margin == charge
    assert settlement.host_share * 10_000 >= charge * shares.host_share_basis_points
    assert (settlement.host_share - 1) * 10_000 < charge * shares.host_share_basis_points
    to_hosts = [leg.amount for leg in settlement.legs if leg.account.startswith("hosts/")]
    assert sum(to_hosts) == settlement.host_share
    reservation = Reservation("r", "customers/ada", None, charge, "open")
    assert len(charge_transfers(reservation, charge, settlement.legs)) == len(settlement.legs)


@given(charges, st.lists(chunks, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_chunks_and_hosts_changes_nothing(
    charge: int, work: list[ChunkWork], random: Random
) -> None:
    expected = settled(charge, *work)
    shuffled = [replace(chunk, deliveries=chunk.deliveries[::-1]) for chunk in work]
    random.shuffle(shuffled)
    assert settled(charge, *shuffled) == expected


@given(charges, charges, shares)
def test_neither_pool_nor_margin_shrinks_when_the_charge_grows(
    charge: int, more: int, shares: Shares
) -> None:
    less, greater = settled(charge, shares=shares), settled(charge + more, shares=shares)
    assert less.host_share <= greater.host_share
    assert less.margin <= greater.margin


@given(charges, st.lists(works, max_size=4), works, st.integers(1, 1_000))
def test_claiming_more_than_was_counted_gains_nothing(
    charge: int, others: list[HostWork], work: HostWork, extra: int
) -> None:
    honest = replace(work, claimed_tokens=work.counted_tokens)
    greedy = replace(work, claimed_tokens=work.counted_tokens + extra)
    assert settled(charge, ChunkWork(1, (*others, greedy))) == settled(
        charge, ChunkWork(1, (*others, honest))
    )


@given(charges, st.lists(works, max_size=4), roles, tokens, tokens, st.integers(0, 1_000))
def test_a_host_never_loses_by_doing_more(
    charge: int, others: list[HostWork], role: Role, done: int, delivered: int, more: int
) -> None:
    less = HostWork("Z", role, done, done, delivered)
    greater = HostWork("Z", role, done + more, done + more, delivered + more)
    before = settled(charge, ChunkWork(1, (*others, less))).paid_to("Z")
    after = settled(charge, ChunkWork(1, (*others, greater))).paid_to("Z")
    assert before <= after


@given(charges, st.lists(chunks, max_size=4))
def test_without_a_valid_receipt_there_is_no_pay(charge: int, work: list[ChunkWork]) -> None:
    bare = [
        replace(
            chunk,
            deliveries=tuple(
                replace(item, claimed_tokens=None) if item.host == "A" else item
                for item in chunk.deliveries
            ),
        )
        for chunk in work
    ]
    assert settled(charge, *bare).paid_to("A") == 0


def test_the_leader_gets_the_rest_after_the_backups_share() -> None:
    settlement = settled(10_000, ChunkWork(1, (leader("A", 100, 100), backup("B", 60, 60))))
    assert (settlement.paid_to("A"), settlement.paid_to("B")) == (7_600, 1_900)
    assert settlement.margin == 500


def test_a_leader_alone_gets_the_backups_share_too() -> None:
    assert settled(10_000, ChunkWork(1, (leader("A", 100, 100),))).paid_to("A") == 9_500
    idle = ChunkWork(1, (leader("A", 100, 100), backup("B", 0, 0)))
    assert settled(10_000, idle).paid_to("A") == 9_500


def test_backups_share_in_proportion_to_claimed_as_far_as_counted() -> None:
    work = ChunkWork(1, (leader("A", 9, 9), backup("B", 30, 90), backup("C", 500, 10)))
    settlement = settled(10_000, work)
    assert (settlement.paid_to("B"), settlement.paid_to("C")) == (1_425, 475)


def test_after_a_takeover_released_tokens_decide() -> None:
    work = ChunkWork(1, (leader("A", 30, 30), backup("B", 100, 100, delivered=70)))
    settlement = settled(10_000, work)
    assert settlement.paid_to("A") == 7_600 * 30 // 100
    assert settlement.paid_to("B") == 1_900 + 7_600 * 70 // 100


def test_a_leader_without_receipt_leaves_its_part_to_the_backup() -> None:
    work = ChunkWork(1, (leader("A", None, 100), backup("B", 40, 40)))
    settlement = settled(10_000, work)
    assert (settlement.paid_to("A"), settlement.paid_to("B")) == (0, 9_500)


def test_what_nobody_claims_is_kept_for_hosts() -> None:
    settlement = settled(10_000, ChunkWork(1, (leader("A", None, 100), backup("B", 0, 0))))
    assert settlement.unclaimed == 9_500
    assert settlement.margin == 500
    assert [leg.account for leg in settlement.legs] == [UNCLAIMED_ACCOUNT, "network/margin"]
    assert settled(10_000).unclaimed == 9_500


def test_an_empty_answer_pays_those_who_gave_it() -> None:
    work = ChunkWork(1, (leader("A", 0, 0), backup("B", 0, 0)))
    settlement = settled(10_000, work)
    assert settlement.paid_to("A") == settlement.paid_to("B") == 4_750


def test_the_pool_is_split_over_chunks_by_weight() -> None:
    work = (ChunkWork(3, (leader("A", 1, 1),)), ChunkWork(1, (leader("B", 1, 1),)))
    settlement = settled(10_000, *work)
    assert (settlement.paid_to("A"), settlement.paid_to("B")) == (7_125, 2_375)


def test_a_tariff_below_the_charter_is_refused() -> None:
    assert settle(100, Shares(9_499, 2_000), ()) == HostShareTooLow(9_499, 9_500)
    assert settle(100, Shares(9_600, 2_000, 9_700), ()) == HostShareTooLow(9_600, 9_700)
    # A charter cannot promise less than the network was founded on.
    assert settle(100, Shares(9_000, 2_000, 8_000), ()) == HostShareTooLow(9_000, 9_500)


@given(st.integers(0, 10**9), st.dictionaries(st.text(max_size=3), st.integers(0, 10**6)))
def test_a_split_is_exact_and_no_part_is_off_by_a_whole_unit(
    total: int, weights: dict[str, int]
) -> None:
    parts = split(total, weights)
    whole = sum(weights.values())
    if whole == 0:
        assert parts == {}
        return
    assert sum(parts.values()) == total
    for name, weight in weights.items():
        assert abs(parts[name] * whole - total * weight) < whole


@given(tokens, tokens, st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_charge_is_tokens_times_tariff(
    prompt: int, completion: int, input_price: int, output_price: int
) -> None:
    price = Price(input_price, output_price)
    charge = charge_of(price, prompt_tokens=prompt, completion_tokens=completion)
    exact = prompt * input_price + completion * output_price
    assert charge * 1_000_000 <= exact < (charge + 1) * 1_000_000


def test_impossible_numbers_are_bugs() -> None:
    with pytest.raises(LedgerError):
        charge_of(Price(1, 1), prompt_tokens=-1, completion_tokens=1)
    with pytest.raises(LedgerError):
        HostWork("A", "leader", -1, 0, 0)
    with pytest.raises(LedgerError):
        ChunkWork(-1, ())
    with pytest.raises(LedgerError):
        Shares(10_001, 0)
