"""Flip every byte of every file of a small charter and verify: refused, or the same meaning.

    nice -n 10 python -m benchmarks.charter_flips [--step 1] [--mask 1]

The charter has two versions, a ballot, a federated region and its capacity. A flip that is not
refused must leave every promise as it was, and is counted by file.
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from peerllm.charter.errors import CharterError
from tests.charter.small_charter import small_charter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--step", type=int, default=1, help="every how many bytes")
    parser.add_argument("--mask", type=int, default=1, help="which bits to turn, 1 to 255")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        charter = small_charter(Path(temporary))
        genuine = charter.verify()
        files = sorted(path for path in charter.folder.rglob("*") if path.is_file())
        refused: Counter[str] = Counter()
        same: Counter[str] = Counter()
        began, position = time.perf_counter(), 0
        for path in files:
            content = path.read_bytes()
            for index, byte in enumerate(content):
                position += 1
                if position % arguments.step:
                    continue
                flipped = bytearray(content)
                flipped[index] = byte ^ arguments.mask
                path.write_bytes(flipped)
                try:
                    assert charter.verify() == genuine, f"{path} byte {index} changed a promise"
                    same[path.relative_to(charter.folder).as_posix()] += 1
                except CharterError as error:
                    refused[type(error).__name__] += 1
            path.write_bytes(content)
        seconds = time.perf_counter() - began
    total = refused.total() + same.total()
    print(f"{total} flips (mask {arguments.mask}) in {len(files)} files, {seconds:.0f} s")
    print(f"{refused.total()} refused: {dict(refused.most_common())}")
    print(f"{same.total()} of the same meaning: {dict(same.most_common())}")


if __name__ == "__main__":
    main()
