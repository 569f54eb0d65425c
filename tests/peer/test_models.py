import errno
import os
import sys
from pathlib import Path

import pytest

from peerllm.peer.errors import ModelError
from peerllm.peer.models import (
    EMBEDDED_MODEL,
    DigestCache,
    EmbeddedModel,
    check_model,
    embedded_model_path,
    locate_model,
)
from tests.peer.gguf_files import tiny_gguf

TINY = tiny_gguf()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_the_embedded_model_is_found_without_importing_its_package(tmp_path: Path) -> None:
    model = locate_model(None, DigestCache(tmp_path / "digests.json"))
    assert model.name == "smollm2-135m-instruct"
    assert model.digest == EMBEDDED_MODEL.digest
    assert model.path == embedded_model_path()
    assert EMBEDDED_MODEL.package not in sys.modules


def test_a_missing_package_is_named_in_one_sentence() -> None:
    absent = EmbeddedModel("m", "no_such_model_package", "m.gguf", bytes(32))
    with pytest.raises(ModelError, match="no-such-model-package") as caught:
        embedded_model_path(absent)
    assert caught.value.reason == "missing_file"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "not_gguf"), (b"PK\3\4 zip", "not_gguf"), (b"GGUF\1\0\0\0", "not_gguf")],
)
def test_other_files_are_refused_before_anything_is_loaded(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = write(tmp_path / "model.gguf", content)
    with pytest.raises(ModelError) as caught:
        locate_model(path, DigestCache(None))
    assert caught.value.reason == reason


def test_an_absent_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        locate_model(tmp_path / "absent.gguf", DigestCache(None))
    assert caught.value.reason == "missing_file"


def test_a_wrong_digest_is_refused_and_both_digests_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", TINY)
    with pytest.raises(ModelError) as caught:
        check_model(path, bytes(32), DigestCache(None))
    assert caught.value.reason == "digest_mismatch"
    assert DigestCache(None).digest(path).hex() in str(caught.value)


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    cache = DigestCache(tmp_path / "digests.json")
    path = write(tmp_path / "model.gguf", TINY + b"one")
    first = cache.digest(path)
    assert cache.digest(path) == first
    write(path, TINY + b"two!")
    assert cache.digest(path) != first
    check_model(path, DigestCache(None).digest(path), cache)


def test_an_unchanged_file_comes_from_the_cache(tmp_path: Path) -> None:
    cache = DigestCache(tmp_path / "digests.json")
    path = write(tmp_path / "model.gguf", TINY + b"one")
    first, status = cache.digest(path), path.stat()
    write(path, TINY + b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    # Same size and time: exactly the case in which the cache answers, not the file.
    assert cache.digest(path) == first


@pytest.mark.parametrize(
    "damage", [b"", b"[1]", b"{", b'{"x": "nonsense"}', b"\xff", b"[" * 100_000]
)
def test_a_damaged_cache_costs_time_only(tmp_path: Path, damage: bytes) -> None:
    path = write(tmp_path / "model.gguf", TINY)
    cache_path = write(tmp_path / "digests.json", damage)
    assert DigestCache(cache_path).digest(path) == DigestCache(None).digest(path)


def test_an_unwritable_cache_costs_time_only(tmp_path: Path) -> None:
    path = write(tmp_path / "model.gguf", TINY)
    assert DigestCache(tmp_path / "absent" / "digests.json").digest(path)


def test_a_full_disk_costs_the_cache_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_from: str, _to: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    path = write(tmp_path / "model.gguf", TINY)
    DigestCache(tmp_path / "digests.json").digest(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_outside_the_catalogue_is_named_after_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "My Größe Model.gguf", TINY)
    assert locate_model(path, DigestCache(None)).name == "my-gr-e-model"


def test_digests_of_files_hashed_at_once_are_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = DigestCache(tmp_path / "digests.json")
    large, small = tmp_path / "large.gguf", tmp_path / "small.gguf"
    large.write_bytes(b"large")
    small.write_bytes(b"small")
    hashed: list[str] = []

    def hash_slowly(path: Path) -> bytes:
        hashed.append(path.name)
        if path.name == large.name:
            cache.digest(small)
        return bytes(32)

    monkeypatch.setattr("peerllm.peer.models._hash", hash_slowly)
    cache.digest(large)
    cache.digest(small)
    assert hashed == [large.name, small.name]
