"""What goes wrong in this room; no message ever carries content or key material."""

# ruff: noqa: N818 - "ReplyForged" says what happened; a suffix would add nothing.


class CryptoError(Exception):
    """Base of every error this room raises on purpose."""


class DecodingError(CryptoError):
    """Received bytes are not a value of the expected kind; the bytes are never quoted."""


class PeerIdError(CryptoError):
    """A text or public key is not an Ed25519 peer id."""


class KeyFileError(CryptoError):
    """A private key file is unreadable, readable by others, or damaged."""


class PlaintextTooLarge(CryptoError):
    """More bytes were to be sealed than one envelope or reply piece may hold."""


class SealingKeyRefused(CryptoError):
    """A public sealing key is of the wrong size or a weak point of the curve."""


class ReplyForged(CryptoError):
    """A reply piece was altered, repeated, left out, reordered or sealed with another key."""


class LockTaken(CryptoError):
    """Another process, or another thread of this one, holds a lock."""


class LockFileError(CryptoError):
    """A lock's file cannot be made, or is something else."""
