"""Documents that a person lays into a folder, to be proposed or to found a network with."""

from pathlib import Path
from typing import Final

from peerllm.charter.ballot_papers import kind_of
from peerllm.charter.default_terms import first_terms
from peerllm.charter.defaults import first_catalogue, first_region, first_standard, first_tariff
from peerllm.charter.document_set import (
    CATALOGUE_FILE,
    STANDARD_FILE,
    TARIFF_FILE,
    TERMS_FILE,
    region_file,
)
from peerllm.charter.documents import write_document
from peerllm.charter.errors import Malformed, MissingDocument
from peerllm.charter.folder import read_bounded

# A folder given by mistake, such as a home, is told apart from documents before it is read.
_MAXIMUM_FILES: Final = 1_000


def given_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder and of its folders regions and calculations, by their names.

    Raises MissingDocument when there is none, Malformed for one that no charter has.
    """
    if not folder.is_dir():
        raise MissingDocument(f"{folder} is not a folder with documents")
    paths = [path for path in sorted(folder.glob("*")) if not path.is_dir()]
    for part in ("regions", "calculations"):
        paths += sorted((folder / part).glob("*"))
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    names = {name: path for name, path in names.items() if not path.name.startswith(".")}
    if not names:
        raise MissingDocument(f"{folder} holds no documents")
    if len(names) > _MAXIMUM_FILES:
        raise Malformed(f"{folder} holds {len(names)} files, at most {_MAXIMUM_FILES} are taken")
    for name in names:
        if kind_of(name) is None:
            raise Malformed(f"{folder / name} is no file of a charter; take it out of the folder")
    return {name: read_bounded(path) for name, path in names.items()}


def first_files(network: str, folder: Path | None, now_us: int) -> dict[str, bytes]:
    """Return a new network's documents: those given, and the defaults for the rest.

    Without a region among them the network begins with one, open from `now_us` on.
    """
    given = {} if folder is None else given_files(folder)
    files = {
        TERMS_FILE: write_document(first_terms(network)),
        TARIFF_FILE: write_document(first_tariff()),
        CATALOGUE_FILE: write_document(first_catalogue()),
        STANDARD_FILE: write_document(first_standard()),
    }
    if not any(kind_of(name) == "region" for name in given):
        region = first_region(now_us)
        files[region_file(region.name)] = write_document(region)
    return files | given
