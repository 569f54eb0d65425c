"""One version of a charter: who signs for it, its documents, and what may follow it."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import (
    Metadata,
    Root,
    TargetFile,
    Targets,
)
from tuf.api.serialization import DeserializationError

from peerllm.charter.ballot_papers import DAY_US, Proposal, kind_of, proposal_id, strictest_rule
from peerllm.charter.document_set import (
    TERMS_FILE,
    DocumentSet,
    read_document_set,
    succession_faults,
)
from peerllm.charter.errors import AlteredDocument, Malformed, RolledBack
from peerllm.charter.metadata import ballot_of, moment_of, require_threshold, targets_of
from peerllm.charter.spelling import MAXIMUM_DOCUMENT_BYTES
from peerllm.charter.steward_terms import term_faults
from peerllm.charter.stewards import Signatories, root_of, signatories_of, signatory_faults

# A listing of a network with thousands of regions; more is a slip or an attack.
_MAXIMUM_FILES: Final = 10_000
_BALLOT_ID: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class CharterVersion:
    """A version whose root, targets and documents are checked; root and targets count together.

    `root_raw` and `targets_raw` are the signed files, or empty before stewards have signed.
    """

    root: Root
    targets: Targets
    files: Mapping[str, bytes]
    documents: DocumentSet
    signatories: Signatories
    root_raw: bytes = b""
    targets_raw: bytes = b""

    @property
    def number(self) -> int:
        """The version's number, from 1."""
        return self.targets.version

    @property
    def ballot(self) -> str:
        """The id of the proposal that led to it."""
        return ballot_of(self.targets)


def digest(content: bytes) -> str:
    """Return a file's SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def read_version(
    root_raw: bytes, targets_raw: bytes, fetch: Callable[[str, TargetFile], bytes]
) -> CharterVersion:
    """Check signed files against each other: targets by the root, documents by the targets.

    The root is believed to be its network's. Raises a CharterError that says what is wrong.
    """
    try:
        root = Metadata[Root].from_bytes(root_raw).signed
        targets = Metadata[Targets].from_bytes(targets_raw).signed
        if root.type != Root.type or targets.type != Targets.type:
            raise Malformed("root.json or targets.json holds another kind of metadata")
        signatories = signatories_of(root)
    except (DeserializationError, ValueError, KeyError) as error:
        raise Malformed(f"root.json or targets.json is not a charter's: {error}") from error
    require_threshold(root_raw, Root.type, root)
    require_threshold(targets_raw, Targets.type, root)
    # The root is published after the targets that it comes with: see `publishing`.
    if root.version > targets.version:
        raise RolledBack(
            f"rolled back: targets.json has version {targets.version} and the root"
            f" {root.version}; get the newest charter"
        )
    if root.version < targets.version - 1:
        raise Malformed(f"root {root.version} and targets {targets.version} are of two versions")
    if not _BALLOT_ID.fullmatch(ballot_of(targets)):
        raise Malformed("targets.json does not name the proposal that led to it")
    if len(targets.targets) > _MAXIMUM_FILES:
        raise Malformed(
            f"targets.json lists {len(targets.targets)} files, at most {_MAXIMUM_FILES}"
        )
    files = {name: _checked(name, target, fetch) for name, target in targets.targets.items()}
    documents = read_document_set(files)
    _require_delegations(targets, files, documents)
    return CharterVersion(root, targets, files, documents, signatories, root_raw, targets_raw)


def first_version(
    files: Mapping[str, bytes], signatories: Signatories, *, expires_at_us: int, plan: str
) -> CharterVersion:
    """Return a network's first version, to be signed; raises Malformed or MissingDocument."""
    documents = read_document_set(files)
    for fault in signatory_faults(signatories, documents.terms.leadership):
        raise Malformed(f"stewards: {fault}")
    return _built(1, files, documents, signatories, expires_at_us, plan)


