"""Who may ask and who may serve: API keys and seats, as plain values."""

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from peerllm.charter.seat_rules import RestReason
from peerllm.charter.tariff import STANDARD_TIER
from peerllm.coordinator.errors import NameRefusedError

Tier = Literal["community", "dedicated"]

KEY_PREFIX = "pk-"
# 32 random bytes are beyond guessing, which is why a plain digest is enough and no slow
# password hash is needed; without padding they are 43 URL-safe characters.
_KEY_BYTES = 32
_KEY_SHAPE = re.compile(r"pk-[A-Za-z0-9_-]{43}")
# Long enough never to collide in practice, short enough to be read out; the database refuses a
# second key with the same id.
_KEY_ID_CHARACTERS = 16

# Fits a path segment, an account name and a table column.
_PRICE_TIER = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_REGION_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_CUSTOMER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
# Room for a sentence, none for a document: labels are for people to recognise, not for content.
_LABEL_CHARACTERS = 100
_MODEL_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of a key: never the key itself. Times in unix microseconds, money nano-USD.

    `price_tier` is its account's.
    """

    key_id: str
    account: str
    name: str
    created_at_us: int
    expires_at_us: int | None
    revoked_at_us: int | None
    budget: int | None
    spent: int
    price_tier: str = STANDARD_TIER


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key. `plain` is shown to its owner once and kept nowhere; repr hides it."""

    key: ApiKey
    plain: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyExpired:
    """The key was valid until `expires_at_us`."""

    key_id: str
    expires_at_us: int


@dataclass(frozen=True, slots=True)
class KeyRevoked:
    """The key was withdrawn at `revoked_at_us`."""

    key_id: str
    revoked_at_us: int


@dataclass(frozen=True, slots=True)
class CustomerCreated:
    """A customer's account now exists."""

    account: str


@dataclass(frozen=True, slots=True)
class CustomerExists:
    """There is a customer of that name already; nothing was written."""

    account: str


@dataclass(frozen=True, slots=True)
class SeatPause:
    """For how long, and why, a seat gets no work; it is held all the while."""

    reason: RestReason
    paused_at_us: int
    until_us: int


@dataclass(frozen=True, slots=True)
class Seat:
    """A host's right to receive work for the models with these SHA-256 digests in a region."""

    peer_id: str
    operator: str
    tier: Tier
    digests: frozenset[bytes]
    region: str
    seated_at_us: int
    pause: SeatPause | None = None


@dataclass(frozen=True, slots=True)
class WaitingHost:
    """A host in line for a seat of one model in a region, by its place in line.

    `offered_at_us` is when a free seat was offered to it, None while it only waits.
    """

    position: int
    peer_id: str
    operator: str
    region: str
    digest: bytes
    since_us: int
    offered_at_us: int | None


@dataclass(frozen=True, slots=True)
class SeatElsewhere:
    """The host holds a seat in another region; it must give that one up first."""

    region: str


@dataclass(frozen=True, slots=True)
class Strike:
    """An evidenced rule violation; `rule` names the rule, never the content that broke it.

    `salt` makes its public commitment unguessable. One that was withdrawn, with the word that says
    why, counts no more. An appeal succeeds by itself at `decide_by_us` unless it was dismissed
    before; `withdrawal_written` is False while that has happened and the database does not say so.
    """

    peer_id: str
    rule: str
    dispatch_id: bytes | None
    recorded_at_us: int
    number: int = 0
    region: str = "default"
    evidence_sha256: bytes | None = None
    salt: bytes = field(default=b"", repr=False)
    withdrawn_at_us: int | None = None
    withdrawal: str | None = None
    recorded_by: str | None = None
    appealed_at_us: int | None = None
    decide_by_us: int | None = None
    dismissed_at_us: int | None = None
    dismissed_by: str | None = None
    withdrawal_written: bool = True


