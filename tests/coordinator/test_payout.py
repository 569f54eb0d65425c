"""Payouts: the escrow rule, batches written once, files a bank takes, proofs a host checks."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.charter.defaults import first_terms
from peerllm.charter.errors import Malformed
from peerllm.charter.log_entries import PayoutBatch, read_entry
from peerllm.charter.payout_proof import proof_holds, read_proof, write_proof
from peerllm.charter.promises import PayoutRule
from peerllm.coordinator.accounts import SignedReceipt
from peerllm.coordinator.errors import NameRefusedError
from peerllm.coordinator.ledger import Posted, host_account
from peerllm.coordinator.payout import (
    CENT_NANO_USD,
    DAY_US,
    Batch,
    HostBooks,
    Payee,
    payable_cents,
    standing,
)
from peerllm.coordinator.payout_files import batch_csv, dollars_and_cents, write_batch
from peerllm.coordinator.payout_storage import (
    NothingToPay,
    PayoutExists,
    PayoutMade,
    PayoutOutcome,
    PayoutTooEarly,
)
from peerllm.coordinator.settlement import ChunkWork, HostWork, Settlement, Shares, settle
from peerllm.coordinator.storage_file import StorageFile

ADA = "customers/ada"
RULE = msgspec.structs.replace(
    first_terms("home").escrow, hold_days=30, trusted_after_days=90, trusted_after_receipts=3
)
PAYOUT = PayoutRule(minimum_nano_usd=20 * 10**9, every_days=30)
PAYER = Payee(name="PeerLLM e. V.", account="DE89 3704 0044 0532 0130 00", agent="COBADEFFXXX")
PAYEE = Payee(name="Grace Hopper", account="GB82WEST12345698765432")
USD = 10**9


class Clock:
    def __init__(self) -> None:
        self.now = 1_000 * DAY_US

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(tmp_path: Path, clock: Clock) -> Iterator[StorageFile]:
    with StorageFile(tmp_path / "ledger.sqlite", clock=clock) as file:
        file.create_customer("ada")
        file.deposit(ADA, 10_000 * USD, "wire-1")
        yield file


def earn(storage: StorageFile, host: str, amount: int, number: int) -> None:
    """Have a host paid for one answer, with a receipt."""
    charge = amount * 10_000 // 9_500
    settlement = settle(
        charge,
        Shares(9_500, 2_000),
        (ChunkWork(1, (HostWork(host, "leader", 10, 10, 10),)),),
    )
    assert isinstance(settlement, Settlement)
    name = f"{host}-{number}"
    storage.reserve(name, ADA, charge, key_id=None)
    receipt = SignedReceipt(host, number.to_bytes(16), b"signed")
    assert isinstance(storage.post(name, settlement, [receipt]), Posted)


def pay(storage: StorageFile, batch: str = "2026-11") -> PayoutOutcome:
    return storage.payouts.pay(batch, rule=RULE, payout=PAYOUT, payer=PAYER, random=bytes)


def made(storage: StorageFile, batch: str = "2026-11") -> Batch:
    outcome = pay(storage, batch)
    assert isinstance(outcome, PayoutMade), outcome
    return outcome.batch


def balance(storage: StorageFile, host: str) -> int:
    return storage.balance(host_account(host)).balance


def test_a_newcomers_pay_rests_and_the_dates_are_shown(storage: StorageFile, clock: Clock) -> None:
    storage.payouts.set_payee("h1", PAYEE)
    earn(storage, "h1", 100 * USD, 1)
    begun = clock.now
    clock.now += 10 * DAY_US
    earn(storage, "h1", 50 * USD, 2)
    found = storage.payouts.standing(RULE, "h1")
    assert found is not None
    assert (found[1].payable, found[1].trusted) == (0, False)
    assert found[1].next_release_us == begun + 30 * DAY_US
    assert found[1].trusted_from_us == begun + 90 * DAY_US
    assert found[1].receipts_missing == 1
    assert pay(storage) == NothingToPay((("h1", "in escrow"),))
    clock.now += 20 * DAY_US
    batch = made(storage)
    assert [line.amount for line in batch.lines] == [payable_cents(100 * USD)]
    assert balance(storage, "h1") == found[0].earned - batch.total
    # Trusted: nothing rests any more, an answer of today included.
    clock.now += 60 * DAY_US
    earn(storage, "h1", 30 * USD, 3)
    assert made(storage, "2027-02").total == payable_cents(80 * USD)
    assert storage.ledger_check().balanced


def trusted(storage: StorageFile, clock: Clock, *hosts: str) -> None:
    for host in hosts:
        storage.payouts.set_payee(host, PAYEE)
        for number in (1, 2, 3):
            earn(storage, host, 15 * USD + 7, number)
    clock.now += 90 * DAY_US


def test_repeating_a_batch_pays_nothing_twice(storage: StorageFile, clock: Clock) -> None:
    trusted(storage, clock, "h1", "h2")
    batch = made(storage)
    before = storage.chain_digest(storage.ledger_check().chain_entries)
    assert pay(storage) == PayoutExists(batch)
    early = pay(storage, "another")
    assert isinstance(early, PayoutTooEarly)
    clock.now = early.due_us
    assert pay(storage) == PayoutExists(batch)
    assert pay(storage, "another") == NothingToPay(
        (("h1", "below the minimum"), ("h2", "below the minimum"))
    )
    report = storage.ledger_check()
    assert storage.chain_digest(report.chain_entries) == before
    # What is less than a cent stays where it was earned.
    assert 0 < balance(storage, "h1") < CENT_NANO_USD
    assert report.balanced, report.faults


def test_a_host_without_a_payee_is_named_and_left_out(storage: StorageFile, clock: Clock) -> None:
    trusted(storage, clock, "h1", "h2")
    storage._tables.execute("DELETE FROM payees WHERE host = 'h2'")
    outcome = pay(storage)
    assert isinstance(outcome, PayoutMade)
    assert outcome.unpaid == (("h2", "no payee"),)
    assert balance(storage, "h2") > 45 * USD


def test_a_crash_in_the_middle_leaves_nothing(
    storage: StorageFile, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted(storage, clock, "h1", "h2", "h3")
    before = {host: balance(storage, host) for host in ("h1", "h2", "h3")}
    insert, written = storage._tables.insert_transfer, []

    def crash_at_the_second(*arguments: object) -> object:
        if written:
            raise RuntimeError("power cut")
        written.append(insert(*arguments))  # type: ignore[arg-type]
        return written[0]

    monkeypatch.setattr(storage._tables, "insert_transfer", crash_at_the_second)
    with pytest.raises(RuntimeError):
        pay(storage)
    monkeypatch.undo()
    assert {host: balance(storage, host) for host in before} == before
    assert storage.payouts.batches() == ()
    assert len(made(storage).lines) == 3
    assert storage.ledger_check().balanced


def test_the_files_are_what_banks_and_auditors_take(
    storage: StorageFile, clock: Clock, tmp_path: Path
) -> None:
    trusted(storage, clock, "h1", "h2")
    storage.payouts.set_payee("h2", Payee(name="=cmd()", account="000123456789"))
    batch = made(storage)
    text = batch_csv(batch).decode()
    assert "2026-11,1,h1,Grace Hopper,GB82WEST12345698765432,,45.00,45000000000" in text
    assert "'=cmd()" in text
    files = write_batch(batch, tmp_path / "out", "default")
    raw = (tmp_path / "out" / "bank" / "2026-11.xml").read_bytes()
    for part in (
        b"urn:iso:std:iso:20022:tech:xsd:pain.001.001.09",
        b"<CtrlSum>90.00</CtrlSum>",
        b"<IBAN>DE89370400440532013000</IBAN>",
        b"<Othr><Id>000123456789</Id></Othr>",
        b'<InstdAmt Ccy="USD">45.00</InstdAmt>',
        b"<EndToEndId>2026-11-2</EndToEndId>",
    ):
        assert part in raw
    first = {path: path.read_bytes() for path in files}
    again = storage.payouts.batch("2026-11")
    assert again == batch
    assert write_batch(again, tmp_path / "out", "default") == files
    assert {path: path.read_bytes() for path in files} == first
    assert (tmp_path / "out" / "bank").stat().st_mode & 0o077 == 0
    entry = read_entry((tmp_path / "out" / "public" / "2026-11.entry.json").read_bytes())
    assert isinstance(entry.body, PayoutBatch)
    assert (entry.body.root, entry.body.payouts) == (batch.root.hex(), 2)


def test_a_host_proves_its_own_payout_and_no_other(storage: StorageFile, clock: Clock) -> None:
    trusted(storage, clock, *(f"h{number}" for number in range(5)))
    batch = made(storage)
    for line in batch.lines:
        proof = batch.proof(line.host)
        assert proof is not None
        assert read_proof(write_proof(proof)) == proof
        assert proof_holds(proof, batch.root)
        for change in (
            {"amount_nano_usd": proof.amount_nano_usd + 1},
            {"host": "h9"},
            {"batch": "2026-12"},
            {"line": proof.line % 5 + 1},
            {"leaves": 2},
            {"salt": "00" * 15 + "01"},
            {"path": proof.path[1:]},
        ):
            assert not proof_holds(msgspec.structs.replace(proof, **change), batch.root)
    assert batch.proof("h9") is None


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[1", b'{"document":"payout-proof/1"}', b"\xff" * 10, b"[" * 100_000]
)
def test_a_broken_proof_is_a_sentence(raw: bytes) -> None:
    with pytest.raises(Malformed, match="not a payout's proof"):
        read_proof(raw)


@pytest.mark.parametrize(
    ("payee", "sentence"),
    [
        (Payee(name="", account="DE89370400440532013000"), "a payee's name"),
        (Payee(name="x" * 71, account="DE89370400440532013000"), "up to 70"),
        (Payee(name="A", account="DE88370400440532013000"), "check digits are wrong"),
        (Payee(name="A", account="x"), "4 to 34 letters"),
        (Payee(name="A", account="DE89370400440532013000", agent="NOBANK"), "BIC"),
        (Payee(name="A\nB", account="1234"), "a payee's name"),
    ],
)
def test_a_payee_of_the_wrong_shape_is_refused(
    storage: StorageFile, payee: Payee, sentence: str
) -> None:
    with pytest.raises(NameRefusedError, match=sentence):
        storage.payouts.set_payee("h1", payee)
    assert storage.payouts.payee("h1") is None
    with pytest.raises(NameRefusedError, match="cannot name a batch"):
        pay(storage, "../x")


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE payout_lines SET amount = amount + 10000000 WHERE line = 1",
        "UPDATE payout_lines SET payee_account = 'DE00' WHERE line = 2",
        "UPDATE payouts SET total = total + 1",
        "UPDATE payouts SET root = zeroblob(32)",
        "DELETE FROM payout_lines WHERE line = 2",
        "UPDATE transfers SET amount = amount - 1 WHERE transfer_id GLOB 'payout/*h1'",
        "UPDATE transfers SET credit_account = 'hosts/h2' WHERE transfer_id GLOB 'payout/*h1'",
        "INSERT INTO transfers VALUES (99, 'payout/x/h1', 'hosts/h1', 'outside', 1, NULL, 0, 9)",
    ],
)
def test_an_altered_payout_is_found(
    storage: StorageFile, clock: Clock, tmp_path: Path, tampering: str
) -> None:
    trusted(storage, clock, "h1", "h2")
    made(storage)
    assert storage.ledger_check().balanced
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    for (trigger,) in other.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        other.execute(f"DROP TRIGGER {trigger}")
    other.execute(tampering)
    other.close()
    assert not storage.ledger_check().balanced


amounts = st.integers(0, 10**15)


@settings(max_examples=60)
@given(amounts, amounts, amounts, st.integers(0, 5), st.integers(0, 200), st.integers(0, 200))
def test_payable_and_resting_are_the_whole_balance(
    rested: int, resting: int, paid: int, receipts: int, first: int, oldest: int
) -> None:
    books = HostBooks(
        host="h1",
        earned=rested + resting,
        rested=rested,
        paid=min(paid, rested + resting),
        receipts=receipts,
        first_receipt_us=1_000 * DAY_US - first * DAY_US if receipts else None,
        oldest_resting_us=1_000 * DAY_US - oldest * DAY_US if resting else None,
    )
    found = standing(books, RULE, 1_000 * DAY_US)
    assert found.payable + found.resting == books.balance
    assert 0 <= found.payable <= books.balance
    assert found.trusted == (receipts >= 3 and first >= 90)
    if not found.trusted:
        assert found.payable <= rested
    cents = payable_cents(found.payable)
    assert cents <= found.payable
    assert dollars_and_cents(cents).count(".") == 1
