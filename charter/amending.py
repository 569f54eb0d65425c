"""What a steward does with a draft: propose, second, vote and sign, on files alone."""

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from peerllm.charter.ballot_papers import (
    Change,
    Choice,
    Founding,
    Proposal,
    Second,
    Vote,
    closes_at_us,
    kind_of,
    proposal_id,
    second_id,
    sign,
    strictest_rule,
)
from peerllm.charter.ballots import proposal_faults, second_faults, vote_faults
from peerllm.charter.differences import (
    Difference,
    as_text,
    document_differences,
    signatory_differences,
)
from peerllm.charter.document_set import TERMS_FILE
from peerllm.charter.drafts import (
    SECOND,
    SIGNATURES,
    VOTES,
    Draft,
    DraftSignatures,
    planned_version,
    read_base,
    read_draft,
    read_new_files,
    read_plan,
    read_second,
    write_base,
    write_draft,
)
from peerllm.charter.errors import (
    BadSignature,
    CharterError,
    Malformed,
    NotDecided,
    RolledBack,
)
from peerllm.charter.folder import put_file
from peerllm.charter.metadata import moment_of, signature_of
from peerllm.charter.spelling import spelling
from peerllm.charter.steward_terms import binding_ends, dated
from peerllm.charter.stewards import Signatories, Steward
from peerllm.charter.versions import CharterVersion, digest, first_version
from peerllm.crypto.identity import Identity


def epoch_us(moment: datetime) -> int:
    """Return a moment as documents carry it: whole seconds, in microseconds since 1970."""
    return int(moment.timestamp()) * 1_000_000


def begin_founding(
    folder: Path,
    *,
    files: Mapping[str, bytes],
    signatories: Signatories,
    now: datetime,
    expires: datetime,
) -> Draft:
    """Write the draft of a new network, which all its stewards are then to sign.

    Raises Malformed or MissingDocument for documents or stewards that no charter may have.
    """
    signatories = dated(None, signatories, (), epoch_us(now))
    version = first_version(files, signatories, expires_at_us=epoch_us(expires), plan="")
    plan = Founding(
        network=version.documents.terms.network,
        founded_at_us=epoch_us(now),
        files={name: digest(content) for name, content in files.items()},
        signatories=version.signatories,
        expires_at_us=epoch_us(expires),
    )
    changes = signatory_differences(None, signatories) + document_differences({}, files)
    write_draft(folder, plan, None, files, as_text(changes))
    return read_draft(folder)


def propose(  # noqa: PLR0913 - all given by name
    folder: Path,
    *,
    base: CharterVersion,
    new_files: Mapping[str, bytes],
    summary: str,
    key: Identity,
    now: datetime,
    expires: datetime,
    signatories: Signatories | None = None,
    renewed: Collection[str] = (),
) -> Draft:
    """Write the draft of a change to the version in force; files that stay the same are left out.

    Without files and signatories it renews the charter as it is. Of the signatories those who join
    and those whose names are `renewed` begin a term now, all others' go on. Raises a CharterError
    for a change that could not be ratified and for a proposer who is no steward or, unless the
    proposal is a renewal of terms, one whose term has ended; nothing is written then.
    """
    _steward(base.signatories.stewards, key)
    changed = {name: raw for name, raw in new_files.items() if base.files.get(name) != raw}
    for name in changed:
        if kind_of(name) is None:
            raise Malformed(f"{name!r} is no file of a charter")
    if signatories is not None:
        signatories = dated(base.signatories, signatories, renewed, epoch_us(now))
    proposal = Proposal(
        network=base.documents.terms.network,
        summary=summary,
        proposer=key.public_key.hex(),
        proposed_at_us=epoch_us(now),
        terms=digest(base.files[TERMS_FILE]),
        rule=strictest_rule(
            base.documents.terms.amendments, changed, signatories=signatories is not None
        ),
        changes={name: _change(base, name, content) for name, content in changed.items()},
        signatories=signatories,
        expires_at_us=epoch_us(expires),
    )
    signed = sign(proposal, key)
    ends = binding_ends(signed, base.signatories, base.documents.terms.leadership)
    for fault in proposal_faults(signed, base.signatories.stewards, epoch_us(now), ends):
        raise NotDecided(f"proposal: {fault}")
    version = planned_version(signed, base, None, changed)
    write_draft(folder, signed, base, changed, as_text(version_differences(base, version)))
    return read_draft(folder)


def second_draft(folder: Path, key: Identity, now: datetime) -> Draft:
    """Second a proposal: from now on its notice runs and votes are cast.

    Raises a CharterError when it is no steward's or the proposer's own key, when it was seconded
    before, and when the change breaks a rule counted from today.
    """
    draft = read_draft(folder)
    plan = _voted_on(draft.plan)
    steward = _steward(draft.electorate, key)
    if draft.second is not None:
        raise NotDecided("the proposal has been seconded already; vote with: charter sign")
    ends = _ends(draft)
    for fault in proposal_faults(plan, draft.electorate, epoch_us(now), ends):
        raise BadSignature(f"proposal: {fault}")
    second = sign(
        Second(proposal=draft.identity, steward=steward.public_key, at_us=epoch_us(now)), key
    )
    for fault in second_faults(plan, second, draft.electorate, epoch_us(now), ends):
        raise NotDecided(f"proposal: {fault}")
    # Notice is counted from the seconding, so a change may only now turn out to come too early.
    planned_version(plan, draft.base, second, draft.new_files)
    put_file(folder / SECOND, spelling(second))
    return read_draft(folder)


