"""How long a public log of a million entries takes: to keep, to prove from, to verify.

    .venv/bin/python benchmarks/public_log.py [--entries N]

Works in a temporary folder under --folder, and removes it.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from peerllm.charter.log import (
    Entry,
    LogKeys,
    PayoutBatch,
    create_log,
    open_log,
    prove_entry,
    read_checkpoint,
    verify_proof,
)
from peerllm.charter.log_tiles import LogFiles
from peerllm.charter.log_verification import verify_log
from peerllm.charter.log_witness import Witness
from peerllm.charter.merkle import verify_consistency
from peerllm.crypto.identity import Identity

BATCH = 1_000
PROOFS = 1_000


def entry(number: int) -> Entry:
    return Entry(
        at_us=1_790_000_000_000_000 + number,
        body=PayoutBatch(
            region="eu-north",
            batch=f"batch-{number:09}",
            payouts=number % 997,
            total_nano_usd=number * 1_000_003,
            root=f"{number:064x}",
        ),
    )


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def spread(times: list[float]) -> str:
    times.sort()
    return (
        f"{statistics.median(times) * 1e3:.2f} ms median,"
        f" {times[int(len(times) * 0.99)] * 1e3:.2f} ms p99"
    )


def measure(folder: Path, count: int) -> list[tuple[str, str]]:
    identity, chance, rows = Identity.generate(), random.Random(1), list[tuple[str, str]]()  # noqa: S311 - places to prove from
    key = create_log(folder, "log.example/benchmark", identity)
    public, keys = folder / "public", LogKeys(key)

    taken = []
    with open_log(folder) as log:
        for start in range(0, count, BATCH):
            batch = [entry(number) for number in range(start, min(start + BATCH, count))]
            taken.append(seconds(lambda batch=batch: log.append(batch)))
        rows.append(
            (
                f"append, {BATCH:,} a call",
                f"{sum(taken):.1f} s in all, {count / sum(taken):,.0f} entries/s; a call:"
                f" {spread(taken)}",
            )
        )
        published = seconds(lambda: log.publish(identity))
        rows.append(
            (f"publish {count:,}", f"{published:.1f} s, {count / published:,.0f} entries/s")
        )

    witness = Witness("witness.example/one", Identity.generate(), key, folder / "seen")
    rows.append(
        (
            "witness, first sight",
            f"{seconds(lambda: witness.cosign(public, time.time(), first=True)) * 1e3:.1f} ms",
        )
    )

    single = []
    for number in range(count, count + 100):

        def append_and_publish(number: int = number) -> None:
            with open_log(folder) as log:
                log.append([entry(number)])
                log.publish(identity)

        single.append(seconds(append_and_publish))
    rows.append((f"append 1 and publish, to a log of {count:,}", spread(single)))
    rows.append(
        (
            "witness, 100 entries later",
            f"{seconds(lambda: witness.cosign(public, time.time())) * 1e3:.1f} ms",
        )
    )

    places = [chance.randrange(count) for _ in range(PROOFS)]
    made = [seconds(lambda place=place: prove_entry(public, place, keys, 0)) for place in places]
    proof = prove_entry(public, places[0], keys, 0)
    rows.append(
        ("inclusion proof from the files, checked", f"{spread(made)}; {len(proof):,} bytes")
    )
    checked = [seconds(lambda: verify_proof(proof, keys, 0)) for _ in range(PROOFS)]
    rows.append(("inclusion proof, verify from its bytes", spread(checked)))

    signed = read_checkpoint(public / "checkpoint", keys, 0).checkpoint
    made, checked, steps = [], [], 0
    for old in places:
        files = LogFiles(public, signed.size)
        begun = time.perf_counter()
        path = files.consistency_path(old)
        made.append(time.perf_counter() - begun)
        root = files.root(old)
        begun = time.perf_counter()
        assert verify_consistency(old, root, signed.size, signed.root, path)
        checked.append(time.perf_counter() - begun)
        steps = max(steps, len(path))
    rows.append(("consistency proof from the files", f"{spread(made)}; at most {steps} hashes"))
    rows.append(("consistency proof, verify", spread(checked)))

    begun = time.perf_counter()
    report = verify_log(public, keys, 0)
    rows.append(
        (
            "verify the whole log",
            f"{time.perf_counter() - begun:.1f} s: {report.signed.checkpoint.size:,} entries,"
            f" {report.files:,} files",
        )
    )
    hashes = sum(path.stat().st_size for path in public.glob("tile/[0-9]/**/*") if path.is_file())
    rows.append(
        (
            "public files",
            f"{report.total_bytes / 1e6:.1f} MB, {hashes / 1e6:.1f} MB of it hashes;"
            f" {report.total_bytes / report.signed.checkpoint.size:.0f} bytes an entry",
        )
    )
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--entries", type=int, default=1_000_000)
    options.add_argument("--folder", type=Path, default=None)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        rows = measure(Path(folder) / "log", given.entries)
    table = Table("Step", "Measured", title=f"A public log of {given.entries:,} entries")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
