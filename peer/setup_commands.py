"""The operator's command line around a host: what is missing, start it at login."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from peerllm.peer.autostart import autostart_file
from peerllm.peer.doctor import Finding, examine
from peerllm.peer.errors import ConfigurationError, PeerError
from peerllm.peer.files import write_private
from peerllm.peer.host_settings import leave_to_itself, save_settings, saved_settings
from peerllm.privacy.endings import FAILED, clear_endings

setup_app = typer.Typer(pretty_exceptions_enable=False)

DataDirectory = Annotated[
    Path, typer.Option("--data-directory", help="Folder of the host's key and state.")
]
_SIGNS: Final = {True: "ok", False: "MISSING", None: "note"}


@setup_app.command()
def doctor(
    data_directory: DataDirectory,
    as_json: Annotated[
        bool, typer.Option("--json", help="As one list; `is_well` is null for a note.")
    ] = False,
) -> None:
    """Say what is missing, and which limits have no effect here; fails if anything is missing."""
    with clear_endings(PeerError):
        findings: list[Finding] = []
        for finding in examine(data_directory):
            findings.append(finding)
            if not as_json:
                typer.echo(f"{_SIGNS[finding.is_well]:8} {finding.subject}: {finding.sentence}")
        if as_json:
            typer.echo(msgspec.json.format(msgspec.json.encode(findings), indent=2))
        if any(finding.is_well is False for finding in findings):
            raise typer.Exit(FAILED)


@setup_app.command()
def install(
    data_directory: DataDirectory,
    coordinator: Annotated[
        str | None, typer.Option(help="Needed unless the host has run before.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Where the user's own settings lie.", hidden=True)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that differs.")] = False,
) -> None:
    """Write what the system needs to start the host at login, and say how to switch it on."""
    with clear_endings(PeerError):
        settings = saved_settings(data_directory, coordinator=coordinator)
        data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        save_settings(data_directory, settings)
        leave_to_itself(data_directory)
        written = autostart_file(
            settings.command(data_directory),
            data_directory=data_directory,
            drain_seconds=settings.drain_seconds,
            home=home,
        )
        if written.path.exists() and written.path.read_bytes() != written.content and not force:
            raise ConfigurationError(
                f"{written.path} is there already and differs: use --force to replace it"
            )
        write_private(written.path, written.content)
        typer.echo(str(written.path))
        typer.echo(f"switch it on with: {written.enable}")
