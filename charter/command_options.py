"""What the charter's commands share: options, the clock, roots, passphrases and refusals."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from peerllm.charter.errors import CharterError, Malformed, MissingDocument
from peerllm.charter.folder import read_bounded
from peerllm.charter.store import founding_root
from peerllm.crypto.errors import KeyFileError
from peerllm.crypto.keyfiles import read_private_file

REFUSED: Final = 1
EXIT_CODES: Final = "Exit status: 0 well, 1 refused or not well, 2 wrong usage."
PASSPHRASE_VARIABLE: Final = "PEERLLM_PASSPHRASE"  # noqa: S105 - its name
_MAXIMUM_PASSPHRASE_BYTES: Final = 1_024
# The moments that documents can name, less the longest life that a command can give one.
_EARLIEST_YEAR: Final = 1970
_LATEST_YEAR: Final = 2090

Folder = Annotated[Path, typer.Argument(help="Public folder of the network.")]
DraftFolder = Annotated[Path, typer.Argument(help="Folder of the draft.")]
RootFile = Annotated[
    Path | None,
    typer.Option("--root", help="Root file the stewards gave you; else the folder's own."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Days = Annotated[int, typer.Option("--days", min=1, max=3_650, help="Days until it expires.")]
TimestampDays = Annotated[
    int,
    typer.Option(
        "--timestamp-days",
        min=1,
        max=3_650,
        help="Days for which the operator vouches that this is the newest; renew it in time.",
    ),
]
At = Annotated[
    datetime | None,
    typer.Option(
        "--at",
        formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"],
        help="Reckon as at this moment, in UTC, instead of now.",
    ),
]
DocumentsFolder = Annotated[
    Path | None,
    typer.Option(
        "--documents",
        help="Folder with any of charter-terms.json, tariff.json, model-catalogue.json,"
        " safety-standard.json, regions/NAME.json and calculations/NAME.",
    ),
]
KeyFile = Annotated[Path, typer.Option("--key", help="Your private key file.")]
OnlineKeyFile = Annotated[Path, typer.Option("--online-key", help="The operator's key file.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help=f"File (mode 0600) whose first line is the passphrase; else ${PASSPHRASE_VARIABLE},"
        " else you are asked.",
    ),
]


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what is refused into one sentence on standard error and exit status 1."""
    try:
        yield
    except (CharterError, KeyFileError) as error:
        typer.echo(f"Refused: {error}", err=True)
        raise typer.Exit(REFUSED) from error
    except UnicodeEncodeError as error:
        # How Python passes on what a terminal gives it in another encoding.
        typer.echo("Refused: what was given is not UTF-8", err=True)
        raise typer.Exit(REFUSED) from error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        typer.echo(f"Refused: {place}{error.strerror or error}", err=True)
        raise typer.Exit(REFUSED) from error


def reckoned(at: datetime | None) -> datetime:
    """Return the moment to reckon at."""
    if at is None:
        return datetime.now(UTC)
    if not _EARLIEST_YEAR <= at.year < _LATEST_YEAR:
        raise Malformed(f"--at must lie from {_EARLIEST_YEAR} to {_LATEST_YEAR - 1}, got {at}")
    return at.replace(tzinfo=UTC)


def chosen_root(folder: Path, root: Path | None) -> bytes:
    """Return the root given, or the folder's own and say so on standard error."""
    if root is not None:
        return read_bounded(root)
    raw = founding_root(folder)
    typer.echo(
        f"Trusting the folder's own root, SHA-256 {hashlib.sha256(raw).hexdigest()}; give --root to"
        " check against the one the stewards gave you.",
        err=True,
    )
    return raw


def passphrase(file: Path | None, *, new: bool = False) -> Callable[[], str]:
    """Return how to get a passphrase: from a file, the environment, or the person at the keys."""

    def get() -> str:
        if file is not None:
            raw = read_private_file(file, _MAXIMUM_PASSPHRASE_BYTES)
            try:
                return raw.decode("utf-8").partition("\n")[0].removesuffix("\r")
            except UnicodeDecodeError as error:
                raise Malformed(f"the passphrase in {file} is not UTF-8 text") from error
        if (given := os.environ.get(PASSPHRASE_VARIABLE)) is not None:
            return given
        try:
            return str(
                typer.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True)
            )
        except typer.Abort as error:
            raise MissingDocument(
                f"no passphrase was given; use --passphrase-file or ${PASSPHRASE_VARIABLE}"
            ) from error

    return get


def console() -> Console:
    """Return where tables go; digests fold rather than being cut."""
    return Console()
