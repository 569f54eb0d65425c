"""What a host needs and whether it is there, one line each."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import trio

from peerllm.crypto.errors import CryptoError
from peerllm.crypto.identity import Identity
from peerllm.peer.benchmark import build
from peerllm.peer.catalogue import find_models
from peerllm.peer.conditions import MachineWatch
from peerllm.peer.configuration import DEFAULT_CONTEXT_TOKENS, UNMEASURED_SLOTS, identity_path
from peerllm.peer.control_api import control_path
from peerllm.peer.control_client import ControlClient
from peerllm.peer.detached import is_running
from peerllm.peer.errors import PeerError
from peerllm.peer.files import read_state
from peerllm.peer.gguf import ModelShape
from peerllm.peer.host_settings import SETTINGS_FILE, HostSettings
from peerllm.peer.legacy_format import LegacyFormat
from peerllm.peer.limits import Limits
from peerllm.peer.memory import refuse_too_little_memory
from peerllm.peer.models import shape_of
from peerllm.peer.senses import Senses
from peerllm.peer.serving_memory import serving_memory
from peerllm.peer.surroundings import senses_here
from peerllm.peer.untold_limits import told_limits

# Logs, catalogue and counts; a model needs its own size on top.
_NEEDED_DISK_BYTES: Final = 200_000_000
_IMPORT_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 5.0
_LIBRARY_CHECK: Final = "from peerllm.peer.llama import load_library; load_library()"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `is_well` None: worth knowing, but nothing to mend."""

    subject: str
    is_well: bool | None
    sentence: str


def examine(data_directory: Path) -> Iterator[Finding]:
    """Look at everything, one after the other. Changes nothing."""
    settings = _settings(data_directory)
    checks: tuple[Callable[[], Finding], ...] = (
        _python,
        library_finding,
        lambda: _directory(data_directory),
        lambda: _identity(data_directory),
        lambda: _state(data_directory),
        lambda: _models(data_directory, settings),
        lambda: _coordinator(settings),
        lambda: _running(data_directory),
    )
    for check in checks:
        yield check()
    yield from _senses(data_directory)


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    well = sys.version_info >= (3, 11)
    return Finding("Python", well, found if well else f"{found}: 3.11 or newer is needed")


def library_finding() -> Finding:
    """Whether the inference library runs here.

    Loaded in a process of its own: one for another processor ends it at once.
    """
    subject = "inference library"
    command = [sys.executable, "-P", "-c", _LIBRARY_CHECK]
    try:
        done = subprocess.run(  # noqa: S603 - this program itself
            command, capture_output=True, check=False, timeout=_IMPORT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return Finding(subject, False, "it cannot be loaded: the process does not come up")
    if done.returncode == 0:
        return Finding(subject, True, build())
    if sys.platform != "win32" and done.returncode == -signal.SIGILL:
        return Finding(
            subject, False, f"{build()} was compiled for another processor: build it on this one"
        )
    last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return Finding(subject, False, re.sub(r"^[\w.]+Error: ", "", last) or "it cannot be loaded")


def _directory(path: Path) -> Finding:
    subject = "data directory"
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        return Finding(subject, False, f"{existing} cannot be written")
    free = shutil.disk_usage(existing).free
    well = free >= _NEEDED_DISK_BYTES
    need = "" if well else f", {_NEEDED_DISK_BYTES // 1_000_000} are needed"
    return Finding(subject, well, f"{path}, {free // 1_000_000} MB free{need}")


def _identity(data_directory: Path) -> Finding:
    path = identity_path(data_directory)
    if not path.exists():
        return Finding("identity", None, "none yet, it is made at the first start")
    try:
        return Finding("identity", True, Identity.load_or_create(path).peer_id)
    except (CryptoError, OSError) as error:
        return Finding("identity", False, str(error))


def _state(data_directory: Path) -> Finding:
    """The small files that a person may have edited."""
    try:
        read_state(data_directory / "limits.json", Limits)
        read_state(data_directory / SETTINGS_FILE, HostSettings)
    except (PeerError, OSError) as error:
        return Finding("settings", False, str(error))
    return Finding("settings", True, "readable")


def _models(data_directory: Path, settings: HostSettings | None) -> Finding:
    """One line for all of them: each must be servable alone."""
    named = [*settings.preload, *settings.models] if settings else []
    sentences: list[str] = []
    try:
        for model in find_models(data_directory, named):
            shape = shape_of(model.path, model.legacy)
            need = _fit(shape, model.legacy, settings)
            if not shape.has_chat_template:
                return Finding(
                    "model", False, f"{model.path} carries no chat template, it cannot converse"
                )
            parameters = shape.parameters // 1_000_000
            sentences.append(f"{model.path}, {parameters} M parameters, takes {need} MB")
    except PeerError as error:
        return Finding("model", False, str(error))
    return Finding("model", True, "; ".join(sentences))


def _fit(shape: ModelShape, legacy: LegacyFormat | None, settings: HostSettings | None) -> int:
    """Megabytes that serving takes. Raises `ModelError` when they are not there."""
    slots = (settings.slots if settings else 0) or UNMEASURED_SLOTS
    context = settings.context if settings else DEFAULT_CONTEXT_TOKENS
    need = serving_memory(shape, legacy, slots=slots, context_tokens=context)
    refuse_too_little_memory(need, available=psutil.virtual_memory().available)
    return need.total // 1_000_000


def _coordinator(settings: HostSettings | None) -> Finding:
    subject = "coordinator"
    if settings is None:
        return Finding(subject, None, "none yet, name it at the first start")
    found = re.match(r"/[a-z0-9]+/([^/]+)/tcp/([0-9]{1,5})/", settings.coordinator)
    if found is None:
        return Finding(subject, False, f"{settings.coordinator} is no address")
    host, port = found[1], int(found[2])
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError):
        return Finding(subject, False, f"nothing answers at {host}, port {port}")
    return Finding(subject, True, f"{host}, port {port}")


def _senses(data_directory: Path) -> Iterator[Finding]:
    """What the limits can go by, and one line for each that has no effect here."""
    now = MachineWatch(list).read(Limits(on_battery=False, maximum_celsius=1))
    found = told_limits(_told_senses(data_directory), now)
    yield Finding("senses", None, f"told here: {', '.join(found.told)}")
    for name, sentence in found.untold.items():
        yield Finding(name, None, sentence)


def _told_senses(data_directory: Path) -> Senses:
    """Of the host that runs; it may see less than this command, or more."""
    try:
        told = ControlClient(data_directory).status().senses
    except (PeerError, OSError):
        told = None
    return told or trio.run(senses_here)


def _running(data_directory: Path) -> Finding:
    try:
        if is_running(data_directory):
            return Finding("host", True, "runs")
    except PeerError as error:
        return Finding("host", False, str(error))
    if control_path(data_directory).exists():
        return Finding("host", None, "does not run; the last one ended without putting away")
    return Finding("host", None, "does not run")


def _settings(data_directory: Path) -> HostSettings | None:
    try:
        return read_state(data_directory / SETTINGS_FILE, HostSettings)
    except (PeerError, OSError):
        # Told of by its own line.
        return None
