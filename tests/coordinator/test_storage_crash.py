"""Requests killed at any point: by cancellation inside one process, by SIGKILL of a real one.

Run as a program (`test_storage_crash.py PATH SEED`) this file is the process that gets killed:
it serves random requests for ever and prints what the storage has confirmed.
"""

import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import trio

from peerllm.coordinator.accounts import SignedReceipt
from peerllm.coordinator.ledger import InsufficientFunds, LedgerReport, Posted, Reserved
from peerllm.coordinator.settlement import ChunkWork, HostWork, Settlement, Shares, settle
from peerllm.coordinator.storage import Storage, open_storage
from peerllm.coordinator.storage_file import StorageFile

REQUESTS = 1_000
CUSTOMERS = tuple(f"customers/c{number}" for number in range(5))
SHARES = Shares(host_share_basis_points=9_500, backup_share_basis_points=2_000)

Confirm = Callable[[str, str], None]


def random_work(random: Random) -> tuple[ChunkWork, ...]:
    def host(name: str, leads: bool) -> HostWork:
        counted = random.randrange(300)
        return HostWork(
            host=name,
            role="leader" if leads else "backup",
            claimed_tokens=random.choice((None, counted, random.randrange(600))),
            counted_tokens=counted,
            delivered_tokens=random.randrange(counted + 1),
        )

    return tuple(
        ChunkWork(
            random.randrange(5),
            tuple(
                host(name, leads=place == 0)
                for place, name in enumerate(random.sample("ABCDEFG", random.randrange(1, 4)))
            ),
        )
        for _ in range(random.randrange(1, 4))
    )


async def serve(
    storage: Storage, request_id: str, random: Random, confirm: Confirm, *, tidy: bool
) -> None:
    """One request's money; with `tidy` it cleans up after itself when it is cancelled."""
    amount = random.randrange(1, 60_000)
    reserved = await storage.reserve(request_id, random.choice(CUSTOMERS), amount, key_id=None)
    if isinstance(reserved, InsufficientFunds):
        return
    assert isinstance(reserved, Reserved)
    confirm("reserved", request_id)
    try:
        for _ in range(random.randrange(3)):
            await trio.lowlevel.checkpoint()
        if random.random() < 0.2:
            await storage.void(request_id)
            confirm("voided", request_id)
            return
        work = random_work(random)
        settlement = settle(random.randrange(amount + 1), SHARES, work)
        assert isinstance(settlement, Settlement)
        receipts = [
            SignedReceipt(host.host, random.randbytes(16), b"signed")
            for chunk in work
            for host in chunk.deliveries
            if host.claimed_tokens is not None
        ]
        posted = await storage.post(request_id, settlement, receipts)
        assert isinstance(posted, Posted)
        confirm("posted", request_id)
    finally:
        if tidy:
            with trio.CancelScope(shield=True):
                await storage.void(request_id)


async def open_customers(storage: Storage) -> None:
    for account in CUSTOMERS:
        await storage.create_customer(account.removeprefix("customers/"))
        await storage.deposit(account, 20_000_000, f"opening-{account}")


def check(path: Path, confirmed: set[tuple[str, str]]) -> LedgerReport:
    """Start again as the coordinator would; what was confirmed must still be so."""
    with StorageFile(path) as file:
        file.recover()
        states = dict(file._tables.rows("SELECT reservation_id, state FROM reservations"))
        report = file.ledger_check()
    assert report.faults == ()
    assert report.debits == report.credits
    assert report.balanced
    assert report.open_reservations == 0
    assert report.lowest_host_share_basis_points is not None
    assert report.lowest_host_share_basis_points >= 9_500
    for what, request_id in confirmed:
        assert states[request_id] in ({"posted", "voided"} if what == "reserved" else {what})
    return report


async def test_a_thousand_requests_killed_at_random_points_leave_the_books_balanced(
    tmp_path: Path,
) -> None:
    path = tmp_path / "coordinator.sqlite"
    random = Random(20_260_101)
    confirmed: set[tuple[str, str]] = set()
    killed = 0

    def confirm(what: str, request_id: str) -> None:
        confirmed.add((what, request_id))

    async def mortal(storage: Storage, number: int, turn: Random) -> None:
        nonlocal killed
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                if turn.random() < 0.6:
                    nursery.start_soon(executioner, scope, turn)
                await serve(storage, f"r{number}", turn, confirm, tidy=turn.random() < 0.5)
                nursery.cancel_scope.cancel()
        killed += scope.cancelled_caught

    async def executioner(scope: trio.CancelScope, turn: Random) -> None:
        # Anything from "before the write was taken up" over "while it is on its way to the
        # disk" to "between two steps": a write takes a few hundred turns of the loop.
        for _ in range(int(10 ** turn.uniform(0, 3.5))):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    async with open_storage(path) as storage:
        await open_customers(storage)
        limit = trio.CapacityLimiter(64)

        async def limited(job: Callable[[], Awaitable[None]]) -> None:
            async with limit:
                await job()

        async with trio.open_nursery() as nursery:
            for number in range(REQUESTS):
                turn = Random(random.getrandbits(64))
                nursery.start_soon(
                    limited, lambda number=number, turn=turn: mortal(storage, number, turn)
                )
    report = check(path, confirmed)
    assert killed > REQUESTS // 10
    assert report.settlements > REQUESTS // 10


def test_a_coordinator_killed_in_the_middle_of_writing_loses_nothing_it_confirmed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "coordinator.sqlite"
    confirmed: set[tuple[str, str]] = set()
    settlements = 0
    for life in range(4):
        child = subprocess.Popen(
            [sys.executable, __file__, str(path), str(life)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        try:
            for _ in range(150 + 40 * life):
                what, request_id = child.stdout.readline().split()
                confirmed.add((what, request_id))
        finally:
            child.send_signal(signal.SIGKILL)
            # Lines still in the pipe were confirmed too; the last may have been cut short.
            rest = child.stdout.read()
            child.wait()
            child.stdout.close()
        for line in rest[: rest.rfind("\n") + 1].splitlines():
            what, request_id = line.split()
            confirmed.add((what, request_id))
        report = check(path, confirmed)
        assert report.settlements > settlements
        settlements = report.settlements


async def _live(path: Path, life: int) -> None:
    def confirm(what: str, request_id: str) -> None:
        sys.stdout.write(f"{what} {request_id}\n")
        sys.stdout.flush()

    random = Random(life)

    async def worker(storage: Storage, number: int) -> None:
        turn = Random(random.getrandbits(64))
        count = 0
        while True:
            await serve(storage, f"{life}-{number}-{count}", turn, confirm, tidy=True)
            count += 1

    async with open_storage(path) as storage:
        await open_customers(storage)
        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(worker, storage, number)


if __name__ == "__main__":
    trio.run(_live, Path(sys.argv[1]), int(sys.argv[2]))
