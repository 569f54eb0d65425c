# ruff: noqa: S608 - the tests' own names of tables and columns
"""The hash chain: one altered row anywhere is found, and so is a chain made anew."""

import sqlite3
from hashlib import sha256
from pathlib import Path

import pytest
from sqlite_utils import Database

from peerllm.coordinator import storage_schema
from peerllm.coordinator.accounts import SignedReceipt
from peerllm.coordinator.chain import link
from peerllm.coordinator.errors import StorageVersionError
from peerllm.coordinator.ledger import Recovery
from peerllm.coordinator.ledger_audit import audit
from peerllm.coordinator.settlement import ChunkWork, HostWork, Settlement, Shares, settle
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.storage_schema import _FIRST_VERSION, SCHEMA_VERSION

ADA = "customers/ada"
CHAINED = ("transfers", "receipts", "reservations")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    with StorageFile(path, clock=lambda: 1_000) as storage:
        fill(storage, 0)
    return path


def fill(storage: StorageFile, start: int) -> None:
    storage.create_customer("ada")
    storage.deposit(ADA, 10**9, f"wire-{start}", tax=190, fee=29)
    settle_one(storage, start + 1)
    storage.reserve(f"given up {start}", ADA, 700, key_id=None)
    storage.void(f"given up {start}")
    storage.record_receipts([SignedReceipt("late", start.to_bytes(16), b"late")])


def settle_one(storage: StorageFile, number: int) -> None:
    work = (HostWork("h1", "leader", 10, 10, 10), HostWork("h2", "backup", 5, 5, 0))
    settlement = settle(1_000 * number, Shares(9_500, 2_000), (ChunkWork(1, work),))
    assert isinstance(settlement, Settlement)
    storage.reserve(f"r{number}", ADA, 20_000, key_id=None)
    receipts = [SignedReceipt(host, number.to_bytes(16), b"signed") for host in ("h2", "h1")]
    storage.post(f"r{number}", settlement, receipts)


def faults(path: Path) -> str:
    with StorageFile(path, read_only=True) as storage:
        return "\n".join(storage.ledger_check().faults)


def by_hand(path: Path) -> sqlite3.Connection:
    """The database as an attacker has it: without triggers, rules or references."""
    database = sqlite3.connect(path, isolation_level=None)
    for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        database.execute(f"DROP TRIGGER {trigger}")
    database.execute("PRAGMA foreign_keys = OFF")
    database.execute("PRAGMA ignore_check_constraints = ON")
    return database


def rows(path: Path, table: str) -> list[tuple[str, tuple[object, ...]]]:
    """For each row of a table, the condition that it alone meets, with its values."""
    database = sqlite3.connect(path)
    names = [name for _, name, *_, key in database.execute(f"PRAGMA table_info({table})") if key]
    found = database.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()
    return [(" AND ".join(f"{name} = ?" for name in names), values) for values in found]


def columns(path: Path, table: str) -> list[str]:
    return [row[1] for row in sqlite3.connect(path).execute(f"PRAGMA table_info({table})")]


def altered(value: object) -> object:
    match value:
        case int():
            return value + 1_000
        case str():
            return value + "x"
        case bytes():
            return bytes([value[0] ^ 1, *value[1:]])
        case _:
            return "r1"


