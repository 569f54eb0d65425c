import os
import sqlite3
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from peerllm.coordinator.accounts import ApiKey, SignedReceipt
from peerllm.coordinator.errors import (
    LedgerError,
    NameRefusedError,
    StorageError,
    StorageVersionError,
)
from peerllm.coordinator.ledger import Funds, Posted, Reserved, Voided
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.storage_schema import SCHEMA_VERSION
from tests.coordinator.storage_stage import ADA, PAID, Clock, receipt, reserve


def test_seats_are_given_replaced_and_taken(storage: StorageFile, clock: Clock) -> None:
    first, second = b"\x01" * 32, b"\x02" * 32
    storage.seat("p1", "coop", "community", [first, second], region="north")
    seat = storage.seat("p1", "coop", "community", [second])
    bare = storage.seat("p0", "network", "dedicated", [])
    assert storage.seats() == (bare, seat)
    assert seat.digests == {second}
    assert storage.unseat("p1")
    assert not storage.unseat("p1")
    assert storage.seats() == (bare,)
    with pytest.raises(NameRefusedError):
        storage.seat("p2", "coop", "community", [b"short"])
    with pytest.raises(NameRefusedError):
        storage.seat("p2", "\n", "community", [first])


def test_strikes_are_kept_in_order_and_outlive_the_seat(storage: StorageFile) -> None:
    storage.seat("p1", "coop", "community", [])
    first = storage.record_strike("p1", "forged_receipt", dispatch_id=b"\x07" * 16)
    second = storage.record_strike("p1", "wrong_model")
    storage.unseat("p1")
    assert storage.strikes("p1") == (first, second)
    assert storage.strikes("p2") == ()


def test_a_group_commits_the_good_and_reports_the_bad(storage: StorageFile) -> None:
    reserve(storage, "r1")
    results = storage.together(
        [
            lambda file: file.reserve("r2", ADA, 10, key_id=None),
            lambda file: file.post("r1", replace(PAID, charge=1_001)),
            lambda file: file.void("r1"),
        ]
    )
    assert isinstance(results[0].unwrap(), Reserved)
    with pytest.raises(LedgerError):
        results[1].unwrap()
    assert results[2].unwrap() == Voided("r1")
    assert storage.balance(ADA).reserved == 10


def test_a_write_that_fails_half_way_is_undone_alone(storage: StorageFile) -> None:
    reserve(storage, "r1")
    oversized = SignedReceipt("h1", b"d" * 16, b"x" * 5_000)
    results = storage.together(
        [
            lambda file: file.post("r1", PAID, [receipt(1), oversized]),
            lambda file: file.reserve("r2", ADA, 10, key_id=None),
        ]
    )
    with pytest.raises(StorageError, match="CHECK"):
        results[0].unwrap()
    assert isinstance(results[1].unwrap(), Reserved)
    assert storage.balance(ADA) == Funds(balance=10_000, reserved=1_010)
    assert storage.post("r1", PAID, [receipt(1)]) == Posted("r1", 1_000)


