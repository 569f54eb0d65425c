import hashlib
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from peerllm.coordinator.accounts import (
    ApiKey,
    CustomerCreated,
    CustomerExists,
    DuplicateReceipt,
    KeyExpired,
    KeyRevoked,
    ReceiptRecorded,
    SignedReceipt,
)
from peerllm.coordinator.errors import (
    LedgerError,
    NameRefusedError,
    StorageError,
    StorageVersionError,
    UnknownAccountError,
)
from peerllm.coordinator.ledger import (
    AlreadyDeposited,
    AlreadyReserved,
    AlreadySettled,
    BudgetExceeded,
    Deposited,
    Funds,
    InsufficientFunds,
    Leg,
    Posted,
    Recovery,
    Reserved,
    Voided,
)
from peerllm.coordinator.ledger_tables import TRANSFERS_BETWEEN_SNAPSHOTS
from peerllm.coordinator.settlement import Settlement
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.storage_schema import SCHEMA_VERSION

ADA = "customers/ada"
PAID = Settlement(
    charge=1_000,
    host_share=950,
    margin=50,
    legs=(Leg("hosts/h1", 700), Leg("hosts/h2", 250), Leg("network/margin", 50)),
)
FREE = Settlement(charge=0, host_share=0, margin=0, legs=())


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordinator.sqlite"


@pytest.fixture
def storage(path: Path, clock: Clock) -> Iterator[StorageFile]:
    with StorageFile(path, clock=clock) as file:
        file.create_customer("ada")
        file.deposit(ADA, 10_000, "wire-1")
        yield file


def receipt(number: int, host: str = "h1") -> SignedReceipt:
    return SignedReceipt(host, bytes([number]) * 16, b"signed bytes")


def reserve(storage: StorageFile, reservation_id: str, amount: int = 1_000) -> None:
    outcome = storage.reserve(reservation_id, ADA, amount, key_id=None)
    assert isinstance(outcome, Reserved)


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


def test_customers_have_one_account_per_name(storage: StorageFile) -> None:
    assert storage.create_customer("bob") == CustomerCreated("customers/bob")
    assert storage.create_customer("bob") == CustomerExists("customers/bob")
    assert storage.customers() == (ADA, "customers/bob")
    for name in ("", "Bob", "a/b", "../x", "a" * 64, "a\n"):
        with pytest.raises(NameRefusedError):
            storage.create_customer(name)


def test_a_key_is_found_by_its_digest_and_stored_nowhere(
    storage: StorageFile, path: Path, clock: Clock
) -> None:
    issued = storage.create_api_key(ADA, "laptop", random=lambda size: b"\xfb" * size)
    assert issued.plain.startswith("pk-")
    assert len(issued.plain) == 46
    assert issued.plain not in repr(issued)
    assert storage.find_api_key(issued.plain) == issued.key
    assert storage.api_keys(ADA) == (issued.key,)
    assert storage.find_api_key("pk-" + "A" * 43) is None
    assert storage.find_api_key("anything else") is None
    storage.close()
    stored = path.read_bytes()
    assert issued.plain.encode()[3:] not in stored
    assert b"\xfb" * 32 not in stored
    assert hashlib.sha256(issued.plain.encode()).digest() in stored


def test_two_keys_differ(storage: StorageFile) -> None:
    first, second = storage.create_api_key(ADA, "a"), storage.create_api_key(ADA, "b")
    assert first.plain != second.plain
    with pytest.raises(LedgerError, match="random"):
        storage.create_api_key(ADA, "c", random=lambda _: b"short")


def test_expired_and_revoked_keys_buy_nothing(storage: StorageFile, clock: Clock) -> None:
    short = storage.create_api_key(ADA, "short", expires_at_us=clock.now + 1)
    lasting = storage.create_api_key(ADA, "lasting")
    clock.now += 1
    expired = KeyExpired(short.key.key_id, clock.now)
    assert storage.find_api_key(short.plain) == expired
    assert storage.reserve("r1", ADA, 1, key_id=short.key.key_id) == expired
    revoked = KeyRevoked(lasting.key.key_id, clock.now)
    assert storage.revoke_api_key(lasting.key.key_id) == revoked
    clock.now += 5
    assert storage.revoke_api_key(lasting.key.key_id) == revoked
    assert storage.find_api_key(lasting.plain) == revoked
    assert storage.reserve("r1", ADA, 1, key_id=lasting.key.key_id) == revoked
    assert storage.revoke_api_key("unknown") is None


def test_a_keys_budget_holds_over_its_life(storage: StorageFile) -> None:
    key_id = storage.create_api_key(ADA, "tight", budget=2_500).key.key_id
    assert isinstance(storage.reserve("r1", ADA, 2_000, key_id=key_id), Reserved)
    assert storage.reserve("r2", ADA, 501, key_id=key_id) == BudgetExceeded(500, 501)
    storage.post("r1", PAID)
    assert storage.reserve("r2", ADA, 1_501, key_id=key_id) == BudgetExceeded(1_500, 1_501)
    assert isinstance(storage.reserve("r2", ADA, 1_500, key_id=key_id), Reserved)
    storage.void("r2")
    (key,) = storage.api_keys(ADA)
    assert (key.spent, key.budget) == (1_000, 2_500)
    assert storage.ledger_check().balanced


def test_a_key_spends_its_own_account_only(storage: StorageFile) -> None:
    storage.create_customer("bob")
    bobs = storage.create_api_key("customers/bob", "laptop").key.key_id
    with pytest.raises(UnknownAccountError):
        storage.reserve("r1", ADA, 1, key_id=bobs)


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
    }
