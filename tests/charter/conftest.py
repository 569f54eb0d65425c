import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from peerllm.charter.defaults import first_catalogue, first_standard, first_tariff, first_terms
from peerllm.charter.store import found_network

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Network:
    folder: Path
    keys: Path
    root: bytes
    founded_at: datetime
    expires: datetime

    def key(self, number: int) -> Path:
        return self.keys / f"steward-{number}.key"


def _found(place: Path, name: str) -> Network:
    expires = NOW + timedelta(days=30)
    root = found_network(
        place / name,
        terms=first_terms(name),
        tariff=first_tariff(),
        catalogue=first_catalogue(),
        standard=first_standard(),
        steward_keys_directory=place / f"{name}-keys",
        threshold=2,
        expires=expires,
    )
    return Network(place / name, place / f"{name}-keys", root, NOW, expires)


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return _found(tmp_path, "home")


@pytest.fixture
def other_network(tmp_path: Path) -> Network:
    return _found(tmp_path, "other")


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / f"copy-of-{folder.name}"))

    return copy
