import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from peerllm.crypto.identity import Identity
from peerllm.peer.commands import host_app
from peerllm.peer.errors import ConfigurationError
from peerllm.peer.sole_host import sole_host

COORDINATOR = f"/ip4/127.0.0.1/tcp/1/p2p/{Identity.from_seed(b'c' * 32).peer_id}"
OWNING_PROCESS = """
import sys
from pathlib import Path
from peerllm.peer.sole_host import sole_host
with sole_host(Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peerllm.peer.sole_host._PARTING_SECONDS", 0.0)


def test_a_host_is_refused_beside_one_that_is_still_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run_host(*_parts: object) -> None:
        """It would serve until it is stopped."""

    monkeypatch.setattr("peerllm.peer.commands.run_host", run_host)
    command = ["run", "--data-directory", str(tmp_path), "--coordinator", COORDINATOR]
    with sole_host(tmp_path):
        done = CliRunner().invoke(host_app, command)
    assert done.exit_code == 1
    said = f"peerllm: a host already runs from {tmp_path}, or is being started or stopped\n"
    assert done.stderr == said
    # Nor has it changed what the other one was started with.
    assert not (tmp_path / "host.json").exists()


def test_a_killed_host_leaves_no_lock_behind(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNING_PROCESS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"owned\n"
        with pytest.raises(ConfigurationError, match="already runs"), sole_host(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    with sole_host(tmp_path):
        pass


def test_what_is_no_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / "host.owner").write_bytes(b"not a database at all" * 100)
    with pytest.raises(ConfigurationError, match=r"host\.owner"), sole_host(tmp_path):
        pass
