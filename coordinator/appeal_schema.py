"""Fifth version of the database: appeals against strikes, and who recorded and decided what."""

from typing import Final

# What a strike was recorded with never changes.
_AS_RECORDED: Final = (
    "strike",
    "peer_id",
    "rule",
    "dispatch_id",
    "recorded_at_us",
    "region",
    "evidence_sha256",
    "salt",
    "recorded_by",
)
_APPEAL: Final = ("appealed_at_us", "decide_by_us")
_DISMISSAL: Final = ("dismissed_at_us", "dismissed_by")


def _changed(columns: tuple[str, ...]) -> str:
    new, old = (", ".join(f"{row}.{name}" for name in columns) for row in ("NEW", "OLD"))
    return f"({new}) IS NOT ({old})"


APPEALS_VERSION: Final = (
    "ALTER TABLE strikes ADD COLUMN recorded_by TEXT",
    """
    ALTER TABLE strikes ADD COLUMN appealed_at_us INTEGER CHECK (appealed_at_us >= recorded_at_us)
    """,
    # Kept with the appeal: a later charter does not move it.
    """
    ALTER TABLE strikes ADD COLUMN decide_by_us INTEGER
    CHECK ((decide_by_us IS NULL) = (appealed_at_us IS NULL) AND decide_by_us > appealed_at_us)
    """,
    """
    ALTER TABLE strikes ADD COLUMN dismissed_at_us INTEGER CHECK (
        dismissed_at_us IS NULL OR (decide_by_us IS NOT NULL AND dismissed_at_us < decide_by_us)
    )
    """,
    """
    ALTER TABLE strikes ADD COLUMN dismissed_by TEXT CHECK (
        (dismissed_by IS NULL) = (dismissed_at_us IS NULL)
        AND (dismissed_by IS NULL OR dismissed_by IS NOT recorded_by)
    )
    """,
    """
    CREATE INDEX open_appeals ON strikes (decide_by_us)
    WHERE decide_by_us IS NOT NULL AND dismissed_at_us IS NULL AND withdrawn_at_us IS NULL
    """,
    "DROP TRIGGER strikes_are_only_withdrawn",
    # Each of an appeal, its dismissal and a withdrawal is written once; after the last nothing is.
    f"""
    CREATE TRIGGER strikes_change_once_each_way BEFORE UPDATE ON strikes
    WHEN OLD.withdrawn_at_us IS NOT NULL
    OR {_changed(_AS_RECORDED)}
    OR (OLD.appealed_at_us IS NOT NULL AND {_changed(_APPEAL)})
    OR (OLD.dismissed_at_us IS NOT NULL AND {_changed(_DISMISSAL)})
    OR NOT {_changed((*_APPEAL, *_DISMISSAL, "withdrawn_at_us"))}
    BEGIN
        SELECT RAISE(ABORT, 'a strike is appealed, decided on and withdrawn, each once');
    END
    """,
)
