"""The command `peerllm`, as this program finds it again to run it beside the window."""

import shutil
import sys
from pathlib import Path


def front_door() -> list[str]:
    """What to put before `host start` and the like."""
    if getattr(sys, "frozen", False):
        # A packaged program is its own command.
        return [sys.executable]
    beside = Path(sys.executable).with_name("peerllm.exe" if sys.platform == "win32" else "peerllm")
    found = str(beside) if beside.is_file() else shutil.which("peerllm")
    # Not found, it cannot be started, which the window says.
    return [found or "peerllm"]
