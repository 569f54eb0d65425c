"""Ballots: who proposed, seconded and voted what, and what follows. Pure rules, no files.

Everything counted here is signed by its steward, so that whoever holds the files counts the same.
The notice begins with the seconding and voting ends with the notice; the clock is the caller's.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Literal

from peerllm.charter.ballot_papers import (
    DAY_US,
    Choice,
    Proposal,
    Second,
    Vote,
    closes_at_us,
    is_signed,
    proposal_id,
    second_id,
)
from peerllm.charter.stewards import Steward

# A proposal nobody seconds in this time, or nobody ratifies this long after its vote, is void:
# what was decided in one year must not come into force in another.
SECOND_WITHIN_DAYS: Final = 30
RATIFY_WITHIN_DAYS: Final = 90

_NO_ENDS: Final[Mapping[str, int]] = MappingProxyType({})

Outcome = Literal["unseconded", "open", "passed", "rejected", "no-quorum", "lapsed"]


@dataclass(frozen=True, slots=True)
class Ballot:
    """A proposal with all that was cast on it; `stewards` are those who may vote.

    `term_ends`: when the terms end, by public key, that bind here. What a steward does after the
    end does not count; the seat goes on counting for the quorum.
    """

    proposal: Proposal
    second: Second | None
    votes: tuple[Vote, ...]
    stewards: tuple[Steward, ...]
    term_ends: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a ballot says at a moment; names of stewards by choice.

    `spoilt` are stewards who signed two different votes: they count as present and for neither
    side, whoever of the two was first, since files have no order that others could check.
    `refused` says of every vote that does not count why.
    """

    outcome: Outcome
    closes_at_us: int | None
    by_choice: Mapping[Choice, tuple[str, ...]]
    spoilt: tuple[str, ...]
    missing: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def quorum_base(self) -> int:
        """How many stewards need not recuse themselves."""
        voted = sum(len(names) for names in self.by_choice.values())
        recused = len(self.by_choice["recuse"])
        return voted - recused + len(self.spoilt) + len(self.missing)

    @property
    def present(self) -> int:
        """How many of them have voted."""
        return self.quorum_base - len(self.missing)


def proposal_faults(
    proposal: Proposal,
    stewards: Sequence[Steward],
    now_us: int,
    term_ends: Mapping[str, int] = _NO_ENDS,
) -> Iterator[str]:
    """Yield a sentence for each reason why a proposal may not be voted on."""
    if proposal.proposer not in {steward.public_key for steward in stewards}:
        yield "it was proposed by somebody who is no steward"
    if not is_signed(proposal):
        yield "its proposer's signature is wrong: the proposal was altered"
    if proposal.proposed_at_us > now_us:
        yield "it was proposed in the future: this machine's clock or the proposer's is wrong"
    yield from _term_faults("proposed", proposal.proposer, proposal.proposed_at_us, term_ends)


def second_faults(
    proposal: Proposal,
    second: Second,
    stewards: Sequence[Steward],
    now_us: int,
    term_ends: Mapping[str, int] = _NO_ENDS,
) -> Iterator[str]:
    """Yield a sentence for each reason why a seconding does not count."""
    if second.proposal != proposal_id(proposal):
        yield "it seconds another proposal"
    if second.steward not in {steward.public_key for steward in stewards}:
        yield "it was seconded by somebody who is no steward"
    if second.steward == proposal.proposer:
        yield "nobody can second a proposal of their own; another steward must"
    if not is_signed(second):
        yield "the seconding's signature is wrong: it was altered"
    if second.at_us < proposal.proposed_at_us:
        yield "it was seconded before it was proposed"
    if second.at_us > proposal.proposed_at_us + SECOND_WITHIN_DAYS * DAY_US:
        yield f"it was seconded more than {SECOND_WITHIN_DAYS} days after it was proposed"
    if second.at_us > now_us:
        yield "it was seconded in the future: this machine's clock or the seconder's is wrong"
    yield from _term_faults("seconded", second.steward, second.at_us, term_ends)


