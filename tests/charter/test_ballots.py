"""Ballots counted by their rules, whoever counts and whatever order the papers come in."""

from collections.abc import Sequence
from fractions import Fraction as Exactly

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.charter.ballot_papers import (
    DAY_US,
    Choice,
    Proposal,
    Second,
    Vote,
    is_signed,
    kind_of,
    proposal_id,
    second_id,
    sign,
    strictest_rule,
)
from peerllm.charter.ballots import (
    RATIFY_WITHIN_DAYS,
    SECOND_WITHIN_DAYS,
    Ballot,
    Tally,
    proposal_faults,
    tally,
)
from peerllm.charter.default_terms import first_terms
from peerllm.charter.governance import AmendmentRule, Fraction
from peerllm.charter.stewards import Steward
from peerllm.crypto.identity import Identity

KEYS = [Identity.from_seed(bytes([number]) * 32) for number in range(1, 10)]
STRANGER = Identity.from_seed(b"s" * 32)
STEWARDS = tuple(
    Steward(name=f"steward-{number}", interest="hosts", public_key=key.public_key.hex())
    for number, key in enumerate(KEYS, start=1)
)
BEGIN = 1_900_000_000_000_000
NOTICE_DAYS = 7
CLOSE = BEGIN + NOTICE_DAYS * DAY_US
RULE = AmendmentRule(
    notice_days=NOTICE_DAYS,
    quorum=Fraction(numerator=2, denominator=3),
    supermajority=Fraction(numerator=2, denominator=3),
)
PROPOSAL = sign(
    Proposal(
        network="home",
        summary="a change",
        proposer=STEWARDS[0].public_key,
        proposed_at_us=BEGIN - DAY_US,
        terms="0" * 64,
        rule=RULE,
        changes={},
        expires_at_us=CLOSE + 365 * DAY_US,
    ),
    KEYS[0],
)
SECOND = sign(
    Second(proposal=proposal_id(PROPOSAL), steward=STEWARDS[1].public_key, at_us=BEGIN), KEYS[1]
)
CHOICES: tuple[Choice, ...] = ("yes", "no", "abstain", "recuse")


def cast(number: int, choice: Choice, at_us: int = BEGIN + 1) -> Vote:
    vote = Vote(
        proposal=proposal_id(PROPOSAL),
        second=second_id(SECOND),
        steward=STEWARDS[number].public_key,
        choice=choice,
        at_us=at_us,
    )
    return sign(vote, KEYS[number])


# Signing costs more than counting: every vote that the tests draw is signed once.
SIGNED = {(number, choice): cast(number, choice) for number in range(6) for choice in CHOICES}


def counted(
    votes: Sequence[Vote], *, of: int = 3, now: int = CLOSE, second: Second | None = SECOND
) -> Tally:
    return tally(Ballot(PROPOSAL, second, tuple(votes), STEWARDS[:of]), now)


def votes_of(*choices: Choice) -> list[Vote]:
    return [SIGNED[number, choice] for number, choice in enumerate(choices)]


@pytest.mark.parametrize(
    ("choices", "of", "outcome"),
    [
        (["yes", "yes"], 3, "passed"),
        (["yes", "yes", "no"], 3, "passed"),
        (["yes", "no"], 3, "rejected"),
        (["yes"], 3, "no-quorum"),
        ([], 3, "no-quorum"),
        (["yes", "abstain"], 3, "passed"),
        (["abstain", "abstain", "abstain"], 3, "rejected"),
        (["no", "no", "no"], 3, "rejected"),
        # Recused stewards are out of the base: one of one is a quorum, none of none is not.
        (["yes", "recuse", "recuse"], 3, "passed"),
        (["recuse", "recuse", "recuse"], 3, "no-quorum"),
        (["recuse", "yes"], 3, "no-quorum"),
        (["yes", "yes", "yes", "yes", "no", "no"], 6, "passed"),
        (["yes", "yes", "yes", "no", "no", "no"], 6, "rejected"),
        (["yes", "yes", "yes"], 6, "no-quorum"),
    ],
)
def test_quorum_and_supermajority(choices: list[Choice], of: int, outcome: str) -> None:
    assert counted(votes_of(*choices), of=of).outcome == outcome


