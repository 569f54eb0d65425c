import plistlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from peerllm.crypto.identity import Identity
from peerllm.peer.autostart import autostart_file, launchd_plist, systemd_unit, windows_task
from peerllm.peer.commands import host_app
from peerllm.peer.host_settings import HostSettings, save_settings

COORDINATOR = f"/ip4/127.0.0.1/tcp/1/p2p/{Identity.from_seed(b'c' * 32).peer_id}"
COMMAND = ["/usr/bin/py thon", "-m", "peerllm.peer", "run", '--model=/a "b" $HOME 100%&<c>']


def test_a_systemd_unit_starts_exactly_this_command() -> None:
    unit = systemd_unit(COMMAND, 45).decode()
    (start,) = [line for line in unit.splitlines() if line.startswith("ExecStart=")]
    # What systemd makes of its own signs, then what is left as words.
    plain = start.removeprefix("ExecStart=").replace("%%", "%").replace("$$", "$")
    assert shlex.split(plain) == COMMAND
    assert "TimeoutStopSec=45\n" in unit
    assert "KillMode=mixed\n" in unit
    assert "RestartPreventExitStatus=1\n" in unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "peerllm-host.service"
    path.write_bytes(systemd_unit([sys.executable, "-m", "peerllm.peer"], 45))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "peerllm-host.service:" not in done.stderr


def test_a_launchd_agent_starts_exactly_this_command() -> None:
    plist = plistlib.loads(launchd_plist(COMMAND, Path("/data/host.log"), 45))
    assert plist["ProgramArguments"] == COMMAND
    assert plist["KeepAlive"] == {"SuccessfulExit": False}
    assert plist["ExitTimeOut"] == 45


def test_a_windows_task_starts_exactly_this_command() -> None:
    root = ElementTree.fromstring(windows_task(COMMAND))  # noqa: S314 - our own
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    assert root.findtext(f".//{space}Command") == COMMAND[0]
    arguments = root.findtext(f".//{space}Arguments")
    assert arguments == subprocess.list2cmdline(COMMAND[1:])
    assert root.findtext(f".//{space}ExecutionTimeLimit") == "PT0S"


@pytest.mark.parametrize(
    ("platform", "path", "enable"),
    [
        ("linux", "home/.config/systemd/user/peerllm-host.service", "systemctl --user enable"),
        ("darwin", "home/Library/LaunchAgents/network.peerllm.host.plist", "launchctl load"),
        ("win32", "data/peerllm-host.xml", "schtasks /Create"),
    ],
)
def test_each_platform_has_its_place(tmp_path: Path, platform: str, path: str, enable: str) -> None:
    file = autostart_file(
        COMMAND,
        data_directory=tmp_path / "data",
        drain_seconds=30,
        platform=platform,
        home=tmp_path / "home",
    )
    assert file.path == tmp_path / path
    assert file.enable.startswith(enable)
    assert b"peerllm.peer" in file.content or b"p\0e\0e\0r" in file.content


def install(tmp_path: Path, *options: str) -> tuple[int, str, str]:
    command = ["install", "--data-directory", str(tmp_path / "data"), "--home", str(tmp_path)]
    done = CliRunner().invoke(host_app, [*command, *options])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the path is systemd's")
def test_install_writes_what_runs_the_host_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    assert "name its --coordinator" in install(tmp_path)[2]
    code, out, _ = install(tmp_path, "--coordinator", COORDINATOR)
    path = tmp_path / ".config/systemd/user/peerllm-host.service"
    assert (code, out.splitlines()[0]) == (0, str(path))
    assert f"--coordinator={COORDINATOR}" in path.read_text()
    assert f"--data-directory={tmp_path / 'data'}" in path.read_text()
    assert install(tmp_path)[0] == 0
    save_settings(tmp_path / "data", HostSettings(coordinator=COORDINATOR, slots=9))
    assert "is there already and differs" in install(tmp_path)[2]
    assert install(tmp_path, "--force")[0] == 0
    assert "--slots=9" in path.read_text()
