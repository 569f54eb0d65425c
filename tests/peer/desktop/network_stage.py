"""A real coordinator, and the folder of a host beside it, for the window's tests."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from peerllm.cli.free_ports import free_ports
from peerllm.cli.local_network import LocalNetwork, prepare
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.storage_schema import DATABASE_FILE
from peerllm.crypto.identity import Identity
from peerllm.peer.benchmark import build
from peerllm.peer.control_client import ControlClient, ControlError
from peerllm.peer.measurements import Measurement, Measurements
from peerllm.peer.models import EMBEDDED_MODEL
from peerllm.peer.tuning import hardware

READY_SECONDS = 90


@dataclass(frozen=True)
class Stage:
    """A running coordinator, and a host's folder."""

    network: LocalNetwork
    host: Path

    @property
    def peer_id(self) -> str:
        return Identity.load_or_create(self.host / "identity").peer_id

    def storage(self) -> StorageFile:
        return StorageFile(self.network.data_directory / "coordinator" / DATABASE_FILE)


@contextlib.contextmanager
def staged(root: Path, *, newcomer: bool) -> Iterator[Stage]:
    """Run a coordinator; its host is a newcomer, or holds a seat. At the end both stop."""
    network = prepare(root, free_ports(1)[0])
    data = network.data_directory
    command = [sys.executable, "-m", "peerllm.cli", "coordinator", "run"]
    command += [f"--data-directory={data / 'coordinator'}", f"--http-port={network.http_port}"]
    command += [f"--charter-directory={data / 'charter'}", f"--overlay-port={network.overlay_port}"]
    log = root / "coordinator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    host = root / "newcomer" if newcomer else network.hosts[0].directory
    host.mkdir(mode=0o700, exist_ok=True)
    # Known already: measuring takes long, and is shown elsewhere.
    measured = Measurement(
        threads=1,
        slots=2,
        prefill_milli=150_000,
        decode_milli=80_000,
        decode_all_milli=90_000,
        build=build(),
        hardware=hardware(),
    )
    Measurements(host).remember(EMBEDDED_MODEL.digest, measured)
    deadline = time.monotonic() + READY_SECONDS
    while not _is_up(network):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    yield Stage(network, host)
    with contextlib.suppress(ControlError):
        ControlClient(host).ask("POST", "/v1/stop", object)
    process.terminate()
    assert process.wait(timeout=30) == 0


def _is_up(network: LocalNetwork) -> bool:
    try:
        # 503 until a host is there.
        httpx.get(f"http://127.0.0.1:{network.http_port}/healthz")
    except httpx.HTTPError:
        return False
    return True