def test_the_notice_begins_with_the_seconding_and_the_vote_ends_with_it() -> None:
    votes = votes_of("yes", "yes")
    assert counted(votes, second=None, now=BEGIN).outcome == "unseconded"
    assert counted(votes, now=CLOSE - 1).outcome == "open"
    assert counted(votes, now=CLOSE).outcome == "passed"
    assert counted(votes, now=CLOSE).closes_at_us == CLOSE
    assert counted(votes, now=CLOSE + RATIFY_WITHIN_DAYS * DAY_US).outcome == "passed"
    assert counted(votes, now=CLOSE + RATIFY_WITHIN_DAYS * DAY_US + 1).outcome == "lapsed"


def test_a_proposal_that_nobody_seconds_lapses() -> None:
    last = PROPOSAL.proposed_at_us + SECOND_WITHIN_DAYS * DAY_US
    assert counted([], second=None, now=last).outcome == "unseconded"
    assert counted([], second=None, now=last + 1).outcome == "lapsed"


def test_the_same_vote_twice_counts_once() -> None:
    again = cast(0, "yes", at_us=BEGIN + 2)
    assert counted([SIGNED[0, "yes"], again, SIGNED[0, "yes"]]).by_choice["yes"] == ("steward-1",)


def test_two_different_votes_of_one_steward_count_for_neither_side() -> None:
    both = [SIGNED[0, "yes"], SIGNED[0, "no"]]
    for votes in (both, both[::-1]):
        spoilt = counted([*votes, SIGNED[1, "yes"]])
        assert spoilt.spoilt == ("steward-1",)
        assert spoilt.by_choice["yes"] == ("steward-2",)
        assert (spoilt.present, spoilt.outcome) == (2, "passed")
    # Nor can recusing oneself afterwards shrink the base that others need a quorum of.
    recused = counted([SIGNED[0, "yes"], SIGNED[0, "recuse"], SIGNED[1, "yes"]])
    assert recused.quorum_base == 3


@pytest.mark.parametrize(
    ("vote", "reason"),
    [
        (cast(0, "no", CLOSE), "after the vote had closed"),
        (cast(0, "no", BEGIN - 1), "before the vote was opened"),
        (sign(msgspec.structs.replace(cast(0, "no"), proposal="1" * 64), KEYS[0]), "another"),
        (sign(msgspec.structs.replace(cast(0, "no"), second="1" * 64), KEYS[0]), "another notice"),
        (sign(cast(0, "no"), KEYS[1]), "signature is wrong"),
        (msgspec.structs.replace(cast(0, "yes"), choice="no"), "signature is wrong"),
        (msgspec.structs.replace(cast(0, "no"), signature=""), "signature is wrong"),
        (
            sign(
                msgspec.structs.replace(cast(0, "no"), steward=STRANGER.public_key.hex()), STRANGER
            ),
            "no steward",
        ),
        (cast(3, "no"), "no steward"),
    ],
)
def test_what_does_not_count_is_said_and_changes_nothing(vote: Vote, reason: str) -> None:
    votes = [SIGNED[1, "yes"], SIGNED[2, "yes"]]
    alone, with_it = counted(votes), counted([vote, *votes])
    assert with_it.outcome == alone.outcome == "passed"
    assert with_it.by_choice == alone.by_choice
    assert with_it.missing == ("steward-1",)
    [said] = with_it.refused
    assert reason in said


