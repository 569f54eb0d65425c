"""Groups of words that are used alike, so that what is known of one helps with the others.

Made by `benchmarks/safety/make_word_clusters.py`. The table holds checksums, not words: of words
that it does not know one in a thousand is taken for one that it does.
"""

import zipfile
from array import array
from bisect import bisect_left
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

import numpy

from peerllm.safety.errors import ModelFileError

TABLE_PATH: Final = Path(__file__).parent / "data" / "word_clusters.npz"


class Groups(NamedTuple):
    """The numbers of the wide and of the narrow group of a word."""

    wide: int
    narrow: int


def checksum(word: str) -> int:
    """What the table knows a word by; words are compared without regard to case.

    28 bits: four more would make the table an eighth larger for a word in a thousand.
    """
    return crc32(word.casefold().encode("utf-8", "replace")) >> 4


class WordClusters:
    """The table. Raises `ModelFileError` when the file is missing or damaged."""

    def __init__(self, path: Path = TABLE_PATH) -> None:
        try:
            with numpy.load(path, allow_pickle=False) as stored:
                # As differences they pack to half the size.
                checksums = stored["differences"].cumsum(dtype=numpy.uint32)
                self._checksums = array("I", checksums.tobytes())
                self._narrow = array("H", stored["narrow"].astype(numpy.uint16).tobytes())
                self._wide_of = array("B", stored["wide_of"].astype(numpy.uint8).tobytes())
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ModelFileError(f"the table {path} cannot be read; install again") from error
        if len(self._checksums) != len(self._narrow) or len(self._wide_of) <= max(self._narrow):
            raise ModelFileError(f"the table {path} is of another version; install again")

    def groups(self, word: str) -> Groups | None:
        """The groups of a word, or None where it is not known."""
        wanted = checksum(word)
        at = bisect_left(self._checksums, wanted)
        if at == len(self._checksums) or self._checksums[at] != wanted:
            return None
        narrow = self._narrow[at]
        return Groups(self._wide_of[narrow], narrow)


@cache
def word_clusters() -> WordClusters:
    """The shipped table, loaded once."""
    return WordClusters()
