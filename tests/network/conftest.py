"""The whole network with real parts: processes, sockets, the real model, one SQLite file."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.network.harness import UpNetwork, start_network, stop_network


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/network" in str(item.path):
            item.add_marker(pytest.mark.network)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpNetwork]:
    """One network for all tests that leave it as they found it."""
    running = start_network(tmp_path_factory.mktemp("network"))
    yield running
    assert stop_network(running) == 0


@pytest.fixture
def own_network(tmp_path: Path) -> Iterator[UpNetwork]:
    """A network for a test that damages it."""
    running = start_network(tmp_path)
    yield running
    stop_network(running)


@pytest.fixture
def process_is_gone() -> Callable[[int], bool]:
    def gone(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"

    return gone
