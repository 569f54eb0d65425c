import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peerllm.crypto.errors import LockFileError, LockTaken
from peerllm.crypto.process_lock import taken_lock

HOLDING_PROCESS = """
import sys
from pathlib import Path
from peerllm.crypto.process_lock import taken_lock
with taken_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_refused_until_its_holder_has_let_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with taken_lock(path), pytest.raises(LockTaken, match=str(path)):
        taken_lock(path)
    with taken_lock(path):
        pass
    assert path.stat().st_size == 0


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING_PROCESS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockTaken):
            taken_lock(path)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    with taken_lock(path):
        pass


def test_what_is_no_lock_is_named(tmp_path: Path) -> None:
    with pytest.raises(LockFileError, match="nowhere"):
        taken_lock(tmp_path / "nowhere" / "lock")
    (tmp_path / "lock").write_bytes(b"not a database at all" * 100)
    with pytest.raises(LockFileError, match="lock"):
        taken_lock(tmp_path / "lock")
