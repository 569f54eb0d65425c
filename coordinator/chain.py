"""The hash chain over the ledger: every write of money binds all rows before it.

A link is SHA-256 over the link before it and the rows that one transaction wrote, exactly as they
stand in their tables. One altered, added or missing row breaks its link; who recomputes all links
after it is found by any head that was published before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import Final, Literal, cast

import msgspec
from sqlite_utils import Database

ChainKind = Literal["opening", "deposit", "charge", "receipts", "payout", "void"]
Row = Sequence[object]

# What of each table a link binds, in this order. A receipt goes in by the digest of its bytes.
TRANSFER_COLUMNS = (
    "sequence, transfer_id, debit_account, credit_account, amount, reservation_id, recorded_at_us"
)
RESERVATION_COLUMNS = (
    "reservation_id, account, key_id, amount, state, charge, opened_at_us, closed_at_us"
)
RECEIPT_COLUMNS = "host, dispatch_id, reservation_id, raw, recorded_at_us"
PAYOUT_COLUMNS = "batch, created_at_us, minimum, lines, total, root, payer"
PAYOUT_LINE_COLUMNS = "batch, line, host, amount, salt, payee_name, payee_account, payee_agent"

_OLD_TRANSFERS = f"SELECT {TRANSFER_COLUMNS} FROM transfers ORDER BY sequence"  # noqa: S608
_OLD_RESERVATIONS = (
    f"SELECT {RESERVATION_COLUMNS} FROM reservations"  # noqa: S608
    " WHERE state = 'posted' ORDER BY reservation_id"
)
_OLD_RECEIPTS = f"SELECT {RECEIPT_COLUMNS} FROM receipts ORDER BY host, dispatch_id"  # noqa: S608

_VOIDS = (
    f"SELECT {RESERVATION_COLUMNS} FROM reservations"  # noqa: S608
    " WHERE state = 'voided' ORDER BY reservation_id"
)
# What a link over many voids is named by, instead of one reservation.
OLDER_VOIDS: Final = "older"
RECOVERY_VOIDS: Final = "recovery"

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLink:
    """The place of a link that is being written."""

    entry: int
    previous: bytes
    kind: ChainKind
    subject: str


def receipt_row(row: Row) -> Row:
    """A row of RECEIPT_COLUMNS as a link binds it."""
    host, dispatch_id, reservation_id, raw, recorded_at_us = row
    return host, dispatch_id, reservation_id, sha256(cast("bytes", raw)).digest(), recorded_at_us


def link(previous: bytes, kind: str, subject: str, rows: Iterable[Row]) -> bytes:
    """The digest that follows `previous`; every row is bound with its length and types."""
    digest = sha256(previous)
    digest.update(_encode((kind, subject)))
    for row in rows:
        digest.update(_encode(row))
    return digest.digest()


def open_chain(database: Database) -> None:
    """Write the first link, over all that an older database holds; for its migration only."""
    rows = chain(
        database.execute(_OLD_TRANSFERS),
        database.execute(_OLD_RESERVATIONS),
        map(receipt_row, database.execute(_OLD_RECEIPTS)),
    )
    database.execute(
        "INSERT INTO chain (entry, kind, subject, digest) VALUES (0, 'opening', '', ?)",
        (link(b"", "opening", "", rows),),
    )


def bind_older_voids(database: Database) -> None:
    """Write a link over the voids of before they were bound, if any; for its migration only."""
    rows = database.execute(_VOIDS).fetchall()
    if not rows:
        return
    entry, previous = database.execute(
        "SELECT entry, digest FROM chain ORDER BY entry DESC LIMIT 1"
    ).fetchone()
    database.execute("UPDATE reservations SET entry = ? WHERE state = 'voided'", (entry + 1,))
    database.execute(
        "INSERT INTO chain (entry, kind, subject, digest) VALUES (?, 'void', ?, ?)",
        (entry + 1, OLDER_VOIDS, link(previous, "void", OLDER_VOIDS, rows)),
    )
