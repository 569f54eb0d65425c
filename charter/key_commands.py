"""`peerllm charter key`: make a steward's or the operator's key, show what is handed over."""

from pathlib import Path
from typing import Annotated

import typer

from peerllm.charter.command_options import (
    EXIT_CODES,
    AsJson,
    PassphraseFile,
    passphrase,
    refusals,
)
from peerllm.charter.folder import read_bounded
from peerllm.charter.key_files import (
    open_key,
    read_public,
    seal_key,
    steward_in,
    steward_of,
    write_public,
)
from peerllm.charter.spelling import spelling
from peerllm.charter.stewards import OnlineKey, Steward
from peerllm.crypto.errors import KeyFileError
from peerllm.crypto.identity import Identity
from peerllm.crypto.keyfiles import create_seed_file

key_app = typer.Typer(
    name="key", help="Keys of stewards and of the operator.", no_args_is_help=True
)

KeyPath = Annotated[Path, typer.Argument(help="Private key file; the public one lies beside it.")]


@key_app.command(epilog=EXIT_CODES)
def new(
    path: KeyPath,
    name: Annotated[str, typer.Option("--name", help="The steward's name in the network.")] = "",
    interest: Annotated[
        str, typer.Option("--interest", help="Whom the steward stands for, such as hosts.")
    ] = "",
    online: Annotated[
        bool,
        typer.Option("--online", help="The operator's key, which works unattended: not sealed."),
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a key: PATH is private and stays, PATH's .public.json is handed to the others.

    Example: peerllm charter key new ada.key --name ada --interest hosts
    """
    if not online and not (name and interest):
        raise typer.BadParameter("a steward's key needs --name and --interest, or give --online")
    public_path = _public_path(path)
    with refusals():
        key = Identity.generate()
        for taken in (path, public_path):
            if taken.exists():
                raise KeyFileError(f"{taken} exists already; a key is never overwritten")
        if online:
            create_seed_file(path, key.seed)
            write_public(public_path, OnlineKey(public_key=key.public_key.hex()))
        else:
            steward = steward_of(name, interest, key)
            seal_key(path, steward, key, passphrase(passphrase_file, new=True)())
            write_public(public_path, steward)
    typer.echo(f"{path} is private: keep it. {public_path} is public: hand it over.")


@key_app.command(epilog=EXIT_CODES)
def show(path: KeyPath, json: AsJson = False) -> None:
    """Show the public half of a private or public key file; no passphrase is needed.

    Examples: peerllm charter key show ada.key; peerllm charter key show ada.key --json >
    ada.public.json
    """
    with refusals():
        shown = _shown(path)
    if json:
        # As in the public file, so that one that was lost can be made again.
        typer.echo(spelling(shown).decode(), nl=False)
    elif isinstance(shown, OnlineKey):
        typer.echo(f"operator's online key {shown.public_key}")
    else:
        typer.echo(f"{shown.name}, for {shown.interest}: {shown.public_key}")


def _public_path(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix('.key')}.public.json")


def _shown(path: Path) -> Steward | OnlineKey:
    start = read_bounded(path)
    if b'"steward-private-key/' in start:
        return steward_in(path)
    if b'"steward/' in start:
        return read_public(path, Steward)
    if b'"online-key/' in start:
        return read_public(path, OnlineKey)
    # Only an unsealed key is left, which needs no passphrase.
    key = open_key(path, str)
    return OnlineKey(public_key=key.public_key.hex())
