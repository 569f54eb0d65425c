"""A whole network on one machine: its folders, its processes, and the way to reach it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import trio

from peerllm.charter.defaults import FIRST_MODEL
from peerllm.charter.errors import CharterError
from peerllm.charter.founding import found_files
from peerllm.charter.given_documents import first_files
from peerllm.charter.store import founding_root, load_charter
from peerllm.cli.free_ports import free_ports
from peerllm.coordinator.service import CoordinatorSettings, now_us
from peerllm.coordinator.storage_file import StorageFile
from peerllm.crypto.identity import Identity

HOSTS = 3
# Decided, not measured: hosts that share one machine would measure each other. One of three took
# itself for a machine of a single slot, and a long text was answered part after part.
HOST_SLOTS = 4
CUSTOMER = "local"
KEY_NAME = "up"
# One US dollar: two hundred thousand answers at the first tariff.
DEPOSIT_NANO_USD = 1_000_000_000
# Four processes import and three engines load on two cores; a busy machine needs patience.
READY_SECONDS = 120.0
POLL_SECONDS = 0.1
STOP_SECONDS = 15.0
CHARTER_DAYS = 3650


class UpError(Exception):
    """The network could not be started; the message is one clear sentence."""


@dataclass(frozen=True, kw_only=True)
class HostPlace:
    """One host of the local network."""

    number: int
    directory: Path
    peer_id: str
    port: int


@dataclass(frozen=True, kw_only=True)
class LocalNetwork:
    """Everything decided before the first process starts."""

    root: Path
    http_port: int
    overlay_port: int
    coordinator: str
    hosts: tuple[HostPlace, ...]
    api_key: str

    @property
    def data_directory(self) -> Path:
        """All state of all processes."""
        return data_directory(self.root)

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given."""
        return f"http://127.0.0.1:{self.http_port}/v1"

    @property
    def coordinator_address(self) -> str:
        """What a host dials."""
        return f"/ip4/127.0.0.1/tcp/{self.overlay_port}/p2p/{self.coordinator}"


def data_directory(root: Path) -> Path:
    """The folder of all state below `root`."""
    return root / "data"


def up_file(root: Path) -> Path:
    """Where scripts find their way while the network runs."""
    return root / "up.json"


def stop_leftovers(root: Path) -> int:
    """Stop the processes of an earlier start that was killed; gives how many there were.

    Raises `UpError` when that earlier start still runs.
    """
    try:
        left = json.loads(up_file(root).read_text())
        starter = int(left["starter"]["pid"])
        pids = [int(part["pid"]) for part in (left["coordinator"], *left["hosts"])]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    if _is_ours(starter, "up"):
        raise UpError(f"this network already runs (process {starter}); stop it or use --directory")
    stopped = 0
    for pid in pids:
        # Its folder is in its command line; another process may have got the number since.
        if _is_ours(pid, str(data_directory(root))):
            os.kill(pid, signal.SIGTERM)
            stopped += 1
    up_file(root).unlink(missing_ok=True)
    return stopped


def _is_ours(pid: int, word: str) -> bool:
    try:
        command = psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
    return any("peerllm" in part for part in command) and any(word in part for part in command)


def prepare(root: Path, http_port: int) -> LocalNetwork:
    """Found the network where there is none, and give its parts identities, seats and a key."""
    data = data_directory(root)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    (data / "tmp").mkdir(exist_ok=True)
    (data / "logs").mkdir(exist_ok=True)
    digest = _charter_model(data)
    settings = CoordinatorSettings(
        data_directory=data / "coordinator", charter_directory=data / "charter"
    )
    settings.data_directory.mkdir(exist_ok=True, mode=0o700)
    coordinator = Identity.load_or_create(settings.identity_file).peer_id
    overlay_port, *ports = free_ports(HOSTS + 1)
    hosts = tuple(_host_place(data, number, port) for number, port in enumerate(ports, start=1))
    storage = StorageFile(settings.database_file, clock=now_us)
    try:
        for host in hosts:
            storage.seat(host.peer_id, f"operator-{host.number}", "community", [digest])
        api_key = _issue_key(storage)
    finally:
        storage.close()
    return LocalNetwork(
        root=root,
        http_port=http_port,
        overlay_port=overlay_port,
        coordinator=coordinator,
        hosts=hosts,
        api_key=api_key,
    )


def _charter_model(data: Path) -> bytes:
    """The digest of the first model, from the local network's charter, founded when missing."""
    charter = data / "charter"
    now = datetime.now(UTC)
    if not charter.exists():
        found_files(
            charter,
            files=first_files("local", None, now_us()),
            steward_keys_directory=data / "stewards",
            now=now,
            expires=now + timedelta(days=CHARTER_DAYS),
        )
    try:
        found = load_charter(
            charter, trusted_root=founding_root(charter), state_directory=None, now=now
        )
    except CharterError as error:
        raise UpError(f"{error}; to begin a new local network, remove {data}") from error
    return bytes.fromhex(found.catalogue.models[FIRST_MODEL].sha256)


