"""Recounting the whole ledger: every rule that can be checked from its rows alone."""

from sqlite_utils import Database

from peerllm.coordinator.chain_audit import chain_faults
from peerllm.coordinator.ledger import (
    BASIS_POINTS,
    FEES_ACCOUNT,
    LOWEST_HOST_SHARE_BASIS_POINTS,
    OUTSIDE_ACCOUNT,
    TAX_ACCOUNT,
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
    "only deposits come without a reservation, and payouts": """
        SELECT COUNT(*) FROM transfers
        WHERE (reservation_id IS NULL) <> CASE
            WHEN transfer_id GLOB 'deposit/*'
                THEN debit_account = :outside AND credit_account GLOB 'customers/*'
            WHEN transfer_id GLOB 'tax/*' THEN debit_account = :outside AND credit_account = :tax
            WHEN transfer_id GLOB 'fee/*' THEN debit_account = :fees AND credit_account = :outside
            WHEN transfer_id GLOB 'payout/*'
                THEN debit_account GLOB 'hosts/*' AND credit_account = :outside
            ELSE FALSE END
    """,
    "what a host earned leaves its account by a line of a payout batch only": """
        SELECT COUNT(*) FROM transfers LEFT JOIN payout_lines
            ON host = SUBSTR(debit_account, 7) AND transfers.amount = payout_lines.amount
            AND transfer_id = 'payout/' || batch || '/' || host
        WHERE debit_account GLOB 'hosts/*' AND batch IS NULL
    """,
    "every line of a payout batch is a transfer, and they add up to its total": """
        SELECT COUNT(*) FROM payouts WHERE (lines, total) <> (
            SELECT COUNT(*), COALESCE(SUM(transfers.amount), 0)
            FROM payout_lines JOIN transfers
                ON transfer_id = 'payout/' || payout_lines.batch || '/' || host
            WHERE payout_lines.batch = payouts.batch
        )
    """,
    "no account but outside and the processor's fees is below zero": """
        SELECT COUNT(*) FROM accounts
        WHERE account NOT IN (:outside, :fees) AND (
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
        "tax": TAX_ACCOUNT,
        "fees": FEES_ACCOUNT,
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
        broken, entries, head = chain_faults(database)
    return LedgerReport(
        debits=totals[0],
        credits=totals[1],
        open_reservations=totals[2],
        settlements=totals[3],
        lowest_host_share_basis_points=totals[4],
        faults=(*faults, *broken),
        chain_entries=entries,
        chain_head=head,
    )
