"""Starting, asking and stopping a whole network of real processes."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from peerllm.cli.free_ports import free_ports

MODEL = "smollm2-135m-instruct"
READY_SECONDS = 180
STOP_SECONDS = 40


@dataclass(frozen=True)
class UpNetwork:
    """A running `peerllm up`."""

    process: "subprocess.Popen[bytes]"
    directory: Path
    output: Path
    up: dict[str, Any]

    @property
    def data(self) -> Path:
        return Path(self.up["data_dir"])

    @property
    def origin(self) -> str:
        return str(self.up["base_url"]).removesuffix("/v1")

    def client(self, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=self.up["base_url"],
            api_key=options.pop("api_key", self.up["api_key"]),
            max_retries=0,
            **options,
        )

    def statement(self, request_id: str) -> dict[str, Any]:
        """A request's statement; it is there once the answer has ended."""
        response = httpx.get(
            f"{self.up['base_url']}/statements/{request_id}",
            headers={"authorization": f"Bearer {self.up['api_key']}"},
        )
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    def ledger(self) -> dict[str, Any]:
        """The recount that `peerllm coordinator ledger` prints."""
        printed = run_peerllm(
            "coordinator", "ledger", f"--data-directory={self.data / 'coordinator'}"
        )
        report: dict[str, Any] = json.loads(printed.stdout)
        return report

    def settled_ledger(self) -> dict[str, Any]:
        """The recount once no reservation is open, which takes a moment after a client left."""
        deadline = time.monotonic() + 20
        report = self.ledger()
        while report["open_reservations"] and time.monotonic() < deadline:
            report = self.ledger()
        return report

    def pids(self) -> list[int]:
        return [self.up["coordinator"]["pid"], *(host["pid"] for host in self.up["hosts"])]

    def is_alive(self) -> bool:
        return self.process.poll() is None and httpx.get(f"{self.origin}/healthz").is_success


def run_peerllm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "peerllm.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def start_network(directory: Path) -> UpNetwork:
    output = directory / "terminal.txt"
    directory.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as terminal:
        options = [f"--port={free_ports(1)[0]}", f"--directory={directory / 'network'}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "peerllm.cli", "up", *options],
            stdout=terminal,
            stderr=terminal,
        )
    up_file = directory / "network" / "up.json"
    deadline = time.monotonic() + READY_SECONDS
    # Its own question is answered after up.json is written: wait for the end of its report.
    while b"Press Ctrl-C" not in output.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"the network did not start: {output.read_text()[-2000:]}")
        time.sleep(0.1)
    return UpNetwork(process, directory / "network", output, json.loads(up_file.read_text()))


def stop_network(network: UpNetwork) -> int:
    network.process.send_signal(signal.SIGINT)
    try:
        return network.process.wait(timeout=STOP_SECONDS)
    finally:
        network.process.kill()
