"""How this process stands back behind the other programs of its owner."""

import contextlib
import os
import sys
from pathlib import Path

import psutil


def niceness() -> int:
    """The nice level in force; 0 on Windows, which has none."""
    return 0 if sys.platform == "win32" else os.getpriority(os.PRIO_PROCESS, 0)


def be_nice(level: int) -> int:
    """Give every thread of this process the nice level (0 to 19); gives the one in force.

    Raising it needs no privilege, lowering it does: then what was stays.
    """
    if sys.platform == "win32":
        # Windows knows classes instead of levels.
        wanted = psutil.NORMAL_PRIORITY_CLASS
        if level >= 5:
            wanted = psutil.BELOW_NORMAL_PRIORITY_CLASS
        if level >= 15:
            wanted = psutil.IDLE_PRIORITY_CLASS
        psutil.Process().nice(wanted)
        return level
    for thread in _threads():
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, level)
    return niceness()


def _threads() -> list[int]:
    # Linux keeps a level per thread; elsewhere it belongs to the process.
    with contextlib.suppress(OSError):
        return [int(entry.name) for entry in Path("/proc/self/task").iterdir()]
    return [0]
