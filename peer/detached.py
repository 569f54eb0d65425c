"""Starting a host that outlives the command that started it, and waiting for one to end."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil

from peerllm.peer.control_api import Status
from peerllm.peer.control_client import ControlClient, ControlError, NotRunningError
from peerllm.peer.errors import PeerError

LOG_FILE: Final = "host.log"
# Hashing a large model for the first time comes before the control API.
_START_SECONDS: Final = 300.0
_LOOK_SECONDS: Final = 0.1
# A log of an event a chunk fills this in a year or so; the one before it is kept.
_LARGEST_LOG_BYTES: Final = 50_000_000
# Standard output and standard error, which both go to the log.
_OUTPUT: Final = 1
_ERRORS: Final = 2


class StartError(PeerError):
    """A host ended before it served."""


def start_detached(command: Sequence[str], data_directory: Path) -> Status:
    """Start the command with its log in the data directory; gives its first status.

    Raises `StartError` with the host's own last words when it ends or does not come up.
    """
    data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = data_directory / LOG_FILE
    if log.is_file() and log.stat().st_size > _LARGEST_LOG_BYTES:
        os.replace(log, log.with_suffix(".log.1"))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 - this program's own command line
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=data_directory,
            **_apart(),
        )
    finally:
        os.close(descriptor)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StartError(f"the host ended: {_last_line(log)}")
        try:
            client = ControlClient(data_directory)
            if client.process_id == process.pid:
                return client.status()
        except ControlError:
            pass
        time.sleep(_LOOK_SECONDS)
    raise StartError(f"the host did not come up in {_START_SECONDS:.0f} s; its log is {log}")


def turn_over(log: Path) -> None:
    """Begin the log anew once it is large, if it is what this process writes to. Never raises.

    What was written is kept beside it, but where the system renames no open file.
    """
    with suppress(OSError):
        written = os.fstat(_ERRORS)
        if written.st_size <= _LARGEST_LOG_BYTES or not os.path.samestat(written, log.stat()):
            return
        with suppress(OSError):
            os.replace(log, log.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        descriptor = os.open(log, flags, 0o600)
        for standard in (_OUTPUT, _ERRORS):
            if os.path.samestat(written, os.fstat(standard)):
                os.dup2(descriptor, standard)
        os.close(descriptor)


def wait_for_end(process_id: int, seconds: float) -> bool:
    """Whether the process ended in time."""
    try:
        psutil.Process(process_id).wait(seconds)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def is_running(data_directory: Path) -> bool:
    """Whether a host answers from this data directory."""
    try:
        ControlClient(data_directory).status()
    except NotRunningError:
        return False
    return True


def _apart() -> dict[str, Any]:
    """Out of reach of this terminal's Ctrl-C and end."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return lines[-1].removeprefix("peerllm: ") if lines else "it said nothing"
