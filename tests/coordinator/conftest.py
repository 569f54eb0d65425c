import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from peerllm.coordinator.storage_file import StorageFile
from tests.coordinator.storage_stage import ADA, Clock

# Lets the tests of this room import the hosts and houses they share.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def patient_clock() -> MockClock:
    """Jumps like `autojump_clock`, but not while a thread is writing to the database."""
    return MockClock(autojump_threshold=0.3)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordinator.sqlite"


@pytest.fixture
def storage(path: Path, clock: Clock) -> Iterator[StorageFile]:
    with StorageFile(path, clock=clock) as file:
        file.create_customer("ada")
        file.deposit(ADA, 10_000, "wire-1")
        yield file
