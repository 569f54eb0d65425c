"""Settlements per second: a reservation and its posting with two hosts and their receipts.

    python benchmarks/ledger_throughput.py [FOLDER]

FOLDER decides which disk is measured; it defaults to the system's temporary one.
"""

import secrets
import sys
import tempfile
import time
from pathlib import Path

import trio

from peerllm.coordinator.accounts import SignedReceipt
from peerllm.coordinator.ledger import Posted, Reserved
from peerllm.coordinator.settlement import ChunkWork, HostWork, Settlement, Shares, settle
from peerllm.coordinator.storage import Storage, open_storage

SECONDS = 5.0
ACCOUNT = "customers/bench"
CHARGE = 1_000_000
# What a signed receipt takes, within a few bytes.
RECEIPT_BYTES = 350


async def settle_for_ever(storage: Storage, key_id: str, settled: list[int]) -> None:
    work = ChunkWork(
        1,
        (
            HostWork("leader", "leader", 200, 200, 200),
            HostWork("backup", "backup", 120, 120, 0),
        ),
    )
    receipt = secrets.token_bytes(RECEIPT_BYTES)
    while True:
        request_id = secrets.token_hex(16)
        reserved = await storage.reserve(request_id, ACCOUNT, 2 * CHARGE, key_id=key_id)
        assert isinstance(reserved, Reserved)
        settlement = settle(CHARGE, Shares(9_500, 2_000), (work,))
        assert isinstance(settlement, Settlement)
        receipts = [
            SignedReceipt(host, secrets.token_bytes(16), receipt) for host in ("leader", "backup")
        ]
        posted = await storage.post(request_id, settlement, receipts)
        assert isinstance(posted, Posted)
        settled[0] += 1


async def measure(folder: Path, waiters: int) -> None:
    async with open_storage(folder / f"{waiters}.sqlite") as storage:
        await storage.create_customer("bench")
        await storage.deposit(ACCOUNT, 10**14, "opening")
        issued = await storage.create_api_key(ACCOUNT, "bench")
        settled = [0]
        began, used = time.perf_counter(), time.process_time()
        with trio.move_on_after(SECONDS):
            async with trio.open_nursery() as nursery:
                for _ in range(waiters):
                    nursery.start_soon(settle_for_ever, storage, issued.key.key_id, settled)
        seconds, busy = time.perf_counter() - began, time.process_time() - used
        count = settled[0]
        print(
            f"{waiters:3} waiters: {count / seconds:7,.0f} settlements/s, "
            f"{seconds / count * waiters * 1e3:6.1f} ms each, "
            f"{busy / count * 1e6:5.0f} us of processor time each"
        )
        began = time.perf_counter()
        report = await storage.ledger_check()
        print(
            f"             check of {report.settlements:,} settlements: "
            f"{time.perf_counter() - began:.2f} s, balanced: {report.balanced}"
        )


def main() -> None:
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        for waiters in (1, 64):
            trio.run(measure, Path(folder), waiters)


if __name__ == "__main__":
    main()
