"""Stewards' terms: when each began, when it ends, and what a steward may do once it has ended.

A steward whose term has ended proposes, seconds, votes and signs nothing, except a renewal: a
change of the stewards alone that leaves nobody among them whose term has ended. So no network can
end up without anybody who may renew it, and whoever may renew it can do nothing else.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from peerllm.charter.ballot_papers import DAY_US, Founding, Proposal
from peerllm.charter.governance import LeadershipClause
from peerllm.charter.metadata import moment_of
from peerllm.charter.stewards import Signatories, Steward


def term_ends(signatories: Signatories, clause: LeadershipClause) -> dict[str, int]:
    """Return when each steward's term ends, in epoch microseconds by public key.

    Stewards of a network that was founded before terms were dated are left out: theirs run on
    until their next change dates them.
    """
    return {
        key: since_us + clause.term_days * DAY_US
        for key, since_us in signatories.terms_from_us.items()
    }


def dated(
    base: Signatories | None, new: Signatories, renewed: Collection[str], at_us: int
) -> Signatories:
    """Return the signatories with the beginnings of their terms: carried over, or at `at_us`.

    `renewed` names the stewards who stay and begin another term.
    """
    before = {} if base is None else base.terms_from_us
    return Signatories(
        stewards=new.stewards,
        threshold=new.threshold,
        online_key=new.online_key,
        terms_from_us={
            steward.public_key: (
                at_us if steward.name in renewed else before.get(steward.public_key, at_us)
            )
            for steward in new.stewards
        },
    )


def founding_term_faults(founding: Founding) -> Iterator[str]:
    """Yield a sentence when a term does not begin with the founding."""
    terms = founding.signatories.terms_from_us
    # Networks of before terms were dated have none.
    if terms and not _all_begin(founding.signatories, {founding.founded_at_us}):
        yield "every steward's term begins when the network is founded"


def term_faults(base: Signatories, proposal: Proposal) -> Iterator[str]:
    """Yield a sentence for each steward whose term would begin at another moment than it may.

    A term goes on as it is, or begins with the proposal: nobody serves longer, and none ends
    earlier, than was voted on.
    """
    new = proposal.signatories
    if new is None or (not new.terms_from_us and not base.terms_from_us):
        return
    for steward in new.stewards:
        allowed = {proposal.proposed_at_us, base.terms_from_us.get(steward.public_key)}
        if new.terms_from_us.get(steward.public_key) not in allowed - {None}:
            yield (
                f"the term of {steward.name} neither goes on as it is nor begins with this proposal"
            )


def is_renewal(proposal: Proposal, clause: LeadershipClause) -> bool:
    """Tell whether a proposal changes the stewards alone and leaves no term that has ended."""
    new = proposal.signatories
    if new is None or proposal.changes:
        return False
    ends = term_ends(new, clause)
    return all(
        ends.get(steward.public_key, 0) > proposal.proposed_at_us for steward in new.stewards
    )


def binding_ends(
    proposal: Proposal, base: Signatories, clause: LeadershipClause
) -> Mapping[str, int]:
    """Return the ends of terms that bind a ballot on this proposal: none on a renewal."""
    return {} if is_renewal(proposal, clause) else term_ends(base, clause)


def term_notices(
    stewards: Sequence[Steward], ends: Mapping[str, int], now_us: int
) -> Iterator[str]:
    """Yield a sentence for each steward whose term has ended, or is not dated."""
    for steward in stewards:
        end_us = ends.get(steward.public_key)
        if end_us is None:
            yield (
                f"the term of {steward.name} is not dated: it was begun with an older release;"
                " charter rotate --renew dates it"
            )
        elif now_us >= end_us:
            yield (
                f"the term of {steward.name} ended on {moment_of(end_us):%Y-%m-%d}: until it is"
                " renewed (charter rotate --renew) what this steward proposes, seconds or votes"
                " counts for a renewal only"
            )


def _all_begin(signatories: Signatories, moments: Collection[int]) -> bool:
    return all(
        signatories.terms_from_us.get(steward.public_key) in moments
        for steward in signatories.stewards
    )
