"""`peerllm coordinator invite`: the text that leads a host to this network."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from peerllm.charter.errors import CharterError
from peerllm.charter.store import founding_root, load_charter
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.service import CoordinatorSettings
from peerllm.crypto.errors import CryptoError
from peerllm.crypto.identity import Identity
from peerllm.overlay.errors import OverlayError
from peerllm.overlay.invitation import Invitation, write_invitation
from peerllm.privacy.endings import clear_endings


def register_invite(app: typer.Typer) -> None:
    """Add this command to `peerllm coordinator`."""
    app.command(
        epilog="\b\nExamples:\n  peerllm coordinator invite --data-directory coordinator \\\n"
        "    --address /dns4/network.example/tcp/4001 --charter-directory public\n\n"
        "Exit codes: 0 printed, 1 refused, 2 wrong usage."
    )(invite)


def invite(
    data_directory: Annotated[
        Path, typer.Option("--data-directory", help="Folder of the coordinator's state.")
    ],
    address: Annotated[
        str, typer.Option(help="Where hosts reach it: /ip4/ADDRESS/tcp/PORT, or /dns4/NAME/...")
    ],
    charter_directory: Annotated[
        Path | None,
        typer.Option(help="Folder of the signed charter, to name its root in the invitation."),
    ] = None,
) -> None:
    """Print an invitation: one text that a host's owner pastes.

    It is no secret and gives no seat: who may host is decided by the host's id.
    """
    with clear_endings(CoordinatorError, CharterError, CryptoError, OverlayError):
        settings = CoordinatorSettings(
            data_directory=data_directory, charter_directory=data_directory
        )
        if not settings.identity_file.exists():
            raise CoordinatorError(
                f"{data_directory} has no coordinator's identity; "
                "make one with: peerllm coordinator identity"
            )
        peer_id = Identity.load_or_create(settings.identity_file).peer_id
        where, _, named = address.rstrip("/").partition("/p2p/")
        if named and named != peer_id:
            raise CoordinatorError(f"{address} names another coordinator: this one is {peer_id}")
        root = "" if charter_directory is None else _root_digest(charter_directory)
        typer.echo(write_invitation(Invitation(f"{where}/p2p/{peer_id}", root)))


def _root_digest(folder: Path) -> str:
    """The SHA-256 of a charter's root, once all below it is verified."""
    root = founding_root(folder)
    load_charter(folder, trusted_root=root, state_directory=None, now=datetime.now(UTC))
    return hashlib.sha256(root).hexdigest()
