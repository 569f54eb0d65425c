"""`peerllm host seat`: where this host stands in line, and what it does about it."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from peerllm.peer.catalogue_commands import print_standing
from peerllm.peer.control_api import HostCatalogue, RegionRequest
from peerllm.peer.control_client import ControlClient
from peerllm.peer.errors import ConfigurationError, PeerError
from peerllm.privacy.endings import clear_endings

seat_app = typer.Typer(pretty_exceptions_enable=False)


@seat_app.command(
    epilog="\b\nExamples:\n  peerllm host seat --data-directory host\n"
    "  peerllm host seat --data-directory host --take bavaria\n\n"
    "Exit codes: 0 done or shown, 1 not, 2 wrong usage."
)
def seat(
    data_directory: Annotated[
        Path, typer.Option("--data-directory", help="Folder of the host's key and state.")
    ],
    take: Annotated[
        str | None, typer.Option(help="Take the seats offered in this region.", metavar="REGION")
    ] = None,
    leave: Annotated[
        str | None,
        typer.Option(help="Give up the places in line in this region.", metavar="REGION"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show this host's seat or its places in line, as the coordinator tells them now.

    The host must run. Only the network puts a host in line: send its id to whoever invited you.
    """
    if take is not None and leave is not None:
        raise typer.BadParameter("--take and --leave exclude each other")
    with clear_endings(PeerError):
        client = ControlClient(data_directory)
        path, request = "/v1/catalogue/look", None
        if (region := take or leave) is not None:
            path = "/v1/seat/take" if take is not None else "/v1/line/leave"
            try:
                request = msgspec.convert({"region": region}, RegionRequest)
            except msgspec.ValidationError:
                raise ConfigurationError(f"{region[:80]!r} is no name of a region") from None
        told = client.ask("POST", path, HostCatalogue, request)
        if told.catalogue is None:
            raise PeerError("the coordinator has not told anything yet")
        if as_json:
            typer.echo(msgspec.json.format(msgspec.json.encode(told), indent=2))
        else:
            print_standing(told.catalogue, client.status().peer_id)