def vote_faults(
    proposal: Proposal,
    second: Second,
    vote: Vote,
    stewards: Sequence[Steward],
    now_us: int,
    term_ends: Mapping[str, int] = _NO_ENDS,
) -> Iterator[str]:
    """Yield a sentence for each reason why a vote does not count."""
    if vote.proposal != proposal_id(proposal) or vote.second != second_id(second):
        yield "it was cast on another proposal or under another notice"
    if vote.steward not in {steward.public_key for steward in stewards}:
        yield "whoever cast it is no steward"
    if not is_signed(vote):
        yield "its signature is wrong: the vote was altered"
    if vote.at_us < second.at_us:
        yield "it was cast before the vote was opened"
    if vote.at_us >= closes_at_us(proposal, second):
        yield "it was cast after the vote had closed"
    if vote.at_us > now_us:
        yield "it was cast in the future: this machine's clock or the steward's is wrong"
    yield from _term_faults("cast", vote.steward, vote.at_us, term_ends)


def _term_faults(
    done: str, steward: str, at_us: int, term_ends: Mapping[str, int]
) -> Iterator[str]:
    end_us = term_ends.get(steward)
    if end_us is not None and at_us >= end_us:
        yield (
            f"it was {done} by a steward whose term had ended on {_day(end_us)}; until it is"
            " renewed such a steward only takes part in renewing the terms (charter rotate --renew)"
        )


def _day(epoch_us: int) -> str:
    return f"{datetime.fromtimestamp(epoch_us // 1_000_000, UTC):%Y-%m-%d}"


def tally(ballot: Ballot, now_us: int) -> Tally:
    """Count a ballot at a moment. The proposal itself is taken to be without fault."""
    names = {steward.public_key: steward.name for steward in ballot.stewards}
    refused: list[str] = []
    choices: dict[str, set[Choice]] = {}
    second = ballot.second
    if second is not None:
        for fault in second_faults(
            ballot.proposal, second, ballot.stewards, now_us, ballot.term_ends
        ):
            refused.append(f"the seconding does not count: {fault}")
            second = None
    for vote in ballot.votes:
        who = names.get(vote.steward, vote.steward[:16])
        if second is None:
            faults = ["the proposal was not seconded"]
        else:
            faults = list(
                vote_faults(
                    ballot.proposal, second, vote, ballot.stewards, now_us, ballot.term_ends
                )
            )
        if faults:
            refused.append(f"the vote of {who} does not count: {faults[0]}")
        else:
            choices.setdefault(vote.steward, set()).add(vote.choice)
    single = {key: next(iter(cast)) for key, cast in choices.items() if len(cast) == 1}
    by_choice: dict[Choice, tuple[str, ...]] = {
        choice: tuple(sorted(names[key] for key, cast in single.items() if cast == choice))
        for choice in ("yes", "no", "abstain", "recuse")
    }
    counted = Tally(
        outcome="unseconded",
        closes_at_us=None if second is None else closes_at_us(ballot.proposal, second),
        by_choice=by_choice,
        spoilt=tuple(sorted(names[key] for key in choices if key not in single)),
        missing=tuple(sorted(name for key, name in names.items() if key not in choices)),
        refused=tuple(refused),
    )
    return _with_outcome(counted, ballot.proposal, now_us)


def _with_outcome(counted: Tally, proposal: Proposal, now_us: int) -> Tally:
    closes = counted.closes_at_us
    if closes is None:
        late = now_us > proposal.proposed_at_us + SECOND_WITHIN_DAYS * DAY_US
        return dataclasses.replace(counted, outcome="lapsed" if late else "unseconded")
    if now_us < closes:
        return dataclasses.replace(counted, outcome="open")
    if now_us > closes + RATIFY_WITHIN_DAYS * DAY_US:
        return dataclasses.replace(counted, outcome="lapsed")
    base = counted.quorum_base
    if not base or not proposal.rule.quorum.reached_by(counted.present, base):
        return dataclasses.replace(counted, outcome="no-quorum")
    yes, no = len(counted.by_choice["yes"]), len(counted.by_choice["no"])
    passed = yes > 0 and proposal.rule.supermajority.reached_by(yes, yes + no)
    return dataclasses.replace(counted, outcome="passed" if passed else "rejected")