def next_version(
    base: CharterVersion, proposal: Proposal, new_files: Mapping[str, bytes], published_at_us: int
) -> CharterVersion:
    """Return what a proposal makes of the version in force, to be signed.

    Raises Malformed with the first rule that the change breaks; `succession_faults` has the rules
    between versions.
    """
    if base.root.version != base.number:
        raise Malformed(
            f"version {base.number} was published without its root; run its ratification again"
        )
    for fault in _plan_faults(base, proposal, new_files):
        raise Malformed(f"proposal: {fault}")
    if proposal.expires_at_us <= published_at_us + proposal.rule.notice_days * DAY_US:
        raise Malformed(
            f"proposal: the new version would end at {moment_of(proposal.expires_at_us)}, before"
            f" its notice of {proposal.rule.notice_days} days does; let it live longer"
        )
    files = {**base.files, **{name: new_files[name] for name in proposal.changes}}
    documents = read_document_set(files)
    for name, fault in succession_faults(base.documents, documents, published_at_us):
        raise Malformed(f"{name}: {fault}")
    signatories = proposal.signatories or base.signatories
    for fault in signatory_faults(signatories, documents.terms.leadership):
        raise Malformed(f"stewards: {fault}")
    return _built(
        base.number + 1,
        files,
        documents,
        signatories,
        proposal.expires_at_us,
        proposal_id(proposal),
    )


def _built(
    number: int,
    files: Mapping[str, bytes],
    documents: DocumentSet,
    signatories: Signatories,
    expires_at_us: int,
    ballot: str,
) -> CharterVersion:
    expires = moment_of(expires_at_us)
    targets = targets_of(files, documents.regions, version=number, expires=expires, ballot=ballot)
    return CharterVersion(
        root_of(signatories, number, expires), targets, files, documents, signatories
    )


def _plan_faults(
    base: CharterVersion, proposal: Proposal, new_files: Mapping[str, bytes]
) -> Iterator[str]:
    terms = base.documents.terms
    if proposal.network != terms.network:
        yield f"it is for the network {proposal.network!r}, this is {terms.network!r}"
    if proposal.terms != digest(base.files[TERMS_FILE]):
        yield "the charter's terms have changed since it was made; propose it again"
        return
    for name, change in proposal.changes.items():
        if kind_of(name) is None:
            yield f"{name!r} is no file of a charter"
            return
        content, before = new_files.get(name), base.files.get(name)
        if content is None or digest(content) != change.after:
            yield f"{name} is missing or not the file that was proposed"
        if change.before != (None if before is None else digest(before)):
            yield f"{name} has changed since the proposal was made; propose it again"
        if change.before == change.after:
            yield f"{name} would stay as it is"
    yield from _rule_faults(base, proposal)
    if set(new_files) != set(proposal.changes):
        yield "the draft holds documents that the proposal does not name"


def _rule_faults(base: CharterVersion, proposal: Proposal) -> Iterator[str]:
    if proposal.signatories == base.signatories:
        yield "the stewards would stay as they are"
    terms = base.documents.terms
    rule = strictest_rule(
        terms.amendments, proposal.changes, signatories=proposal.signatories is not None
    )
    if proposal.rule != rule:
        yield "it names another amendment rule than the charter's terms have for these documents"
    yield from term_faults(base.signatories, proposal)


def _checked(name: str, target: TargetFile, fetch: Callable[[str, TargetFile], bytes]) -> bytes:
    if kind_of(name) is None:
        raise Malformed(f"{name!r} is no file of a charter")
    if target.length > MAXIMUM_DOCUMENT_BYTES:
        raise Malformed(
            f"{name} has {target.length} bytes, at most {MAXIMUM_DOCUMENT_BYTES} are allowed"
        )
    content = fetch(name, target)
    try:
        target.verify_length_and_hashes(content)
    except LengthOrHashMismatchError as error:
        raise AlteredDocument(f"{name} is not what the stewards signed; get it again") from error
    return content


def _require_delegations(
    targets: Targets, files: Mapping[str, bytes], documents: DocumentSet
) -> None:
    """Refuse delegations beyond what the regions' records give: a region may set its capacity."""
    expected = targets_of(
        files, documents.regions, version=1, expires=targets.expires, ballot=""
    ).delegations
    if targets.delegations != expected:
        raise Malformed("targets.json delegates otherwise than the regions' records say")
