"""The files of a gate's training: the weights it writes, and the encodings kept between runs."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy
from numpy.typing import NDArray

from peerllm.safety.gate_categories import CATEGORIES, DEEDS
from peerllm.safety.gate_head import Head

Floats = NDArray[numpy.float32]
Encodings = dict[str, NDArray[numpy.float16]]


def kept_encodings(file: Path | None) -> Encodings:
    """The encodings in a file, by the digest of what was encoded; none where there is no file."""
    if file is None or not file.exists():
        return {}
    with numpy.load(file, allow_pickle=False) as stored:
        return dict(zip(map(str, stored["names"]), stored["values"], strict=True))


def keep_encodings(known: Encodings, file: Path) -> None:
    names: Sequence[str] = list(known)
    numpy.savez(file, names=numpy.array(names), values=numpy.stack(list(known.values())))


def calibrate(head: Head, shift: Floats) -> None:
    """Take the thresholds from the logits: 500 thousandths are then that of every category."""
    head.outer_bias[:] -= shift
    head.bound[:] += shift[DEEDS] - shift[0]


def save(head: Head, path: Path) -> None:
    numpy.savez_compressed(
        path,
        categories=numpy.array(json.dumps(CATEGORIES)),
        **{name: getattr(head, name).astype(numpy.float16) for name in Head.PARTS},
    )


def is_same(head: Head, path: Path) -> bool:
    """Whether the file holds the head's numbers, bit for bit; prints which."""
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "again.npz"
        save(head, again)
        with (
            numpy.load(again, allow_pickle=False) as left,
            numpy.load(path, allow_pickle=False) as right,
        ):
            alike = set(left) == set(right) and all(
                left[name].dtype == right[name].dtype
                and left[name].tobytes() == right[name].tobytes()
                for name in left
            )
    print(f"{path} is {'the same' if alike else 'DIFFERENT'}")
    return alike
