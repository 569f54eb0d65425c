"""What `host run` was last started with, so that the host can be started again without asking."""

import sys
from pathlib import Path
from typing import Final

import msgspec

from peerllm.peer.catalogue import is_file
from peerllm.peer.configuration import DEFAULT_CONTEXT_TOKENS, coordinator_address
from peerllm.peer.errors import ConfigurationError
from peerllm.peer.files import read_state, write_state
from peerllm.peer.limits import UNATTENDED

SETTINGS_FILE: Final = "host.json"


class HostSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `host run`, but for the data directory they are kept in."""

    coordinator: str
    listen_address: str = "0.0.0.0"  # noqa: S104 - admission is by proven peer id
    listen_port: int = 0
    models: list[str] = []
    # Names of models that are loaded first and never make room.
    preload: list[str] = []
    slots: int = 0
    context: int = DEFAULT_CONTEXT_TOKENS
    threads: int = 0
    drain_seconds: int = 30

    def command(self, data_directory: Path) -> list[str]:
        """The command line that runs this host in the foreground."""
        options = {
            "data-directory": str(data_directory.absolute()),
            "coordinator": self.coordinator,
            "listen-address": self.listen_address,
            "listen-port": self.listen_port,
            "slots": self.slots,
            "context": self.context,
            "threads": self.threads,
            "drain-seconds": self.drain_seconds,
        }
        # -P: a file in the working directory must not stand in for a module.
        start = [sys.executable, "-P", "-m", "peerllm.peer", "run"]
        models = [f"--model={model}" for model in self.models]
        models += [f"--preload={model}" for model in self.preload]
        return start + [f"--{name}={value}" for name, value in options.items()] + models


def leave_to_itself(data_directory: Path) -> None:
    """Give a host that will run unattended its limits, unless its owner has set some.

    Raises OSError.
    """
    path = data_directory / "limits.json"
    if not path.exists():
        write_state(path, UNATTENDED)


def save_settings(data_directory: Path, settings: HostSettings) -> None:
    """Keep the settings for the next start. Raises OSError."""
    write_state(data_directory / SETTINGS_FILE, settings)


def saved_settings(data_directory: Path, **changes: str | list[str] | None) -> HostSettings:
    """The settings kept, but for those given as `changes`; None and [] change nothing.

    Raises `ConfigurationError` when there is nothing to start from.
    """
    saved = read_state(data_directory / SETTINGS_FILE, HostSettings)
    given = {name: value for name, value in changes.items() if value}
    if isinstance(coordinator := given.get("coordinator"), str):
        given["coordinator"] = coordinator_address(coordinator)
    if saved is None and "coordinator" not in given:
        raise ConfigurationError(
            f"no host has run from {data_directory} yet: name its --coordinator"
        )
    before = msgspec.to_builtins(saved) if saved else {}
    return msgspec.convert(before | given, HostSettings)


def lasting(model: str) -> str:
    """A model as it can be found from any working directory."""
    return str(Path(model).absolute()) if is_file(Path(model)) else model
