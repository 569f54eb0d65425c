"""The papers of a ballot: proposals, secondings and votes, each signed by its steward."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from peerllm.charter.governance import AMENDABLE_KINDS, AmendmentRule
from peerllm.charter.promises import Statement
from peerllm.charter.spelling import YEAR_2100_US, Sha256Hex, spelling
from peerllm.charter.stewards import PublicKeyHex, Signatories
from peerllm.crypto.identity import Identity, peer_id_of, verify_signature

DAY_US: Final = 86_400 * 1_000_000

Moment = Annotated[int, msgspec.Meta(ge=0, le=YEAR_2100_US)]
# Empty on what is not signed yet; an Ed25519 signature otherwise.
SignatureHex = Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{128})?\Z")]
FileName = Annotated[
    str, msgspec.Meta(pattern=r"\A([a-z0-9-]+/)?[a-z0-9][a-z0-9._-]*\Z", max_length=128)
]
Choice = Literal["yes", "no", "abstain", "recuse"]
Kind = Literal[
    "charter-terms", "tariff", "model-catalogue", "safety-standard", "region", "stewards"
]


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file before and after, by SHA-256; None before: it is new."""

    before: Sha256Hex | None
    after: Sha256Hex


class Proposal(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="proposal/1",
):  # fmt: skip
    """What shall change, proposed by one steward. Its id is the SHA-256 of all but the signature.

    `terms` is the SHA-256 of the charter's terms whose amendment `rule` binds. `signatories` are
    the new ones, where these change. The new version lives until `expires_at_us`.
    """

    network: str
    summary: Statement
    proposer: PublicKeyHex
    proposed_at_us: Moment
    terms: Sha256Hex
    rule: AmendmentRule
    changes: Annotated[Mapping[FileName, Change], msgspec.Meta(max_length=500)]
    signatories: Signatories | None = None
    expires_at_us: Moment
    signature: SignatureHex = ""


class Founding(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="founding/1",
):  # fmt: skip
    """A network to be: its documents by SHA-256 and its signatories, who all must sign it."""

    network: str
    founded_at_us: Moment
    files: Annotated[Mapping[FileName, Sha256Hex], msgspec.Meta(max_length=500)]
    signatories: Signatories
    expires_at_us: Moment


class Second(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="second/1",
):  # fmt: skip
    """Another steward holds that a proposal should be voted on; the notice begins with it."""

    proposal: Sha256Hex
    steward: PublicKeyHex
    at_us: Moment
    signature: SignatureHex = ""


class Vote(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="vote/1",
):  # fmt: skip
    """A steward's vote; `second` binds it to the notice that it was cast under."""

    proposal: Sha256Hex
    second: Sha256Hex
    steward: PublicKeyHex
    choice: Choice
    at_us: Moment
    signature: SignatureHex = ""


Signed = TypeVar("Signed", Proposal, Second, Vote)
Act = Proposal | Second | Vote


def proposal_id(proposal: Proposal) -> str:
    """Return the SHA-256, in hex, of a proposal without its signature."""
    return hashlib.sha256(_unsigned(proposal)).hexdigest()


def founding_id(founding: Founding) -> str:
    """Return the SHA-256, in hex, of a founding."""
    return hashlib.sha256(spelling(founding)).hexdigest()


def second_id(second: Second) -> str:
    """Return the SHA-256, in hex, of a seconding without its signature."""
    return hashlib.sha256(_unsigned(second)).hexdigest()


def kind_of(file_name: str) -> Kind | None:
    """Return which amendment rule a file is under; None for a file that no charter has."""
    folder, _, rest = file_name.rpartition("/")
    if folder == "calculations":
        return "tariff"
    if folder == "regions" and rest.endswith(".json"):
        return "region"
    for kind in AMENDABLE_KINDS[:4]:
        if file_name == f"{kind}.json":
            return kind
    return None


def strictest_rule(
    rules: Mapping[str, AmendmentRule], changes: Iterable[str], *, signatories: bool
) -> AmendmentRule:
    """Return the rule that binds a change of these files: of each part, the strictest.

    With no file at all, or with the signatories changed, the rule for stewards is among them.
    """
    kinds = {kind_of(name) for name in changes}
    if signatories or not kinds:
        kinds.add("stewards")
    binding = [rules[kind] for kind in kinds if kind is not None]
    return AmendmentRule(
        notice_days=max(rule.notice_days for rule in binding),
        quorum=max((rule.quorum for rule in binding), key=lambda part: part.exactly),
        supermajority=max((rule.supermajority for rule in binding), key=lambda part: part.exactly),
    )


def sign(act: Signed, key: Identity) -> Signed:
    """Return the act signed; a signature of one kind is void on any other."""
    return msgspec.structs.replace(act, signature=key.sign(_domain(act), _unsigned(act)).hex())


def is_signed(act: Act) -> bool:
    """Tell whether an act bears the signature of whom it names."""
    signer = act.proposer if isinstance(act, Proposal) else act.steward
    return verify_signature(
        peer_id_of(bytes.fromhex(signer)),
        _domain(act),
        _unsigned(act),
        bytes.fromhex(act.signature),
    )


def closes_at_us(proposal: Proposal, second: Second) -> int:
    """Return when the notice ends, and with it the vote."""
    return second.at_us + proposal.rule.notice_days * DAY_US


def _domain(act: Act) -> str:
    tag = type(act).__struct_config__.tag
    return f"charter/{tag}"


def _unsigned(act: Act) -> bytes:
    return spelling(msgspec.structs.replace(act, signature=""))
