"""What the window itself remembers: one small file beside the host's own, for its owner only."""

import contextlib
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from peerllm.peer.desktop.money import PowerSettings
from peerllm.peer.errors import ConfigurationError
from peerllm.peer.files import read_state, write_state

SETTINGS_FILE: Final = "desktop.json"

Theme = Literal["system", "light", "dark"]


class DesktopSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Never anything of a conversation."""

    theme: Theme = "system"
    power: PowerSettings = PowerSettings()
    # An OpenAI-compatible coordinator to chat with, e.g. https://example.org/v1.
    network_url: Annotated[str, Meta(max_length=512)] = ""
    network_key: Annotated[str, Meta(max_length=512)] = ""
    notifications: bool = True
    # The network's signed promises, whose price list an estimate is made from.
    charter_directory: Annotated[str, Meta(max_length=4096)] = ""
    # The SHA-256 of that charter's root, when the invitation named it.
    charter_root: Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{64})?\Z")] = ""

    def __repr__(self) -> str:
        return f"DesktopSettings(theme={self.theme!r})"


def network_address(text: str) -> str | None:
    """The address of an OpenAI-compatible API as it is asked, or None if it must not be.

    The key goes with every request: only encrypted, or to a program on this machine.
    """
    try:
        parts = urlsplit(text.strip().rstrip("/"))
        port = parts.port
    except ValueError:
        return None
    is_local = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_local)
    if not safe or not parts.hostname or port == 0 or parts.username or parts.query:
        return None
    return parts.geturl()


class SettingsFile:
    """Reads and writes it. A damaged file costs the settings, and says so, not the window."""

    def __init__(self, data_directory: Path) -> None:
        self._path = data_directory / SETTINGS_FILE
        self.fault = ""
        self.settings = DesktopSettings()
        try:
            self.settings = read_state(self._path, DesktopSettings) or DesktopSettings()
        except (ConfigurationError, OSError) as error:
            self.fault = str(error)
        # Whether the file says what was last in force here.
        self._is_kept = not self.fault

    def keep(self, settings: DesktopSettings) -> str:
        """Put other settings in force and in the file; gives why the file could not be written.

        What another window of this folder has changed meanwhile stays, unless it is changed here.
        """
        before = msgspec.structs.asdict(self.settings)
        wanted = msgspec.structs.asdict(settings).items()
        changes = {name: value for name, value in wanted if value != before[name]}
        settings = self.settings = msgspec.structs.replace(self._latest(), **changes)
        self._is_kept = False
        try:
            if self.fault:
                # What cannot be read may still be of use to its owner.
                with contextlib.suppress(FileNotFoundError):
                    self._path.replace(self._path.with_suffix(".damaged"))
            write_state(self._path, settings)
        except OSError as error:
            return error.strerror or "it cannot be written"
        self.fault, self._is_kept = "", True
        return ""

    def _latest(self) -> DesktopSettings:
        if self._is_kept:
            with contextlib.suppress(ConfigurationError, OSError):
                return read_state(self._path, DesktopSettings) or self.settings
        return self.settings
