"""An audit of 100,000 settled requests, and of the same books with a single altered row.

    python benchmarks/ledger_audit.py [REQUESTS] [FOLDER]

Prints how long the audit takes, and whether it finds one row altered at random in each table of
money, and one charge altered consistently in all its rows.
"""

import secrets
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from peerllm.charter.defaults import first_terms
from peerllm.charter.promises import PayoutRule
from peerllm.coordinator.accounts import SignedReceipt
from peerllm.coordinator.ledger import LedgerReport
from peerllm.coordinator.payout import Payee
from peerllm.coordinator.payout_storage import PayoutMade
from peerllm.coordinator.settlement import ChunkWork, HostWork, Settlement, Shares, settle
from peerllm.coordinator.storage_file import StorageFile

HOSTS = 500
GROUP = 128
RECEIPT_BYTES = 350
ACCOUNT = "customers/bench"
ALTERATIONS = """
one transfer's time:
UPDATE transfers SET recorded_at_us = recorded_at_us + 1 WHERE sequence = {sequence};

one receipt's bytes:
UPDATE receipts SET raw = zeroblob(350) WHERE dispatch_id = x'{dispatch}'
    AND host = (SELECT MIN(host) FROM receipts WHERE dispatch_id = x'{dispatch}');

one reservation's amount:
UPDATE reservations SET amount = amount + 1 WHERE reservation_id = 'r{number}';

one charge in all its rows:
UPDATE reservations SET charge = charge * 2, amount = amount * 2 WHERE reservation_id = 'r{number}';
UPDATE transfers SET amount = amount * 2 WHERE reservation_id = 'r{number}';
UPDATE api_keys SET spent = (SELECT SUM(charge) FROM reservations);
UPDATE accounts SET snapshot_sequence = 0, snapshot_balance = 0;

one payout's account:
UPDATE payout_lines SET payee_account = '666' WHERE line = 7;
"""


def fill(path: Path, requests: int, draw: Random) -> None:
    began = time.perf_counter()
    clock = [10**15]
    with StorageFile(path, clock=lambda: clock[0]) as storage:
        storage.create_customer("bench")
        for number in range(10):
            storage.deposit(ACCOUNT, 10**14, f"wire-{number}", tax=10**12, fee=10**9)
        key = storage.create_api_key(ACCOUNT, "bench").key.key_id
        for host in range(HOSTS):
            payee = Payee(name=f"Host {host}", account=f"{host:012}")
            storage.payouts.set_payee(f"host-{host}", payee)
        for start in range(0, requests, GROUP):
            clock[0] += 60_000_000
            operations = []
            for number in range(start, min(start + GROUP, requests)):
                operations += settled(number, key, draw)
            for result in storage.together(operations):
                result.unwrap()
        clock[0] += 91 * 86_400 * 10**6
        made = storage.payouts.pay(
            "first",
            rule=first_terms("bench").escrow,
            payout=PayoutRule(minimum_nano_usd=10**9),
            payer=Payee(name="Bench", account="0001"),
            random=secrets.token_bytes,
        )
        assert isinstance(made, PayoutMade)
        print(
            f"filled with {requests:,} settled requests and a batch of {len(made.batch.lines)}"
            f" payouts in {time.perf_counter() - began:.0f} s"
        )


def settled(number: int, key: str, draw: Random) -> list:
    leader, backup = draw.sample(range(HOSTS), 2)
    charge = draw.randrange(1_000, 1_000_000_000)
    done = draw.randrange(1, 400)
    work = (
        HostWork(f"host-{leader}", "leader", done, done, done),
        HostWork(f"host-{backup}", "backup", done // 2, done // 2, 0),
    )
    settlement = settle(charge, Shares(9_500, 2_000), (ChunkWork(1, work),))
    assert isinstance(settlement, Settlement)
    receipts = [
        SignedReceipt(one.host, number.to_bytes(16), draw.randbytes(RECEIPT_BYTES)) for one in work
    ]
    name = f"r{number}"
    return [
        lambda file: file.reserve(name, ACCOUNT, charge, key_id=key),
        lambda file: file.post(name, settlement, receipts),
    ]


def audited(path: Path) -> tuple[LedgerReport, str]:
    with StorageFile(path, read_only=True) as storage:
        began, used = time.perf_counter(), time.process_time()
        report = storage.ledger_check()
        seconds, busy = time.perf_counter() - began, time.process_time() - used
        return report, f"{seconds:.1f} s ({busy:.1f} s of processor time)"


def altered(path: Path, statement: str) -> sqlite3.Connection:
    """A connection as an attacker has it: one statement, no triggers."""
    database = sqlite3.connect(path, isolation_level=None)
    for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        database.execute(f"DROP TRIGGER {trigger}")
    database.executescript(statement)
    return database


def main() -> None:
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    parent = sys.argv[2] if len(sys.argv) > 2 else None
    draw = Random(0)  # noqa: S311 - the same books each time
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        path = Path(folder) / "books.sqlite"
        fill(path, requests, draw)
        report, seconds = audited(path)
        print(
            f"audit: {seconds}, {report.settlements:,} settlements,"
            f" {report.chain_entries:,} links, {path.stat().st_size / 1e6:.0f} MB,"
            f" balanced: {report.balanced}, lowest host share"
            f" {report.lowest_host_share_basis_points} basis points"
        )
        number = draw.randrange(requests)
        alterations = ALTERATIONS.format(
            number=number,
            dispatch=number.to_bytes(16).hex(),
            sequence=draw.randrange(1, 3 * requests),
        )
        for alteration in alterations.strip().split("\n\n"):
            what, _, statement = alteration.partition(":\n")
            copy = Path(folder) / "copy.sqlite"
            shutil.copy(path, copy)
            altered(copy, statement).close()
            found, seconds = audited(copy)
            print(f"{what}: {'FOUND' if found.faults else 'MISSED'} in {seconds}")
            for fault in found.faults[:3]:
                print(f"    {fault}")


if __name__ == "__main__":
    main()
