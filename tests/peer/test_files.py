import errno
import os
from pathlib import Path

import pytest

from peerllm.peer.earnings import Earnings
from peerllm.peer.errors import ConfigurationError
from peerllm.peer.files import read_state, write_state
from peerllm.peer.host_settings import HostSettings


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"[]", b'{"colour": ' + b"[" * 100_000])
def test_a_damaged_file_is_told_in_a_sentence(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "earnings.json"
    path.write_bytes(raw)
    with pytest.raises(ConfigurationError, match="correct it or remove it"):
        read_state(path, Earnings)


def test_a_name_that_is_no_text_is_told_in_a_sentence(tmp_path: Path) -> None:
    # As a disk of an older system has it.
    model = os.fsdecode(b"/models/caf\xe9.gguf")
    path = tmp_path / "host.json"
    with pytest.raises(ConfigurationError, match=r"caf\\udce9\.gguf', which is no UTF-8: rename"):
        write_state(path, HostSettings(coordinator="", models=[model]))
    assert not path.exists()


def test_a_full_disk_is_told_with_the_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "earnings.json"
    with pytest.raises(OSError, match="No space left") as caught:
        write_state(path, Earnings())
    assert caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())
