"""The stream back: pieces sealed one by one with the reply key that lay inside the envelope."""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from peerllm.crypto.envelope import EnvelopeBinding
from peerllm.crypto.errors import PlaintextTooLarge, ReplyForged
from peerllm.crypto.padding import LENGTH_BYTES, pad, unpad

REPLY_KEY_BYTES: Final = 32
# A token is 4 bytes of text on average: steps of 64 hide its length without doubling the stream.
_STEP_BYTES: Final = 64
_TAG_BYTES: Final = 16
# A piece carries a few tokens; this leaves room for a whole long answer in one.
_MAXIMUM_PADDED_BYTES: Final = 256 * 1024

MAXIMUM_PIECE_BYTES: Final = _MAXIMUM_PADDED_BYTES - LENGTH_BYTES
MAXIMUM_SEALED_PIECE_BYTES: Final = _MAXIMUM_PADDED_BYTES + _TAG_BYTES


class ReplySealer:
    """A host's end: seals the pieces of one answer in order. One sealer per dispatch, never two."""

    __slots__ = ("_cipher", "_sealed_pieces", "finished")

    def __init__(self, key: bytes, binding: EnvelopeBinding) -> None:
        self._cipher = _cipher(key, binding)
        self._sealed_pieces = 0
        self.finished = False

    def seal(self, plaintext: bytes, *, final: bool) -> bytes:
        """Seal the next piece; nothing can follow the final one.

        Raises PlaintextTooLarge, ValueError after the final piece.
        """
        if self.finished:
            raise ValueError("the final piece of this reply has been sealed already")
        if len(plaintext) > MAXIMUM_PIECE_BYTES:
            raise PlaintextTooLarge(
                f"a reply piece holds {MAXIMUM_PIECE_BYTES} bytes, got {len(plaintext)}; send more"
                " and smaller pieces"
            )
        steps = -(-(LENGTH_BYTES + len(plaintext)) // _STEP_BYTES)
        padded = pad(plaintext, steps * _STEP_BYTES)
        sealed = self._cipher.encrypt(_nonce(self._sealed_pieces), padded, _flag(final))
        self._sealed_pieces += 1
        self.finished = final
        return sealed


class ReplyOpener:
    """A coordinator's end: opens the pieces of one answer, in exactly the order they were sealed.

    `finished` tells whether the final piece was seen; a stream that ends before it was cut off.
    """

    __slots__ = ("_cipher", "_opened_pieces", "_refused", "finished")

    def __init__(self, key: bytes, binding: EnvelopeBinding) -> None:
        self._cipher = _cipher(key, binding)
        self._opened_pieces = 0
        self._refused = False
        self.finished = False

    def open(self, sealed: bytes, *, final: bool) -> bytes:
        """Open the next piece. Raises ReplyForged, and from then on for every further piece."""
        plaintext = None if self._refused or self.finished else self._opened(sealed, final)
        if plaintext is None:
            self._refused = True
            raise ReplyForged(
                f"reply piece {self._opened_pieces} was altered, repeated, out of order or not"
                " sealed for this dispatch; drop the stream"
            )
        self._opened_pieces += 1
        self.finished = final
        return plaintext

    def _opened(self, sealed: bytes, final: bool) -> bytes | None:
        if len(sealed) > MAXIMUM_SEALED_PIECE_BYTES:
            return None
        try:
            padded = self._cipher.decrypt(_nonce(self._opened_pieces), sealed, _flag(final))
        except InvalidTag:
            return None
        return unpad(padded)


def _cipher(key: bytes, binding: EnvelopeBinding) -> ChaCha20Poly1305:
    if len(key) != REPLY_KEY_BYTES:
        raise ValueError(f"a reply key has {REPLY_KEY_BYTES} bytes, got {len(key)}")
    # Derived per binding: a reply key used twice by mistake still never repeats a nonce.
    info = b"peerllm/reply/1\0" + binding.info()
    return ChaCha20Poly1305(HKDF(SHA256(), 32, salt=None, info=info).derive(key))


def _nonce(piece: int) -> bytes:
    return piece.to_bytes(12, "big")


def _flag(final: bool) -> bytes:
    return b"\1" if final else b"\0"
