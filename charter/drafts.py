"""A change on its way: one folder that travels between stewards' machines, and what is in it.

Whoever reads a draft computes what would be signed from the documents, the proposal and the version
in force; nothing in the folder is signed unread. `docs/charter.md` says which file goes where.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from tuf.api.metadata import (
    TargetFile,
)

from peerllm.charter.ballot_papers import (
    Founding,
    Proposal,
    Second,
    Vote,
    founding_id,
    proposal_id,
)
from peerllm.charter.ballots import Ballot
from peerllm.charter.errors import Malformed, MissingDocument
from peerllm.charter.folder import put_file, read_bounded
from peerllm.charter.spelling import (
    Sha256Hex,
    Version,
    document_name,
    spelling,
)
from peerllm.charter.steward_terms import binding_ends, founding_term_faults
from peerllm.charter.stewards import PublicKeyHex, Steward
from peerllm.charter.versions import (
    CharterVersion,
    first_version,
    next_version,
    read_version,
)

PROPOSAL: Final = "proposal.json"
FOUNDING: Final = "founding.json"
SECOND: Final = "second.json"
VOTES: Final = "votes"
SIGNATURES: Final = "signatures"
DOCUMENTS: Final = "documents"
BASE: Final = "base"
CHANGES: Final = "changes.txt"
# As many as a network may have of stewards, and a steward of votes: two make a spoilt one.
_MAXIMUM_PAPERS: Final = 100


class DraftSignatures(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="draft-signatures/1",
):  # fmt: skip
    """A steward's signatures over the root and the targets of one version to be."""

    plan: Sha256Hex
    version: Version
    steward: PublicKeyHex
    root: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{128}\Z")]
    targets: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{128}\Z")]


Paper = TypeVar("Paper", Proposal, Founding, Second, Vote, DraftSignatures)


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft as it lies in its folder. `base` is the version in force; a founding has none.

    `version` is what would be signed.
    """

    folder: Path
    plan: Proposal | Founding
    base: CharterVersion | None
    second: Second | None
    votes: tuple[Vote, ...]
    signatures: tuple[DraftSignatures, ...]
    new_files: Mapping[str, bytes]
    version: CharterVersion

    @property
    def identity(self) -> str:
        """The plan's id."""
        return plan_id(self.plan)

    @property
    def electorate(self) -> tuple[Steward, ...]:
        """Who may vote: the stewards in force, or at a founding those to be."""
        return (self.base or self.version).signatories.stewards

    @property
    def ballot(self) -> Ballot | None:
        """The ballot on a proposal; a founding is signed by all and not voted on."""
        if isinstance(self.plan, Founding):
            return None
        ends: Mapping[str, int] = {}
        if self.base is not None:
            clause = self.base.documents.terms.leadership
            ends = binding_ends(self.plan, self.base.signatories, clause)
        return Ballot(self.plan, self.second, self.votes, self.electorate, ends)


def plan_id(plan: Proposal | Founding) -> str:
    """Return the id that papers refer to."""
    return founding_id(plan) if isinstance(plan, Founding) else proposal_id(plan)


def read_draft(folder: Path) -> Draft:
    """Read a draft and check everything that does not need a clock; raises a CharterError."""
    plan = read_plan(folder)
    base = None if isinstance(plan, Founding) else read_base(folder)
    new_files, second = read_new_files(folder, plan), read_second(folder)
    return Draft(
        folder=folder,
        plan=plan,
        base=base,
        second=second,
        votes=read_papers(folder / VOTES, Vote),
        signatures=read_papers(folder / SIGNATURES, DraftSignatures),
        new_files=new_files,
        version=planned_version(plan, base, second, new_files),
    )


def read_plan(folder: Path) -> Proposal | Founding:
    """Return what a draft is of; raises MissingDocument or Malformed."""
    if (folder / FOUNDING).exists():
        return read_paper(folder / FOUNDING, Founding)
    if (folder / PROPOSAL).exists():
        return read_paper(folder / PROPOSAL, Proposal)
    raise MissingDocument(f"{folder} is no draft: it holds neither {PROPOSAL} nor {FOUNDING}")


