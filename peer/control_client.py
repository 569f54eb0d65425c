"""Speaks to the host that runs from a data directory, over its control API."""

import http.client
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import psutil

from peerllm.peer.control_api import API_VERSION, ControlFile, Fault, Status, control_path
from peerllm.peer.errors import PeerError
from peerllm.peer.files import read_state

T = TypeVar("T")

_ANSWER_SECONDS: Final = 10.0
# The server shows itself every 15 seconds.
_EVENT_SECONDS: Final = 60.0


class ControlError(PeerError):
    """The running host did not do what was asked; the message is its own sentence."""


class NotRunningError(ControlError):
    """No host answers from this data directory."""


def is_alive(process_id: int) -> bool:
    """Whether this user has a process with this id.

    A killed host leaves its control file, and anybody may listen on its port by now: neither a
    token nor a conversation is for them.
    """
    if sys.platform == "win32":
        return bool(psutil.pid_exists(process_id))
    try:
        os.kill(process_id, 0)
    except OSError:
        return False
    return True


class ControlClient:
    """One host's control API. Raises `NotRunningError` when there is none to be found."""

    def __init__(self, data_directory: Path) -> None:
        self._directory = data_directory
        here = read_state(control_path(data_directory), ControlFile)
        if here is None:
            raise self._not_running()
        if here.version != API_VERSION:
            raise ControlError(
                f"the host speaks version {here.version} of the control API, "
                f"this command version {API_VERSION}: use commands of the same release"
            )
        if not is_alive(here.process_id):
            raise self._not_running()
        self.process_id = here.process_id
        self._port = here.port
        self._headers = {"Authorization": f"Bearer {here.token}"}

    def status(self) -> Status:
        """How the host is."""
        return self.ask("GET", "/v1/status", Status)

    def ask(self, method: str, path: str, kind: type[T], value: msgspec.Struct | None = None) -> T:
        """One request and its answer. Raises `ControlError`."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_SECONDS)
        body = None if value is None else msgspec.json.encode(value)
        try:
            connection.request(method, path, body, self._headers)
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException):
            raise self._not_running() from None
        finally:
            connection.close()
        try:
            if response.status != 200:
                raise ControlError(msgspec.json.decode(raw, type=Fault).error)
            return msgspec.json.decode(raw, type=kind)
        except msgspec.DecodeError:
            raise ControlError(f"the host's answer to {path} cannot be read") from None

    def events(self) -> Iterator[tuple[str, bytes]]:
        """Name and JSON of every event, until the host ends or the connection does."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_EVENT_SECONDS)
        try:
            connection.request("GET", "/v1/events", headers=self._headers)
            response = connection.getresponse()
            name = ""
            while line := response.readline():
                field, _, value = line.rstrip(b"\n").partition(b": ")
                if field == b"event":
                    name = value.decode("ascii", "replace")
                elif field == b"data":
                    yield name, value
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def _not_running(self) -> NotRunningError:
        return NotRunningError(
            f"no host runs from {self._directory}: start it with peerllm host start"
        )
