"""Envelopes: a chunk sealed for one host, one model, one dispatch and a limited time (RFC 9180)."""

from dataclasses import dataclass
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from peerllm.crypto.certificate import SealingKey
from peerllm.crypto.errors import PlaintextTooLarge, SealingKeyRefused
from peerllm.crypto.identity import public_key_of
from peerllm.crypto.padding import LENGTH_BYTES, pad, unpad

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
# The encapsulated X25519 key (32) and the Poly1305 tag (16).
_OVERHEAD_BYTES: Final = 48
_SMALLEST_BUCKET_BYTES: Final = 1024
_LARGEST_BUCKET_BYTES: Final = 1024 * 1024

MAXIMUM_PLAINTEXT_BYTES: Final = _LARGEST_BUCKET_BYTES - LENGTH_BYTES
MAXIMUM_ENVELOPE_BYTES: Final = _LARGEST_BUCKET_BYTES + _OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class EnvelopeBinding:
    """What an envelope is good for; a change of any field makes it unreadable.

    `expires_at_us` in epoch µs; `seed` is the sampling seed the host must use. Raises ValueError
    when a field is out of bounds, PeerIdError when `host` is no peer id.
    """

    dispatch_id: bytes
    host: str
    model_digest: bytes
    expires_at_us: int
    seed: int

    def __post_init__(self) -> None:
        if len(self.dispatch_id) != 16:
            raise ValueError(f"a dispatch id has 16 bytes, got {len(self.dispatch_id)}")
        if len(self.model_digest) != 32:
            raise ValueError(f"a model digest has 32 bytes, got {len(self.model_digest)}")
        for name, number in (("expires_at_us", self.expires_at_us), ("seed", self.seed)):
            if not 0 <= number < 2**63:
                raise ValueError(f"{name} must be from 0 to 2**63 - 1, got {number}")
        public_key_of(self.host)

    def info(self) -> bytes:
        """Return the HPKE `info`: every field at a fixed place, so no two bindings share it."""
        return b"".join(
            (
                b"peerllm/envelope/1\0",
                self.dispatch_id,
                public_key_of(self.host),
                self.model_digest,
                self.expires_at_us.to_bytes(8, "big"),
                self.seed.to_bytes(8, "big"),
            )
        )


@dataclass(frozen=True, slots=True)
class EnvelopeRefused:
    """Why an envelope was not opened. Which binding differs cannot be told, by design."""

    reason: Literal["expired", "not_for_us_or_altered", "malformed"]


def seal(binding: EnvelopeBinding, sealing_public: bytes, plaintext: bytes) -> bytes:
    """Seal `plaintext` so that only the holder of the sealing key opens it, under this binding.

    The size is padded to a power of two from 1 KiB to 1 MiB. Raises PlaintextTooLarge, and
    SealingKeyRefused for a key that `read_certificate` would not have accepted.
    """
    if len(plaintext) > MAXIMUM_PLAINTEXT_BYTES:
        raise PlaintextTooLarge(
            f"an envelope holds {MAXIMUM_PLAINTEXT_BYTES} bytes, got {len(plaintext)};"
            " split the chunk"
        )
    padded = pad(plaintext, _bucket(LENGTH_BYTES + len(plaintext)))
    info = binding.info()
    try:
        return _SUITE.encrypt(padded, X25519PublicKey.from_public_bytes(sealing_public), info=info)
    except ValueError:
        raise SealingKeyRefused(
            "the sealing key is not 32 bytes or a point of small order; read its certificate first"
        ) from None


def open_envelope(
    binding: EnvelopeBinding, key: SealingKey, sealed: bytes, *, now_us: int
) -> bytes | EnvelopeRefused:
    """Open an envelope under the binding that came with it, unless it has expired."""
    size = len(sealed) - _OVERHEAD_BYTES
    if size > _LARGEST_BUCKET_BYTES or size != _bucket(size):
        return EnvelopeRefused("malformed")
    if now_us >= binding.expires_at_us:
        return EnvelopeRefused("expired")
    try:
        padded = _SUITE.decrypt(sealed, key.private_key, info=binding.info())
    except InvalidTag:
        return EnvelopeRefused("not_for_us_or_altered")
    plaintext = unpad(padded)
    return EnvelopeRefused("malformed") if plaintext is None else plaintext


def _bucket(size: int) -> int:
    return max(_SMALLEST_BUCKET_BYTES, 1 << (size - 1).bit_length() if size > 0 else 0)
