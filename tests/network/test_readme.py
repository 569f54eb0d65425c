"""Every command of the README, run as it stands there.

Only what a reader must fill in is filled in (capitals such as HOST-PEER-ID), and the two commands
that serve until interrupted get free ports and run in the background.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from peerllm.cli.free_ports import free_ports
from tests.network.harness import MODEL, UpNetwork

ROOT = Path(__file__).parents[2]
READY_SECONDS = 90


def commands(section: str) -> list[str]:
    """The shell commands of one section, continuation lines joined."""
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"the README has no section {section}"
    blocks = re.findall(r"```sh\n(.*?)```", found[1], re.DOTALL)
    assert blocks, f"the section {section} shows no command"
    return [line for line in "".join(blocks).replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture
def shell_folder(tmp_path: Path) -> Path:
    """A folder in which `.venv/bin/peerllm` is the one under test."""
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("python", "peerllm"):
        (tools / name).symlink_to(Path(sys.executable).parent / name)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"HOME": str(folder)}


def run(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stderr}"
    return done.stdout


@contextmanager
def running(command: str, folder: Path, log: Path, ready: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=environment(folder),
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while f'"event": "{ready}"' not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
        process.terminate()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()


def test_the_customers_commands(network: UpNetwork, shell_folder: Path) -> None:
    (shell_folder / ".peerllm").symlink_to(network.directory)
    printed = run("\n".join(commands("Customer")), shell_folder)
    assert MODEL in printed
    assert "data: [DONE]" in printed
    assert '"content":' in printed


def test_steward_operator_host_and_customer_build_a_network_by_hand(shell_folder: Path) -> None:
    for command in commands("Steward"):
        run(command, shell_folder)
    identity, serve, *models = commands("Host")
    host = run(identity, shell_folder).strip()
    added, listed, measured = (run(command, shell_folder) for command in models)
    assert added == ""
    assert MODEL in listed
    assert "best: " in measured
    http_port, overlay_port = free_ports(2)
    *before, coordinate, recount = commands("Operator")
    printed = [run(command.replace("HOST-PEER-ID", host), shell_folder) for command in before]
    coordinator = printed[0].strip()
    key = next(line for line in "".join(printed).splitlines() if line.startswith("pk-"))
    coordinate += f" --http-port {http_port} --overlay-port {overlay_port}"
    serve = (
        serve.replace("COORDINATOR-ADDRESS", "127.0.0.1")
        .replace("4001", str(overlay_port))
        .replace("COORDINATOR-PEER-ID", coordinator)
    )
    logs = shell_folder
    with (
        running(coordinate, shell_folder, logs / "coordinator.log", "listening"),
        running(serve, shell_folder, logs / "host.log", "connected"),
    ):
        answer = httpx.post(
            f"http://127.0.0.1:{http_port}/v1/chat/completions",
            headers={"authorization": f"Bearer {key}"},
            json={
                "model": MODEL,
                "messages": [{"role": "user", "content": "Say hello."}],
                "max_tokens": 8,
                # Drawn at random, two answers in a thousand of so small a model are refused.
                "temperature": 0,
            },
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
    assert '"balanced": true' in run(recount, shell_folder)


def test_the_two_commands_of_the_readme_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert targets == ["up", "test"]
    assert all(f"\n{target}:" in makefile for target in targets)
