"""At most one coordinator runs on a database: two would release each other's reservations.

Administrative commands (customers, keys, seats) may still write beside the one that runs.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peerllm.coordinator.errors import StorageError


class DatabaseInUseError(StorageError):
    """Another coordinator runs on this database."""


@contextmanager
def sole_owner(database_file: Path) -> Iterator[None]:
    """Own a database until the block ends or the process dies, however it dies.

    The lock is SQLite's own, on a file beside the database, so that it works wherever the database
    does and leaves nothing behind that a crash could make stale. Raises DatabaseInUseError, and
    StorageError when the file cannot be made.
    """
    lock_file = database_file.with_name(f"{database_file.name}.owner")
    try:
        lock = sqlite3.connect(lock_file, timeout=0, isolation_level=None)
    except sqlite3.Error as error:
        raise StorageError(f"{lock_file} cannot be opened: {error}") from error
    try:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if error.sqlite_errorname == "SQLITE_BUSY":
                raise DatabaseInUseError(
                    f"another coordinator runs on {database_file}; stop it first, or give this one"
                    " a data directory of its own"
                ) from error
            raise StorageError(f"{lock_file} cannot be locked: {error}") from error
        yield
    finally:
        lock.close()
