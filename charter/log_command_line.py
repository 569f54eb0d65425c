"""What the commands of the public log share: options, reading what is given, saying what is."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, NoReturn

import msgspec
import typer

from peerllm.charter.errors import CharterError, Malformed, MissingDocument
from peerllm.charter.log_checkpoint import LogKeys, SignedCheckpoint
from peerllm.charter.log_entries import Entry, read_loosely
from peerllm.charter.log_notes import (
    MAXIMUM_NOTE_BYTES,
    VerifierKey,
    parse_verifier_key,
)
from peerllm.crypto.errors import KeyFileError
from peerllm.crypto.identity import Identity

PublicFolder = Annotated[Path, typer.Argument(help="The log's public files.")]
LogKey = Annotated[
    str, typer.Option("--key", help="The log's public key, or a file that holds it.")
]
WitnessKeys = Annotated[
    list[str] | None,
    typer.Option("--witness", help="A witness's public key, or a file that holds it; repeat it."),
]
Required = Annotated[
    int | None,
    typer.Option("--required", min=0, help="How many of the witnesses must have cosigned; all."),
]
Output = Annotated[Path | None, typer.Option("--out", help="File to write; else standard output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_REFUSED: Final = 1
# What a command refuses with one sentence; anything else is a bug.
EXPECTED: Final = (CharterError, KeyFileError, OSError)


def entries_in(raw: bytes) -> list[Entry]:
    """Return the entry, or the list of them, in a JSON text; raises Malformed."""
    text = raw.strip()
    if not text.startswith(b"["):
        return [read_loosely(text)]
    try:
        items = msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("this list of entries is not JSON") from None
    return [read_loosely(bytes(item)) for item in items]


def trusted(key: str, witnesses: list[str] | None, required: int | None) -> LogKeys:
    """Return whom a reader trusts; all the witnesses given must have cosigned unless said."""
    known = tuple(verifier_keys(witnesses or []))
    return LogKeys(verifier_key(key), known, len(known) if required is None else required)


def verifier_keys(given: list[str]) -> list[VerifierKey]:
    """Return the public keys that are written out or in files of these names."""
    return [verifier_key(one) for one in given]


def verifier_key(given: str) -> VerifierKey:
    """Return the key that is written out, or in the file of this name."""
    path = Path(given)
    if "+" in given and not path.is_file():
        return parse_verifier_key(given)
    return parse_verifier_key(
        read_input(path, MAXIMUM_NOTE_BYTES).decode("utf-8", errors="replace")
    )


def private_key(path: Path) -> Identity:
    """Return the identity in a key file. Raises MissingDocument when there is none."""
    if not path.is_file():
        raise MissingDocument(f"there is no key file {path}")
    return Identity.load_or_create(path)


def read_input(path: Path, maximum: int) -> bytes:
    """Return what is in a file, or on standard input for "-"; raises Malformed if too much."""
    if path == Path("-"):
        raw = sys.stdin.buffer.read(maximum + 1)
    else:
        # What a person names may be a pipe, as shells make them.
        with path.open("rb") as file:
            raw = file.read(maximum + 1)
    if len(raw) > maximum:
        raise Malformed(f"{path} has more than {maximum} bytes")
    return raw


def write_output(path: Path | None, content: bytes) -> None:
    """Write to a file, or to standard output without one."""
    if path is None:
        typer.echo(content.decode(), nl=False)
        return
    try:
        path.write_bytes(content)
    except OSError as error:
        refuse(error)


def sentence(signed: SignedCheckpoint) -> str:
    """Return one sentence about a checkpoint."""
    seen = ", ".join(f"{name} on {moment(seconds)}" for name, seconds in signed.cosigned)
    return (
        f"The log {signed.checkpoint.origin} has {signed.checkpoint.size} entries and the root"
        f" {signed.checkpoint.root.hex()}; cosigned by {seen or 'no witness asked for'}."
    )


def plain(signed: SignedCheckpoint) -> dict[str, object]:
    """Return a checkpoint for JSON."""
    return {
        "origin": signed.checkpoint.origin,
        "size": signed.checkpoint.size,
        "root": signed.checkpoint.root.hex(),
        "cosigned": [{"witness": name, "at_s": seconds} for name, seconds in signed.cosigned],
    }


def moment(seconds: float) -> str:
    """Return an epoch time in seconds for people, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def print_json(value: object) -> None:
    """Print one line of JSON."""
    typer.echo(msgspec.json.encode(value).decode())


def refuse(error: Exception) -> NoReturn:
    """Say what was wrong and end with exit status 1."""
    typer.echo(f"Refused: {error}", err=True)
    raise typer.Exit(_REFUSED) from error
