"""Where an index's value was read: given for a new tariff, and held against a saved document."""

import hashlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from peerllm.charter.differences import visible
from peerllm.charter.errors import AlteredDocument, Malformed, MissingDocument
from peerllm.charter.tariff import CostIndex, IndexReading

T = TypeVar("T")
# Statistics offices' tables and reports have a few megabytes; a disk image is a slip.
MAXIMUM_SOURCE_BYTES: Final = 256 * 1024 * 1024
_CHUNK: Final = 1024 * 1024


def by_index(indices: Mapping[str, CostIndex], option: str, texts: list[str]) -> dict[str, str]:
    """Return what an option NAME=TEXT, given several times, says of each index.

    Raises Malformed for an index that the tariff does not list and for one named twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in indices:
            known = ", ".join(sorted(indices)) or "none"
            raise Malformed(f"the tariff lists no index {name[:50]!r}; it lists: {known}")
        if name in found:
            raise Malformed(f"index {name!r} is given twice; give each once ({option})")
        if not value:
            raise Malformed(f"{option} takes {name}=..., with something after the sign")
        found[name] = value
    return found


def readings_of(
    indices: Mapping[str, CostIndex],
    published: Mapping[str, str],
    addresses: Mapping[str, str],
    files: Mapping[str, str],
) -> dict[str, IndexReading]:
    """Return a reading for each index of which a day is given; an address is kept if none is.

    Raises Malformed for what makes no reading, and as `source_digest` for files.
    """
    for option, given in (("--address", addresses), ("--source-file", files)):
        for name in given.keys() - published.keys():
            raise Malformed(f"{option} {name} needs --published {name}=DAY, too")
    readings = {}
    for name, day in published.items():
        before = indices[name].reading
        address = addresses.get(name, "" if before is None else before.address)
        if not address:
            raise Malformed(f"give --address {name}=..., where its value was published")
        digest = source_digest(Path(files[name])) if name in files else None
        plain = {"published": day, "address": address, "sha256": digest}
        try:
            reading = msgspec.convert(plain, IndexReading)
            date.fromisoformat(day)
        except (msgspec.ValidationError, ValueError) as error:
            raise Malformed(f"index {name!r}: {error}; a day is written 2026-11-20") from error
        readings[name] = reading
    return readings


def source_digest(path: Path) -> str:
    """Return the SHA-256 of a saved source document, in hex; raises an error that names it."""
    if not path.is_file():
        raise MissingDocument(f"{path} is no file")
    digest, length = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            length += len(chunk)
            if length > MAXIMUM_SOURCE_BYTES:
                raise Malformed(f"{path} has over {MAXIMUM_SOURCE_BYTES} bytes; is it the source?")
            digest.update(chunk)
    if not length:
        raise Malformed(f"{path} is empty: no source document")
    return digest.hexdigest()


def require_source(name: str, index: CostIndex, path: Path) -> None:
    """Raise AlteredDocument unless the file is the document that an index's value was read from.

    MissingDocument when the tariff has no digest of it.
    """
    if index.reading is None or index.reading.sha256 is None:
        raise MissingDocument(f"the tariff has no digest of a source document of index {name!r}")
    found = source_digest(path)
    if found != index.reading.sha256:
        raise AlteredDocument(
            f"{path} is not the document that index {name!r} was read from: its SHA-256 is {found},"
            f" the signed tariff says {index.reading.sha256}"
        )


def reading_sentence(name: str, reading: IndexReading) -> str:
    """Return for people where a value was read; nothing in it can move the cursor."""
    digest = "" if reading.sha256 is None else f", document SHA-256 {reading.sha256}"
    return f"{name}: published {reading.published}, {visible(reading.address)}{digest}"
