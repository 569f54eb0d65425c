"""The front door: what a shell completes, and that every room opens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
