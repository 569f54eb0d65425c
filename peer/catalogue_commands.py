"""`peerllm model catalogue`: what the network has models for, and which of them fit here."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import trio
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from peerllm.crypto.errors import CryptoError
from peerllm.crypto.identity import Identity
from peerllm.overlay.catalogue_exchange import ask_catalogue
from peerllm.overlay.catalogue_messages import (
    CATALOGUE_PROTOCOL,
    Catalogue,
    CatalogueAsked,
    CatalogueNotTold,
)
from peerllm.overlay.errors import OverlayError
from peerllm.overlay.invitation import read_invitation
from peerllm.overlay.node import open_node
from peerllm.peer.catalogue import LocalCatalogue
from peerllm.peer.catalogue_shown import CatalogueShown, catalogue_shown, machine_of
from peerllm.peer.configuration import identity_path
from peerllm.peer.control_api import HostCatalogue
from peerllm.peer.control_client import ControlClient, NotRunningError
from peerllm.peer.doctor import library_finding
from peerllm.peer.errors import ConfigurationError, PeerError
from peerllm.peer.files import read_state
from peerllm.peer.host_settings import SETTINGS_FILE, HostSettings
from peerllm.peer.measurements import Measurements
from peerllm.peer.model_fit import Chance, Misfit
from peerllm.peer.network_catalogue import UNREACHABLE, WORDS
from peerllm.privacy.endings import clear_endings

catalogue_app = typer.Typer(pretty_exceptions_enable=False)

_MISFITS: Final[Mapping[Misfit, str]] = {
    "": "fits",
    "not_served": "not served yet: the coordinator has no copy",
    "processor": "the inference library does not run on this processor",
    "memory": "too large: needs {need}, {free} are free",
    "disk": "no room on the disk: {size} to fetch",
}
_CHANCES: Final[Mapping[Chance, str]] = {
    "seated": "yours",
    "offered": "offered to you",
    "in_line": "in line",
    "open": "free",
    "full": "none free",
}


@catalogue_app.command(
    epilog="\b\nExamples:\n  peerllm model catalogue --data-directory host\n"
    "  peerllm model catalogue --data-directory host --coordinator INVITATION --json\n\n"
    "Exit codes: 0 shown, 1 not, 2 wrong usage."
)
def catalogue(
    data_directory: Annotated[
        Path, typer.Option("--data-directory", help="Folder of the host's key and state.")
    ],
    coordinator: Annotated[
        str,
        typer.Option(help="Ask this one, by its address or an invitation, whether a host runs."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the network's models: which fit this machine, which are here, whose seats are free.

    All of it is the coordinator's word; `peerllm charter show` prints what the stewards signed.
    """
    with clear_endings(PeerError, CryptoError, OverlayError):
        told, host = _told(data_directory, coordinator)
        if told.catalogue is None:
            raise PeerError(UNREACHABLE)
        models, measurements = LocalCatalogue(data_directory).models(), Measurements(data_directory)
        finding = library_finding()
        machine = machine_of(
            data_directory,
            models,
            lambda digest: measurements.of(bytes.fromhex(digest)),
            processor_fault="" if finding.is_well else finding.sentence,
        )
        shown = catalogue_shown(
            told.catalogue,
            machine,
            told_at_us=told.told_at_us,
            here=frozenset(models),
            host=host,
        )
        if as_json:
            typer.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2))
        else:
            _print(shown)


def _told(data_directory: Path, coordinator: str) -> tuple[HostCatalogue, str]:
    """What the coordinator says, asked by the host that runs or else directly; and who asked."""
    if not coordinator:
        try:
            client = ControlClient(data_directory)
            told = client.ask("GET", "/v1/catalogue", HostCatalogue)
            if told.catalogue is None:
                told = client.ask("POST", "/v1/catalogue/look", HostCatalogue)
            return told, client.status().peer_id
        except NotRunningError:
            kept = read_state(data_directory / SETTINGS_FILE, HostSettings)
            if kept is None:
                raise ConfigurationError(
                    f"no host has run from {data_directory} yet: name its --coordinator"
                ) from None
            coordinator = kept.coordinator
    data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    identity = Identity.load_or_create(identity_path(data_directory))
    found = trio.run(_ask, identity, read_invitation(coordinator).address)
    return HostCatalogue(told_at_us=time.time_ns() // 1000, catalogue=found), identity.peer_id


async def _ask(identity: Identity, address: str) -> Catalogue:
    async with open_node(identity, listen=None, admits=lambda _: False) as node:
        try:
            stream = await node.dial(address, CATALOGUE_PROTOCOL)
            answer = await ask_catalogue(stream, CatalogueAsked())
        except OverlayError:
            raise PeerError(UNREACHABLE) from None
    if isinstance(answer, CatalogueNotTold):
        raise PeerError(WORDS[answer.reason])
    return answer


def _print(shown: CatalogueShown) -> None:
    asked = datetime.fromtimestamp(shown.told_at_us / 1e6, UTC)
    table = Table(box=None, pad_edge=False)
    for title in ("name", "class", "licence", "file", "memory", "this machine", "here", "seats"):
        table.add_column(title, overflow="fold")
    for row in shown.models:
        fit = _MISFITS[row.misfit].format(
            need=_megabytes(row.memory_bytes),
            free=_megabytes(shown.memory_bytes),
            size=_megabytes(row.download_bytes),
        )
        table.add_row(
            escape(row.name) + (" (recommended)" if row.recommended else ""),
            escape(row.model_class),
            escape(row.license),
            _megabytes(row.file_bytes) if row.file_bytes else "?",
            _megabytes(row.memory_bytes) if row.memory_bytes else "?",
            fit,
            "yes" if row.is_here else "no",
            _CHANCES[row.seats],
        )
    console = _console()
    console.print(
        f"{escape(shown.network)}, catalogue version {shown.version}, as the coordinator told it "
        f"on {asked:%Y-%m-%d %H:%M} UTC"
    )
    console.print(table)
    print_standing(shown.catalogue, shown.host)


def print_standing(found: Catalogue, host: str) -> None:
    """The seat, the places in line, and who is to be asked for one."""
    console = _console()
    names = {model.digest: model.name for model in found.models}
    if found.seat is not None:
        console.print(f"seat in {escape(found.seat.region)}")
    for place in found.places:
        name = escape(names.get(place.digest, place.digest.hex()[:12]))
        region = escape(place.region)
        if place.offered_until_us:
            until = datetime.fromtimestamp(place.offered_until_us / 1e6, UTC)
            console.print(
                f"offered a seat for {name} in {region} until {until:%Y-%m-%d}: take it with "
                f"peerllm host seat --take {region}"
            )
        else:
            console.print(f"place {place.place} in line for {name} in {region}")
    if found.seat is None and not found.places:
        console.print(f"no seat and not in line; this host's id: {host}")
        for one in found.regions:
            if one.takes_hosts:
                console.print(f"ask for a seat in {escape(one.name)}: {escape(one.contact)}")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True, width=160)


def _megabytes(count: int) -> str:
    return f"{-(-count // 1_000_000)} MB"
