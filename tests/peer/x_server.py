"""An X server without a screen, for tests that want a real one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


class NoXServerError(Exception):
    """There is none to be had here; the message says what is missing."""


@contextmanager
def x_server(*arguments: str) -> Iterator[tuple[dict[str, str], "subprocess.Popen[bytes]"]]:
    """An environment with a display of its own. Raises `NoXServerError`."""
    program = shutil.which("Xvfb")
    if program is None:
        raise NoXServerError("there is no Xvfb on this machine")
    mine, theirs = os.pipe()
    # It takes a free display and says which.
    command = [program, "-displayfd", str(theirs), "-screen", "0", "1280x900x24", *arguments]
    server = subprocess.Popen(command, pass_fds=[theirs], stderr=subprocess.DEVNULL)
    os.close(theirs)
    try:
        with os.fdopen(mine) as number:
            display = number.readline().strip()
        if not display:
            raise NoXServerError("Xvfb does not start here")
        yield {"DISPLAY": f":{display}"}, server
    finally:
        server.terminate()
        server.wait()
