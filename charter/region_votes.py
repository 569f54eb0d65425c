"""What a region's own members say of a proposal: signed by their hosts, one voice an operator.

Stewards decide; this is the advice that they see before they do. A host signs with the identity it
works under, so that nobody needs a further key, and the operators behind the hosts are told from
the seats they hold.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from peerllm.charter.ballot_papers import closes_at_us, proposal_id
from peerllm.charter.ballots import Ballot
from peerllm.charter.errors import Malformed, NotDecided
from peerllm.charter.region_record import Moment, RegionName
from peerllm.charter.spelling import Sha256Hex, spelling
from peerllm.crypto.identity import Identity, verify_signature

Choice = Literal["yes", "no", "abstain"]
CHOICES: Final[tuple[Choice, ...]] = ("yes", "no", "abstain")
MAXIMUM_VOTE_BYTES: Final = 1_024
_DOMAIN: Final = "region-vote/1"
PeerIdText = Annotated[str, msgspec.Meta(pattern=r"\A12D3Koo[1-9A-HJ-NP-Za-km-z]{45}\Z")]


class RegionVote(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="region-vote/1",
):  # fmt: skip
    """A host's word on a proposal, signed by its identity over everything but the signature."""

    region: RegionName
    proposal: Sha256Hex
    host: PeerIdText
    choice: Choice
    at_us: Moment
    signature: Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{128})?\Z")] = ""


@dataclass(frozen=True, slots=True)
class RegionTally:
    """How a region's operators have spoken; `refused` says which votes do not count, and why.

    `spoilt` are operators that said two different things.
    """

    region: str
    members: int
    by_choice: Mapping[Choice, tuple[str, ...]]
    spoilt: tuple[str, ...]
    refused: tuple[str, ...]


def cast_vote(
    ballot: Ballot, region: str, choice: Choice, host: Identity, now_us: int
) -> RegionVote:
    """Return a host's signed vote on a proposal; raises NotDecided outside the time to vote."""
    fault = _time_fault(ballot, now_us)
    if fault is not None:
        raise NotDecided(f"the vote is not cast: {fault}")
    vote = RegionVote(
        region=region,
        proposal=proposal_id(ballot.proposal),
        host=host.peer_id,
        choice=choice,
        at_us=now_us,
    )
    return msgspec.structs.replace(vote, signature=host.sign(_DOMAIN, spelling(vote)).hex())


def read_vote(raw: bytes) -> RegionVote:
    """Parse a vote and check its signature; raises Malformed."""
    if len(raw) > MAXIMUM_VOTE_BYTES:
        raise Malformed(f"region-vote: {len(raw)} bytes, at most {MAXIMUM_VOTE_BYTES} are allowed")
    try:
        vote = msgspec.json.decode(raw, type=RegionVote)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"region-vote: {error}") from error
    unsigned = spelling(msgspec.structs.replace(vote, signature=""))
    signature = bytes.fromhex(vote.signature)
    if spelling(vote) != raw or not verify_signature(vote.host, _DOMAIN, unsigned, signature):
        raise Malformed(f"region-vote: not what host {vote.host} signed; ask for the file again")
    return vote


def tally_votes(
    ballot: Ballot, region: str, votes: Sequence[RegionVote], operators: Mapping[str, str]
) -> RegionTally:
    """Count one voice for each operator; `operators` are those of the region, by host.

    An operator whose hosts said different things has a spoilt vote, whichever came first: files
    have no order that others could check.
    """
    said: dict[str, set[Choice]] = defaultdict(set)
    refused = []
    for vote in sorted(votes, key=lambda vote: (vote.host, vote.choice, vote.at_us)):
        fault = _time_fault(ballot, vote.at_us)
        if vote.proposal != proposal_id(ballot.proposal) or vote.region != region:
            fault = "it is of another proposal or region"
        elif vote.host not in operators:
            fault = f"the host held no seat in {region!r} when the vote began"
        if fault is None:
            said[operators[vote.host]].add(vote.choice)
        else:
            refused.append(f"the vote of {vote.host} does not count: {fault}")
    return RegionTally(
        region=region,
        members=len(set(operators.values())),
        by_choice={
            choice: tuple(sorted(name for name, choices in said.items() if choices == {choice}))
            for choice in CHOICES
        },
        spoilt=tuple(sorted(name for name, choices in said.items() if len(choices) > 1)),
        refused=tuple(refused),
    )


def _time_fault(ballot: Ballot, at_us: int) -> str | None:
    if ballot.second is None:
        return "nobody has seconded the proposal yet"
    if at_us < ballot.second.at_us:
        return "it is dated before the proposal was seconded"
    if at_us >= closes_at_us(ballot.proposal, ballot.second):
        return "the time to vote is over"
    return None
