"""What the books' commands share: the database, the charter's terms, refusals and JSON."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from peerllm.charter.command_options import REFUSED, chosen_root
from peerllm.charter.errors import CharterError
from peerllm.charter.store import load_charter
from peerllm.charter.terms import CharterTerms
from peerllm.coordinator.errors import CoordinatorError

if TYPE_CHECKING:
    from peerllm.coordinator.storage_file import StorageFile

Data = Annotated[Path, typer.Option("--data-directory", help="Folder of the coordinator's state.")]


def terms_in(folder: Path, root: Path | None) -> CharterTerms:
    """The terms in force by a charter's public folder."""
    return load_charter(
        folder,
        trusted_root=chosen_root(folder, root),
        state_directory=None,
        now=datetime.now(UTC),
    ).terms


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what is refused into one sentence on standard error and exit status 1."""
    try:
        yield
    except (CharterError, CoordinatorError, OSError) as error:
        typer.echo(f"Refused: {error}", err=True)
        raise typer.Exit(REFUSED) from error
    except UnicodeEncodeError as error:
        # How Python passes on what a terminal gives it in another encoding.
        typer.echo("Refused: what was given is not UTF-8", err=True)
        raise typer.Exit(REFUSED) from error


@contextmanager
def books_in(data_directory: Path, *, write: bool = False) -> Iterator["StorageFile"]:
    """The coordinator's database, which must be there."""
    # Imported here: a host checks its proof on a machine that has no database software.
    from peerllm.coordinator.storage_file import StorageFile  # noqa: PLC0415

    path = data_directory / "coordinator.sqlite"
    if not path.exists():
        raise CoordinatorError(f"there are no books in {data_directory}: {path.name} is missing")
    with StorageFile(path, read_only=not write) as storage:
        yield storage


def print_json(value: object) -> None:
    """Print values as indented JSON."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
