"""The database file: its tables, its versions and how a connection to it is opened."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlite_utils import Database

from peerllm.coordinator.appeal_schema import APPEALS_VERSION
from peerllm.coordinator.errors import StorageError, StorageVersionError
from peerllm.coordinator.money_schema import MONEY_VERSION
from peerllm.coordinator.strike_tables import STRIKES_VERSION
from peerllm.coordinator.void_schema import VOIDS_VERSION

# The database's name in the folder of a coordinator's state.
DATABASE_FILE: Final = "coordinator.sqlite"

# How long a write waits for another process to finish its own. Group commits and
# administrative writes take milliseconds; five seconds outlast a slow disk, not a hung one.
BUSY_SECONDS = 5.0

# No column anywhere holds, or may ever hold, anything a customer wrote or a model answered.
_FIRST_VERSION = (
    """
    CREATE TABLE accounts (
        account TEXT PRIMARY KEY,
        created_at_us INTEGER NOT NULL,
        -- The balance after the transfer with this sequence number, so that deriving a balance
        -- does not read an account's whole life each time.
        snapshot_sequence INTEGER NOT NULL DEFAULT 0,
        snapshot_balance INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE api_keys (
        key_id TEXT PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
        account TEXT NOT NULL REFERENCES accounts,
        name TEXT NOT NULL,
        created_at_us INTEGER NOT NULL,
        expires_at_us INTEGER,
        revoked_at_us INTEGER,
        budget INTEGER CHECK (budget >= 0),
        spent INTEGER NOT NULL DEFAULT 0 CHECK (budget IS NULL OR spent <= budget)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX api_keys_by_account ON api_keys (account)",
    """
    CREATE TABLE reservations (
        reservation_id TEXT PRIMARY KEY,
        account TEXT NOT NULL REFERENCES accounts,
        key_id TEXT REFERENCES api_keys,
        amount INTEGER NOT NULL CHECK (amount >= 0),
        state TEXT NOT NULL CHECK (state IN ('open', 'posted', 'voided')),
        charge INTEGER CHECK (charge BETWEEN 0 AND amount),
        opened_at_us INTEGER NOT NULL,
        closed_at_us INTEGER,
        CHECK ((state = 'posted') = (charge IS NOT NULL)),
        CHECK ((state = 'open') = (closed_at_us IS NULL))
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX open_by_account ON reservations (account, amount) WHERE state = 'open'",
    "CREATE INDEX open_by_key ON reservations (key_id, amount) WHERE state = 'open'",
    """
    CREATE TABLE transfers (
        sequence INTEGER PRIMARY KEY,
        transfer_id TEXT NOT NULL UNIQUE,
        debit_account TEXT NOT NULL REFERENCES accounts,
        credit_account TEXT NOT NULL REFERENCES accounts,
        amount INTEGER NOT NULL CHECK (amount > 0),
        reservation_id TEXT REFERENCES reservations,
        recorded_at_us INTEGER NOT NULL,
        CHECK (debit_account <> credit_account)
    ) STRICT
    """,
    "CREATE INDEX transfers_by_debit ON transfers (debit_account, sequence, amount)",
    "CREATE INDEX transfers_by_credit ON transfers (credit_account, sequence, amount)",
    """
    CREATE INDEX transfers_by_reservation ON transfers (reservation_id)
    WHERE reservation_id IS NOT NULL
    """,
    """
    CREATE TABLE receipts (
        host TEXT NOT NULL,
        dispatch_id BLOB NOT NULL CHECK (length(dispatch_id) = 16),
        reservation_id TEXT REFERENCES reservations,
        raw BLOB NOT NULL CHECK (length(raw) <= 4096),
        recorded_at_us INTEGER NOT NULL,
        PRIMARY KEY (host, dispatch_id)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE seats (
        peer_id TEXT PRIMARY KEY,
        operator TEXT NOT NULL,
        tier TEXT NOT NULL CHECK (tier IN ('community', 'dedicated')),
        region TEXT NOT NULL,
        seated_at_us INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE seat_models (
        peer_id TEXT NOT NULL REFERENCES seats ON DELETE CASCADE,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        PRIMARY KEY (peer_id, digest)
    ) STRICT, WITHOUT ROWID
    """,
    # Strikes outlive the seat they were earned in, hence no reference.
    """
    CREATE TABLE strikes (
        strike INTEGER PRIMARY KEY,
        peer_id TEXT NOT NULL,
        rule TEXT NOT NULL CHECK (length(rule) <= 100),
        dispatch_id BLOB CHECK (length(dispatch_id) = 16),
        recorded_at_us INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX strikes_by_peer ON strikes (peer_id)",
    """
    CREATE TABLE recoveries (
        recovery INTEGER PRIMARY KEY,
        recovered_at_us INTEGER NOT NULL,
        voided INTEGER NOT NULL,
        released INTEGER NOT NULL
    ) STRICT
    """,
    # The rules that make history history hold for every process that opens the file.
    """
    CREATE TRIGGER transfers_are_never_changed BEFORE UPDATE ON transfers
    BEGIN SELECT RAISE(ABORT, 'transfers are immutable'); END
    """,
    """
    CREATE TRIGGER transfers_are_never_deleted BEFORE DELETE ON transfers
    BEGIN SELECT RAISE(ABORT, 'transfers are immutable'); END
    """,
    """
    CREATE TRIGGER receipts_are_never_changed BEFORE UPDATE ON receipts
    BEGIN SELECT RAISE(ABORT, 'receipts are immutable'); END
    """,
    """
    CREATE TRIGGER receipts_are_never_deleted BEFORE DELETE ON receipts
    BEGIN SELECT RAISE(ABORT, 'receipts are immutable'); END
    """,
    """
    CREATE TRIGGER reservations_close_once BEFORE UPDATE ON reservations
    WHEN OLD.state <> 'open'
    BEGIN SELECT RAISE(ABORT, 'a closed reservation is immutable'); END
    """,
    """
    CREATE TRIGGER reservations_are_never_deleted BEFORE DELETE ON reservations
    BEGIN SELECT RAISE(ABORT, 'reservations are never deleted'); END
    """,
)

# Where a host was seated when: figures of past months are taken from here, so that a host that
# moves to another region does not take its past with it.
_SEATS_VERSION = (
    """
    CREATE TABLE seat_history (
        entry INTEGER PRIMARY KEY,
        peer_id TEXT NOT NULL,
        since_us INTEGER NOT NULL,
        -- Without these the host held no seat from then on.
        operator TEXT,
        tier TEXT,
        region TEXT
    ) STRICT
    """,
    "CREATE INDEX seat_history_by_peer ON seat_history (peer_id, since_us, entry)",
    """
    INSERT INTO seat_history (peer_id, since_us, operator, tier, region)
    SELECT peer_id, seated_at_us, operator, tier, region FROM seats ORDER BY seated_at_us
    """,
    """
    CREATE TRIGGER seat_history_is_never_changed BEFORE UPDATE ON seat_history
    BEGIN SELECT RAISE(ABORT, 'the history of seats is immutable'); END
    """,
    """
    CREATE TRIGGER seat_history_is_never_deleted BEFORE DELETE ON seat_history
    BEGIN SELECT RAISE(ABORT, 'the history of seats is immutable'); END
    """,
    # Outlives the seat: who comes back during a pause is still paused.
    """
    CREATE TABLE seat_pauses (
        pause INTEGER PRIMARY KEY,
        peer_id TEXT NOT NULL,
        reason TEXT NOT NULL,
        paused_at_us INTEGER NOT NULL,
        until_us INTEGER NOT NULL CHECK (until_us > paused_at_us),
        resumed_at_us INTEGER
    ) STRICT
    """,
    "CREATE INDEX running_pauses ON seat_pauses (peer_id) WHERE resumed_at_us IS NULL",
    """
    CREATE TABLE seat_offers (
        offer INTEGER PRIMARY KEY,
        region TEXT NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        seats INTEGER NOT NULL CHECK (seats >= 0),
        decided_at_us INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX seat_offers_by_region ON seat_offers (region, digest, offer)",
    """
    CREATE TABLE waiting_list (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        peer_id TEXT NOT NULL,
        operator TEXT NOT NULL,
        region TEXT NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        since_us INTEGER NOT NULL,
        offered_at_us INTEGER,
        ended_at_us INTEGER,
        ending TEXT CHECK (ending IN ('seated', 'lapsed', 'withdrawn')),
        CHECK ((ended_at_us IS NULL) = (ending IS NULL))
    ) STRICT
    """,
    """
    CREATE UNIQUE INDEX waiting_once ON waiting_list (peer_id, region, digest)
    WHERE ended_at_us IS NULL
    """,
)

# Each entry brings the file from the version of its index to the next; entries never change
# once released.
_MIGRATIONS: tuple[Sequence[str | Callable[[Database], None]], ...] = (
    _FIRST_VERSION,
    _SEATS_VERSION,
    MONEY_VERSION,
    STRIKES_VERSION,
    APPEALS_VERSION,
    VOIDS_VERSION,
)
SCHEMA_VERSION = len(_MIGRATIONS)


def open_database(path: Path, *, read_only: bool = False) -> Database:
    """Open the file, creating or migrating it unless it is only to be read.

    A new file gets mode 0600, and SQLite gives its journal the same. The connection may be used
    from any thread, by one at a time. Raises StorageError and StorageVersionError.
    """
    with io_errors(f"opening {path}"):
        if not read_only:
            _create_privately(path)
        _refuse_if_others_can_read(path)
        # isolation_level None: the driver opens no transactions of its own accord.
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            # No plug-ins: they would run third-party code inside the ledger's connection.
            database = Database(connection, execute_plugins=False)
            if not read_only:
                # Persistent in the file: readers go on while a write commits.
                database.execute("PRAGMA journal_mode = WAL")
            # FULL: a commit is on the disk before it is reported, power loss included.
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA foreign_keys = ON")
            if read_only:
                database.execute("PRAGMA query_only = ON")
                _refuse_other_version(database)
                _require_this_version(database)
            else:
                _migrate(database)
        except BaseException:
            connection.close()
            raise
    return database


@contextmanager
def io_errors(doing: str) -> Iterator[None]:
    """Turn the driver's and the file system's errors into StorageError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"{doing} failed: {error}") from error


@contextmanager
def write_transaction(database: Database) -> Iterator[None]:
    """All or nothing; inside another write transaction, a part that can fail on its own.

    The outermost one takes the write lock at once: a deferred transaction that first reads and
    then writes fails with "database is locked", without waiting, whenever another process has
    written in between.
    """
    if database.conn.in_transaction:
        with database.atomic():
            yield
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        database.rollback()
        raise


def _create_privately(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def _refuse_if_others_can_read(path: Path) -> None:
    mode = path.stat().st_mode
    # Windows has no such bits; access there is the folder's business.
    if os.name == "posix" and mode & 0o077:
        raise StorageError(f"{path} has mode {mode & 0o777:o}: others can read it; chmod 600 it")


def _migrate(database: Database) -> None:
    version = _version(database)
    if version > SCHEMA_VERSION:
        raise StorageVersionError(
            f"the database has version {version}, this software knows up to "
            f"{SCHEMA_VERSION}: upgrade it"
        )
    if version == SCHEMA_VERSION:
        return
    with write_transaction(database):
        # Read again under the lock: another process may have migrated meanwhile.
        for steps in _MIGRATIONS[_version(database) :]:
            for step in steps:
                if isinstance(step, str):
                    database.execute(step)
                else:
                    step(database)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _require_this_version(database: Database) -> None:
    """A reader may not migrate; older tables would only make it fail in the middle."""
    version = _version(database)
    if version != SCHEMA_VERSION:
        raise StorageVersionError(
            f"the database has version {version}, this software reads {SCHEMA_VERSION}: start the"
            " coordinator with this release, which brings it there, or upgrade"
        )


def _refuse_other_version(database: Database) -> None:
    version = _version(database)
    if version != SCHEMA_VERSION:
        raise StorageVersionError(
            f"the database has version {version}, this software reads version {SCHEMA_VERSION}:"
            " start its coordinator once with this software, or upgrade this software"
        )


def _version(database: Database) -> int:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    return version
