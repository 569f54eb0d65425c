"""Third version of the database: price tiers, the hash chain, payouts and whom to pay them to."""

from collections.abc import Callable

from sqlite_utils import Database

from peerllm.coordinator.chain import open_chain

MONEY_VERSION: tuple[str | Callable[[Database], None], ...] = (
    "ALTER TABLE accounts ADD COLUMN price_tier TEXT NOT NULL DEFAULT 'standard'",
    """
    CREATE TABLE chain (
        entry INTEGER PRIMARY KEY,
        kind TEXT NOT NULL
            CHECK (kind IN ('opening', 'deposit', 'charge', 'receipts', 'payout')),
        subject TEXT NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32)
    ) STRICT
    """,
    # Rows without an entry are older than the chain; its opening binds them. No foreign key: a
    # link is made of rows that already name it, and SQLite would read whole tables to find them.
    *(
        f"ALTER TABLE {table} ADD COLUMN entry INTEGER"
        for table in ("transfers", "reservations", "receipts")
    ),
    """
    CREATE TABLE payees (
        host TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        payee_account TEXT NOT NULL,
        payee_agent TEXT,
        changed_at_us INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE payouts (
        batch TEXT PRIMARY KEY,
        created_at_us INTEGER NOT NULL,
        minimum INTEGER NOT NULL CHECK (minimum >= 0),
        lines INTEGER NOT NULL CHECK (lines > 0),
        total INTEGER NOT NULL CHECK (total > 0),
        root BLOB NOT NULL CHECK (length(root) = 32),
        payer TEXT NOT NULL,
        entry INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE payout_lines (
        batch TEXT NOT NULL REFERENCES payouts,
        line INTEGER NOT NULL,
        host TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (amount > 0),
        -- Without it, who sees a neighbour's hash in a proof could guess the neighbour's amount.
        salt BLOB NOT NULL CHECK (length(salt) = 16),
        payee_name TEXT NOT NULL,
        payee_account TEXT NOT NULL,
        payee_agent TEXT,
        PRIMARY KEY (batch, line),
        UNIQUE (batch, host)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX payout_lines_by_host ON payout_lines (host)",
    *(
        f"CREATE TRIGGER {table}_are_never_{past} BEFORE {verb} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{table} are immutable'); END"
        for table in ("chain", "payouts", "payout_lines")
        for verb, past in (("UPDATE", "changed"), ("DELETE", "deleted"))
    ),
    open_chain,
)
