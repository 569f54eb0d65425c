"""A thousand requests over failing hosts and impatient customers: every book must balance."""

import random
import sqlite3
from collections import Counter
from pathlib import Path

import trio
from simulated_host import FAULT_KINDS, Faults, SimulatedHost
from toy_house import ADA, Reply, ToyHouse, toy_house
from toy_safety import MARK
from trio.testing import MockClock

from peerllm.crypto.encoding import decode
from peerllm.crypto.receipt import Receipt
from peerllm.crypto.signed import MAXIMUM_BLOB_BYTES, is_signed_by, read_blob
from peerllm.overlay.messages import ChunkTask

REQUESTS = 1_000
CUSTOMERS = 30
HOSTS = 8
FUNDS = 10**9
WORDS = ("one", "two", "three", "four")
# Faults by which a host ends up without a receipt that holds.
UNPAID = {"none", "forged", "replayed"}


def story(task: ChunkTask) -> str:
    """The same answer at every host, of a length that the question decides."""
    words = random.Random(task.messages[-1].content).choices(WORDS, k=30)
    if "unsafe" in task.messages[-1].content:
        words[20] = MARK
    return " ".join(words)


class Town:
    """Customers and hosts with a common source of chance."""

    def __init__(self, toy: ToyHouse, seed: int) -> None:
        self.toy = toy
        self.draw = random.Random(seed)
        self.left = REQUESTS
        self.ends: Counter[str] = Counter()
        self.charged = 0
        for number in range(HOSTS):
            toy.host(f"h{number}", answer=story, slots=6, draw=self.draw)

    async def customer(self) -> None:
        while self.left:
            self.left -= 1
            self.mischief()
            patience = self.draw.choice((None, None, 0, 1, 2, 3))
            asked = f"story {self.left} {self.draw.choice(('', '', '', 'unsafe'))}"

            def leaves(reply: Reply, patience: int | None = patience) -> bool:
                return patience is not None and len(reply.pieces) >= patience

            reply = await self.toy.chat(
                asked,
                stream=self.draw.random() < 0.5,
                max_tokens=self.draw.randrange(1, 60),
                leaves=leaves,
            )
            self.ends[self.end_of(reply)] += 1

    def end_of(self, reply: Reply) -> str:
        if not reply.complete:
            return "left"
        if reply.status != 200:
            return str(reply.error["code"])
        failed = [event for event in reply.events if "error" in event] if reply.events else []
        return "failed late" if failed else "answered"

    def mischief(self) -> None:
        """Now and then a host dies, comes back or changes its manners."""
        host: SimulatedHost = self.draw.choice(self.toy.hosts)
        if host.live is None:
            host.join()
        elif self.draw.random() < 0.1:
            host.die()
        if self.draw.random() < 0.3:
            stays_ill = host.faults.receipt in UNPAID
            host.faults = self.draw.choice(FAULT_KINDS)(self.draw) if not stays_ill else Faults()
            host.faults.floods = host.faults.deaf = False


async def test_a_thousand_requests_leave_every_book_balanced(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path, funds=FUNDS) as toy:
        town = Town(toy, seed=11)
        async with trio.open_nursery() as nursery:
            for _ in range(CUSTOMERS):
                nursery.start_soon(town.customer)
        await toy.settle_down()
        report = await toy.storage.ledger_check()
        assert report.balanced, report
        assert report.open_reservations == 0
        assert town.ends["answered"] > 100
        assert town.ends["left"] > 100
        assert town.ends["content_filter"] + town.ends["failed late"] > 20
        states = Counter(state for state, _ in (await toy.reservations()).values())
        # Whoever left during the last milliseconds may have been charged for a whole answer.
        assert town.ends["answered"] <= states["posted"]
        assert states["posted"] <= town.ends["answered"] + town.ends["left"]
        charged = sum(charge or 0 for _, charge in (await toy.reservations()).values())
        assert (await toy.storage.balance(ADA)).balance == FUNDS - charged
    check_the_file(tmp_path / "coordinator.sqlite", toy)


def check_the_file(path: Path, toy: ToyHouse) -> None:
    """The same books read without the ledger's own code."""
    with sqlite3.connect(path) as database:
        transfers = database.execute(
            "SELECT reservation_id, credit_account, amount FROM transfers"
            " WHERE reservation_id IS NOT NULL"
        ).fetchall()
        charges = dict(
            database.execute(
                "SELECT reservation_id, charge FROM reservations WHERE state = 'posted'"
            )
        )
        receipts = database.execute("SELECT reservation_id, host, raw FROM receipts").fetchall()
    signed: set[tuple[str, str]] = set()
    for reservation, host, raw in receipts:
        blob = read_blob(raw)
        assert blob is not None
        assert is_signed_by(blob, host, "receipt/1")
        assert decode(blob.body, Receipt, maximum_bytes=MAXIMUM_BLOB_BYTES).host == host
        signed.add((reservation, host))
    total: Counter[str] = Counter()
    margin: Counter[str] = Counter()
    for reservation, account, amount in transfers:
        total[reservation] += amount
        if account == "network/margin":
            margin[reservation] += amount
        elif account != "hosts/unclaimed":
            assert (reservation, account.removeprefix("hosts/")) in signed
    for reservation, charge in charges.items():
        assert total[reservation] == charge
        assert margin[reservation] * 100 <= charge * 5
    assert len({raw for _, _, raw in receipts}) == len(receipts)
    assert {host for _, host in signed} <= {host.peer_id for host in toy.hosts}