def sign_draft(
    folder: Path, key: Identity, choice: Choice, now: datetime, *, shown: Draft | None = None
) -> Draft:
    """Vote on a proposal and, with a yes, sign the version to be; at a founding, sign it.

    A steward who joins by this proposal has no vote yet and only signs. Whoever voted yes may sign
    again, for instance after `rebase_draft`. Raises a CharterError when the key is nobody's here,
    the vote is closed or not open, another vote of this steward is in the draft, or the draft is no
    longer what was `shown`.
    """
    draft = read_draft(folder)
    if shown is not None and not _same(draft, shown):
        raise Malformed("the draft was changed after it was shown; nothing was signed")
    public_key = key.public_key.hex()
    electors = {steward.public_key: steward for steward in draft.electorate}
    joining = {steward.public_key: steward for steward in draft.version.signatories.stewards}
    if public_key not in electors and public_key not in joining:
        raise BadSignature("this key is no steward's of this network, now or by this draft")
    if not isinstance(draft.plan, Founding) and public_key in electors:
        _cast(draft, draft.plan, electors[public_key], key, choice, now)
    elif choice != "yes":
        raise NotDecided("here a yes alone means something: sign with yes or do not sign")
    if choice == "yes":
        # A steward whose key is replaced has two of one name; steward names hold no dot.
        steward = electors.get(public_key)
        name = f"{joining[public_key].name}.new" if steward is None else steward.name
        signatures = DraftSignatures(
            plan=draft.identity,
            version=draft.version.number,
            steward=public_key,
            root=signature_of(draft.version.root, key),
            targets=signature_of(draft.version.targets, key),
        )
        put_file(folder / SIGNATURES / f"{name}.json", spelling(signatures))
    return read_draft(folder)


def rebase_draft(folder: Path, base: CharterVersion) -> Draft:
    """Put a proposal on top of a version that came into force meanwhile.

    Votes stand, since what was voted on is the same; the version to be is another, so all who voted
    yes must sign again. Raises a CharterError when the proposal no longer fits.
    """
    plan = _voted_on(read_plan(folder))
    try:
        former = read_base(folder)
    except CharterError:
        # A rebase that broke off has left parts of two versions; what was voted on is whole.
        former = None
    if former is not None and base.number <= former.number:
        raise RolledBack(f"the draft is based on version {former.number}, not on an older one")
    planned_version(plan, base, read_second(folder), read_new_files(folder, plan))
    write_base(folder, base)
    return read_draft(folder)


def version_differences(
    base: CharterVersion | None, version: CharterVersion
) -> tuple[Difference, ...]:
    """Return everything that differs between two versions: stewards, documents and expiry."""
    old_signatories = None if base is None else base.signatories
    expiry = Difference(
        file="charter",
        place="expires",
        before=None if base is None else base.root.expires.isoformat(),
        after=version.root.expires.isoformat(),
    )
    return (
        *signatory_differences(old_signatories, version.signatories),
        *document_differences({} if base is None else base.files, version.files),
        *((expiry,) if expiry.before != expiry.after else ()),
    )


def _same(draft: Draft, shown: Draft) -> bool:
    return (
        draft.identity == shown.identity
        and draft.second == shown.second
        and draft.version.root == shown.version.root
        and draft.version.targets == shown.version.targets
    )


def _cast(
    draft: Draft,
    proposal: Proposal,
    steward: Steward,
    key: Identity,
    choice: Choice,
    now: datetime,
) -> None:
    now_us, ends = epoch_us(now), _ends(draft)
    for fault in proposal_faults(proposal, draft.electorate, now_us, ends):
        raise BadSignature(f"proposal: {fault}")
    if draft.second is None:
        raise NotDecided(
            "nobody has seconded the proposal yet; another steward must: charter second"
        )
    for fault in second_faults(proposal, draft.second, draft.electorate, now_us, ends):
        raise BadSignature(f"proposal: {fault}")
    before = {vote.choice for vote in draft.votes if vote.steward == steward.public_key}
    if before == {choice}:
        return
    if before:
        raise NotDecided(
            f"{steward.name} has voted {' and '.join(sorted(before))} already; a second, different"
            " vote would spoil the first, so it is not cast"
        )
    closes = closes_at_us(proposal, draft.second)
    if now_us >= closes:
        raise NotDecided(f"the vote closed at {moment_of(closes).isoformat()}")
    vote = Vote(
        proposal=proposal_id(proposal),
        second=second_id(draft.second),
        steward=steward.public_key,
        choice=choice,
        at_us=now_us,
    )
    signed = sign(vote, key)
    for fault in vote_faults(proposal, draft.second, signed, draft.electorate, now_us, ends):
        raise NotDecided(f"the vote would not count: {fault}")
    put_file(draft.folder / VOTES / f"{steward.name}.json", spelling(signed))


def _ends(draft: Draft) -> Mapping[str, int]:
    return {} if draft.ballot is None else draft.ballot.term_ends


def _voted_on(plan: Proposal | Founding) -> Proposal:
    if isinstance(plan, Founding):
        raise Malformed("a founding is signed by all stewards, not proposed and voted on")
    return plan


def _steward(stewards: tuple[Steward, ...], key: Identity) -> Steward:
    for steward in stewards:
        if steward.public_key == key.public_key.hex():
            return steward
    raise BadSignature(
        "this key is no steward's of this network; its stewards are"
        f" {', '.join(steward.name for steward in stewards)}"
    )


def _change(base: CharterVersion, name: str, content: bytes) -> Change:
    before = base.files.get(name)
    return Change(before=None if before is None else digest(before), after=digest(content))
