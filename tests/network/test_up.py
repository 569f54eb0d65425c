"""`peerllm up`, as a new user meets it."""

import json
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from peerllm.cli.free_ports import free_ports
from peerllm.peer.control_api import HostAccount
from peerllm.peer.control_client import ControlClient
from tests.network.harness import UpNetwork, run_peerllm, start_network, stop_network


def test_once_answers_a_real_question_and_ends(tmp_path: Path) -> None:
    done = run_peerllm(
        "up",
        "--once=Name three primary colours.",
        f"--port={free_ports(1)[0]}",
        f"--directory={tmp_path / 'network'}",
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"Answer: +\S+ \S+", done.stdout)
    assert done.stdout.count("receipt signed") == 2
    assert done.stdout.count(": won, ") == 1
    assert "content kept: nothing" in done.stdout
    assert not (tmp_path / "network" / "up.json").exists()


def test_a_taken_port_is_one_clear_sentence(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = run_peerllm("up", f"--port={port}", f"--directory={tmp_path}")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        f"peerllm: port {port} on 127.0.0.1 is in use; stop what listens there or choose "
        "another port"
    ]


def test_up_json_tells_scripts_their_way(network: UpNetwork) -> None:
    path = network.directory / "up.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    up = json.loads(path.read_text())
    assert up["base_url"].endswith("/v1")
    assert up["api_key"]
    assert Path(up["data_dir"]).is_dir()
    assert up["coordinator"]["pid"] > 0
    assert len({host["peer_id"] for host in up["hosts"]}) == 3
    for host in up["hosts"]:
        with socket.create_connection(("127.0.0.1", host["port"]), timeout=5):
            pass


def test_a_host_is_told_its_own_account(network: UpNetwork) -> None:
    accounts = [
        ControlClient(path.parent).ask("GET", "/v1/account", HostAccount).account
        for path in sorted(network.data.rglob("control.json"))
    ]
    assert len(accounts) == 3
    for account in accounts:
        assert account is not None
        assert account.region.name == "default"
        assert len(account.region.months) == 3
        assert account.balance == account.earned == account.in_escrow


def test_an_interrupt_stops_every_process(
    tmp_path: Path, process_is_gone: Callable[[int], bool]
) -> None:
    running = start_network(tmp_path)
    assert stop_network(running) == 0
    assert not (running.directory / "up.json").exists()
    assert all(process_is_gone(pid) for pid in running.pids())


def test_a_start_that_was_killed_leaves_nothing_in_the_way(
    tmp_path: Path, process_is_gone: Callable[[int], bool]
) -> None:
    killed = start_network(tmp_path)
    killed.process.kill()
    killed.process.wait()
    done = run_peerllm(
        "up",
        "--once=Name a colour.",
        f"--port={killed.up['coordinator']['http_port']}",
        f"--directory={killed.directory}",
    )
    assert done.returncode == 0, done.stderr
    assert "Stopped 4 processes" in done.stdout
    assert all(process_is_gone(pid) for pid in killed.pids())


def test_a_network_is_not_started_twice(network: UpNetwork) -> None:
    done = run_peerllm("up", f"--port={free_ports(1)[0]}", f"--directory={network.directory}")
    assert done.returncode == 1
    assert "already runs" in done.stderr
    assert network.is_alive()
