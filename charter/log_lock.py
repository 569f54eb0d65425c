"""One writer at a time, however the others end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from peerllm.charter.errors import BusyLog, CharterError
from peerllm.crypto.errors import LockFileError, LockTaken
from peerllm.crypto.process_lock import taken_lock


@contextmanager
def sole_writer(lock_file: Path) -> Iterator[None]:
    """Hold a lock until the block ends or the process dies.

    Raises BusyLog when another holds it, CharterError when the file cannot be made.
    """
    try:
        lock = taken_lock(lock_file)
    except LockTaken as error:
        raise BusyLog(
            f"another process is writing here ({lock_file} is locked); try again when it has ended"
        ) from error
    except LockFileError as error:
        raise CharterError(str(error)) from error
    with lock:
        yield
