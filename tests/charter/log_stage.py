"""A small public log whose entries a number tells."""

import os
import shutil
from pathlib import Path

import pytest

from peerllm.charter.log import Entry, TariffVersion, create_log, open_log, write_entry
from peerllm.charter.merkle import merkle_root
from peerllm.crypto.identity import Identity


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync nothing: no test cuts the power, and the disk would take most of the time."""
    monkeypatch.setattr(os, "fsync", id)


OPERATOR = Identity.from_seed(bytes(32))


def entries(start: int, count: int) -> list[Entry]:
    return [
        Entry(at_us=number, body=TariffVersion(version=1, sha256=f"{number:064x}", valid_from_us=0))
        for number in range(start, start + count)
    ]


def grown(folder: Path, *steps: int) -> Path:
    """Make a log that published after each of these numbers of entries."""
    create_log(folder, "log.example/home", OPERATOR)
    for step in steps:
        with open_log(folder) as log:
            log.append(entries(log.size, step))
            log.publish(OPERATOR)
    return folder


def published_files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def expected_root(size: int) -> bytes:
    return merkle_root([write_entry(entry) for entry in entries(0, size)])


def copied(folder: Path, to: Path) -> Path:
    """Copy a log's public files, as a mirror or a person on another machine has them."""
    return Path(shutil.copytree(folder / "public", to))


def rewritten(folder: Path, index: int, size: int) -> Path:
    """Make another log of the same name and key whose entry `index` is another."""
    create_log(folder, "log.example/home", OPERATOR)
    false = [
        entries(9_999, 1)[0] if number == index else entries(number, 1)[0] for number in range(size)
    ]
    with open_log(folder) as log:
        log.append(false)
        log.publish(OPERATOR)
    return folder
