"""The weights that a gate's training writes."""

import json
import tempfile
from pathlib import Path

import numpy
from numpy.typing import NDArray

from peerllm.safety.gate_categories import CATEGORIES, DEEDS
from peerllm.safety.gate_head import Head

Floats = NDArray[numpy.float32]


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
