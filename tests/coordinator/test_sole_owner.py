import signal
import subprocess
import sys
from pathlib import Path

import pytest

from peerllm.coordinator.errors import StorageError
from peerllm.coordinator.sole_owner import DatabaseInUseError, sole_owner

OWNING_PROCESS = """
import sys
from pathlib import Path
from peerllm.coordinator.sole_owner import sole_owner
with sole_owner(Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.read()
"""


def test_a_second_owner_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    database = tmp_path / "coordinator.sqlite"
    with (
        sole_owner(database),
        pytest.raises(DatabaseInUseError, match="another coordinator runs on"),
        sole_owner(database),
    ):
        pass
    with sole_owner(database):
        pass


def test_a_killed_owner_leaves_no_lock_behind(tmp_path: Path) -> None:
    database = tmp_path / "coordinator.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", OWNING_PROCESS, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"owned\n"
        with pytest.raises(DatabaseInUseError), sole_owner(database):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    with sole_owner(database):
        pass


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="nowhere"), sole_owner(tmp_path / "nowhere" / "x"):
        pass


def test_a_file_that_is_no_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.owner").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StorageError, match=r"x\.owner"), sole_owner(tmp_path / "x"):
        pass
