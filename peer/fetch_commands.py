"""The operator's command line for fetching a model from other hosts, over the control API."""

import time
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from peerllm.peer.control_client import ControlClient
from peerllm.peer.errors import ConfigurationError, PeerError
from peerllm.peer.model_fetch_api import RUNNING, FetchRequest, FetchStatus
from peerllm.privacy.endings import FAILED, clear_endings

fetch_app = typer.Typer(pretty_exceptions_enable=False)

# As often as a bar is worth drawing anew.
_LOOK_SECONDS: Final = 0.25
# What a shell expects of a command that Ctrl-C has ended.
_INTERRUPTED: Final = 130
_STAGES: Final = {
    "finding": "looking for hosts",
    "resuming": "checking what is here",
    "fetching": "fetching",
    "checking": "checking the file",
}


@fetch_app.command()
def fetch(
    data_directory: Annotated[
        Path, typer.Option("--data-directory", help="Folder of the host's key and state.")
    ],
    model: Annotated[
        str, typer.Argument(help="Name in the network's catalogue, or SHA-256 of the file.")
    ],
) -> None:
    """Get a model's file from other hosts; Ctrl-C stops, the same command goes on from there.

    The host must run and be connected: it fetches, and checks every piece.
    """
    with clear_endings(PeerError):
        try:
            request = msgspec.convert({"model": model}, FetchRequest)
        except msgspec.ValidationError:
            raise ConfigurationError(
                f"{model!r} is no name of a model: those have 1 to 128 characters, no spaces"
            ) from None
        client = ControlClient(data_directory)
        try:
            status = _watch(client, client.ask("POST", "/v1/fetch", FetchStatus, request))
        except KeyboardInterrupt:
            _say_stopped(client.ask("POST", "/v1/fetch/stop", FetchStatus))
            raise typer.Exit(_INTERRUPTED) from None
        match status.state:
            case "complete":
                typer.echo(f"{status.name} {status.digest}\n{status.path}")
                if status.liars:
                    typer.echo(f"{status.liars} dropped: what they sent was not this file's")
            case "failed":
                raise PeerError(status.sentence)
            case _:
                _say_stopped(status)
                raise typer.Exit(FAILED)


def _watch(client: ControlClient, status: FetchStatus) -> FetchStatus:
    """Show how far the fetch is until it has ended."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    # Not among what a script reads.
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        shown: TaskID | None = None
        while status.state in RUNNING:
            if shown is None:
                shown = progress.add_task("", total=None)
            progress.update(
                shown,
                description=_describe(status),
                total=status.file_bytes or None,
                completed=status.done_bytes,
            )
            time.sleep(_LOOK_SECONDS)
            status = client.ask("GET", "/v1/fetch", FetchStatus)
    return status


def _describe(status: FetchStatus) -> str:
    stage = _STAGES.get(status.state, status.state)
    if status.state != "fetching":
        return stage
    return f"{stage} from {status.holders} host{'' if status.holders == 1 else 's'}"


def _say_stopped(status: FetchStatus) -> None:
    typer.echo(
        f"stopped with {status.done_bytes} of {status.file_bytes} bytes here: the same command "
        "goes on from there"
    )
