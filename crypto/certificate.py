"""Sealing certificates: a host's identity vouches for the key that envelopes are sealed to."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from peerllm.crypto.encoding import decode_canonical, encode
from peerllm.crypto.errors import DecodingError, SealingKeyRefused
from peerllm.crypto.identity import PEER_ID_CHARACTERS, Identity
from peerllm.crypto.signed import MAXIMUM_BLOB_BYTES, is_signed_by, read_blob, sign_blob

_DOMAIN: Final = "sealing-certificate/1"

# Home computers' clocks are seldom more than a few minutes wrong.
CLOCK_TOLERANCE_US: Final = 300 * 1_000_000
# A sealing key lives in memory and is renewed with the host's session; a stolen one must not
# stay good for long, and no host runs for months without a restart.
MAXIMUM_LIFETIME_US: Final = 31 * 24 * 3600 * 1_000_000

PeerIdText = Annotated[
    str, msgspec.Meta(min_length=PEER_ID_CHARACTERS, max_length=PEER_ID_CHARACTERS)
]
EpochMicroseconds = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

CertificateFault = Literal[
    "malformed",
    "bad_signature",
    "wrong_peer",
    "weak_sealing_key",
    "lifetime_out_of_bounds",
    "not_yet_valid",
    "expired",
]


class SealingKey:
    """A host's X25519 key pair for opening envelopes; the private half never leaves memory."""

    __slots__ = ("private_key", "public_bytes")

    def __init__(self, private_key: X25519PrivateKey) -> None:
        self.private_key: Final = private_key
        self.public_bytes: Final[bytes] = private_key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "SealingKey":
        """Return a new key pair."""
        return cls(X25519PrivateKey.generate())

    def __repr__(self) -> str:
        return f"SealingKey(public={self.public_bytes.hex()})"


class SealingCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A peer's statement that envelopes for it be sealed to this key; times in epoch µs."""

    peer_id: PeerIdText
    sealing_key: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    issued_at_us: EpochMicroseconds
    expires_at_us: EpochMicroseconds


@dataclass(frozen=True, slots=True)
class CertificateRefused:
    """Why a sealing certificate was not accepted."""

    reason: CertificateFault


def certify(
    identity: Identity, sealing_public: bytes, *, issued_at_us: int, expires_at_us: int
) -> bytes:
    """Return a signed sealing certificate of at most 31 days.

    Raises SealingKeyRefused for a bad key, ValueError for a lifetime out of bounds.
    """
    check_sealing_key(sealing_public)
    if not 0 < expires_at_us - issued_at_us <= MAXIMUM_LIFETIME_US:
        raise ValueError(
            f"a certificate lives between 1 and {MAXIMUM_LIFETIME_US} microseconds,"
            f" got {expires_at_us - issued_at_us}"
        )
    certificate = SealingCertificate(
        peer_id=identity.peer_id,
        sealing_key=sealing_public,
        issued_at_us=issued_at_us,
        expires_at_us=expires_at_us,
    )
    return sign_blob(identity, _DOMAIN, encode(certificate))


def read_certificate(
    raw: bytes, *, peer_id: str, now_us: int
) -> SealingCertificate | CertificateRefused:
    """Accept a certificate signed by `peer_id` for itself and valid now (5 minutes tolerance)."""
    blob = read_blob(raw)
    if blob is None:
        return CertificateRefused("malformed")
    if not is_signed_by(blob, peer_id, _DOMAIN):
        return CertificateRefused("bad_signature")
    try:
        certificate = decode_canonical(
            blob.body, SealingCertificate, maximum_bytes=MAXIMUM_BLOB_BYTES
        )
    except DecodingError:
        return CertificateRefused("malformed")
    fault = _fault(certificate, peer_id, now_us)
    return CertificateRefused(fault) if fault else certificate


def check_sealing_key(raw: bytes) -> None:
    """Refuse what is no X25519 public key or one with which every shared secret is known.

    Raises SealingKeyRefused.
    """
    if len(raw) != 32:
        raise SealingKeyRefused(f"an X25519 public key has 32 bytes, got {len(raw)}")
    try:
        # RFC 7748, section 6.1: for a point of small order every exchange gives all zeros.
        _PROBE.exchange(X25519PublicKey.from_public_bytes(raw))
    except ValueError:
        raise SealingKeyRefused(
            "the X25519 public key is a point of small order; ask the host for another"
        ) from None


def _fault(certificate: SealingCertificate, peer_id: str, now_us: int) -> CertificateFault | None:
    lifetime_us = certificate.expires_at_us - certificate.issued_at_us
    if certificate.peer_id != peer_id:
        return "wrong_peer"
    if not 0 < lifetime_us <= MAXIMUM_LIFETIME_US:
        return "lifetime_out_of_bounds"
    if certificate.issued_at_us > now_us + CLOCK_TOLERANCE_US:
        return "not_yet_valid"
    if certificate.expires_at_us <= now_us:
        return "expired"
    try:
        check_sealing_key(certificate.sealing_key)
    except SealingKeyRefused:
        return "weak_sealing_key"
    return None


# Any private key shows a point of small order; it protects nothing.
_PROBE: Final = X25519PrivateKey.from_private_bytes(bytes(range(32)))
