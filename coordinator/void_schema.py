"""Sixth version of the database: voided reservations are bound by the hash chain, too."""

from collections.abc import Callable
from typing import Final

from sqlite_utils import Database

from peerllm.coordinator.chain import bind_older_voids

VOIDS_VERSION: Final[tuple[str | Callable[[Database], None], ...]] = (
    # SQLite changes no CHECK of a table that is there: the chain is copied into a new one.
    """
    CREATE TABLE chain_with_voids (
        entry INTEGER PRIMARY KEY,
        kind TEXT NOT NULL
            CHECK (kind IN ('opening', 'deposit', 'charge', 'receipts', 'payout', 'void')),
        subject TEXT NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32)
    ) STRICT
    """,
    "INSERT INTO chain_with_voids SELECT entry, kind, subject, digest FROM chain ORDER BY entry",
    "DROP TABLE chain",
    "ALTER TABLE chain_with_voids RENAME TO chain",
    *(
        f"CREATE TRIGGER chain_are_never_{past} BEFORE {verb} ON chain"
        " BEGIN SELECT RAISE(ABORT, 'chain are immutable'); END"
        for verb, past in (("UPDATE", "changed"), ("DELETE", "deleted"))
    ),
    "DROP TRIGGER reservations_close_once",
    bind_older_voids,
    """
    CREATE TRIGGER reservations_close_once BEFORE UPDATE ON reservations
    WHEN OLD.state <> 'open'
    BEGIN SELECT RAISE(ABORT, 'a closed reservation is immutable'); END
    """,
)
