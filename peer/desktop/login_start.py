"""Showing the window's tray icon at login: what goes where. Pure text; nothing is switched on.

The host itself is started at login by `peerllm host install`; see `peerllm.peer.autostart`.
"""

import plistlib
import shlex
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
        return LoginFile(folder / "PeerLLM.cmd", _batch_file(command))
    path = home / ".config" / "autostart" / f"{_LABEL}.desktop"
    return LoginFile(path, _desktop_entry(command))


def _batch_file(command: Sequence[str]) -> bytes:
    """A batch file that names its own encoding: cmd.exe reads in the console's otherwise."""
    words = " ".join(map(_batch_word, command))
    return f'@chcp 65001 >nul\r\n@start "" {words}\r\n'.encode()


def _batch_word(word: str) -> str:
    """One word of a batch file: paths and options, which hold no quote on Windows.

    Quoted always: outside of quotes, cmd.exe takes & and ^ for its own.
    """
    # A program takes the closing quote as escaped by a backslash before it.
    closing = "\\" * (len(word) - len(word.rstrip("\\")))
    return '"' + word.replace("%", "%%") + closing + '"'


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
