import errno
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from peerllm.crypto.errors import KeyFileError, PeerIdError
from peerllm.crypto.identity import Identity, peer_id_of, public_key_of, verify_signature

seeds = st.binary(min_size=32, max_size=32)


@given(seeds)
def test_peer_id_is_libp2ps_own(seed: bytes) -> None:
    identity = Identity.from_seed(seed)
    pair = create_new_key_pair(seed)
    assert identity.public_key == pair.public_key.to_bytes()
    assert identity.peer_id == str(ID.from_pubkey(pair.public_key))


@given(seeds)
def test_public_key_and_peer_id_name_each_other(public_key: bytes) -> None:
    assert public_key_of(peer_id_of(public_key)) == public_key


def test_libp2p_accepts_a_signature_made_here() -> None:
    identity = Identity.from_seed(bytes(32))
    key = create_new_key_pair(bytes(32)).public_key
    assert key.verify(b"peerllm/test/1\0text", identity.sign("test/1", b"text"))


GOOD = Identity.from_seed(b"a" * 32).peer_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD[:-1],
        GOOD + "1",
        GOOD[:-1] + " ",
        GOOD[:-1] + "0",
        GOOD[:-1] + "é",
        " " + GOOD[:-1],
        "2" + GOOD[1:],
        "z" * 52,
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "1" * 100_000,
    ],
)
def test_what_is_no_peer_id_is_refused_and_has_signed_nothing(text: str) -> None:
    with pytest.raises(PeerIdError):
        public_key_of(text)
    assert not verify_signature(text, "test", b"", bytes(64))


@given(st.text(max_size=60))
def test_any_text_is_a_peer_id_or_refused(text: str) -> None:
    try:
        assert peer_id_of(public_key_of(text)) == text
    except PeerIdError:
        assert text != GOOD


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_another_size_are_refused(size: int) -> None:
    with pytest.raises(PeerIdError):
        peer_id_of(bytes(size))
    with pytest.raises(ValueError, match="32 bytes"):
        Identity.from_seed(bytes(size))


@given(st.binary(max_size=100), st.integers(0, 511))
def test_signature_holds_for_one_peer_one_domain_and_one_message(message: bytes, bit: int) -> None:
    identity = Identity.from_seed(b"b" * 32)
    signature = identity.sign("test/1", message)
    assert verify_signature(identity.peer_id, "test/1", message, signature)
    assert not verify_signature(identity.peer_id, "test/2", message, signature)
    assert not verify_signature(identity.peer_id, "test/1", message + b"\0", signature)
    assert not verify_signature(GOOD, "test/1", message, signature)
    altered = bytearray(signature)
    altered[bit // 8] ^= 1 << bit % 8
    assert not verify_signature(identity.peer_id, "test/1", message, bytes(altered))
    assert not verify_signature(identity.peer_id, "test/1", message, signature[:-1])


@pytest.mark.parametrize("domain", ["", "a\0b", "Upper", "with space", "/lead", "a" * 65])
def test_a_domain_that_could_be_confused_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="domain"):
        Identity.from_seed(bytes(32)).sign(domain, b"")


def test_repr_hides_the_seed() -> None:
    seed = bytes(range(32))
    shown = repr(Identity.from_seed(seed))
    assert shown == f"Identity({Identity.from_seed(seed).peer_id})"
    assert seed.hex() not in shown


def test_generate_takes_its_randomness_from_the_caller() -> None:
    assert Identity.generate(lambda count: b"r" * count).seed == b"r" * 32
    assert Identity.generate().peer_id != Identity.generate().peer_id


def test_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "host.key"
    previous = os.umask(0)
    try:
        made = Identity.load_or_create(path)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Identity.load_or_create(path).seed == made.seed
    assert [entry.name for entry in path.parent.iterdir()] == ["host.key"]


def test_of_many_who_create_at_once_all_get_the_same_key(tmp_path: Path) -> None:
    found: list[str] = []
    start = threading.Barrier(8)

    def create() -> None:
        start.wait()
        found.append(Identity.load_or_create(tmp_path / "host.key").peer_id)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_key_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "host.key"
    Identity.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}.*chmod 600"):
        Identity.load_or_create(path)


@given(st.data())
def test_damaged_key_file_is_refused_without_being_replaced(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("keys") / "host.key"
    Identity.load_or_create(path)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="truncate"):
        damaged = bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    else:
        bit = data.draw(st.integers(0, len(content) * 8 - 1))
        content[bit // 8] ^= 1 << bit % 8
        damaged = bytes(content)
    path.write_bytes(damaged)
    with pytest.raises(KeyFileError, match="damaged"):
        Identity.load_or_create(path)
    assert path.read_bytes() == damaged


def test_damage_is_reported_without_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "host.key"
    seed = Identity.load_or_create(path).seed
    path.write_text(path.read_text() + "x")
    with pytest.raises(KeyFileError) as caught:
        Identity.load_or_create(path)
    assert seed.hex() not in str(caught.value)


def test_links_and_folders_are_not_key_files(tmp_path: Path) -> None:
    Identity.load_or_create(tmp_path / "host.key")
    (tmp_path / "link").symlink_to(tmp_path / "host.key")
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", mode=0o600)
    for name in ("link", "folder", "pipe"):
        with pytest.raises(KeyFileError):
            Identity.load_or_create(tmp_path / name)


def test_a_full_disk_is_told_with_the_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        Identity.load_or_create(tmp_path / "host.key")
    assert caught.value.filename == str(tmp_path / "host.key")
    assert not list(tmp_path.iterdir())
