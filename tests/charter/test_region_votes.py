"""A region's advisory votes: one voice an operator, and nothing that was not signed."""

from typing import Final

import msgspec
import pytest

from peerllm.charter.ballot_papers import DAY_US, Proposal, Second
from peerllm.charter.ballots import Ballot
from peerllm.charter.errors import Malformed, NotDecided
from peerllm.charter.governance import AmendmentRule, Fraction
from peerllm.charter.region_votes import Choice, RegionVote, cast_vote, read_vote, tally_votes
from peerllm.charter.spelling import spelling
from peerllm.crypto.identity import Identity

HALF: Final = Fraction(numerator=1, denominator=2)
HOSTS: Final = [Identity.from_seed(bytes([number]) * 32) for number in range(1, 6)]
# Two hosts are ada's.
OPERATORS: Final = dict(
    zip((host.peer_id for host in HOSTS[:4]), ("ada", "ada", "ben", "cai"), strict=True)
)
OPENED: Final = 100 * DAY_US
BALLOT: Final = Ballot(
    Proposal(
        network="home",
        summary="Federate bavaria",
        proposer="ab" * 32,
        proposed_at_us=OPENED - 1,
        terms="00" * 32,
        rule=AmendmentRule(notice_days=14, quorum=HALF, supermajority=HALF),
        changes={},
        expires_at_us=OPENED * 2,
    ),
    Second(proposal="00" * 32, steward="cd" * 32, at_us=OPENED),
    (),
    (),
)


def cast(host: int, choice: Choice, at_us: int = OPENED) -> RegionVote:
    return cast_vote(BALLOT, "bavaria", choice, HOSTS[host], at_us)


def test_each_operator_has_one_voice() -> None:
    votes = [cast(0, "yes"), cast(1, "yes", OPENED + 5), cast(2, "no"), cast(2, "no")]
    counted = tally_votes(BALLOT, "bavaria", votes, OPERATORS)
    assert counted.members == 3
    assert counted.by_choice == {"yes": ("ada",), "no": ("ben",), "abstain": ()}
    assert (counted.spoilt, counted.refused) == ((), ())


def test_who_says_two_things_says_nothing() -> None:
    votes = [cast(0, "yes"), cast(1, "no"), cast(3, "abstain")]
    counted = tally_votes(BALLOT, "bavaria", votes, OPERATORS)
    assert counted.spoilt == ("ada",)
    assert counted.by_choice == {"yes": (), "no": (), "abstain": ("cai",)}
    assert tally_votes(BALLOT, "bavaria", votes[::-1], OPERATORS) == counted


def test_votes_of_strangers_other_regions_and_other_times_are_named() -> None:
    late = msgspec.structs.replace(cast(2, "yes"), at_us=OPENED + 14 * DAY_US)
    early = msgspec.structs.replace(cast(3, "yes"), at_us=OPENED - 1)
    other = msgspec.structs.replace(cast(0, "yes"), proposal="11" * 32)
    counted = tally_votes(BALLOT, "bavaria", [cast(4, "yes"), late, early, other], OPERATORS)
    assert not any(counted.by_choice.values())
    assert sorted(reason.partition("count: ")[2] for reason in counted.refused) == [
        "it is dated before the proposal was seconded",
        "it is of another proposal or region",
        "the host held no seat in 'bavaria' when the vote began",
        "the time to vote is over",
    ]


@pytest.mark.parametrize("at_us", [OPENED - 1, OPENED + 14 * DAY_US])
def test_nobody_votes_before_or_after_the_time(at_us: int) -> None:
    with pytest.raises(NotDecided, match="the vote is not cast"):
        cast(0, "yes", at_us)
    ballot = Ballot(BALLOT.proposal, None, (), ())
    with pytest.raises(NotDecided, match="nobody has seconded"):
        cast_vote(ballot, "bavaria", "yes", HOSTS[0], at_us)


def test_every_flipped_byte_of_a_vote_is_refused() -> None:
    raw = spelling(cast(0, "yes"))
    assert read_vote(raw) == cast(0, "yes")
    for position in range(len(raw)):
        flipped = bytearray(raw)
        flipped[position] ^= 1
        with pytest.raises(Malformed):
            read_vote(bytes(flipped))
    for torn in (b"", raw[:-1], raw + b"\n", b"x" * 2_000):
        with pytest.raises(Malformed):
            read_vote(torn)
