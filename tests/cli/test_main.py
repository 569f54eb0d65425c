"""The front door: what a shell completes, and that every room opens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from peerllm.charter.commands import charter_app

PEERLLM = Path(sys.executable).parent / "peerllm"


def completed(line: str) -> list[str]:
    """What bash would offer at the end of a line."""
    done = subprocess.run(
        [PEERLLM],
        env=os.environ
        | {
            "_PEERLLM_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("peerllm ch", ["charter"]),
        ("peerllm charter rat", ["ratify"]),
        ("peerllm log verify --ev", ["--evidence"]),
    ],
)
def test_a_shell_completes_rooms_commands_and_options(line: str, offered: list[str]) -> None:
    assert completed(line) == offered


def printed_to_a_full_disk(*arguments: str | Path) -> str:
    """What standard error says when standard output takes nothing."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "peerllm.cli", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=30,
        )
    assert done.returncode == 1
    return done.stderr


def test_a_full_disk_is_one_sentence_whatever_is_printed(tmp_path: Path) -> None:
    charter = tmp_path / "charter"
    founding = CliRunner().invoke(
        charter_app, ["found", str(charter), "--network=example", f"--keys={tmp_path / 'keys'}"]
    )
    assert founding.exit_code == 0
    for arguments in (["--help"], ["charter", "show", charter]):
        told = printed_to_a_full_disk(*arguments)
        assert told.endswith("peerllm: No space left on device: make room and try again\n")
        assert "Traceback" not in told


def test_tables_are_printed_however_wide_the_environment_calls_the_terminal(
    tmp_path: Path,
) -> None:
    charter = tmp_path / "charter"
    keys = f"--keys={tmp_path / 'keys'}"
    CliRunner().invoke(charter_app, ["found", str(charter), "--network=example", keys])
    for columns in ("0", "00", "²"):
        done = subprocess.run(
            [sys.executable, "-m", "peerllm.cli", "charter", "show", charter],
            env=os.environ | {"COLUMNS": columns},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        assert "example" in done.stdout
