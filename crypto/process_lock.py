"""At most one process at a time, however the others end.

It stands in this room because everything that keeps state may import it.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from peerllm.crypto.errors import LockFileError, LockTaken


def taken_lock(lock_file: Path, *, patience_seconds: float = 0.0) -> closing[sqlite3.Connection]:
    """Take a lock, held until the context that is returned ends or the process dies.

    The lock is SQLite's own, on a file that stays empty: it works alike on every system, between
    threads as between processes, and leaves nothing behind that a crash could make stale. Raises
    LockTaken when another still holds it after so many seconds, LockFileError when the file
    cannot be made or is no lock.
    """
    try:
        lock = sqlite3.connect(lock_file, timeout=patience_seconds, isolation_level=None)
    except sqlite3.Error as error:
        raise LockFileError(f"{lock_file} cannot be opened: {error}") from None
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if error.sqlite_errorname == "SQLITE_BUSY":
            raise LockTaken(f"{lock_file} is locked by another process") from None
        raise LockFileError(f"{lock_file} cannot be locked: {error}") from None
    return closing(lock)