def _host_place(data: Path, number: int, port: int) -> HostPlace:
    directory = data / f"host-{number}"
    directory.mkdir(exist_ok=True, mode=0o700)
    identity = Identity.load_or_create(directory / "identity")
    return HostPlace(number=number, directory=directory, peer_id=identity.peer_id, port=port)


def _issue_key(storage: StorageFile) -> str:
    """A fresh key for this run; those of earlier runs are withdrawn."""
    account = storage.create_customer(CUSTOMER).account
    storage.deposit(account, DEPOSIT_NANO_USD, f"{account}/founding")
    for key in storage.api_keys(account):
        if key.name == KEY_NAME and key.revoked_at_us is None:
            storage.revoke_api_key(key.key_id)
    return storage.create_api_key(account, KEY_NAME).plain


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process of the network."""

    name: str
    process: trio.Process
    log: Path


@asynccontextmanager
async def running(network: LocalNetwork) -> AsyncIterator[tuple[Part, ...]]:
    """Start the coordinator and the hosts; stop them all at the end, whatever happened."""
    parts: list[Part] = []
    try:
        parts.append(await _start(network, "coordinator", _coordinator_command(network)))
        for host in network.hosts:
            command = _host_command(network, host)
            parts.append(await _start(network, f"host-{host.number}", command))
        yield tuple(parts)
    finally:
        with trio.CancelScope(shield=True):
            await _stop(parts)


async def _start(network: LocalNetwork, name: str, command: list[str]) -> Part:
    data = network.data_directory
    log = data / "logs" / f"{name}.log"
    # Temporary files belong to the state that the retention check looks at.
    environment = os.environ | {"TMPDIR": str(data / "tmp"), "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as output:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "peerllm.cli", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            # Ctrl-C reaches this process alone, which then stops the others in order.
            start_new_session=True,
        )
    return Part(name=name, process=process, log=log)


def _coordinator_command(network: LocalNetwork) -> list[str]:
    data = network.data_directory
    return [
        "coordinator",
        "run",
        f"--data-directory={data / 'coordinator'}",
        f"--charter-directory={data / 'charter'}",
        f"--http-port={network.http_port}",
        f"--overlay-port={network.overlay_port}",
    ]


def _host_command(network: LocalNetwork, host: HostPlace) -> list[str]:
    return [
        "host",
        "run",
        f"--data-directory={host.directory}",
        f"--coordinator={network.coordinator_address}",
        f"--listen-port={host.port}",
        "--threads=1",
        f"--slots={HOST_SLOTS}",
    ]


async def _stop(parts: list[Part]) -> None:
    # The hosts first: a coordinator that sees them leave has nothing left to wait for.
    for part in reversed(parts):
        if part.process.poll() is None:
            part.process.terminate()
    with trio.move_on_after(STOP_SECONDS):
        for part in parts:
            await part.process.wait()
    for part in parts:
        if part.process.poll() is None:
            part.process.kill()
            await part.process.wait()


async def wait_until_ready(
    network: LocalNetwork, parts: tuple[Part, ...], progress: Callable[[int], None]
) -> None:
    """Wait until every host is connected, telling `progress` their number whenever it grows.

    Raises `UpError` when a process ends or the time is up.
    """
    seen = 0
    with trio.move_on_after(READY_SECONDS):
        async with httpx.AsyncClient(timeout=5) as client:
            while seen < len(network.hosts):
                _refuse_dead(parts)
                hosts = await _connected_hosts(client, network)
                if hosts > seen:
                    seen = hosts
                    progress(hosts)
                await trio.sleep(POLL_SECONDS)
        return
    raise UpError(
        f"only {seen} of {len(network.hosts)} hosts were ready after {READY_SECONDS:.0f} s; "
        f"the logs are in {network.data_directory / 'logs'}"
    )


async def _connected_hosts(client: httpx.AsyncClient, network: LocalNetwork) -> int:
    try:
        response = await client.get(f"http://127.0.0.1:{network.http_port}/healthz")
        return int(response.json()["hosts"])
    except (httpx.HTTPError, ValueError, KeyError):
        return 0


def _refuse_dead(parts: tuple[Part, ...]) -> None:
    for part in parts:
        status = part.process.poll()
        if status is not None:
            raise UpError(f"the {part.name} ended with status {status}: {_last_line(part.log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("peerllm: ") if lines else f"see {log}"


def write_up_file(network: LocalNetwork, parts: tuple[Part, ...]) -> None:
    """Tell scripts where everything is; readable by this user alone, because of the key."""
    coordinator, *hosts = parts
    content = {
        "starter": {"pid": os.getpid()},
        "base_url": network.base_url,
        "api_key": network.api_key,
        "data_dir": str(network.data_directory.resolve()),
        "coordinator": {
            "pid": coordinator.process.pid,
            "peer_id": network.coordinator,
            "port": network.overlay_port,
            "http_port": network.http_port,
        },
        "hosts": [
            {"pid": part.process.pid, "peer_id": place.peer_id, "port": place.port}
            for part, place in zip(hosts, network.hosts, strict=True)
        ],
    }
    path = up_file(network.root)
    fresh = path.with_suffix(".fresh")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
    fresh.replace(path)