def faults_after(database: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> int:
    """How much an audit finds after one statement, which is then undone."""
    database.execute("BEGIN")
    assert database.execute(statement, values).rowcount == 1
    found = audit(Database(database, execute_plugins=False)).faults
    database.execute("ROLLBACK")
    return len(found)


@pytest.mark.parametrize("table", CHAINED)
def test_every_value_of_every_row_is_bound(path: Path, table: str) -> None:
    assert faults(path) == ""
    database, tried = by_hand(path), 0
    for where, key in rows(path, table):
        for name in columns(path, table):
            ((value,),) = database.execute(f"SELECT {name} FROM {table} WHERE {where}", key)
            statement = f"UPDATE {table} SET {name} = ? WHERE {where}"
            if name != "key_id":
                # A void has no charge.
                other = 1 if value is None and name == "charge" else altered(value)
                assert faults_after(database, statement, (other, *key)), (name, key)
                tried += 1
    assert tried >= 7
    assert faults(path) == ""


@pytest.mark.parametrize("table", [*CHAINED, "chain"])
def test_a_row_taken_away_is_found(path: Path, table: str) -> None:
    database = by_hand(path)
    for where, key in rows(path, table):
        assert faults_after(database, f"DELETE FROM {table} WHERE {where}", key), key


def test_a_charge_altered_in_all_its_rows_is_found(path: Path) -> None:
    """Consistent with every rule of bookkeeping: only the chain knows."""
    database = by_hand(path)
    database.executescript(
        """
        UPDATE reservations SET charge = 2000 WHERE reservation_id = 'r1';
        UPDATE transfers SET amount = amount * 2 WHERE reservation_id = 'r1';
        """
    )
    found = faults(path)
    assert "link 2 of the hash chain (charge r1) does not bind its rows" in found
    assert found.count("\n") == 0


def test_a_chain_made_anew_has_another_head(path: Path) -> None:
    with StorageFile(path, read_only=True) as storage:
        report = storage.ledger_check()
    database = by_hand(path)
    database.execute("UPDATE receipts SET raw = x'00' WHERE host = 'late'")
    ((previous,),) = database.execute(
        "SELECT digest FROM chain WHERE entry = ?", (report.chain_entries - 1,)
    )
    row = ("late", bytes(16), None, sha256(b"\0").digest(), 1_000)
    database.execute(
        "UPDATE chain SET digest = ? WHERE entry = ?",
        (link(previous, "receipts", "late", [row]), report.chain_entries),
    )
    with StorageFile(path, read_only=True) as storage:
        anew = storage.ledger_check()
    assert anew.faults == ()
    assert anew.chain_head != report.chain_head


def test_a_ledger_from_before_the_chain_is_bound_by_its_opening(path: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.sqlite"
    old.touch(mode=0o600)
    database = sqlite3.connect(old, isolation_level=None)
    for statement in _FIRST_VERSION:
        database.execute(statement)
    database.execute("PRAGMA user_version = 1")
    database.execute("ATTACH ? AS new", (str(path),))
    for table in ("accounts", "reservations", "transfers", "receipts"):
        names = ", ".join(row[1] for row in database.execute(f"PRAGMA main.table_info({table})"))
        database.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
    database.close()
    with pytest.raises(StorageVersionError, match=f"version 1, .* reads version {SCHEMA_VERSION}"):
        StorageFile(old, read_only=True)
    with StorageFile(old, clock=lambda: 2_000) as storage:
        assert storage.ledger_check().faults == ()
        fill(storage, 10)
        report = storage.ledger_check()
        assert report.faults == ()
        # The void of before, then four of the filling.
        assert report.chain_entries == 5
    by_hand(old).execute("UPDATE reservations SET amount = 1 WHERE state = 'voided'")
    assert "link 1 of the hash chain (void older) does not bind" in faults(old)
    by_hand(old).execute("UPDATE transfers SET recorded_at_us = 7 WHERE sequence = 5")
    assert "link 0 of the hash chain (opening ) does not bind" in faults(old)


def test_what_a_recovery_voids_is_bound_by_one_link(path: Path) -> None:
    with StorageFile(path, clock=lambda: 1_000) as storage:
        before = storage.ledger_check().chain_entries
        for name in ("ö", "a", "z", "B"):
            storage.reserve(name, ADA, 10, key_id=None)
        storage.reserve("another", ADA, 10, key_id=None)
        storage.void("another")
        assert storage.recover() == Recovery(4, 40)
        assert storage.recover() == Recovery(0, 0)
        report = storage.ledger_check()
    assert (report.faults, report.chain_entries) == ((), before + 2)
    database = by_hand(path)
    for change in (
        "state = 'open', closed_at_us = NULL WHERE reservation_id = 'z'",
        "state = 'posted', charge = 0 WHERE reservation_id = 'z'",
        "entry = entry - 1 WHERE reservation_id = 'z'",
        "entry = NULL WHERE reservation_id = 'z'",
        "amount = amount + 1 WHERE reservation_id = 'z'",
        "key_id = 'k' WHERE reservation_id = 'z'",
    ):
        assert faults_after(database, f"UPDATE reservations SET {change}", ())


def test_a_chain_of_before_is_carried_over_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database of the fifth version, which voided without links: its links stay to the byte."""
    path = tmp_path / "old.sqlite"
    with monkeypatch.context() as older:
        older.setattr(storage_schema, "_MIGRATIONS", storage_schema._MIGRATIONS[:5])
        older.setattr(storage_schema, "SCHEMA_VERSION", 5)
        with StorageFile(path, clock=lambda: 1_000) as storage:
            storage.create_customer("ada")
            storage.deposit(ADA, 10**9, "wire")
            settle_one(storage, 1)
            storage.reserve("given up", ADA, 700, key_id=None)
            storage.reserve("open", ADA, 700, key_id=None)
    plain = sqlite3.connect(path, isolation_level=None)
    plain.execute(
        "UPDATE reservations SET state = 'voided', closed_at_us = 9"
        " WHERE reservation_id = 'given up'"
    )
    links = "SELECT entry, kind, subject, digest FROM chain ORDER BY entry"
    before = plain.execute(links).fetchall()
    with StorageFile(path, clock=lambda: 2_000) as storage:
        assert storage.ledger_check().chain_entries == len(before)
        settle_one(storage, 7)
        storage.void("open")
        assert storage.ledger_check().faults == ()
    assert plain.execute(links).fetchall()[: len(before)] == before
    for change in (
        "UPDATE chain SET digest = zeroblob(32)",
        "DELETE FROM chain",
        "UPDATE reservations SET amount = 1",
        "INSERT INTO chain VALUES (99, 'other', '', zeroblob(32))",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            plain.execute(change)
    plain.close()
    by_hand(path).execute("UPDATE reservations SET amount = 1 WHERE reservation_id = 'given up'")
    assert "(void older) does not bind its rows" in faults(path)
