from pathlib import Path

import pytest

from peerllm.peer.earnings import Earnings
from peerllm.peer.errors import ConfigurationError
from peerllm.peer.files import read_state


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"[]", b'{"colour": ' + b"[" * 100_000])
def test_a_damaged_file_is_told_in_a_sentence(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "earnings.json"
    path.write_bytes(raw)
    with pytest.raises(ConfigurationError, match="correct it or remove it"):
        read_state(path, Earnings)
