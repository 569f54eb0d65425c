import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from peerllm.coordinator.accounts import DuplicateReceipt, ReceiptRecorded
from peerllm.coordinator.errors import LedgerError, UnknownAccountError
from peerllm.coordinator.ledger import (
    AlreadyDeposited,
    AlreadyReserved,
    AlreadySettled,
    Deposited,
    Funds,
    InsufficientFunds,
    Leg,
    Posted,
    Recovery,
    Voided,
)
from peerllm.coordinator.ledger_tables import TRANSFERS_BETWEEN_SNAPSHOTS
from peerllm.coordinator.settlement import Settlement
from peerllm.coordinator.storage_file import StorageFile
from tests.coordinator.storage_stage import ADA, FREE, PAID, Clock, receipt, reserve


def test_a_charge_moves_money_from_customer_to_hosts_and_margin(storage: StorageFile) -> None:
    reserve(storage, "r1", 4_000)
    assert storage.balance(ADA) == Funds(balance=10_000, reserved=4_000)
    assert storage.post("r1", PAID, [receipt(1)]) == Posted("r1", 1_000)
    assert storage.balance(ADA) == Funds(balance=9_000, reserved=0)
    assert storage.balance("network/margin").balance == 50
    assert storage.earnings("h1").total == 700
    assert storage.earnings("nobody").total == 0
    report = storage.ledger_check()
    assert report.balanced
    assert report.debits == report.credits == 11_000
    assert (report.open_reservations, report.settlements) == (0, 1)
    assert report.lowest_host_share_basis_points == 9_500


def test_a_ledger_without_settlements_has_no_lowest_share(storage: StorageFile) -> None:
    report = storage.ledger_check()
    assert report.balanced
    assert report.lowest_host_share_basis_points is None


def test_open_reservations_are_not_available_again(storage: StorageFile) -> None:
    reserve(storage, "r1", 6_000)
    assert storage.reserve("r2", ADA, 4_001, key_id=None) == InsufficientFunds(4_000, 4_001)
    reserve(storage, "r3", 4_000)
    storage.void("r1")
    reserve(storage, "r4", 6_000)


def test_a_reservation_id_is_used_once(storage: StorageFile) -> None:
    reserve(storage, "r1")
    outcome = storage.reserve("r1", ADA, 5, key_id=None)
    assert isinstance(outcome, AlreadyReserved)
    assert storage.balance(ADA).reserved == 1_000


def test_posting_twice_charges_once(storage: StorageFile) -> None:
    reserve(storage, "r1")
    storage.post("r1", PAID)
    assert storage.post("r1", FREE) == AlreadySettled("r1", 1_000)
    assert storage.void("r1") == AlreadySettled("r1", 1_000)
    assert storage.balance(ADA) == Funds(balance=9_000, reserved=0)


def test_void_is_idempotent_and_final(storage: StorageFile) -> None:
    reserve(storage, "r1")
    assert storage.void("r1") == storage.void("r1") == Voided("r1")
    assert storage.post("r1", PAID, [receipt(1)]) == Voided("r1")
    assert storage.balance(ADA) == Funds(balance=10_000, reserved=0)
    assert storage.record_receipts([receipt(1)]) == [ReceiptRecorded("h1", receipt(1).dispatch_id)]


@pytest.mark.parametrize(
    "wrong",
    [
        replace(PAID, charge=1_001, legs=(Leg("hosts/h1", 1_001),)),
        replace(PAID, legs=(Leg("hosts/h1", 1),)),
    ],
)
def test_a_wrong_charge_is_a_bug_and_writes_nothing(
    storage: StorageFile, wrong: Settlement
) -> None:
    reserve(storage, "r1")
    with pytest.raises(LedgerError):
        storage.post("r1", wrong, [receipt(1)])
    assert storage.balance(ADA) == Funds(balance=10_000, reserved=1_000)
    assert storage.post("r1", PAID, [receipt(1)]) == Posted("r1", 1_000)


def test_a_free_answer_is_posted_without_legs(storage: StorageFile) -> None:
    reserve(storage, "r1", 0)
    assert storage.post("r1", FREE) == Posted("r1", 0)
    assert storage.ledger_check().balanced


def test_a_receipt_pays_once(storage: StorageFile) -> None:
    reserve(storage, "r1")
    reserve(storage, "r2")
    storage.post("r1", PAID, [receipt(1), receipt(1, host="h2")])
    replayed = DuplicateReceipt("h1", receipt(1).dispatch_id)
    assert storage.post("r2", PAID, [receipt(2), receipt(1)]) == replayed
    assert storage.post("r2", PAID, [receipt(2), receipt(2)]) == DuplicateReceipt(
        "h1", receipt(2).dispatch_id
    )
    assert storage.balance(ADA) == Funds(balance=9_000, reserved=1_000)
    assert storage.record_receipts([receipt(1), receipt(2)]) == [
        replayed,
        ReceiptRecorded("h1", receipt(2).dispatch_id),
    ]


def test_a_deposit_counts_once(storage: StorageFile) -> None:
    assert isinstance(storage.deposit(ADA, 5, "wire-2"), Deposited)
    assert isinstance(storage.deposit(ADA, 5, "wire-2"), AlreadyDeposited)
    with pytest.raises(LedgerError, match="new id"):
        storage.deposit(ADA, 6, "wire-2")
    assert storage.balance(ADA).balance == 10_005


def test_what_does_not_exist_is_a_bug_of_the_caller(storage: StorageFile) -> None:
    for call in (
        lambda: storage.reserve("r1", "customers/eve", 1, key_id=None),
        lambda: storage.reserve("r1", ADA, 1, key_id="no key"),
        lambda: storage.post("r1", FREE),
        lambda: storage.void("r1"),
        lambda: storage.deposit("customers/eve", 1, "wire-9"),
        lambda: storage.balance("customers/eve"),
        lambda: storage.create_api_key("customers/eve", "laptop"),
    ):
        with pytest.raises(UnknownAccountError):
            call()


def test_recovery_voids_what_a_crash_left_open_and_notes_it(
    storage: StorageFile, path: Path, clock: Clock
) -> None:
    reserve(storage, "r1", 300)
    reserve(storage, "r2", 400)
    reserve(storage, "r3")
    storage.post("r3", PAID)
    assert storage.recover() == Recovery(voided=2, released=700)
    assert storage.recover() == Recovery(voided=0, released=0)
    assert storage.balance(ADA) == Funds(balance=9_000, reserved=0)
    assert storage.post("r1", PAID) == Voided("r1")
    with sqlite3.connect(path) as plain:
        rows = plain.execute("SELECT recovered_at_us, voided, released FROM recoveries").fetchall()
    plain.close()
    assert rows == [(clock.now, 2, 700), (clock.now, 0, 0)]


def test_a_long_accounts_balance_is_kept_and_stays_exact(storage: StorageFile, path: Path) -> None:
    for number in range(TRANSFERS_BETWEEN_SNAPSHOTS):
        storage.deposit(ADA, 1, f"drop-{number}")
    reserve(storage, "r1")
    with sqlite3.connect(path) as plain:
        kept = plain.execute("SELECT snapshot_balance FROM accounts WHERE account = ?", (ADA,))
        assert kept.fetchone() == (10_000 + TRANSFERS_BETWEEN_SNAPSHOTS,)
    plain.close()
    storage.post("r1", PAID)
    storage.deposit(ADA, 7, "after")
    assert storage.balance(ADA).balance == 10_000 + TRANSFERS_BETWEEN_SNAPSHOTS - 1_000 + 7
    assert storage.ledger_check().balanced
