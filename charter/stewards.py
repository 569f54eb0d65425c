"""Who may sign: the stewards, their interests, and the operator's online key, as a TUF root."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import (
    SSlibKey,
)
from tuf.api.metadata import (
    Key,
    Role,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from peerllm.charter.governance import InterestName, LeadershipClause
from peerllm.charter.spelling import YEAR_2100_US, Sha256Hex

# 32 bytes in hex: an Ed25519 public key is spelled like a SHA-256.
PublicKeyHex = Sha256Hex
StewardName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,39}\Z")]
MAXIMUM_STEWARDS: Final = 50
OFFLINE_ROLES: Final = (Root.type, Targets.type)
ONLINE_ROLES: Final = (Snapshot.type, Timestamp.type)
# Where the root names the owner of a key. Readers that do not know these fields pass over them.
_NAME_FIELD: Final = "x-peerllm-name"
_INTEREST_FIELD: Final = "x-peerllm-interest"
_TERM_FIELD: Final = "x-peerllm-term-from"
TermFromUs = Annotated[int, msgspec.Meta(ge=0, le=YEAR_2100_US)]


class Steward(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="steward/1",
):  # fmt: skip
    """A steward's public half, which is handed to the others: name, interest stood for, key."""

    name: StewardName
    interest: InterestName
    public_key: PublicKeyHex


class OnlineKey(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="online-key/1",
):  # fmt: skip
    """The public half of the operator's key for snapshots and timestamps."""

    public_key: PublicKeyHex


class Signatories(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True,
    # Papers of before terms were dated keep their spelling, and with it their id.
    omit_defaults=True,
):  # fmt: skip
    """Everybody who signs for a network: `threshold` of the stewards, and the online key.

    `terms_from_us`: when each steward's term began, in epoch microseconds by public key; empty in
    a network that was founded before terms were dated.
    """

    stewards: Annotated[
        tuple[Steward, ...], msgspec.Meta(min_length=1, max_length=MAXIMUM_STEWARDS)
    ]
    threshold: Annotated[int, msgspec.Meta(ge=1, le=MAXIMUM_STEWARDS)]
    online_key: PublicKeyHex
    terms_from_us: Annotated[
        Mapping[PublicKeyHex, TermFromUs], msgspec.Meta(max_length=MAXIMUM_STEWARDS)
    ] = {}


def signatory_faults(signatories: Signatories, clause: LeadershipClause) -> Iterator[str]:
    """Yield a sentence for each rule of the leadership clause, or of sense, that they break."""
    stewards = signatories.stewards
    names = [steward.name for steward in stewards]
    keys = [steward.public_key for steward in stewards]
    if not 1 <= signatories.threshold <= len(stewards):
        yield f"{signatories.threshold} of {len(stewards)} stewards cannot be a threshold"
    if len(set(names)) != len(names):
        yield f"two stewards have the same name among {', '.join(names)}"
    if len({*keys, signatories.online_key}) != len(keys) + 1:
        yield "one key is held twice; every steward and the operator need a key of their own"
    if not set(signatories.terms_from_us) <= set(keys):
        yield "a term is dated for somebody who is no steward"
    yield from seat_mix_faults(stewards, clause)


def seat_mix_faults(stewards: Sequence[Steward], clause: LeadershipClause) -> Iterator[str]:
    """Yield a sentence for each rule of the leadership clause that the seats' mix breaks."""
    interests = [steward.interest for steward in stewards]
    for interest in clause.interests:
        count = interests.count(interest)
        if count == 0:
            yield f"nobody stands for {interest!r}; the leadership clause asks for one at least"
        # One seat of one or two is always a large part: a lone steward is told what is missing.
        if count > 1 and count * clause.largest_part.denominator > (
            len(stewards) * clause.largest_part.numerator
        ):
            yield (
                f"{count} of {len(stewards)} stewards stand for {interest!r}; the leadership clause"
                f" allows no interest more than {clause.largest_part}"
            )
    for steward in stewards:
        if steward.interest not in clause.interests:
            yield (
                f"{steward.name} stands for {steward.interest!r}, the leadership clause knows"
                f" {', '.join(clause.interests)}"
            )


def tuf_key(public_key: str) -> SSlibKey:
    """Return an Ed25519 public key, given in hex, as TUF's metadata names it."""
    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)))


def root_of(signatories: Signatories, version: int, expires: datetime) -> Root:
    """Return the root, to be signed, that lets these people and no others sign."""
    keys: dict[str, Key] = {}
    for steward in signatories.stewards:
        key = tuf_key(steward.public_key)
        key.unrecognized_fields = {_NAME_FIELD: steward.name, _INTEREST_FIELD: steward.interest}
        if steward.public_key in signatories.terms_from_us:
            since_us = signatories.terms_from_us[steward.public_key]
            key.unrecognized_fields[_TERM_FIELD] = since_us
        keys[key.keyid] = key
    offline = sorted(keys)
    online = tuf_key(signatories.online_key)
    keys[online.keyid] = online
    roles = {role: Role(offline, signatories.threshold) for role in OFFLINE_ROLES}
    roles |= {role: Role([online.keyid], 1) for role in ONLINE_ROLES}
    return Root(
        version=version,
        expires=expires,
        keys=dict(sorted(keys.items())),
        roles=roles,
        consistent_snapshot=True,
    )


def signatories_of(root: Root) -> Signatories:
    """Return who signs by a root; the stewards come in the order of their names.

    Raises ValueError when it is not a root of the form that `root_of` makes.
    """
    stewards = sorted(
        (_steward(root.keys[keyid]) for keyid in root.roles[Targets.type].keyids),
        key=lambda steward: steward.name,
    )
    [online] = root.roles[Timestamp.type].keyids
    signatories = Signatories(
        stewards=tuple(stewards),
        threshold=root.roles[Targets.type].threshold,
        online_key=_public_key(root.keys[online]),
        terms_from_us={
            _public_key(key): msgspec.convert(key.unrecognized_fields[_TERM_FIELD], TermFromUs)
            for key in (root.keys[keyid] for keyid in root.roles[Targets.type].keyids)
            if _TERM_FIELD in key.unrecognized_fields
        },
    )
    expected = root_of(signatories, root.version, root.expires)
    if expected.keys != root.keys or expected.roles != root.roles or not root.consistent_snapshot:
        raise ValueError("its keys and roles are not those of a charter")
    return signatories


def _steward(key: Key) -> Steward:
    fields = {
        "document": "steward/1",
        "name": key.unrecognized_fields.get(_NAME_FIELD),
        "interest": key.unrecognized_fields.get(_INTEREST_FIELD),
        "public_key": _public_key(key),
    }
    return msgspec.convert(fields, Steward)


def _public_key(key: Key) -> str:
    return cast("str", key.keyval["public"])
