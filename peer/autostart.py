"""Files that let the system start a host at login: systemd, launchd, Windows tasks.

Pure text; nothing is switched on here. Every one of them asks the host to drain before it
is ended, and gives it the time its settings allow.
"""

import plistlib
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

_LABEL: Final = "network.peerllm.host"
_UNIT: Final = "peerllm-host.service"
_TASK: Final = "PeerLLM host"
# On top of what running answers may take: for the process to put itself away.
_FAREWELL_SECONDS: Final = 15
_RETRY_SECONDS: Final = 10


@dataclass(frozen=True)
class AutostartFile:
    """What goes where, and how the owner then switches it on."""

    path: Path
    content: bytes
    enable: str


def autostart_file(
    command: Sequence[str],
    *,
    data_directory: Path,
    drain_seconds: int,
    platform: str = sys.platform,
    home: Path | None = None,
) -> AutostartFile:
    """The file for this platform: a systemd user unit unless it is macOS or Windows."""
    home = home or Path.home()
    stop_seconds = drain_seconds + _FAREWELL_SECONDS
    if platform == "darwin":
        path = home / "Library" / "LaunchAgents" / f"{_LABEL}.plist"
        log = data_directory.absolute() / "host.log"
        return AutostartFile(
            path, launchd_plist(command, log, stop_seconds), f"launchctl load -w {path}"
        )
    if platform == "win32":
        path = data_directory.absolute() / "peerllm-host.xml"
        return AutostartFile(
            path, windows_task(command), f'schtasks /Create /TN "{_TASK}" /XML "{path}"'
        )
    path = home / ".config" / "systemd" / "user" / _UNIT
    return AutostartFile(
        path, systemd_unit(command, stop_seconds), f"systemctl --user enable --now {_UNIT}"
    )


def systemd_unit(command: Sequence[str], stop_seconds: int) -> bytes:
    """A user unit (systemd.service(5)). Its log goes to the journal."""
    return f"""\
[Unit]
Description=PeerLLM host
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={" ".join(map(_systemd_word, command))}
# The daemon lets running answers end and then closes its engine itself.
KillMode=mixed
TimeoutStopSec={stop_seconds}
Restart=on-failure
RestartSec={_RETRY_SECONDS}
# Status 1 is a setting or a model that only the owner can correct.
RestartPreventExitStatus=1
NoNewPrivileges=yes
LimitCORE=0
UMask=0077

[Install]
WantedBy=default.target
""".encode()


def launchd_plist(command: Sequence[str], log: Path, stop_seconds: int) -> bytes:
    """A user agent (launchd.plist(5))."""
    return plistlib.dumps(
        {
            "Label": _LABEL,
            "ProgramArguments": list(command),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": _RETRY_SECONDS,
            "ExitTimeOut": stop_seconds,
            "StandardErrorPath": str(log),
            "Umask": 0o077,
        },
        sort_keys=False,
    )


def windows_task(command: Sequence[str]) -> bytes:
    """A task that starts at log-on (Task Scheduler schema 1.2), UTF-16 as it wants.

    Neither its three days' limit nor its own idea of batteries apply: limits are the host's.
    """
    program, *arguments = command
    return f"""\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>PeerLLM host</Description></RegistrationInfo>
  <Triggers><LogonTrigger><Enabled>true</Enabled></LogonTrigger></Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>10</Count></RestartOnFailure>
    <Hidden>true</Hidden>
  </Settings>
  <Actions>
    <Exec>
      <Command>{escape(program)}</Command>
      <Arguments>{escape(subprocess.list2cmdline(arguments))}</Arguments>
    </Exec>
  </Actions>
</Task>
""".encode("utf-16")


def _systemd_word(word: str) -> str:
    """One word of ExecStart: quotes, and its own signs % and $ taken literally."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("%", "%%").replace("$", "$$").replace("\n", "\\n") + '"'
