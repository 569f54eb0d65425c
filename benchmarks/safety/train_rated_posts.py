"""Train what ranks posts as their raters did (`safety/rated_posts.py`).

    OPENBLAS_NUM_THREADS=1 python benchmarks/safety/train_rated_posts.py DATA
        [--verify] [--encodings FILE] [--out FILE]

DATA is that of `train_local_gate.py`; how well it does on rows held out, `train_second_look.py
--check` tells. No chance is in it: the same data, numpy and onnxruntime on the same kind of
processor give the same weights, which `--verify` tells.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy
from judged_rows import Row, read
from kept_encoders import KeptMultilingualEncoder
from numpy.typing import NDArray

from peerllm.safety.asides import opened
from peerllm.safety.language_gate import windows
from peerllm.safety.rated_posts import MODEL_PATH, WIDTH, RatedPosts, direction

RATED = "openai_moderation"
RIDGE = 0.2
# Logits from which on a text counts as of the rated kind: one in ten others would at 0.
CERTAIN_KIND = 2.0
KIND_DECAY = 3e-3
KIND_STEPS = 300
KIND_RATE = 0.05

Floats = NDArray[numpy.float32]
Numbers = NDArray[numpy.int64]


def mean_encodings(rows: Sequence[Row], encoder: KeptMultilingualEncoder) -> Floats:
    """The mean encoding of the windows of every row, one a row."""
    cut = (list(windows(opened(row.text).undisguised)) for row in rows)
    return numpy.stack([encoder.encode(parts).mean(axis=0) for parts in cut])


def fitted(rows: Sequence[Row], encodings: Floats, chosen: Numbers) -> RatedPosts:
    """Learn from the `chosen` rows alone."""
    rated = numpy.array([row.file == RATED for row in rows])[chosen]
    unsafe = numpy.array([row.unsafe for row in rows])[chosen]
    seen = encodings[chosen].astype(numpy.float64)
    mean = seen[rated].mean(axis=0)
    directions = direction(seen[rated] - mean)
    likeness = numpy.exp(WIDTH * (2 * directions @ directions.T - 2))
    labels = unsafe[rated] - unsafe[rated].mean()
    weights = numpy.linalg.solve(likeness + RIDGE * numpy.eye(len(labels)), labels)
    kind, offset = kind_of(seen, rated)
    parts = (mean, directions, weights, kind, numpy.array(offset - CERTAIN_KIND))
    return RatedPosts(*(part.astype(numpy.float16).astype(numpy.float32) for part in parts))


def kind_of(seen: NDArray[numpy.float64], rated: NDArray[numpy.bool_]) -> tuple[Floats, float]:
    """Weights and offset of a logistic regression, both kinds weighing the same, by Adam."""
    mean, spread = seen.mean(axis=0), seen.std(axis=0)
    known = numpy.hstack([(seen - mean) / spread, numpy.ones((len(seen), 1))])
    share = numpy.where(rated, 0.5 / rated.sum(), 0.5 / (~rated).sum())
    decay = KIND_DECAY * numpy.r_[numpy.ones(seen.shape[1]), 0]
    weights, first, second = (numpy.zeros(known.shape[1]) for _ in range(3))
    for step in range(1, KIND_STEPS + 1):
        error = (1 / (1 + numpy.exp(-known @ weights)) - rated) * share
        slope = known.T @ error + decay * weights
        first += 0.1 * (slope - first)
        second += 0.01 * (slope**2 - second)
        spread_of_slope = numpy.sqrt(second / (1 - 0.99**step)) + 1e-8
        weights -= KIND_RATE * first / (1 - 0.9**step) / spread_of_slope
    kind = weights[:-1] / spread
    return kind.astype(numpy.float32), float(weights[-1] - kind @ mean)


def save(posts: RatedPosts, path: Path) -> None:
    numpy.savez_compressed(
        path, **{name: getattr(posts, name).astype(numpy.float16) for name in RatedPosts.PARTS}
    )


def is_same(posts: RatedPosts, path: Path) -> bool:
    with numpy.load(path, allow_pickle=False) as stored:
        return all(
            stored[name].tobytes() == getattr(posts, name).astype(numpy.float16).tobytes()
            for name in RatedPosts.PARTS
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--verify", action="store_true", help="compare with FILE, write nothing")
    parser.add_argument("--encodings", type=Path)
    parser.add_argument("--out", type=Path, default=MODEL_PATH)
    arguments = parser.parse_args()
    rows = list(read(arguments.data))
    encoder = KeptMultilingualEncoder(arguments.encodings)
    posts = fitted(rows, mean_encodings(rows, encoder), numpy.arange(len(rows)))
    encoder.kept.keep()
    if arguments.verify:
        alike = is_same(posts, arguments.out)
        print(f"{arguments.out} is {'the same' if alike else 'DIFFERENT'}")
        raise SystemExit(0 if alike else 1)
    save(posts, arguments.out)
    print(f"{arguments.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
