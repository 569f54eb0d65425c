"""At most one coordinator runs on a database: two would release each other's reservations.

Administrative commands (customers, keys, seats) may still write beside the one that runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peerllm.coordinator.errors import StorageError
from peerllm.crypto.errors import LockFileError, LockTaken
from peerllm.crypto.process_lock import taken_lock


class DatabaseInUseError(StorageError):
    """Another coordinator runs on this database."""


@contextmanager
def sole_owner(database_file: Path) -> Iterator[None]:
    """Own a database until the block ends or the process dies, however it dies.

    The lock lies beside the database. Raises DatabaseInUseError, and StorageError when the file
    cannot be made.
    """
    try:
        lock = taken_lock(database_file.with_name(f"{database_file.name}.owner"))
    except LockTaken as error:
        raise DatabaseInUseError(
            f"another coordinator runs on {database_file}; stop it first, or give this one"
            " a data directory of its own"
        ) from error
    except LockFileError as error:
        raise StorageError(str(error)) from error
    with lock:
        yield
