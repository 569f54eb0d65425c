"""How a command ends when something went wrong: one clear sentence, or a bug's place."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import typer

from peerllm.privacy.process_memory import place_of

FAILED: Final = 1
_STANDARD_OUTPUT: Final = 1
# How Python passes on what a terminal gives it in another encoding.
_NOT_UTF8: Final = "surrogates not allowed"
_DISK_FULL: Final = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
CRASHED: Final = 70  # EX_SOFTWARE of sysexits.h


@contextmanager
def clear_endings(
    *expected: type[Exception], crashed: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Turn what a user can mend into one sentence and status 1, and a bug into status 70.

    `expected` are errors whose message is written for users; an OSError about a file is one too. Of
    anything else `crashed` is told the kind and place only (standard error, by default): the
    message may quote what the process was working on, and Python would print it.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError as error:
        if crashed is not None:
            # What serves for long writes to more than its output.
            crashed(place_of(error))
            raise typer.Exit(CRASHED) from None
        # Whoever reads the output, `head` for one, has seen enough. Python would complain once
        # more when it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_OUTPUT)
        raise typer.Exit(FAILED) from None
    # Broad on purpose: see above.
    except Exception as error:
        sentence = _sentence(error, expected)
        # What serves for long is given texts by others; a command has them from its own line.
        if crashed is None and getattr(error, "reason", None) == _NOT_UTF8:
            sentence = "what was given is not UTF-8"
        if sentence is not None:
            typer.echo(f"peerllm: {sentence}", err=True)
            raise typer.Exit(FAILED) from None
        (crashed or _say_crashed)(place_of(error))
        raise typer.Exit(CRASHED) from None


def _sentence(error: BaseException, expected: tuple[type[Exception], ...]) -> str | None:
    """The message of an error raised on purpose; nurseries wrap some in groups."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, expected):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        # A write names no file, only opening one does.
        return f"{error.strerror}: make room and try again"
    return None


def _say_crashed(place: str) -> None:
    typer.echo(f"peerllm: this is a bug; please report {place}", err=True)