def test_a_group_the_database_undoes_leaves_nothing(storage: StorageFile) -> None:
    # What SQLite does by itself on some I/O errors: the whole transaction is gone.
    storage._database.execute("CREATE TABLE mine (number INTEGER)")
    storage._database.execute(
        "CREATE TRIGGER explode BEFORE INSERT ON mine BEGIN SELECT RAISE(ROLLBACK, 'lost'); END"
    )
    with pytest.raises(StorageError, match="undid"):
        storage.together(
            [
                lambda file: file.reserve("r1", ADA, 10, key_id=None),
                lambda file: file._write(
                    lambda: file._database.execute("INSERT INTO mine VALUES (1)")
                ),
                lambda file: file.reserve("r2", ADA, 10, key_id=None),
            ]
        )
    assert storage.balance(ADA).reserved == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount = 1",
        "DELETE FROM transfers",
        "UPDATE receipts SET raw = x'00'",
        "DELETE FROM receipts",
        "UPDATE reservations SET state = 'open', charge = NULL, closed_at_us = NULL",
        "DELETE FROM reservations",
        "INSERT INTO transfers"
        " VALUES (99, 'deposit/wire-1', 'outside', 'customers/ada', 1, NULL, 0, NULL)",
        "INSERT INTO transfers VALUES (99, 'x', 'outside', 'customers/nobody', 1, NULL, 0, NULL)",
        "INSERT INTO transfers VALUES (99, 'x', 'outside', 'customers/ada', -1, NULL, 0, NULL)",
    ],
)
def test_history_cannot_be_changed_by_hand(
    storage: StorageFile, path: Path, statement: str
) -> None:
    reserve(storage, "r1")
    storage.post("r1", PAID, [receipt(1)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA foreign_keys = ON")
    with pytest.raises(sqlite3.IntegrityError):
        other.execute(statement)
    other.close()


@pytest.mark.parametrize(
    ("tampering", "fault"),
    [
        (
            "INSERT INTO transfers VALUES (99, 'x', 'customers/ada', 'hosts/h1', 1, NULL, 0, NULL)",
            "only deposits come without a reservation",
        ),
        (
            "INSERT INTO transfers VALUES (99, 'x', 'customers/ada', 'hosts/h1', 1, 'r1', 0, NULL)",
            "legs sum to its charge",
        ),
        (
            "INSERT INTO transfers VALUES (99, 'x', 'hosts/h1', 'hosts/h2', 1, 'r1', 0, NULL)",
            "debit its own account",
        ),
        (
            "INSERT INTO reservations"
            " VALUES ('r2', 'customers/ada', NULL, 10000, 'posted', 10000, 0, 0, NULL);"
            "INSERT INTO transfers"
            " VALUES (98, 'x', 'customers/ada', 'hosts/h1', 9499, 'r2', 0, NULL);"
            "INSERT INTO transfers"
            " VALUES (99, 'y', 'customers/ada', 'network/margin', 501, 'r2', 0, NULL)",
            "hosts get their share",
        ),
        (
            "INSERT INTO transfers"
            " VALUES (99, 'x', 'customers/ada', 'network/margin', 100000, 'r1', 0, NULL)",
            "below zero",
        ),
        ("UPDATE accounts SET snapshot_balance = 1", "kept balance"),
        ("UPDATE api_keys SET spent = 1", "a key has spent"),
        (
            "INSERT INTO transfers"
            " VALUES (99, 'x', 'outside', 'customers/nobody', 1, NULL, 0, NULL)",
            "every reference",
        ),
    ],
)
def test_the_check_finds_tampering(
    storage: StorageFile, path: Path, tampering: str, fault: str
) -> None:
    storage.create_api_key(ADA, "laptop")
    reserve(storage, "r1")
    storage.post("r1", PAID)
    other = sqlite3.connect(path, isolation_level=None)
    other.executescript(tampering)
    other.close()
    report = storage.ledger_check()
    assert not report.balanced
    assert any(fault in line for line in report.faults)


def test_the_file_is_for_its_owner_alone(storage: StorageFile, path: Path) -> None:
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        assert stat.S_IMODE(name.stat().st_mode) == 0o600
    storage.close()
    os.chmod(path, 0o640)
    with pytest.raises(StorageError, match="chmod 600"):
        StorageFile(path)


def test_a_newer_file_is_refused_and_left_alone(storage: StorageFile, path: Path) -> None:
    storage.close()
    plain = sqlite3.connect(path)
    assert plain.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    plain.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    plain.close()
    with pytest.raises(StorageVersionError, match="upgrade"):
        StorageFile(path)


def test_what_is_no_database_is_refused(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StorageError):
        StorageFile(path)
    with pytest.raises(StorageError):
        StorageFile(path.with_name("missing"), read_only=True)


def test_a_reader_cannot_write(storage: StorageFile, path: Path) -> None:
    with StorageFile(path, read_only=True) as reader:
        assert reader.balance(ADA).balance == 10_000
        with pytest.raises(StorageError):
            reader.create_customer("eve")


def test_state_survives_reopening(storage: StorageFile, path: Path) -> None:
    issued = storage.create_api_key(ADA, "laptop")
    storage.close()
    with StorageFile(path) as again:
        assert isinstance(again.find_api_key(issued.plain), ApiKey)
        assert again.balance(ADA).balance == 10_000


def test_commits_wait_for_the_disk_and_journal_ahead(storage: StorageFile) -> None:
    def pragma(name: str) -> object:
        return storage._database.execute(f"PRAGMA {name}").fetchone()[0]

    assert (pragma("journal_mode"), pragma("synchronous"), pragma("foreign_keys")) == ("wal", 2, 1)


def test_two_connections_write_without_losing_anything(storage: StorageFile, path: Path) -> None:
    failures: list[Exception] = []

    def administer(worker: int) -> None:
        try:
            with StorageFile(path) as file:
                for number in range(20):
                    file.deposit(ADA, 1, f"{worker}-{number}")
        except StorageError as error:
            failures.append(error)

    threads = [threading.Thread(target=administer, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert storage.balance(ADA).balance == 10_060


def test_no_column_could_hold_what_a_customer_wrote(path: Path, storage: StorageFile) -> None:
    text_and_blob = {
        (table.name, column.name)
        for table in storage._database.tables
        for column in table.columns
        if column.type in {"TEXT", "BLOB", "ANY"}
    }
    assert text_and_blob == {
        ("accounts", "account"),
        ("accounts", "price_tier"),
        ("chain", "kind"),
        ("chain", "subject"),
        ("chain", "digest"),
        ("payees", "host"),
        ("payees", "name"),
        ("payees", "payee_account"),
        ("payees", "payee_agent"),
        ("payouts", "batch"),
        ("payouts", "root"),
        ("payouts", "payer"),
        ("payout_lines", "batch"),
        ("payout_lines", "host"),
        ("payout_lines", "salt"),
        ("payout_lines", "payee_name"),
        ("payout_lines", "payee_account"),
        ("payout_lines", "payee_agent"),
        ("api_keys", "key_id"),
        ("api_keys", "digest"),
        ("api_keys", "account"),
        ("api_keys", "name"),
        ("reservations", "reservation_id"),
        ("reservations", "account"),
        ("reservations", "key_id"),
        ("reservations", "state"),
        ("transfers", "transfer_id"),
        ("transfers", "debit_account"),
        ("transfers", "credit_account"),
        ("transfers", "reservation_id"),
        ("receipts", "host"),
        ("receipts", "dispatch_id"),
        ("receipts", "reservation_id"),
        ("receipts", "raw"),
        ("seats", "peer_id"),
        ("seats", "operator"),
        ("seats", "tier"),
        ("seats", "region"),
        ("seat_models", "peer_id"),
        ("seat_models", "digest"),
        ("seat_history", "peer_id"),
        ("seat_history", "operator"),
        ("seat_history", "tier"),
        ("seat_history", "region"),
        ("seat_pauses", "peer_id"),
        ("seat_pauses", "reason"),
        ("seat_offers", "region"),
        ("seat_offers", "digest"),
        ("waiting_list", "peer_id"),
        ("waiting_list", "operator"),
        ("waiting_list", "region"),
        ("waiting_list", "digest"),
        ("waiting_list", "ending"),
        ("strikes", "peer_id"),
        ("strikes", "rule"),
        ("strikes", "dispatch_id"),
        ("strikes", "region"),
        ("strikes", "evidence_sha256"),
        ("strikes", "salt"),
        ("strikes", "withdrawal"),
        ("strikes", "recorded_by"),
        ("strikes", "dismissed_by"),
    }
