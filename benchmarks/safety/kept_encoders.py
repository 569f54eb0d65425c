"""Encoders that keep what they encoded: a training encodes the same texts again and again."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy
from numpy.typing import NDArray

from peerllm.safety.multilingual_encoder import MultilingualEncoder
from peerllm.safety.sentence_encoder import SentenceEncoder

Floats = NDArray[numpy.float32]


class Encodings:
    """Encodings by the digest of what was encoded, from and for a file where there is one."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, NDArray[numpy.float16]] = {}
        if file is not None and file.exists():
            with numpy.load(file, allow_pickle=False) as stored:
                self._known.update(zip(map(str, stored["names"]), stored["values"], strict=True))
        self._before = len(self._known)

    def get(self, name: str) -> Floats | None:
        known = self._known.get(name)
        return None if known is None else known.astype(numpy.float32)

    def add(self, name: str, values: Floats) -> Floats:
        """The values as they will be found: in half the digits."""
        self._known[name] = values.astype(numpy.float16)
        return self._known[name].astype(numpy.float32)

    def keep(self) -> None:
        if self._file is not None and len(self._known) > self._before:
            numpy.savez(
                self._file,
                names=numpy.array(list(self._known)),
                values=numpy.stack(list(self._known.values())),
            )


class KeptSentenceEncoder(SentenceEncoder):
    def __init__(self, file: Path | None) -> None:
        super().__init__()
        self.kept = Encodings(file)

    def encode(self, pieces: Sequence[int]) -> Floats:
        # By its pieces: under another normalisation a text has other ones.
        name = digest(numpy.array(pieces[1:-1], dtype="<i4").tobytes())
        known = self.kept.get(name)
        return self.kept.add(name, super().encode(pieces)) if known is None else known


class KeptMultilingualEncoder(MultilingualEncoder):
    def __init__(self, file: Path | None) -> None:
        super().__init__()
        self.kept = Encodings(file)

    def encode(self, texts: Sequence[str]) -> Floats:
        return numpy.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> Floats:
        name = digest(text.encode("utf-8", "surrogatepass"))
        known = self.kept.get(name)
        return self.kept.add(name, super().encode([text])[0]) if known is None else known


def digest(encoded: bytes) -> str:
    return hashlib.sha256(encoded).hexdigest()[:24]
