"""What the operator does with the online key: ratify, refresh, publish regions' capacities."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from peerllm.charter.ballot_papers import Founding
from peerllm.charter.command_options import (
    EXIT_CODES,
    At,
    Days,
    DraftFolder,
    Folder,
    KeyFile,
    OnlineKeyFile,
    PassphraseFile,
    RootFile,
    TimestampDays,
    chosen_root,
    passphrase,
    reckoned,
    refusals,
)
from peerllm.charter.drafts import read_draft
from peerllm.charter.folder import put_file, read_bounded
from peerllm.charter.key_files import open_key
from peerllm.charter.presentation import charter_sentence
from peerllm.charter.publishing import (
    OnlineKeys,
    publish_capacity,
    sign_capacity,
    verified,
)
from peerllm.charter.publishing import refresh as refresh_timestamp
from peerllm.charter.ratification_log import log_folder, ratification_entries, take_down
from peerllm.charter.ratifying import ratify as ratify_draft

operator_app = typer.Typer()
capacity_app = typer.Typer(
    name="capacity", help="The capacity that a federated region sets itself.", no_args_is_help=True
)

Document = Annotated[Path, typer.Argument(help="The region's capacity.json.")]
Signed = Annotated[Path, typer.Argument(help="The region's signed metadata, beside the document.")]


@operator_app.command(epilog=EXIT_CODES)
def ratify(
    draft: DraftFolder,
    folder: Folder,
    online_key: OnlineKeyFile,
    former_online_key: Annotated[
        Path | None,
        typer.Option("--former-online-key", help="The operator's key before this change."),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", help="The operator's log folder; else `log` in the public folder."),
    ] = None,
    timestamp_days: TimestampDays = 14,
    root: RootFile = None,
    passphrase_file: PassphraseFile = None,
    at: At = None,
) -> None:
    """Put a draft in force when its notice has ended and enough stewards voted and signed.

    Repeat it after a crash. Example: peerllm charter ratify draft public --online-key online.key
    """
    with refusals():
        now = reckoned(at)
        read = read_draft(draft)
        founding = isinstance(read.plan, Founding)
        trusted = None if founding else chosen_root(folder, root)
        ask = passphrase(passphrase_file)
        ratify_draft(
            read,
            folder,
            trusted_root=trusted,
            online=OnlineKeys(
                current=open_key(online_key, ask),
                former=None if former_online_key is None else open_key(former_online_key, ask),
                timestamp_expires=now + timedelta(days=timestamp_days),
            ),
            now=now,
        )
        published = verified(folder, trusted or chosen_root(folder, root), now)
        logged = log_folder(folder, log)
        if logged is not None:
            take_down(logged, ratification_entries(read, published.version, now))
    typer.echo(charter_sentence(published.charter))


@operator_app.command(epilog=EXIT_CODES)
def refresh(
    folder: Folder,
    online_key: OnlineKeyFile,
    timestamp_days: TimestampDays = 14,
    clock_was_wrong: Annotated[
        bool,
        typer.Option(
            "--clock-was-wrong",
            help="The last one was made while the clock was ahead; this machine's is right.",
        ),
    ] = False,
    root: RootFile = None,
    passphrase_file: PassphraseFile = None,
    at: At = None,
) -> None:
    """Vouch again that what the folder publishes is the newest; run it every few days.

    Example: peerllm charter refresh public --online-key online.key
    """
    with refusals():
        now = reckoned(at)
        until = refresh_timestamp(
            folder,
            trusted_root=chosen_root(folder, root),
            online=OnlineKeys(
                open_key(online_key, passphrase(passphrase_file)),
                now + timedelta(days=timestamp_days),
            ),
            now=now,
            also_ahead=clock_was_wrong,
        )
    typer.echo(f"Fresh until {until:%Y-%m-%d %H:%M} UTC.")


@capacity_app.command("sign", epilog=EXIT_CODES)
def sign_capacity_of(
    folder: Folder,
    document: Document,
    signed: Signed,
    key: KeyFile,
    days: Days = 365,
    root: RootFile = None,
    passphrase_file: PassphraseFile = None,
    at: At = None,
) -> None:
    """Sign a region's capacity with one of its delegated keys; run it once for each key.

    Example: peerllm charter capacity sign public capacity.json signed.json --key north.key
    """
    with refusals():
        now = reckoned(at)
        raw = sign_capacity(
            verified(folder, chosen_root(folder, root), now),
            read_bounded(document),
            open_key(key, passphrase(passphrase_file)),
            expires=now + timedelta(days=days),
            before=read_bounded(signed) if signed.exists() else None,
        )
        put_file(signed, raw)
    typer.echo(f"Signed. Give {document} and {signed} to the operator.")


@capacity_app.command("publish", epilog=EXIT_CODES)
def publish_capacity_of(
    folder: Folder,
    document: Document,
    signed: Signed,
    online_key: OnlineKeyFile,
    timestamp_days: TimestampDays = 14,
    root: RootFile = None,
    passphrase_file: PassphraseFile = None,
    at: At = None,
) -> None:
    """Publish a capacity that its region has signed.

    Example: peerllm charter capacity publish public capacity.json signed.json --online-key
    online.key
    """
    with refusals():
        now = reckoned(at)
        capacity = publish_capacity(
            folder,
            read_bounded(document),
            read_bounded(signed),
            trusted_root=chosen_root(folder, root),
            online=OnlineKeys(
                open_key(online_key, passphrase(passphrase_file)),
                now + timedelta(days=timestamp_days),
            ),
            now=now,
        )
    typer.echo(f"Published the capacity of {capacity.region}, version {capacity.version}.")
