"""One writer at a time, however the others end."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from peerllm.charter.errors import BusyLog, CharterError


@contextmanager
def sole_writer(lock_file: Path) -> Iterator[None]:
    """Hold a lock until the block ends or the process dies. Raises BusyLog when another holds it.

    The lock is SQLite's, because that works alike on every system; the file itself stays empty.
    """
    try:
        lock = sqlite3.connect(lock_file, timeout=0, isolation_level=None)
    except sqlite3.Error as error:
        raise CharterError(f"{lock_file} cannot be opened: {error}") from error
    with closing(lock):
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if error.sqlite_errorname == "SQLITE_BUSY":
                raise BusyLog(
                    f"another process is writing here ({lock_file} is locked); try again when it"
                    " has ended"
                ) from error
            raise CharterError(f"{lock_file} cannot be locked: {error}") from error
        yield
