"""Who a peer is: an Ed25519 key whose public half is its libp2p peer id."""

import os
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

import base58
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from peerllm.crypto.errors import PeerIdError
from peerllm.crypto.keyfiles import create_seed_file, read_seed

# libp2p peer id specification: an Ed25519 key is short enough to stand in the id itself, as an
# "identity" multihash (0x00, 36 bytes) of the protobuf {Type: Ed25519 = 1, Data: 32 bytes}.
_PEER_ID_PREFIX: Final = bytes.fromhex("002408011220")
# 38 bytes that begin with these six are always 52 characters in base58.
PEER_ID_CHARACTERS: Final = 52
_DOMAIN: Final = re.compile(r"[a-z0-9][a-z0-9./-]{0,63}")


class Identity:
    """A peer's Ed25519 key pair. Its repr shows the peer id and never the seed."""

    __slots__ = ("_private_key", "_seed", "peer_id", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"an Ed25519 seed has 32 bytes, got {len(seed)}")
        self._seed = seed
        self._private_key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key: Final[bytes] = self._private_key.public_key().public_bytes_raw()
        self.peer_id: Final[str] = peer_id_of(self.public_key)

    @classmethod
    def generate(cls, random: Callable[[int], bytes] = os.urandom) -> "Identity":
        """Return a new identity; `random(n)` must give n unpredictable bytes."""
        return cls(random(32))

    @classmethod
    def from_seed(cls, seed: bytes) -> "Identity":
        """Return the identity of a 32-byte seed."""
        return cls(seed)

    @classmethod
    def load_or_create(cls, path: Path) -> "Identity":
        """Load the identity kept at `path`, or make one there (mode 0600, whole or not at all).

        Raises KeyFileError when others may read the file or it is damaged.
        """
        try:
            return cls(read_seed(path))
        except FileNotFoundError:
            identity = cls.generate()
        try:
            create_seed_file(path, identity.seed)
        except FileExistsError:
            # Another process was first; its key is the one that stays.
            return cls(read_seed(path))
        return identity

    @property
    def seed(self) -> bytes:
        """The 32-byte private seed, for the transport that must sign its own handshake."""
        return self._seed

    def sign(self, domain: str, message: bytes) -> bytes:
        """Sign `message` for one purpose; a signature of one domain is void in any other."""
        return self._private_key.sign(_domain_separated(domain, message))

    def __repr__(self) -> str:
        return f"Identity({self.peer_id})"


def peer_id_of(public_key: bytes) -> str:
    """Return the libp2p peer id ("12D3Koo...") of a raw Ed25519 public key."""
    if len(public_key) != 32:
        raise PeerIdError(f"an Ed25519 public key has 32 bytes, got {len(public_key)}")
    return base58.b58encode(_PEER_ID_PREFIX + public_key).decode("ascii")


# Base58 in Python takes 40 µs, half as long as sealing; a coordinator meets the same hosts again.
@lru_cache(maxsize=4096)
def public_key_of(peer_id: str) -> bytes:
    """Return the raw Ed25519 public key inside a peer id; raises PeerIdError."""
    if len(peer_id) == PEER_ID_CHARACTERS and peer_id.isascii():
        try:
            raw: bytes = base58.b58decode(peer_id)
        except ValueError:
            raw = b""
        # base58 ignores surrounding white space, so the text is also compared with its own form.
        if raw.startswith(_PEER_ID_PREFIX) and len(raw) == len(_PEER_ID_PREFIX) + 32:
            public_key = raw[len(_PEER_ID_PREFIX) :]
            if peer_id_of(public_key) == peer_id:
                return public_key
    raise PeerIdError(
        f"not an Ed25519 peer id of {PEER_ID_CHARACTERS} characters that begins with 12D3Koo"
        f" (got {len(peer_id)} characters)"
    )


def verify_signature(peer_id: str, domain: str, message: bytes, signature: bytes) -> bool:
    """Tell whether this peer signed exactly this message for exactly this domain.

    A text that is no peer id has signed nothing: False.
    """
    signed = _domain_separated(domain, message)
    try:
        Ed25519PublicKey.from_public_bytes(public_key_of(peer_id)).verify(signature, signed)
    except (PeerIdError, InvalidSignature):
        return False
    return True


def _domain_separated(domain: str, message: bytes) -> bytes:
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"a signing domain is lower case letters, digits, . / -, got {domain!r}")
    return b"peerllm/" + domain.encode("ascii") + b"\0" + message
