"""Signed notes as C2SP writes them: text, then lines of who signed it. Signatures and cosignatures.

https://c2sp.org/signed-note and https://c2sp.org/tlog-cosignature, with Ed25519 keys. No note can
be mistaken for another signature of this network's: those begin with a tag that holds a zero byte,
which no note may hold.
"""

import base64
import binascii
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from peerllm.charter.errors import BadSignature, Malformed
from peerllm.crypto.identity import Identity

# A checkpoint with its signature has about 250 bytes and a cosignature 140: room for some 200.
MAXIMUM_NOTE_BYTES: Final = 32 * 1024
MAXIMUM_NAME: Final = 128
_LINE_START: Final = "\N{EM DASH} "
_KEY_ID_BYTES: Final = 4
_TIME_BYTES: Final = 8
_PUBLIC_KEY_BYTES: Final = 32
# The largest time that a cosignature may bear.
_LATEST: Final = 2**63 - 1


class SignatureType(IntEnum):
    """What a key signs: a note as it is, or a checkpoint with the time it was seen."""

    NOTE = 0x01
    COSIGNATURE = 0x04


@dataclass(frozen=True)
class VerifierKey:
    """A public key, the name it signs under, and what it signs; as text "name+id+key"."""

    name: str
    type: SignatureType
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != _PUBLIC_KEY_BYTES:
            raise Malformed(f"an Ed25519 public key has 32 bytes, got {len(self.public_key)}")

    @property
    def key_id(self) -> bytes:
        """The four bytes that name the key in a signature line."""
        named = self.name.encode() + b"\n" + bytes([self.type]) + self.public_key
        return sha256(named).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        key = base64.b64encode(bytes([self.type]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: who says to have signed, and the bytes that prove it."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        encoded = base64.b64encode(self.key_id + self.value).decode()
        return f"{_LINE_START}{self.name} {encoded}\n"


@dataclass(frozen=True)
class SignedNote:
    """A text that ends with a newline, and its signatures, none of them checked yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """Return the note's one spelling."""
        return (self.text + "\n" + "".join(map(str, self.signatures))).encode()

    def with_signatures(self, *more: NoteSignature) -> "SignedNote":
        """Return the note with these signatures too; a newer one of a key replaces the older."""
        renewed = {(signature.name, signature.key_id) for signature in more}
        kept = [one for one in self.signatures if (one.name, one.key_id) not in renewed]
        return SignedNote(self.text, (*kept, *more))


def parse_verifier_key(text: str) -> VerifierKey:
    """Return the key that such a text stands for; raises Malformed."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    raw = _from_base64(encoded)
    if raw and raw[0] in set(SignatureType) and len(raw) == 1 + _PUBLIC_KEY_BYTES:
        key = VerifierKey(name, SignatureType(raw[0]), raw[1:])
        if key.key_id.hex() == key_id:
            return key
    raise Malformed(
        "not a public key of a log or witness: it reads name+8 hexadecimal digits+base64, and the"
        " digits belong to the rest"
    )


def parse_note(raw: bytes) -> SignedNote:
    """Parse a signed note without checking a signature; raises Malformed."""
    if len(raw) > MAXIMUM_NOTE_BYTES:
        raise Malformed(f"a signed note has at most {MAXIMUM_NOTE_BYTES} bytes, got {len(raw)}")
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        whole = ""
    text, blank, lines = whole.rpartition("\n\n")
    signatures = [_parse_line(line) for line in lines.removesuffix("\n").split("\n")]
    note = SignedNote(text + "\n", tuple(one for one in signatures if one))
    if not blank or None in signatures or note.encode() != raw or _has_controls(whole):
        raise Malformed("not a signed note: a text, an empty line, then lines of signatures")
    return note


def sign_note(text: str, key: VerifierKey, identity: Identity) -> NoteSignature:
    """Sign a text as it is. Raises BadSignature when the identity is not that of `key`."""
    _require(key, identity, SignatureType.NOTE)
    return NoteSignature(key.name, key.key_id, _signed(identity, text.encode()))


def cosign_note(text: str, key: VerifierKey, identity: Identity, seconds: int) -> NoteSignature:
    """Sign a checkpoint as seen at an epoch time in seconds. Raises as `sign_note` does."""
    _require(key, identity, SignatureType.COSIGNATURE)
    if not 0 < seconds <= _LATEST:
        raise ValueError(f"the time of a cosignature is 1 to 2**63 - 1 seconds, got {seconds}")
    value = seconds.to_bytes(_TIME_BYTES) + _signed(identity, _cosigned(text, seconds))
    return NoteSignature(key.name, key.key_id, value)


def is_signed(note: SignedNote, key: VerifierKey) -> bool:
    """Tell whether the note bears the key's signature; raises BadSignature if it is wrong."""
    values = _values(note, key)
    for value in values:
        _check(key, value, note.text.encode())
    return bool(values)


def cosigned_at(note: SignedNote, key: VerifierKey) -> int | None:
    """Return when a witness last cosigned the note, in epoch seconds, or None.

    Raises BadSignature when a cosignature of that witness is wrong.
    """
    times = []
    for value in _values(note, key):
        seconds = int.from_bytes(value[:_TIME_BYTES])
        _check(key, value[_TIME_BYTES:], _cosigned(note.text, seconds))
        times.append(seconds)
    return max(times, default=None)


def _values(note: SignedNote, key: VerifierKey) -> list[bytes]:
    key_id = key.key_id
    return [one.value for one in note.signatures if (one.name, one.key_id) == (key.name, key_id)]


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _signed(identity: Identity, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(identity.seed).sign(message)


def _check(key: VerifierKey, signature: bytes, message: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, message)
    except InvalidSignature:
        raise BadSignature(
            f"the signature of {key.name} is not of this text; do not believe it"
        ) from None


def _require(key: VerifierKey, identity: Identity, kind: SignatureType) -> None:
    if key.type is not kind or key.public_key != identity.public_key:
        raise BadSignature(f"this key file is not that of {key}; use the one that is")


def _parse_line(line: str) -> NoteSignature | None:
    name, _, encoded = line.removeprefix(_LINE_START).partition(" ")
    raw = _from_base64(encoded)
    if not line.startswith(_LINE_START) or not _is_name(name) or len(raw) <= _KEY_ID_BYTES:
        return None
    return NoteSignature(name, raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])


def check_name(name: str) -> None:
    """Raise Malformed for what cannot be a key's name."""
    if not _is_name(name):
        raise Malformed(
            f"a key's name has 1 to {MAXIMUM_NAME} characters without spaces and plus signs"
        )


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MAXIMUM_NAME and not any(
        character.isspace() or character == "+" or not character.isprintable() for character in name
    )


def _has_controls(text: str) -> bool:
    return any(character < " " and character != "\n" for character in text)


def _from_base64(text: str) -> bytes:
    """Return the bytes, or none when this is not their one spelling."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return b""
    return raw if base64.b64encode(raw).decode() == text else b""
