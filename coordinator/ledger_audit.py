"""Recounting the whole ledger: every rule that can be checked from its rows alone."""

from sqlite_utils import Database

from peerllm.coordinator.ledger import (
    BASIS_POINTS,
    LOWEST_HOST_SHARE_BASIS_POINTS,
    OUTSIDE_ACCOUNT,
    LedgerReport,
)

# Each query counts the rows that break the rule of its name.
_RULES = {
    "a posted reservation's legs sum to its charge": """
        SELECT COUNT(*) FROM (
            SELECT 1 FROM reservations LEFT JOIN transfers USING (reservation_id)
            WHERE state = 'posted' GROUP BY reservation_id
            HAVING COALESCE(SUM(transfers.amount), 0) <> charge
        )
    """,
    "only a posted reservation has legs, and they debit its own account": """
        SELECT COUNT(*) FROM transfers JOIN reservations USING (reservation_id)
        WHERE state <> 'posted' OR debit_account <> account
    """,
    "only deposits come without a reservation, and only from outside": """
        SELECT COUNT(*) FROM transfers
        WHERE (reservation_id IS NULL) <> (debit_account = :outside)
    """,
    "no account but outside is below zero": """
        SELECT COUNT(*) FROM accounts
        WHERE account <> :outside AND (
            (SELECT COALESCE(SUM(amount), 0) FROM transfers WHERE credit_account = account)
            - (SELECT COALESCE(SUM(amount), 0) FROM transfers WHERE debit_account = account)
        ) < (
            SELECT COALESCE(SUM(amount), 0) FROM reservations
            WHERE reservations.account = accounts.account AND state = 'open'
        )
    """,
    "a kept balance equals the sum of the transfers up to it": """
        SELECT COUNT(*) FROM accounts
        WHERE snapshot_balance <> (
            SELECT COALESCE(SUM(amount), 0) FROM transfers
            WHERE credit_account = account AND sequence <= snapshot_sequence
        ) - (
            SELECT COALESCE(SUM(amount), 0) FROM transfers
            WHERE debit_account = account AND sequence <= snapshot_sequence
        )
    """,
    "a key has spent what its reservations were charged": """
        SELECT COUNT(*) FROM api_keys LEFT JOIN (
            SELECT key_id, SUM(charge) AS charged FROM reservations
            WHERE state = 'posted' GROUP BY key_id
        ) USING (key_id) WHERE spent <> COALESCE(charged, 0)
    """,
    "hosts get their share of every charge": """
        SELECT COUNT(*) FROM host_shares WHERE basis_points < :lowest
    """,
    "every reference leads somewhere": "SELECT COUNT(*) FROM pragma_foreign_key_check",
}

_HOST_SHARES = """
    WITH host_shares AS (
        SELECT SUM(CASE WHEN credit_account GLOB 'hosts/*' THEN transfers.amount ELSE 0 END)
            * :whole / charge AS basis_points
        FROM reservations JOIN transfers USING (reservation_id)
        WHERE state = 'posted' GROUP BY reservation_id
    )
"""

_TOTALS = """
    SELECT
        (SELECT COALESCE(SUM(amount), 0) FROM transfers JOIN accounts ON debit_account = account),
        (SELECT COALESCE(SUM(amount), 0) FROM transfers JOIN accounts ON credit_account = account),
        (SELECT COUNT(*) FROM reservations WHERE state = 'open'),
        (SELECT COUNT(*) FROM reservations WHERE state = 'posted'),
        (SELECT MIN(basis_points) FROM host_shares)
"""


def audit(database: Database) -> LedgerReport:
    """Recount everything at one moment, whoever writes meanwhile."""
    parameters = {
        "outside": OUTSIDE_ACCOUNT,
        "lowest": LOWEST_HOST_SHARE_BASIS_POINTS,
        "whole": BASIS_POINTS,
    }
    with database.atomic():
        totals = database.execute(_HOST_SHARES + _TOTALS, parameters).fetchone()
        faults = tuple(
            f"{rule}: {count} broken"
            for rule, sql in _RULES.items()
            if (count := database.execute(_HOST_SHARES + sql, parameters).fetchone()[0])
        )
    return LedgerReport(
        debits=totals[0],
        credits=totals[1],
        open_reservations=totals[2],
        settlements=totals[3],
        lowest_host_share_basis_points=totals[4],
        faults=faults,
    )
