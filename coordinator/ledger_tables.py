"""Rows of the ledger's tables: what one money transaction reads and writes.

Rows are written with plain SQL rather than sqlite-utils' table methods: those read the schema
anew on every call. Nothing here opens a transaction; the caller has.
"""

from collections.abc import Callable, Iterable
from typing import Any

from sqlite_utils import Database

from peerllm.coordinator.accounts import (
    ApiKey,
    DuplicateReceipt,
    SignedReceipt,
)
from peerllm.coordinator.chain import (
    RECOVERY_VOIDS,
    RESERVATION_COLUMNS,
    ChainKind,
    NewLink,
    Row,
    link,
    receipt_row,
)
from peerllm.coordinator.errors import LedgerError, UnknownAccountError
from peerllm.coordinator.ledger import Budget, Funds, Reservation, Transfer

# A balance adds up at most this many transfers to its snapshot: about a tenth of a millisecond.
TRANSFERS_BETWEEN_SNAPSHOTS = 512

_KEY_COLUMNS = (
    "key_id, account, name, created_at_us, expires_at_us, revoked_at_us, budget, spent,"
    " (SELECT price_tier FROM accounts WHERE accounts.account = api_keys.account)"
)


class LedgerTables:
    """The ledger's rows on one connection."""

    def __init__(self, database: Database, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        rows: list[tuple[Any, ...]] = self._database.execute(sql, parameters).fetchall()
        return rows

    def row(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        """The first row of a query, if any."""
        row: tuple[Any, ...] | None = self._database.execute(sql, parameters).fetchone()
        return row

    def execute(self, sql: str, *parameters: object) -> int:
        """Write; the number of rows written."""
        return self._database.execute(sql, parameters).rowcount

    # Accounts and transfers

    def open_account(self, account: str) -> bool:
        """Whether the account is new."""
        return (
            self.execute(
                "INSERT INTO accounts (account, created_at_us) VALUES (?, ?)"
                " ON CONFLICT DO NOTHING",
                account,
                self._clock(),
            )
            > 0
        )

    def require_account(self, account: str) -> None:
        """Raise UnknownAccountError unless the account exists."""
        if self.row("SELECT 1 FROM accounts WHERE account = ?", account) is None:
            raise UnknownAccountError(f"there is no account {account}: create it first")

    def insert_transfer(self, link: NewLink, transfer: Transfer, reservation_id: str | None) -> Row:
        """Write a transfer whose id has never been used; the row as its link binds it."""
        values = (
            transfer.transfer_id,
            transfer.debit_account,
            transfer.credit_account,
            transfer.amount,
            reservation_id,
            self._clock(),
        )
        cursor = self._database.execute(
            "INSERT INTO transfers (transfer_id, debit_account, credit_account, amount,"
            " reservation_id, recorded_at_us, entry) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*values, link.entry),
        )
        return cursor.lastrowid, *values

    # The hash chain

    def new_link(self, kind: ChainKind, subject: str) -> NewLink:
        """The place of the next link; its rows name it, then `insert_link` binds them."""
        row = self.row("SELECT entry, digest FROM chain ORDER BY entry DESC LIMIT 1")
        if row is None:
            raise LedgerError("the ledger's hash chain has no opening: this file was tampered with")
        return NewLink(entry=row[0] + 1, previous=row[1], kind=kind, subject=subject)

    def insert_link(self, new: NewLink, rows: Iterable[Row]) -> None:
        """Bind the rows in the order in which an audit reads them."""
        self.execute(
            "INSERT INTO chain (entry, kind, subject, digest) VALUES (?, ?, ?, ?)",
            new.entry,
            new.kind,
            new.subject,
            link(new.previous, new.kind, new.subject, rows),
        )

    def transfer(self, transfer_id: str) -> Transfer | None:
        """The transfer with this business id."""
        row = self.row(
            "SELECT transfer_id, debit_account, credit_account, amount FROM transfers"
            " WHERE transfer_id = ?",
            transfer_id,
        )
        return None if row is None else Transfer(*row)

    def funds(self, account: str, *, keep_snapshot: bool) -> Funds:
        """The account's balance and open reservations, derived from its transfers.

        With `keep_snapshot` (within a write only) the sum is kept once it has become long.
        """
        row = self.row(
            "SELECT snapshot_sequence, snapshot_balance FROM accounts WHERE account = ?", account
        )
        if row is None:
            raise UnknownAccountError(f"there is no account {account}: create it first")
        since, balance = row
        entries, newest = 0, since
        for side, sign in (("credit_account", 1), ("debit_account", -1)):
            count, total, last = self.rows(
                "SELECT COUNT(*), COALESCE(SUM(amount), 0), COALESCE(MAX(sequence), 0)"  # noqa: S608
                f" FROM transfers WHERE {side} = ? AND sequence > ?",  # one of the two above
                account,
                since,
            )[0]
            balance += sign * total
            entries += count
            newest = max(newest, last)
        if keep_snapshot and entries > TRANSFERS_BETWEEN_SNAPSHOTS:
            self.execute(
                "UPDATE accounts SET snapshot_sequence = ?, snapshot_balance = ? WHERE account = ?",
                newest,
                balance,
                account,
            )
        (reserved,) = self.rows(
            "SELECT COALESCE(SUM(amount), 0) FROM reservations"
            " WHERE account = ? AND state = 'open'",
            account,
        )[0]
        return Funds(balance, reserved)

    # Reservations

    def reservation(self, reservation_id: str) -> Reservation | None:
        """The reservation with this id."""
        row = self.row(
            "SELECT reservation_id, account, key_id, amount, state, charge FROM reservations"
            " WHERE reservation_id = ?",
            reservation_id,
        )
        return None if row is None else Reservation(*row)

    def require_reservation(self, reservation_id: str) -> Reservation:
        """The reservation with this id; raises UnknownAccountError."""
        reservation = self.reservation(reservation_id)
        if reservation is None:
            raise UnknownAccountError(f"there is no reservation {reservation_id}")
        return reservation

    def insert_reservation(self, reservation: Reservation) -> None:
        """Write an open reservation; its id has never been used."""
        self.execute(
            "INSERT INTO reservations"
            " (reservation_id, account, key_id, amount, state, opened_at_us)"
            " VALUES (?, ?, ?, ?, 'open', ?)",
            reservation.reservation_id,
            reservation.account,
            reservation.key_id,
            reservation.amount,
            self._clock(),
        )

    def post_reservation(self, new: NewLink, reservation: Reservation, charge: int) -> Row:
        """Post an open reservation with its charge; the row as its link binds it."""
        self.execute(
            "UPDATE reservations SET state = 'posted', charge = ?, closed_at_us = ?, entry = ?"
            " WHERE reservation_id = ?",
            charge,
            self._clock(),
            new.entry,
            reservation.reservation_id,
        )
        if reservation.key_id is not None:
            self.execute(
                "UPDATE api_keys SET spent = spent + ? WHERE key_id = ?",
                charge,
                reservation.key_id,
            )
        return self._reservation_row(reservation.reservation_id)

    def void_reservation(self, reservation: Reservation) -> None:
        """Void an open reservation, with its link."""
        self._void(reservation.reservation_id, [reservation.reservation_id])

    def void_open_reservations(self) -> tuple[int, int]:
        """How many there were, and the sum they held; one link binds them all."""
        found = self.rows(
            "SELECT reservation_id, amount FROM reservations WHERE state = 'open'"
            " ORDER BY reservation_id"
        )
        if found:
            self._void(RECOVERY_VOIDS, [name for name, _ in found])
        return len(found), sum(amount for _, amount in found)

    def _void(self, subject: str, reservation_ids: Iterable[str]) -> None:
        new, bound = self.new_link("void", subject), []
        for reservation_id in reservation_ids:
            self.execute(
                "UPDATE reservations SET state = 'voided', closed_at_us = ?, entry = ?"
                " WHERE reservation_id = ?",
                self._clock(),
                new.entry,
                reservation_id,
            )
            bound.append(self._reservation_row(reservation_id))
        self.insert_link(new, bound)

    def _reservation_row(self, reservation_id: str) -> Row:
        """A reservation as a link binds it."""
        (row,) = self.rows(
            f"SELECT {RESERVATION_COLUMNS} FROM reservations WHERE reservation_id = ?",  # noqa: S608
            reservation_id,
        )
        return row

    # Keys

    def insert_key(self, key: ApiKey, digest: bytes) -> None:
        """Write a new key."""
        self.execute(
            "INSERT INTO api_keys"
            " (key_id, digest, account, name, created_at_us, expires_at_us, budget)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            key.key_id,
            digest,
            key.account,
            key.name,
            key.created_at_us,
            key.expires_at_us,
            key.budget,
        )

    def key(self, key_id: str) -> ApiKey | None:
        """The key with this public id."""
        return self._key("key_id = ?", key_id)

    def key_by_digest(self, digest: bytes) -> ApiKey | None:
        """The key with this SHA-256 digest."""
        return self._key("digest = ?", digest)

    def keys_of(self, account: str) -> tuple[ApiKey, ...]:
        """An account's keys, oldest first."""
        sql = (
            f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE account = ? ORDER BY created_at_us, key_id"  # noqa: S608
        )
        return tuple(ApiKey(*row) for row in self.rows(sql, account))

    def _key(self, condition: str, value: object) -> ApiKey | None:
        row = self.row(f"SELECT {_KEY_COLUMNS} FROM api_keys WHERE {condition}", value)  # noqa: S608
        return None if row is None else ApiKey(*row)

    def budget(self, key: ApiKey) -> Budget | None:
        """The key's own limit and what it holds; None if it has no limit."""
        if key.budget is None:
            return None
        (reserved,) = self.rows(
            "SELECT COALESCE(SUM(amount), 0) FROM reservations WHERE key_id = ? AND state = 'open'",
            key.key_id,
        )[0]
        return Budget(limit=key.budget, spent=key.spent, reserved=reserved)

    # Receipts

    def first_duplicate(self, receipts: Iterable[SignedReceipt]) -> DuplicateReceipt | None:
        """The first of the receipts that is already kept, or is given twice."""
        seen = set()
        for receipt in receipts:
            name = (receipt.host, receipt.dispatch_id)
            known = self.row("SELECT 1 FROM receipts WHERE host = ? AND dispatch_id = ?", *name)
            if known is not None or name in seen:
                return DuplicateReceipt(*name)
            seen.add(name)
        return None

    def insert_receipts(
        self, new: NewLink, receipts: Iterable[SignedReceipt], reservation_id: str | None
    ) -> list[Row]:
        """Write receipts that are not yet kept; the rows as their link binds them."""
        rows = []
        for receipt in sorted(receipts, key=lambda one: (one.host, one.dispatch_id)):
            row = (
                receipt.host,
                receipt.dispatch_id,
                reservation_id,
                receipt.raw,
                self._clock(),
            )
            self.execute(
                "INSERT INTO receipts (host, dispatch_id, reservation_id, raw, recorded_at_us,"
                " entry) VALUES (?, ?, ?, ?, ?, ?)",
                *row,
                new.entry,
            )
            rows.append(receipt_row(row))
        return rows
