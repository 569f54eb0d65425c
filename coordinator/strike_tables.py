"""Strikes as the database keeps them: never deleted; appealed, decided on and withdrawn once each.

What is read is as of now: an appeal whose time is over has succeeded, also while that is not
written. Every decision begins with writing it, so that none can come before it. Nothing in the
tables opens a transaction; the caller has.
"""

import secrets
from collections.abc import Callable
from typing import Final

from sqlite_utils import Database

from peerllm.charter.log_entries import SALT_BYTES
from peerllm.charter.promises import StrikePolicy
from peerllm.coordinator.accounts import Strike, StrikeKnown, StrikeWithdrawn
from peerllm.coordinator.appeal_rules import (
    NOT_DECIDED,
    AppealRefused,
    DismissalRefused,
    appealed,
    as_of,
    dismissed,
)
from peerllm.coordinator.ledger_tables import LedgerTables

_COLUMNS = (
    "peer_id, rule, dispatch_id, recorded_at_us, strike, region, evidence_sha256, salt,"
    " withdrawn_at_us, withdrawal, recorded_by, appealed_at_us, decide_by_us, dismissed_at_us,"
    " dismissed_by"
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
        by: str | None = None,
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
            " evidence_sha256, salt, recorded_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            peer_id,
            rule,
            dispatch_id,
            self._clock(),
            "default" if region is None else region[0],
            evidence_sha256,
            random(SALT_BYTES),
            by,
        )
        return self.strikes(peer_id)[-1]

    def strikes(self, peer_id: str | None) -> tuple[Strike, ...]:
        """A host's strikes, or everybody's, oldest first; the withdrawn ones too."""
        rows = self._tables.rows(
            f"SELECT {_COLUMNS} FROM strikes"  # noqa: S608 - a constant
            " WHERE peer_id = COALESCE(?, peer_id) ORDER BY strike",
            peer_id,
        )
        now_us = self._clock()
        return tuple(as_of(Strike(*row), now_us) for row in rows)

    def write_due_appeals(self) -> int:
        """Write down every appeal that has succeeded by its time; how many there were."""
        return self._tables.execute(
            "UPDATE strikes SET withdrawn_at_us = decide_by_us, withdrawal = ?"
            " WHERE decide_by_us <= ? AND dismissed_at_us IS NULL AND withdrawn_at_us IS NULL",
            NOT_DECIDED,
            self._clock(),
        )

    def appeal(
        self, number: int, policy: StrikePolicy, received_us: int | None
    ) -> Strike | AppealRefused | None:
        """Take an appeal down that came in now or at `received_us`; None without such a strike."""
        self.write_due_appeals()
        held = self._strike(number)
        if held is None:
            return None
        now_us = self._clock()
        found = appealed(
            held,
            policy,
            # Not before the strike was recorded, even when the clock has been set back.
            max(now_us, held.recorded_at_us) if received_us is None else received_us,
            max(now_us, held.recorded_at_us),
        )
        if isinstance(found, AppealRefused):
            return found
        self._tables.execute(
            "UPDATE strikes SET appealed_at_us = ?, decide_by_us = ? WHERE strike = ?",
            found.appealed_at_us,
            found.decide_by_us,
            number,
        )
        self.write_due_appeals()
        return self._strike(number)

    def dismiss(self, number: int, by: str) -> Strike | DismissalRefused | None:
        """Decide against an appeal in time; None if there is no such strike."""
        self.write_due_appeals()
        held = self._strike(number)
        if held is None:
            return None
        found = dismissed(held, by, self._clock(), self._latest_us())
        if isinstance(found, DismissalRefused):
            return found
        self._tables.execute(
            "UPDATE strikes SET dismissed_at_us = ?, dismissed_by = ? WHERE strike = ?",
            found.dismissed_at_us,
            found.dismissed_by,
            number,
        )
        return self._strike(number)

    def _strike(self, number: int) -> Strike | None:
        row = self._tables.row(
            f"SELECT {_COLUMNS} FROM strikes WHERE strike = ?",  # noqa: S608 - a constant
            number,
        )
        return None if row is None else as_of(Strike(*row), self._clock())

    def _latest_us(self) -> int:
        """The newest moment that money or a strike was written at."""
        ((latest,),) = self._tables.rows(
            "SELECT MAX("
            "COALESCE((SELECT recorded_at_us FROM transfers ORDER BY sequence DESC LIMIT 1), 0),"
            " COALESCE((SELECT MAX(recorded_at_us) FROM strikes), 0),"
            " COALESCE((SELECT MAX(appealed_at_us) FROM strikes), 0),"
            " COALESCE((SELECT MAX(dismissed_at_us) FROM strikes), 0))"
        )
        found: int = latest
        return found

    def withdraw(self, number: int, reason: str) -> Strike | StrikeWithdrawn | None:
        """Let a strike count no more; StrikeWithdrawn if it was before, None if there is none."""
        self.write_due_appeals()
        held = self._strike(number)
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
        return self._strike(number)

    def receipt(self, peer_id: str, dispatch_id: bytes) -> bytes | None:
        """The signed receipt that a host handed in for a dispatch, as it came."""
        row = self._tables.row(
            "SELECT raw FROM receipts WHERE host = ? AND dispatch_id = ?", peer_id, dispatch_id
        )
        return None if row is None else bytes(row[0])
