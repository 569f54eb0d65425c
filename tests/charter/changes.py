"""What the tests of changes to a charter share."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from peerllm.charter.defaults import first_standard
from peerllm.charter.documents import write_document
from peerllm.charter.store import Charter, load_charter

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
replace = msgspec.structs.replace


def standard(version: int = 2, margin: int = 150) -> dict[str, bytes]:
    document = replace(first_standard(), version=version, answer_margin_milli=margin)
    return {"safety-standard.json": write_document(document)}


def files_of(place: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def load(network: Any, now: datetime, state: Path | None = None) -> Charter:
    return load_charter(network.folder, trusted_root=network.root, state_directory=state, now=now)
