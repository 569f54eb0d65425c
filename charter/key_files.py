"""Stewards' private key files, sealed with a passphrase, and the public files to hand over."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from peerllm.charter.errors import CharterError, Malformed, MissingDocument
from peerllm.charter.folder import put_file, read_bounded
from peerllm.charter.spelling import document_name, spelling
from peerllm.charter.stewards import OnlineKey, Steward
from peerllm.crypto.errors import KeyFileError
from peerllm.crypto.identity import Identity
from peerllm.crypto.keyfiles import create_private_file, read_private_file

Public = TypeVar("Public", Steward, OnlineKey)
Passphrase = Callable[[], str]
MINIMUM_PASSPHRASE_CHARACTERS: Final = 12
# Guessing costs 128 MiB and 0.4 s of one core a time (OWASP's first choice for scrypt: N = 2**17).
SCRYPT_LOG2_N: Final = 17
_SCRYPT_R: Final = 8
_MAXIMUM_BYTES: Final = 4_096
# What stands for the sealed seed in the bytes that the seal is bound to.
_NOT_SEALED: Final = "00" * 48
_DOMAIN: Final = b"peerllm/steward-key/1\0"


class WrongPassphrase(CharterError):  # noqa: N818 - says what happened, like the room's others
    """The passphrase does not open the key file."""


class SealedKey(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="steward-private-key/1",
):  # fmt: skip
    """A steward's private key as it lies on disk: the seed sealed by ChaCha20-Poly1305.

    The sealing key is scrypt of the passphrase; everything else in the file is bound to the seal.
    The bounds of `scrypt_log2_n` keep a foreign file from asking for all memory there is.
    """

    steward: Steward
    scrypt_log2_n: Annotated[int, msgspec.Meta(ge=10, le=20)]
    salt: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    nonce: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{24}\Z")]
    sealed_seed: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{96}\Z")]

    def __repr__(self) -> str:
        return f"SealedKey({self.steward.name})"


def steward_of(name: str, interest: str, key: Identity) -> Steward:
    """Return a steward's public half; raises Malformed for a name or interest that cannot be."""
    plain = {
        "document": "steward/1",
        "name": name,
        "interest": interest,
        "public_key": key.public_key.hex(),
    }
    try:
        return msgspec.convert(plain, Steward)
    except msgspec.ValidationError as error:
        raise Malformed(
            f"a steward cannot be called {name[:80]!r} and stand for {interest[:80]!r}: take up to"
            " 40 small letters, digits and hyphens for the name, 32 letters and hyphens for the"
            " interest"
        ) from error


def seal_key(
    path: Path,
    steward: Steward,
    key: Identity,
    passphrase: str,
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> None:
    """Write a steward's private key sealed with a passphrase to a new file (0600).

    Raises KeyFileError when the file exists, Malformed when the passphrase is too short.
    """
    if len(passphrase) < MINIMUM_PASSPHRASE_CHARACTERS:
        raise Malformed(
            f"the passphrase has {len(passphrase)} characters; take"
            f" {MINIMUM_PASSPHRASE_CHARACTERS} at least, such as five words"
        )
    draft = SealedKey(
        steward=steward,
        scrypt_log2_n=SCRYPT_LOG2_N,
        salt=random(16).hex(),
        nonce=random(12).hex(),
        sealed_seed=_NOT_SEALED,
    )
    sealed = _cipher(draft, passphrase).encrypt(bytes.fromhex(draft.nonce), key.seed, _bound(draft))
    content = spelling(msgspec.structs.replace(draft, sealed_seed=sealed.hex()))
    try:
        create_private_file(path, content)
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists already; a key is never overwritten") from error


def open_key(path: Path, passphrase: Passphrase) -> Identity:
    """Return the key in a file; `passphrase` is asked only when the file is sealed with one.

    Files of `Identity` are read too: the operator's online key, which must work unattended, is one.
    Raises MissingDocument, KeyFileError or WrongPassphrase.
    """
    raw = _private_bytes(path)
    if not raw.startswith(b"{"):
        return Identity.load_or_create(path)
    key = _sealed(path, raw)
    try:
        seed = _cipher(key, passphrase()).decrypt(
            bytes.fromhex(key.nonce), bytes.fromhex(key.sealed_seed), _bound(key)
        )
    except InvalidTag as error:
        raise WrongPassphrase(
            f"the passphrase does not open {path}, or the file was altered; try again, or restore"
            " the file from a copy"
        ) from error
    identity = Identity(seed)
    if identity.public_key.hex() != key.steward.public_key:
        raise KeyFileError(f"key file {path} is damaged; restore it from a copy")
    return identity


def steward_in(path: Path) -> Steward:
    """Return the public half in a sealed key file, without its passphrase."""
    raw = _private_bytes(path)
    if not raw.startswith(b"{"):
        raise KeyFileError(f"{path} is not a steward's key file; make one with: charter key new")
    return _sealed(path, raw).steward


def read_public(path: Path, kind: type[Public]) -> Public:
    """Return what is in a public key file; raises MissingDocument or Malformed."""
    raw = read_bounded(path)
    name = document_name(kind)
    try:
        public = msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"{path} is no public file of the kind {name}: {error}") from error
    if spelling(public) != raw:
        raise Malformed(f"{path} was altered; ask its owner for the file again")
    return public


def write_public(path: Path, public: Steward | OnlineKey) -> None:
    """Write what the owner of a key hands to the others."""
    put_file(path, spelling(public))


def _private_bytes(path: Path) -> bytes:
    try:
        return read_private_file(path, _MAXIMUM_BYTES)
    except FileNotFoundError as error:
        raise MissingDocument(f"there is no key file {path}") from error


def _sealed(path: Path, raw: bytes) -> SealedKey:
    try:
        key = msgspec.json.decode(raw, type=SealedKey)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyFileError(f"key file {path} is damaged; restore it from a copy") from error
    if spelling(key) != raw:
        raise KeyFileError(f"key file {path} is damaged; restore it from a copy")
    return key


def _cipher(key: SealedKey, passphrase: str) -> ChaCha20Poly1305:
    scrypt = Scrypt(
        salt=bytes.fromhex(key.salt), length=32, n=2**key.scrypt_log2_n, r=_SCRYPT_R, p=1
    )
    return ChaCha20Poly1305(scrypt.derive(passphrase.encode("utf-8")))


def _bound(key: SealedKey) -> bytes:
    return _DOMAIN + spelling(msgspec.structs.replace(key, sealed_seed=_NOT_SEALED))
