"""At most one host runs from a data directory: two would share an identity and overwrite counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from peerllm.crypto.errors import LockFileError, LockTaken
from peerllm.crypto.process_lock import taken_lock
from peerllm.peer.errors import ConfigurationError

# A host that is stopping gives up its control API first, and then puts its engines away.
_PARTING_SECONDS: Final = 10.0


@contextmanager
def sole_host(data_directory: Path) -> Iterator[None]:
    """Own a data directory until the block ends or the process dies, however it dies.

    Raises ConfigurationError, OSError.
    """
    data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        lock = taken_lock(data_directory / "host.owner", patience_seconds=_PARTING_SECONDS)
    except LockTaken:
        raise ConfigurationError(
            f"a host already runs from {data_directory}, or is being started or stopped"
        ) from None
    except LockFileError as error:
        raise ConfigurationError(str(error)) from None
    with lock:
        yield
