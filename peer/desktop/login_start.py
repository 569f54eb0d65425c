"""Showing the window's tray icon at login: what goes where. Pure text; nothing is switched on.

The host itself is started at login by `peerllm host install`; see `peerllm.peer.autostart`.
"""

import plistlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LABEL: Final = "network.peerllm.desktop"


@dataclass(frozen=True)
class LoginFile:
    """A file that the desktop reads when its user logs in."""

    path: Path
    content: bytes


def login_file(command: Sequence[str], *, home: Path, platform: str = sys.platform) -> LoginFile:
    """The file for this platform: XDG autostart unless it is macOS or Windows."""
    if platform == "darwin":
        path = home / "Library" / "LaunchAgents" / f"{_LABEL}.plist"
        content = plistlib.dumps(
            {"Label": _LABEL, "ProgramArguments": list(command), "RunAtLoad": True},
            sort_keys=False,
        )
        return LoginFile(path, content)
    if platform == "win32":
        folder = home / "AppData/Roaming/Microsoft/Windows/Start Menu/Programs/Startup"
        text = f'@start "" {subprocess.list2cmdline(command)}\r\n'
        return LoginFile(folder / "PeerLLM.cmd", text.encode())
    path = home / ".config" / "autostart" / f"{_LABEL}.desktop"
    return LoginFile(path, _desktop_entry(command))


def _desktop_entry(command: Sequence[str]) -> bytes:
    """An entry after the Desktop Entry Specification 1.5."""
    return f"""\
[Desktop Entry]
Type=Application
Name=PeerLLM
Comment=Shows how your PeerLLM host is
Exec={" ".join(map(_word, command))}
Terminal=false
X-GNOME-Autostart-enabled=true
""".encode()


def _word(word: str) -> str:
    """One word of Exec: what a shell takes as it is, or quoted as the specification says."""
    doubled = word.replace("%", "%%")
    if shlex.quote(word) == word:
        return doubled
    escaped = doubled
    for sign in ("\\", '"', "`", "$"):
        escaped = escaped.replace(sign, "\\" + sign)
    # The value of a key has its own escaping of backslashes on top.
    return '"' + escaped.replace("\\", "\\\\").replace("\n", "\\n") + '"'