def test_a_vote_from_the_future_does_not_count_yet() -> None:
    [said] = counted([SIGNED[0, "yes"]], now=BEGIN).refused
    assert "in the future" in said


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (sign(msgspec.structs.replace(SECOND, steward=PROPOSAL.proposer), KEYS[0]), "their own"),
        (
            sign(msgspec.structs.replace(SECOND, steward=STRANGER.public_key.hex()), STRANGER),
            "no steward",
        ),
        (sign(SECOND, KEYS[2]), "signature is wrong"),
        (
            sign(msgspec.structs.replace(SECOND, at_us=PROPOSAL.proposed_at_us - 1), KEYS[1]),
            "before it was proposed",
        ),
        (
            sign(
                msgspec.structs.replace(
                    SECOND, at_us=PROPOSAL.proposed_at_us + SECOND_WITHIN_DAYS * DAY_US + 1
                ),
                KEYS[1],
            ),
            "more than 30 days",
        ),
        (sign(msgspec.structs.replace(SECOND, proposal="1" * 64), KEYS[1]), "another proposal"),
    ],
)
def test_a_seconding_that_does_not_count_opens_no_vote(second: Second, reason: str) -> None:
    late = CLOSE + 60 * DAY_US
    told = counted(votes_of("yes", "yes"), second=second, now=late)
    assert told.closes_at_us is None
    assert told.outcome == "lapsed"
    assert reason in told.refused[0]


def test_a_proposal_is_a_stewards_and_unaltered() -> None:
    assert list(proposal_faults(PROPOSAL, STEWARDS, BEGIN)) == []
    longer = msgspec.structs.replace(PROPOSAL, expires_at_us=CLOSE)
    foreign = sign(msgspec.structs.replace(PROPOSAL, proposer=STRANGER.public_key.hex()), STRANGER)
    assert "altered" in next(proposal_faults(longer, STEWARDS, BEGIN))
    assert "no steward" in next(proposal_faults(foreign, STEWARDS, BEGIN))
    assert "in the future" in next(proposal_faults(PROPOSAL, STEWARDS, BEGIN - 2 * DAY_US))


def test_a_signature_of_one_kind_is_void_on_another() -> None:
    vote = cast(0, "yes")
    assert is_signed(vote)
    borrowed = msgspec.structs.replace(SECOND, signature=vote.signature)
    assert not is_signed(borrowed)


ballots = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(CHOICES)), max_size=10)


@settings(max_examples=60, deadline=None)
@given(ballots, st.integers(1, 6), st.data())
def test_a_tally_adds_up_and_does_not_depend_on_the_order(
    drawn: list[tuple[int, Choice]], of: int, data: st.DataObject
) -> None:
    votes = [SIGNED[each] for each in drawn]
    first = counted(votes, of=of)
    again = counted([*data.draw(st.permutations(votes)), *votes], of=of)
    assert (again.outcome, again.by_choice, again.spoilt) == (
        first.outcome,
        first.by_choice,
        first.spoilt,
    )
    placed = [name for names in first.by_choice.values() for name in names]
    placed += [*first.spoilt, *first.missing]
    assert sorted(placed) == [steward.name for steward in STEWARDS[:of]]
    yes, no = len(first.by_choice["yes"]), len(first.by_choice["no"])
    if first.outcome == "passed":
        assert yes > 0
        assert Exactly(first.present, first.quorum_base) >= Exactly(2, 3)
        assert Exactly(yes, yes + no) >= Exactly(2, 3)


def test_of_several_documents_the_strictest_rule_binds() -> None:
    rules = first_terms("home").amendments
    both = strictest_rule(rules, ["model-catalogue.json", "tariff.json"], signatories=False)
    assert (both.notice_days, str(both.quorum)) == (30, "2/3")
    catalogue = strictest_rule(rules, ["model-catalogue.json"], signatories=False)
    assert (catalogue.notice_days, str(catalogue.quorum)) == (7, "1/2")
    assert strictest_rule(rules, [], signatories=False) == rules["stewards"]
    joined = strictest_rule(rules, ["model-catalogue.json"], signatories=True)
    assert (joined.notice_days, str(joined.quorum)) == (7, "2/3")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tariff.json", "tariff"),
        ("charter-terms.json", "charter-terms"),
        ("regions/north.json", "region"),
        ("calculations/2030-q1.csv", "tariff"),
        ("regions/north/capacity.json", None),
        ("region.json", None),
        ("stewards.json", None),
        ("../tariff.json", None),
        ("regions/north.txt", None),
    ],
)
def test_every_file_of_a_charter_is_under_one_rule(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind
