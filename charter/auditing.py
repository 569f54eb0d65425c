"""Recounting a network's whole past from its public files: every version, every ballot."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import (
    Metadata,
    Root,
    TargetFile,
)

from peerllm.charter.amending import epoch_us
from peerllm.charter.ballot_papers import Founding, Proposal, Second, Vote, founding_id, proposal_id
from peerllm.charter.ballots import Ballot, Tally
from peerllm.charter.drafts import (
    FOUNDING,
    PROPOSAL,
    SECOND,
    VOTES,
    planned_version,
    read_paper,
    read_papers,
)
from peerllm.charter.errors import AlteredDocument, BadSignature, Malformed, TooFewSignatures
from peerllm.charter.folder import METADATA, TARGETS, read_bounded
from peerllm.charter.metadata import require_threshold, signatories_signing
from peerllm.charter.past_files import check_past_files
from peerllm.charter.publishing import hashed_name
from peerllm.charter.ratifying import (
    BALLOTS,
    TALLY,
    decided,
    require_passed,
    signing_past_term,
    tally_paper,
)
from peerllm.charter.steward_terms import binding_ends
from peerllm.charter.versions import CharterVersion, read_version


@dataclass(frozen=True, slots=True)
class AuditedVersion:
    """A version with the proposal and tally that led to it; the first has neither."""

    version: CharterVersion
    proposal: Proposal | None
    tally: Tally | None


def audit(
    directory: Path, newest: int, trusted_root: bytes, now: datetime
) -> tuple[AuditedVersion, ...]:
    """Recompute every version up to the newest, which is verified already, and every tally.

    Each version must follow from the one before by its proposal, each proposal must have passed by
    the rule of its time, and each root must be signed by the one before; superseded files must be
    whole. Raises a CharterError that names the version or file and what does not fit.
    """
    past: list[AuditedVersion] = []
    for number in range(1, newest + 1):
        version = read_published(directory, number)
        _require_trusted(version, trusted_root)
        try:
            past.append(
                _founded(directory, version)
                if not past
                else _amended(directory, past[-1].version, version, now)
            )
        except (Malformed, BadSignature, AlteredDocument) as error:
            raise type(error)(f"version {number}: {error}") from error
    check_past_files(directory, [each.version.root for each in past])
    return tuple(past)


def read_published(directory: Path, number: int) -> CharterVersion:
    """Return one of a folder's versions, checked against itself; raises a CharterError."""
    metadata = directory / METADATA

    def fetch(name: str, target: TargetFile) -> bytes:
        return read_bounded(directory / TARGETS / hashed_name(name, target.hashes["sha256"]))

    return read_version(
        read_bounded(metadata / f"{number}.root.json"),
        read_bounded(metadata / f"{number}.targets.json"),
        fetch,
    )


def _require_trusted(version: CharterVersion, trusted_root: bytes) -> None:
    trusted = Metadata[Root].from_bytes(trusted_root)
    if trusted.signed.version == version.number and trusted.signed != version.root:
        raise BadSignature(f"root {version.number} is not the trusted root")


def _founded(directory: Path, version: CharterVersion) -> AuditedVersion:
    founding = read_paper(directory / BALLOTS / version.ballot / FOUNDING, Founding)
    if founding_id(founding) != version.ballot:
        raise AlteredDocument("its founding paper is not the one that its stewards signed")
    planned = planned_version(founding, None, None, version.files)
    _require_same(planned, version)
    stewards = {steward.public_key for steward in version.signatories.stewards}
    missing = stewards - signatories_signing(version.targets_raw, version.signatories)
    if missing:
        raise BadSignature(f"{len(missing)} of its founding stewards have not signed it")
    return AuditedVersion(version, None, None)


def _amended(
    directory: Path, base: CharterVersion, version: CharterVersion, now: datetime
) -> AuditedVersion:
    require_threshold(version.root_raw, Root.type, base.root)
    folder = directory / BALLOTS / version.ballot
    proposal = read_paper(folder / PROPOSAL, Proposal)
    if proposal_id(proposal) != version.ballot:
        raise AlteredDocument("its proposal is not the one that its stewards signed")
    second = read_paper(folder / SECOND, Second)
    votes = read_papers(folder / VOTES, Vote)
    clause = base.documents.terms.leadership
    ballot = Ballot(
        proposal,
        second,
        votes,
        base.signatories.stewards,
        binding_ends(proposal, base.signatories, clause),
    )
    require_passed(ballot, epoch_us(now), ever=True)
    _require_signed_in_term(ballot, base, version)
    counted = decided(ballot)
    if read_bounded(folder / TALLY) != tally_paper(counted):
        raise AlteredDocument("its published tally is not what its votes add up to")
    changed = {name: version.files.get(name, b"") for name in proposal.changes}
    _require_same(planned_version(proposal, base, second, changed), version)
    return AuditedVersion(version, proposal, counted)


def _require_signed_in_term(ballot: Ballot, base: CharterVersion, version: CharterVersion) -> None:
    late = signing_past_term(ballot)
    for raw in (version.root_raw, version.targets_raw) if late else ():
        good = signatories_signing(raw, base.signatories) - late
        if len(good) < base.signatories.threshold:
            raise TooFewSignatures(
                f"version {version.number} is signed by {len(good)} of the"
                f" {base.signatories.threshold} stewards whose terms had not ended"
            )


def _require_same(planned: CharterVersion, version: CharterVersion) -> None:
    if planned.root != version.root or planned.targets != version.targets:
        raise Malformed("what was signed is not what was proposed")
