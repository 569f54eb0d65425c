"""Keeping the memory of a process that handles content out of files."""

import contextlib
import ctypes
import sys
from types import TracebackType
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def forbid_memory_dumps() -> None:
    """Let no crash of this process write its memory to a file, where the system allows it.

    Unix: core size limit 0. Linux besides: not dumpable, since a core that is piped to a
    collector ignores the limit; this also keeps other processes of the same user from
    attaching a debugger (prctl(2), core(5)).
    """
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - does not exist on Windows

    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def place_of(error: BaseException) -> str:
    """Kind of an exception and the line it came from: all of it that is safe to show.

    One word without spaces, so that it may be logged; of a group, its first member.
    Neither the message nor any local value: both may quote a prompt.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    kind = type(error).__name__
    if traceback is None:
        return kind
    module = traceback.tb_frame.f_globals.get("__name__", "?")
    return f"{kind}:{module}:{traceback.tb_lineno}"