def read_new_files(folder: Path, plan: Proposal | Founding) -> dict[str, bytes]:
    """Return the documents that a draft brings, unchecked; raises MissingDocument or Malformed."""
    names = plan.files if isinstance(plan, Founding) else plan.changes
    return {name: read_bounded(folder / DOCUMENTS / name) for name in sorted(names)}


def read_second(folder: Path) -> Second | None:
    """Return a draft's seconding, if it has one; raises Malformed."""
    return read_paper(folder / SECOND, Second) if (folder / SECOND).exists() else None


def planned_version(
    plan: Proposal | Founding,
    base: CharterVersion | None,
    second: Second | None,
    new_files: Mapping[str, bytes],
) -> CharterVersion:
    """Return the version that a plan would put in force; raises a CharterError."""
    if isinstance(plan, Founding):
        version = first_version(
            new_files, plan.signatories, expires_at_us=plan.expires_at_us, plan=plan_id(plan)
        )
        if plan.network != version.documents.terms.network or plan.files != version_digests(
            version
        ):
            raise Malformed("the documents are not those of the founding; get the draft again")
        for fault in founding_term_faults(plan):
            raise Malformed(f"stewards: {fault}")
        return version
    if base is None:
        raise MissingDocument("the draft lacks the version in force; get the draft again")
    published = plan.proposed_at_us if second is None else second.at_us
    return next_version(base, plan, new_files, published)


def version_digests(version: CharterVersion) -> dict[str, str]:
    """Return the SHA-256, in hex, of every file of a version."""
    return {name: target.hashes["sha256"] for name, target in version.targets.targets.items()}


def write_draft(
    folder: Path,
    plan: Proposal | Founding,
    base: CharterVersion | None,
    new_files: Mapping[str, bytes],
    changes: str,
) -> None:
    """Write a new draft, its plan last; raises Malformed when the folder is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Malformed(f"{folder} is not an empty folder; give a new one for the draft")
    plan_raw = spelling(plan)
    # What cannot be read again is refused before anything is written.
    if isinstance(plan, Founding):
        _parsed(plan_raw, Founding, "the draft")
    else:
        _parsed(plan_raw, Proposal, "the draft")
    for name, content in new_files.items():
        put_file(folder / DOCUMENTS / name, content)
    if base is not None:
        write_base(folder, base)
    put_file(folder / CHANGES, changes.encode())
    name = FOUNDING if isinstance(plan, Founding) else PROPOSAL
    put_file(folder / name, plan_raw)


def write_base(folder: Path, base: CharterVersion) -> None:
    """Put the version in force into a draft, targets last."""
    for name, content in base.files.items():
        put_file(folder / BASE / DOCUMENTS / name, content)
    put_file(folder / BASE / "root.json", base.root_raw)
    put_file(folder / BASE / "targets.json", base.targets_raw)


def read_base(draft: Path) -> CharterVersion:
    """Return the version that a draft is based on; raises a CharterError."""
    folder = draft / BASE

    def fetch(name: str, _target: TargetFile) -> bytes:
        return read_bounded(folder / DOCUMENTS / name)

    return read_version(
        read_bounded(folder / "root.json"), read_bounded(folder / "targets.json"), fetch
    )


def read_paper(path: Path, kind: type[Paper]) -> Paper:
    """Return one paper in its one spelling; raises MissingDocument or Malformed."""
    raw = read_bounded(path)
    paper = _parsed(raw, kind, str(path))
    if spelling(paper) != raw:
        raise Malformed(f"{path} is not in its one spelling; it was altered, get it again")
    return paper


def read_papers(folder: Path, kind: type[Paper]) -> tuple[Paper, ...]:
    """Return all papers of a folder in the order of their names; none when it is not there."""
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if len(paths) > _MAXIMUM_PAPERS:
        raise Malformed(f"{folder} holds {len(paths)} files, at most {_MAXIMUM_PAPERS} are read")
    return tuple(read_paper(path, kind) for path in paths)


def _parsed(raw: bytes, kind: type[Paper], name: str) -> Paper:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"{name} is not a {document_name(kind)}: {error}") from error