@dataclass(frozen=True, slots=True)
class StrikeKnown:
    """The same evidence is held against the host by strike `number`, which may be withdrawn."""

    number: int


@dataclass(frozen=True, slots=True)
class StrikeWithdrawn:
    """The strike had been withdrawn before, at `withdrawn_at_us`."""

    number: int
    withdrawn_at_us: int


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A verified receipt's exact signed bytes, to be kept as they came."""

    host: str
    dispatch_id: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class ReceiptRecorded:
    """The receipt is kept: it has been used, and can never be used again."""

    host: str
    dispatch_id: bytes


@dataclass(frozen=True, slots=True)
class DuplicateReceipt:
    """This host had handed in a receipt for this dispatch before; nothing was written."""

    host: str
    dispatch_id: bytes


@dataclass(frozen=True, slots=True)
class Earnings:
    """What a host has been credited with in all, in nano-USD, and by how many settlements."""

    host: str
    total: int
    settlements: int


def new_key(random: Callable[[int], bytes]) -> str:
    """A fresh plain key: `pk-` and 43 URL-safe characters. `random` must be cryptographic."""
    return KEY_PREFIX + urlsafe_b64encode(random(_KEY_BYTES)).rstrip(b"=").decode("ascii")


def key_digest(plain: str) -> bytes | None:
    """The digest a key is looked up by, None when `plain` cannot be a key at all.

    Looking up by digest leaks nothing by its duration: whoever tries keys cannot steer how much
    of the digest of a guess agrees with a stored one.
    """
    if _KEY_SHAPE.fullmatch(plain) is None:
        return None
    return hashlib.sha256(plain.encode("ascii")).digest()


def key_id_of(digest: bytes) -> str:
    """The public name of a key, fit for lists and logs."""
    return digest.hex()[:_KEY_ID_CHARACTERS]


def key_state(key: ApiKey, now_us: int) -> ApiKey | KeyRevoked | KeyExpired:
    """The key if it may be used now."""
    if key.revoked_at_us is not None:
        return KeyRevoked(key.key_id, key.revoked_at_us)
    if key.expires_at_us is not None and now_us >= key.expires_at_us:
        return KeyExpired(key.key_id, key.expires_at_us)
    return key


def check_customer_name(name: str) -> str:
    """The name, if it can be part of an account's name; raises NameRefusedError."""
    if _CUSTOMER_NAME.fullmatch(name) is None:
        raise NameRefusedError(
            f"{name!r} cannot name a customer: use up to 63 of a-z 0-9 . _ - beginning with a "
            "letter or digit"
        )
    return name


def check_price_tier(tier: str) -> str:
    """The tier's name, if a tariff could have it; raises NameRefusedError."""
    if _PRICE_TIER.fullmatch(tier) is None:
        raise NameRefusedError(
            f"{tier[:50]!r} cannot name a tier: use up to 40 of a-z 0-9 - beginning with a letter"
            " or digit"
        )
    return tier


def check_label(label: str, what: str) -> str:
    """The label, if it is short, printable and not empty; raises NameRefusedError."""
    if not label.strip() or not label.isprintable() or len(label) > _LABEL_CHARACTERS:
        raise NameRefusedError(
            f"{what} of {len(label)} characters: it must have 1 to {_LABEL_CHARACTERS}, all "
            "printable and not all blank"
        )
    return label


def check_region(name: str) -> str:
    """The region's name, if a region's record could have it; raises NameRefusedError."""
    if _REGION_NAME.fullmatch(name) is None:
        raise NameRefusedError(
            f"{name[:80]!r} cannot name a region: use up to 63 of a-z 0-9 - beginning with a letter"
            " or digit"
        )
    return name


def check_model_digest(digest: bytes) -> bytes:
    """The digest, if it is a SHA-256; raises NameRefusedError."""
    if len(digest) != _MODEL_DIGEST_BYTES:
        raise NameRefusedError(f"a model digest has 32 bytes, not {len(digest)}")
    return digest
