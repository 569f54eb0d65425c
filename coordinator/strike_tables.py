"""Strikes as the database keeps them: never deleted, changed only by being withdrawn once.

Nothing in the tables opens a transaction; the caller has.
"""

import secrets
from collections.abc import Callable
from typing import Final

from sqlite_utils import Database

from peerllm.charter.log_entries import SALT_BYTES
from peerllm.coordinator.accounts import Strike, StrikeKnown, StrikeWithdrawn
from peerllm.coordinator.ledger_tables import LedgerTables

_COLUMNS = (
    "peer_id, rule, dispatch_id, recorded_at_us, strike, region, evidence_sha256, salt,"
    " withdrawn_at_us, withdrawal"
)


def _salt_older_strikes(database: Database) -> None:
    for (number,) in database.execute("SELECT strike FROM strikes").fetchall():
        salt = secrets.token_bytes(SALT_BYTES)
        database.execute("UPDATE strikes SET salt = ? WHERE strike = ?", (salt, number))


# Fourth version of the database: what a strike rests on, the salt of its commitment, appeals.
STRIKES_VERSION: Final[tuple[str | Callable[[Database], None], ...]] = (
    "ALTER TABLE strikes ADD COLUMN region TEXT NOT NULL DEFAULT 'default'",
    """
    ALTER TABLE strikes ADD COLUMN evidence_sha256 BLOB CHECK (length(evidence_sha256) = 32)
    """,
    # Without it, whoever knows the hosts and rules could guess what a commitment hides.
    "ALTER TABLE strikes ADD COLUMN salt BLOB CHECK (length(salt) = 32)",
    "ALTER TABLE strikes ADD COLUMN withdrawn_at_us INTEGER",
    """
    ALTER TABLE strikes ADD COLUMN withdrawal TEXT
    CHECK ((withdrawal IS NULL) = (withdrawn_at_us IS NULL))
    """,
    _salt_older_strikes,
    """
    CREATE TRIGGER strikes_are_only_withdrawn BEFORE UPDATE ON strikes
    WHEN OLD.withdrawn_at_us IS NOT NULL OR NEW.withdrawn_at_us IS NULL
    OR (NEW.strike, NEW.peer_id, NEW.rule, NEW.dispatch_id, NEW.recorded_at_us, NEW.region,
        NEW.evidence_sha256, NEW.salt)
    IS NOT (OLD.strike, OLD.peer_id, OLD.rule, OLD.dispatch_id, OLD.recorded_at_us, OLD.region,
        OLD.evidence_sha256, OLD.salt)
    BEGIN SELECT RAISE(ABORT, 'a strike is only ever withdrawn, once'); END
    """,
    """
    CREATE TRIGGER strikes_are_never_deleted BEFORE DELETE ON strikes
    BEGIN SELECT RAISE(ABORT, 'strikes are never deleted'); END
    """,
)


class StrikeTables:
    """The strikes' rows on one connection."""

    def __init__(self, tables: LedgerTables, clock: Callable[[], int]) -> None:
        self._tables = tables
        self._clock = clock

    def record(
        self,
        peer_id: str,
        rule: str,
        dispatch_id: bytes | None,
        evidence_sha256: bytes | None,
        random: Callable[[int], bytes],
    ) -> Strike | StrikeKnown:
        """Write a strike, unless the same evidence was held against the host by this rule."""
        known = self._tables.row(
            "SELECT strike FROM strikes WHERE peer_id = ? AND rule = ? AND evidence_sha256 = ?",
            peer_id,
            rule,
            evidence_sha256,
        )
        if known is not None:
            return StrikeKnown(known[0])
        region = self._tables.row(
            "SELECT region FROM seat_history WHERE peer_id = ? AND region IS NOT NULL"
            " ORDER BY since_us DESC, entry DESC LIMIT 1",
            peer_id,
        )
        self._tables.execute(
            "INSERT INTO strikes (peer_id, rule, dispatch_id, recorded_at_us, region,"
            " evidence_sha256, salt) VALUES (?, ?, ?, ?, ?, ?, ?)",
            peer_id,
            rule,
            dispatch_id,
            self._clock(),
            "default" if region is None else region[0],
            evidence_sha256,
            random(SALT_BYTES),
        )
        return self.strikes(peer_id)[-1]

    def strikes(self, peer_id: str | None) -> tuple[Strike, ...]:
        """A host's strikes, or everybody's, oldest first; the withdrawn ones too."""
        rows = self._tables.rows(
            f"SELECT {_COLUMNS} FROM strikes"  # noqa: S608 - a constant
            " WHERE peer_id = COALESCE(?, peer_id) ORDER BY strike",
            peer_id,
        )
        return tuple(Strike(*row) for row in rows)

    def withdraw(self, number: int, reason: str) -> Strike | StrikeWithdrawn | None:
        """Let a strike count no more; StrikeWithdrawn if it was before, None if there is none."""
        held = next((one for one in self.strikes(None) if one.number == number), None)
        if held is None:
            return None
        if held.withdrawn_at_us is not None:
            return StrikeWithdrawn(number, held.withdrawn_at_us)
        self._tables.execute(
            "UPDATE strikes SET withdrawn_at_us = ?, withdrawal = ? WHERE strike = ?",
            # Not before it was recorded, even when the clock has been set back.
            max(self._clock(), held.recorded_at_us),
            reason,
            number,
        )
        return next(one for one in self.strikes(held.peer_id) if one.number == number)

    def receipt(self, peer_id: str, dispatch_id: bytes) -> bytes | None:
        """The signed receipt that a host handed in for a dispatch, as it came."""
        row = self._tables.row(
            "SELECT raw FROM receipts WHERE host = ? AND dispatch_id = ?", peer_id, dispatch_id
        )
        return None if row is None else bytes(row[0])
