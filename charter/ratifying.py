"""From a draft to a version in force: nothing early, nothing without votes, nothing unsigned."""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from tuf.api.metadata import (
    Metadata,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from peerllm.charter.amending import epoch_us
from peerllm.charter.ballot_papers import Founding, Vote, closes_at_us, is_signed
from peerllm.charter.ballots import Ballot, Tally, proposal_faults, tally
from peerllm.charter.drafts import FOUNDING, PROPOSAL, SECOND, VOTES, Draft, DraftSignatures
from peerllm.charter.errors import (
    AlreadyFounded,
    BadSignature,
    MissingDocument,
    NotDecided,
    RolledBack,
    TooFewSignatures,
)
from peerllm.charter.folder import METADATA, put_file
from peerllm.charter.metadata import (
    is_signature,
    moment_of,
    require_threshold,
    with_signatures,
)
from peerllm.charter.publishing import (
    TIMESTAMP,
    OnlineKeys,
    publish_version,
    require_online_key,
    sole_publisher,
    verified,
)
from peerllm.charter.spelling import spelling
from peerllm.charter.versions import CharterVersion

BALLOTS: Final = "ballots"
TALLY: Final = "tally.json"


def ratify(
    draft: Draft,
    directory: Path,
    *,
    trusted_root: bytes | None,
    online: OnlineKeys,
    now: datetime,
) -> None:
    """Put a draft in force in a public folder; once it is in force, finish what a crash left.

    `trusted_root` may be None at a founding only. Raises a CharterError that says what is missing:
    the end of the notice, votes, signatures, or a newer base. Nothing is published then.
    """
    if isinstance(draft.plan, Founding):
        _found(draft, directory, online, now)
        return
    if trusted_root is None or draft.base is None or draft.ballot is None:
        raise MissingDocument("a change needs the network's trusted root and the version in force")
    with sole_publisher(directory):
        _amend(draft, draft.base, draft.ballot, directory, trusted_root, online, now)


def _amend(
    draft: Draft,
    base: CharterVersion,
    ballot: Ballot,
    directory: Path,
    trusted_root: bytes,
    online: OnlineKeys,
    now: datetime,
) -> None:
    previous = _follow(draft, base, directory, trusted_root, now)
    if previous is not None:
        require_passed(ballot, epoch_us(now))
    version = _signed(draft)
    if previous is None:
        root_file = directory / METADATA / f"{version.root.version}.root.json"
        if not root_file.exists():
            put_file(root_file, version.root_raw)
        return
    for raw, role in ((version.root_raw, Root.type), (version.targets_raw, Targets.type)):
        require_threshold(raw, role, base.root)
    require_online_key(version, online)
    _write_ballot(directory / BALLOTS / draft.identity, ballot)
    publish_version(
        directory,
        version,
        previous=previous,
        old_root=base.root,
        online=online,
        now=now,
    )


def require_passed(ballot: Ballot, now_us: int, *, ever: bool = False) -> Tally:
    """Return the tally of a ballot that has passed; else raise NotDecided, which says why not.

    `ever`: also when it has long been in force, where it may not be ratified any more.
    """
    for fault in proposal_faults(ballot.proposal, ballot.stewards, now_us, ballot.term_ends):
        raise BadSignature(f"proposal: {fault}")
    counted = tally(ballot, now_us)
    if ever and counted.outcome == "lapsed" and ballot.second is not None:
        counted = decided(ballot)
    rule = ballot.proposal.rule
    aside = "".join(f"; {reason}" for reason in counted.refused)
    match counted.outcome:
        case "passed":
            return counted
        case "unseconded":
            reason = "nobody has seconded it, so its notice has not begun"
        case "open":
            ends = moment_of(counted.closes_at_us or 0)
            reason = (
                f"too early: the notice of {rule.notice_days} days ends at"
                f" {ends:%Y-%m-%d %H:%M:%S} UTC; ratify it then"
            )
        case "no-quorum":
            reason = (
                f"no quorum: {counted.present} of the {counted.quorum_base} stewards who need not"
                f" recuse themselves have voted, {rule.quorum} must"
            )
        case "rejected":
            reason = (
                f"rejected: {len(counted.by_choice['yes'])} for and"
                f" {len(counted.by_choice['no'])} against, {rule.supermajority} must be for it"
            )
        case "lapsed":
            reason = "lapsed: too much time has gone by since; propose it again"
    raise NotDecided(f"the proposal is not ratified: {reason}{aside}")


def decided(ballot: Ballot) -> Tally:
    """Return the tally at the end of the vote, which no later vote changes."""
    if ballot.second is None:
        raise NotDecided("the proposal was not seconded")
    return tally(ballot, closes_at_us(ballot.proposal, ballot.second))


def signing_past_term(ballot: Ballot) -> frozenset[str]:
    """Return the public keys of stewards whose signatures do not count for what was voted on.

    A signature has no date: who signs is a steward whose term lasts until the vote closes, or who
    has cast a yes that counts.
    """
    if ballot.second is None:
        return frozenset()
    counted = decided(ballot)
    closes_us = closes_at_us(ballot.proposal, ballot.second)
    agreed = {
        steward.public_key
        for steward in ballot.stewards
        if steward.name in counted.by_choice["yes"]
    }
    ended = {key for key, end_us in ballot.term_ends.items() if end_us <= closes_us}
    return frozenset(ended - agreed)


def tally_paper(counted: Tally) -> bytes:
    """Return a tally as it is published; whoever has the ballot's papers can make it again."""
    plain = msgspec.to_builtins(counted)
    return msgspec.json.format(msgspec.json.encode(plain, order="sorted"), indent=2) + b"\n"


def _found(draft: Draft, directory: Path, online: OnlineKeys, now: datetime) -> None:
    if (directory / TIMESTAMP).exists():
        raise AlreadyFounded(f"{directory} already holds a charter; amend it or take another one")
    version = _signed(draft)
    signed = {paper.steward for paper in good_signatures(draft)}
    missing = [s.name for s in draft.electorate if s.public_key not in signed]
    if missing:
        # Who has not signed has not shown to hold the key that the network will depend on.
        raise TooFewSignatures(
            f"a founding is signed by all its stewards; {', '.join(missing)} must still sign"
        )
    require_online_key(version, online)
    (directory / METADATA).mkdir(parents=True, exist_ok=True)
    with sole_publisher(directory):
        put_file(directory / BALLOTS / draft.identity / FOUNDING, spelling(draft.plan))
        publish_version(directory, version, previous=None, old_root=None, online=online, now=now)


def _follow(
    draft: Draft, base: CharterVersion, directory: Path, trusted_root: bytes, now: datetime
) -> tuple[Snapshot, Timestamp] | None:
    """Return what is in force if the draft is based on it; None if it is in force already."""
    try:
        published = verified(directory, trusted_root, now)
    except BadSignature:
        # A crash while a lost online key was replaced: the new root is there, its timestamp not.
        if not _began(draft, base, directory):
            raise
        return _unvouched(directory)
    if published.version.ballot == draft.identity:
        return None
    if published.version.root_raw != base.root_raw or (
        published.version.targets_raw != base.targets_raw
    ):
        raise RolledBack(
            f"the draft is based on version {base.number}, in force is version"
            f" {published.version.number}; put it on top of that with: charter rebase"
        )
    return published.snapshot, published.timestamp


def _began(draft: Draft, base: CharterVersion, directory: Path) -> bool:
    metadata = directory / METADATA
    expected = {
        f"{base.root.version}.root.json": base.root_raw,
        f"{base.number}.targets.json": base.targets_raw,
        f"{draft.version.root.version}.root.json": _signed(draft).root_raw,
    }
    return all(
        (metadata / name).is_file() and (metadata / name).read_bytes() == raw
        for name, raw in expected.items()
    )


def _unvouched(directory: Path) -> tuple[Snapshot, Timestamp]:
    """Read the parts that the lost key signed, to number the next ones; nothing else is taken."""
    timestamp = Metadata[Timestamp].from_file(str(directory / TIMESTAMP)).signed
    name = f"{timestamp.snapshot_meta.version}.snapshot.json"
    snapshot = Metadata[Snapshot].from_file(str(directory / METADATA / name)).signed
    return snapshot, timestamp


def good_signatures(draft: Draft) -> tuple[DraftSignatures, ...]:
    """Return the signatures in a draft that are good for the version it would put in force."""
    version, ballot = draft.version, draft.ballot
    late = frozenset() if ballot is None else signing_past_term(ballot)
    return tuple(
        paper
        for paper in draft.signatures
        if paper.plan == draft.identity
        and paper.version == version.number
        and paper.steward not in late
        and is_signature(version.root, paper.steward, paper.root)
        and is_signature(version.targets, paper.steward, paper.targets)
    )


def _signed(draft: Draft) -> CharterVersion:
    """Return the version to be with its signatures; raises TooFewSignatures."""
    known = {s.public_key: s.name for s in (*draft.electorate, *draft.version.signatories.stewards)}
    good = tuple(paper for paper in good_signatures(draft) if paper.steward in known)
    version = dataclasses.replace(
        draft.version,
        root_raw=with_signatures(draft.version.root, {p.steward: p.root for p in good}),
        targets_raw=with_signatures(draft.version.targets, {p.steward: p.targets for p in good}),
    )
    try:
        for raw, role in ((version.root_raw, Root.type), (version.targets_raw, Targets.type)):
            require_threshold(raw, role, draft.version.root)
    except TooFewSignatures as error:
        names = ", ".join(known[paper.steward] for paper in good) or "nobody"
        raise TooFewSignatures(
            f"{error}; signed by {names}. Stewards who vote yes sign with: charter sign"
        ) from error
    return version


def published_votes(ballot: Ballot) -> Mapping[str, Vote]:
    """Return the votes that are published, by the names of their files and in their order.

    Whoever recounts reads them in this order, and a tally names what does not count in the order
    of the votes. What no steward has signed is nobody's vote and not worth publishing.
    """
    names = {steward.public_key: steward.name for steward in ballot.stewards}
    papers: dict[str, list[Vote]] = {}
    for vote in ballot.votes:
        if vote.steward in names and is_signed(vote):
            papers.setdefault(names[vote.steward], []).append(vote)
    # No steward's name holds a dot, so no second vote has the file of another's first.
    files = {
        f"{name}{'' if number == 1 else f'.{number}'}.json": vote
        for name, cast in papers.items()
        for number, vote in enumerate(cast, start=1)
    }
    return dict(sorted(files.items()))


def published_tally(ballot: Ballot) -> bytes:
    """Return the tally that is published with a ballot, made of its published votes alone."""
    votes = tuple(published_votes(ballot).values())
    return tally_paper(decided(dataclasses.replace(ballot, votes=votes)))


def _write_ballot(folder: Path, ballot: Ballot) -> None:
    """Publish the papers that the tally is made from, and the tally."""
    put_file(folder / PROPOSAL, spelling(ballot.proposal))
    if ballot.second is not None:
        put_file(folder / SECOND, spelling(ballot.second))
    votes = published_votes(ballot)
    for name, vote in votes.items():
        put_file(folder / VOTES / name, spelling(vote))
    # A ratification that broke off may have had another copy of the draft, with other votes.
    for path in (folder / VOTES).glob("*.json"):
        if path.name not in votes:
            path.unlink()
    put_file(folder / TALLY, published_tally(ballot))
