"""`peerllm coordinator public-events`: take a period's events down in the public log."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from peerllm.charter.amending import epoch_us
from peerllm.charter.command_options import EXIT_CODES, AsJson
from peerllm.charter.errors import CharterError
from peerllm.charter.folder import put_file
from peerllm.charter.log_entries import Entry, kind_of, write_entry
from peerllm.charter.log_store import MAXIMUM_BATCH, open_log
from peerllm.coordinator.errors import CoordinatorError, StorageError
from peerllm.coordinator.public_event_rows import public_events
from peerllm.coordinator.storage_connection import wall_clock_us
from peerllm.coordinator.storage_schema import DATABASE_FILE
from peerllm.privacy.endings import clear_endings

_EXPECTED: Final = (CoordinatorError, CharterError)
_DATE: Final = "%Y-%m-%d"


def register_public_events(app: typer.Typer) -> None:
    """Add the command to `peerllm coordinator`."""
    app.command("public-events", epilog=EXIT_CODES)(take_down)


def take_down(
    since: Annotated[
        datetime, typer.Option("--since", formats=[_DATE], help="First day of the period, UTC.")
    ],
    until: Annotated[
        datetime,
        typer.Option("--until", formats=[_DATE], help="Day after the period's last one, UTC."),
    ],
    data_directory: Annotated[
        Path, typer.Option("--data-directory", help="Folder of the coordinator's state.")
    ],
    log: Annotated[
        Path | None, typer.Option("--log", help="The operator's folder of the log to append to.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for a file for `peerllm log append`.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take down a period's strikes (as commitments), changes of tier and fallback windows.

    With --log, what the log has already is not appended again, so a period may be given twice.
    `peerllm log checkpoint` then publishes it.

    \b
    Examples:
      peerllm coordinator public-events --since 2026-11-01 --until 2026-12-01 --log log \\
        --data-directory coordinator
      peerllm coordinator public-events --since 2026-11-01 --until 2026-12-01 --out events \\
        --data-directory coordinator
    """
    if (log is None) == (out is None):
        raise typer.BadParameter("give --log or --out, one of them")
    with clear_endings(*_EXPECTED):
        database = data_directory / DATABASE_FILE
        if not database.is_file():
            raise StorageError(f"there is no coordinator's database {database}")
        found = public_events(database, _us(since), _us(until), wall_clock_us())
        new, place = found, log
        if log is not None:
            new = _append(log, found)
        elif out is not None:
            place = out / f"events-{since:{_DATE}}-{until:{_DATE}}.json"
            put_file(place, b"[" + b",\n".join(write_entry(entry) for entry in found) + b"]\n")
        kinds = dict(sorted(Counter(kind_of(entry) for entry in found).items()))
        if as_json:
            shown = {"kinds": kinds, "new": len(new), "place": str(place)}
            typer.echo(msgspec.json.encode(shown).decode())
            return
        for kind, count in kinds.items():
            typer.echo(f"{kind}: {count}")
        known = len(found) - len(new)
        typer.echo(f"{len(new)} taken down in {place}, {known} stood there already")


def _append(folder: Path, found: list[Entry]) -> list[Entry]:
    with open_log(folder) as writer:
        for told in writer.told:
            typer.echo(f"{told[0].upper()}{told[1:]}.", err=True)
        new = writer.missing(found)
        for start in range(0, len(new), MAXIMUM_BATCH):
            writer.append(new[start : start + MAXIMUM_BATCH])
    return new


def _us(day: datetime) -> int:
    return epoch_us(day.replace(tzinfo=UTC))
