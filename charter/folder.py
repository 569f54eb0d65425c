"""The charter's folder: how TUF's files lie in it, and how they are fetched and put there."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from peerllm.charter.errors import Malformed, MissingDocument
from peerllm.charter.spelling import MAXIMUM_DOCUMENT_BYTES

METADATA: Final = "metadata"
TARGETS: Final = "targets"
_PIECE_BYTES: Final = 64 * 1024


class FolderFetcher(FetcherInterface):
    """Lets TUF's client read a local folder as if it were a repository on the web.

    `latest` is the name of the file asked for last and `latest_raw` what has been read of it, so
    that an error can name the culprit.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self.latest = ""
        self.latest_raw = b""

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.latest, self.latest_raw = url, b""
        path = (self._folder / url).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            # TUF's client learns from this status that there is no newer root.
            raise DownloadHTTPError(f"no file {url}", 404)
        # Opened here and not in the generator: an error must surface inside fetch().
        return self._pieces(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))

    def _pieces(self, descriptor: int) -> Iterator[bytes]:
        with open(descriptor, "rb") as file:
            while piece := file.read(_PIECE_BYTES):
                self.latest_raw += piece
                yield piece


def read_bounded(path: Path) -> bytes:
    """Return a file of at most the size of a document; raises MissingDocument or Malformed."""
    try:
        # A named pipe would keep its reader waiting for ever.
        if path.exists() and not path.is_file():
            raise MissingDocument(f"{path} cannot be read: it is not a plain file")
        with path.open("rb") as file:
            raw = file.read(MAXIMUM_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise MissingDocument(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > MAXIMUM_DOCUMENT_BYTES:
        raise Malformed(f"{path} has more than {MAXIMUM_DOCUMENT_BYTES} bytes")
    return raw


def put_file(path: Path, content: bytes) -> None:
    """Write a public file so that readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_file(path: Path, maximum: int) -> bytes:
    """Return at most the first `maximum` bytes of a file. Raises OSError.

    What others handed over may be anything: a pipe is refused instead of waited for.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read(maximum)


def sync_folders(*folders: Path) -> None:
    """Make renames and removals in these folders last. Windows does so by itself."""
    if os.name != "posix":
        return
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
