"""Stewards' keys on disk: sealed, private, and refused with a sentence when something is wrong."""

import stat
from pathlib import Path

import pytest

from peerllm.charter.errors import Malformed, MissingDocument
from peerllm.charter.key_files import (
    WrongPassphrase,
    open_key,
    read_public,
    seal_key,
    steward_in,
    steward_of,
    write_public,
)
from peerllm.charter.stewards import OnlineKey, Steward
from peerllm.crypto.errors import KeyFileError
from peerllm.crypto.identity import Identity

PASSPHRASE = "correct horse battery"
KEY = Identity.from_seed(b"k" * 32)
ADA = steward_of("ada", "hosts", KEY)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "ada.key"
    seal_key(path, ADA, KEY, PASSPHRASE)
    return path


def test_a_sealed_key_opens_with_its_passphrase_alone(sealed: Path) -> None:
    assert open_key(sealed, lambda: PASSPHRASE).seed == KEY.seed
    for wrong in ("", PASSPHRASE + " ", PASSPHRASE.upper(), "é" * 500):
        with pytest.raises(WrongPassphrase, match=r"the passphrase does not open .*ada\.key"):
            open_key(sealed, lambda wrong=wrong: wrong)  # type: ignore[misc]


def test_a_sealed_key_is_private_and_tells_only_the_public_half(sealed: Path) -> None:
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600
    assert steward_in(sealed) == ADA
    content = sealed.read_bytes()
    assert KEY.seed not in content
    assert KEY.seed.hex().encode() not in content
    sealed.chmod(0o640)
    with pytest.raises(KeyFileError, match="others may have read"):
        open_key(sealed, lambda: PASSPHRASE)


def test_every_altered_byte_of_a_sealed_key_is_noticed(sealed: Path) -> None:
    content = sealed.read_bytes()
    for index in range(len(content)):
        altered = bytearray(content)
        altered[index] ^= 1
        sealed.write_bytes(altered)
        with pytest.raises((KeyFileError, WrongPassphrase)):
            open_key(sealed, lambda: PASSPHRASE)


def test_a_file_cannot_ask_for_all_memory_there_is(sealed: Path) -> None:
    content = sealed.read_bytes()
    sealed.write_bytes(content.replace(b'"scrypt_log2_n": 10', b'"scrypt_log2_n": 40'))
    with pytest.raises(KeyFileError, match="damaged"):
        open_key(sealed, lambda: PASSPHRASE)


def test_a_key_is_never_overwritten(sealed: Path) -> None:
    before = sealed.read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        seal_key(sealed, ADA, KEY, PASSPHRASE)
    assert sealed.read_bytes() == before


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Malformed, match="has 11 characters; take 12"):
        seal_key(tmp_path / "new.key", ADA, KEY, "elevenchars")
    assert not (tmp_path / "new.key").exists()


@pytest.mark.parametrize(
    ("name", "interest"), [("Ada", "hosts"), ("", "hosts"), ("ada", "Hosts!"), ("a" * 41, "hosts")]
)
def test_names_are_small_letters_digits_and_hyphens(name: str, interest: str) -> None:
    with pytest.raises(Malformed, match="small letters"):
        steward_of(name, interest, KEY)


def test_public_files_survive_and_cannot_stand_in_for_each_other(tmp_path: Path) -> None:
    steward, online = tmp_path / "ada.public.json", tmp_path / "online.public.json"
    write_public(steward, ADA)
    write_public(online, OnlineKey(public_key=KEY.public_key.hex()))
    assert read_public(steward, Steward) == ADA
    assert read_public(online, OnlineKey).public_key == KEY.public_key.hex()
    with pytest.raises(Malformed, match="no public file of the kind steward"):
        read_public(online, Steward)
    with pytest.raises(MissingDocument, match="cannot be read"):
        read_public(tmp_path / "nowhere.json", Steward)
    steward.write_bytes(steward.read_bytes() + b" ")
    with pytest.raises(Malformed, match="was altered"):
        read_public(steward, Steward)


def test_the_operators_key_works_unattended(tmp_path: Path) -> None:
    made = Identity.load_or_create(tmp_path / "online.key")

    def never() -> str:
        raise AssertionError("nobody is there to ask")

    assert open_key(tmp_path / "online.key", never).seed == made.seed
    with pytest.raises(MissingDocument, match="no key file"):
        open_key(tmp_path / "gone.key", never)
