"""What every engine process is made of, whichever library it runs: two pipes and a silent end.

Nothing an engine process prints is kept: a library's log and any traceback could quote a
prompt.
"""

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from peerllm.peer.engine_protocol import (
    Alive,
    Crashed,
    EngineProtocolError,
    FrameReader,
    FromEngine,
    ToEngine,
    frame,
    to_engine,
)
from peerllm.privacy.process_memory import forbid_memory_dumps, place_of

# How often a step that shows no token is reported: well below any watchdog, and rare
# enough to cost nothing.
_ALIVE_SECONDS: Final = 1.0
_CRASHED: Final = 70  # EX_SOFTWARE of sysexits.h


class DaemonPipes:
    """The two pipes to the daemon: messages in through a queue, messages out blocking."""

    def __init__(self, read_descriptor: int, write_descriptor: int) -> None:
        self._read = read_descriptor
        self._write = write_descriptor
        # None: the daemon is gone.
        self.inbox: queue.SimpleQueue[ToEngine | None] = queue.SimpleQueue()
        self._last_sent = time.monotonic()

    def start(self) -> None:
        """Read in a thread of its own, so that a cancellation is seen between two steps."""
        threading.Thread(target=self._read_all, daemon=True, name="daemon-pipe").start()

    def send(self, message: FromEngine) -> None:
        """Write one message. Raises `BrokenPipeError` when the daemon is gone."""
        view = memoryview(frame(message))
        while view:
            view = view[os.write(self._write, view) :]
        self._last_sent = time.monotonic()

    def send_alive(self) -> None:
        """Show that work goes on, unless something was sent just now."""
        if time.monotonic() - self._last_sent > _ALIVE_SECONDS:
            self.send(Alive())

    def _read_all(self) -> None:
        reader = FrameReader()
        try:
            while raw := os.read(self._read, 1 << 16):
                for body in reader.feed(raw):
                    self.inbox.put(to_engine(body))
        except (OSError, EngineProtocolError):
            pass
        self.inbox.put(None)


def run_engine(load_and_serve: Callable[[DaemonPipes], None]) -> None:
    """Claim the pipes, then serve. Never returns to a place that could print."""
    forbid_memory_dumps()
    # Ctrl-C and a service manager reach every process of the host, but how to stop is the
    # daemon's affair: it lets running answers end, then closes the pipe.
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    pipes = DaemonPipes(os.dup(0), os.dup(1))
    _mute()
    pipes.start()
    code = 0
    try:
        load_and_serve(pipes)
    except BrokenPipeError:
        pass
    # Broad on purpose: an exception that left this function would be printed with its
    # message, which may quote content. Only its kind and place leave the process.
    except BaseException as error:
        code = _CRASHED
        with contextlib.suppress(OSError):
            pipes.send(Crashed(where=place_of(error)))
    # Not sys.exit: the library's destructors may abort, and there is nothing left to do.
    os._exit(code)


def _mute() -> None:
    """Point the standard streams at nothing, for native code as well as for Python."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    sys.excepthook = lambda *_: None
    threading.excepthook = lambda _: None
