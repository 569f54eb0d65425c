"""At most one host runs from a data directory: two would share an identity and overwrite counts."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from peerllm.peer.errors import ConfigurationError

# A host that is stopping gives up its control API first, and then puts its engines away.
_PARTING_SECONDS: Final = 10.0


@contextmanager
def sole_host(data_directory: Path) -> Iterator[None]:
    """Own a data directory until the block ends or the process dies, however it dies.

    The lock is SQLite's own, on a file that stays empty: it works on every system and leaves
    nothing behind that a crash could make stale. Raises ConfigurationError, OSError.
    """
    data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock_file = data_directory / "host.owner"
    try:
        lock = sqlite3.connect(lock_file, timeout=_PARTING_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise ConfigurationError(f"{lock_file} cannot be opened: {error}") from None
    try:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if error.sqlite_errorname == "SQLITE_BUSY":
                raise ConfigurationError(
                    f"a host already runs from {data_directory}, or is being started or stopped"
                ) from None
            raise ConfigurationError(f"{lock_file} cannot be locked: {error}") from None
        yield
    finally:
        lock.close()
