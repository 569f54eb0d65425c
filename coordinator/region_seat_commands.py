"""`peerllm region seats`, `pause`, `resume`: how many seats there are, and who rests."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from peerllm.charter.command_options import EXIT_CODES, AsJson, At, RootFile
from peerllm.charter.seat_rules import (
    LONGEST_PAUSE_DAYS,
    WAYS_BACK,
    PauseReason,
)
from peerllm.coordinator.errors import StorageError
from peerllm.coordinator.region_capacity import CapacityOptions, draft_capacity
from peerllm.coordinator.region_view import (
    EXPECTED,
    CharterFolder,
    Data,
    Region,
    RegionSeats,
    RegionView,
    SeatRefusedError,
    moment,
    region_view,
    require_offering,
    seats_of,
)
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.storage_schema import DATABASE_FILE
from peerllm.privacy.endings import clear_endings

PeerId = Annotated[str, typer.Argument(help="The host's peer id.", metavar="PEER")]
_BASIS_POINTS_OF_ONE_PERCENT = 100


def register_seat_commands(app: typer.Typer) -> None:
    """Add these commands to `peerllm region`."""
    for command in (seats, pause, resume):
        app.command(epilog=EXIT_CODES)(command)


def seats(
    region: Region,
    data_directory: Data,
    charter_directory: CharterFolder,
    apply: Annotated[
        bool, typer.Option("--apply", help="Offer what the charter's rule says from now on.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="MODEL=SEATS that a federated region decides on; repeat it."),
    ] = None,
    utilisation: Annotated[
        int | None,
        typer.Option("--utilisation", min=1, max=100, help="Percent of time seats are to work."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File for the capacity that --set decides on.")
    ] = None,
    root: RootFile = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Show a region's seats by model, offer what is needed, or draft its own capacity.

    With --set, a federated region writes down its capacity. Its keys then sign it (`peerllm charter
    capacity sign`), and the operator publishes it (`peerllm charter capacity publish`).

    \b
    Examples:
      peerllm region seats bavaria --data-directory coordinator --charter-directory public
      peerllm region seats bavaria --apply --data-directory coordinator --charter-directory public
      peerllm region seats bavaria --set smollm2-135m-instruct=40 --utilisation 60 \\
        --out capacity.json --data-directory coordinator --charter-directory public
    """
    sets = bool(set_) or utilisation is not None or out is not None
    if apply and sets:
        raise typer.BadParameter("--apply and --set exclude each other")
    if sets and out is None:
        raise typer.BadParameter("--set needs --out, the file to write the capacity to")
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        if out is not None:
            options = CapacityOptions(tuple(set_ or ()), utilisation, out)
            typer.echo(draft_capacity(view, region, options))
            return
        found = seats_of(view, region)
        if apply:
            _apply(view, region, found)
            found = seats_of(view, region)
        if as_json:
            typer.echo(json.dumps(_plain_seats(region, found), indent=2))
        else:
            _print_seats(region, found)


def pause(
    peer_id: PeerId,
    reason: Annotated[PauseReason, typer.Option("--reason", help="Why it gets no work.")],
    data_directory: Data,
    days: Annotated[
        int,
        typer.Option(
            "--days", min=1, max=LONGEST_PAUSE_DAYS, help="Days after which it works again."
        ),
    ] = 7,
) -> None:
    """Give a host no work for a while. It keeps its seat, and comes back by itself at the latest.

    \b
    Example:
      peerllm region pause 12D3Koo... --reason errors --days 3 --data-directory coordinator
    """
    with clear_endings(*EXPECTED), _storage(data_directory) as storage:
        paused = storage.pause_seat(peer_id, reason, days)
        if paused is None:
            raise SeatRefusedError(f"{peer_id} holds no seat; nothing is paused")
        typer.echo(
            f"{peer_id} gets no work until {moment(paused.until_us)} UTC ({reason}). The way back:"
            f" {WAYS_BACK[reason]}."
        )


def resume(peer_id: PeerId, data_directory: Data) -> None:
    """Let a paused host work again.

    \b
    Example:
      peerllm region resume 12D3Koo... --data-directory coordinator
    """
    with clear_endings(*EXPECTED), _storage(data_directory) as storage:
        if not storage.resume_seat(peer_id):
            raise SeatRefusedError(f"{peer_id} is not paused; nothing is changed")
        typer.echo(f"{peer_id} gets work again")


def _storage(data_directory: Path) -> StorageFile:
    database = data_directory / DATABASE_FILE
    if not database.is_file():
        raise StorageError(f"there is no coordinator's database {database}")
    return StorageFile(database)


def _apply(view: RegionView, region: str, found: RegionSeats) -> None:
    require_offering(view, region)
    if region in view.charter.capacities:
        raise SeatRefusedError(
            f"region {region!r} is federated and has set its own seats; they change with its own"
            " capacity"
        )
    changes = {
        one.digest: one.need.seats for one in found.models if one.need.seats != one.need.offered
    }
    with view.storage() as storage:
        storage.offer_seats(region, changes)
    typer.echo(f"{len(changes)} models' seats changed", err=True)


def _plain_seats(region: str, found: RegionSeats) -> dict[str, object]:
    return {
        "region": region,
        "models": [
            {
                "model": one.model,
                "needed": one.need.needed,
                "offered": one.need.offered,
                "by_the_rule": one.need.seats,
                "held": one.held,
                "paused": one.paused,
                "waiting": one.waiting,
                "redundancy": one.need.redundancy,
                "busiest_hours_us": list(one.need.busy_us),
                "utilisation_basis_points": list(one.need.utilisation),
            }
            for one in found.models
        ],
        "paused": [
            {
                "peer_id": seat.peer_id,
                "operator": seat.operator,
                "reason": seat.pause.reason,
                "way_back": WAYS_BACK[seat.pause.reason],
                "paused_at_us": seat.pause.paused_at_us,
                "until_us": seat.pause.until_us,
            }
            for seat in found.hosts
            if seat.pause is not None
        ],
    }


def _print_seats(region: str, found: RegionSeats) -> None:
    table = Table(title=f"Seats in {region}", title_justify="left")
    columns = ("Model", "Needed", "Offered", "By the rule", "Held", "Paused", "Waiting", "Worked")
    for column in columns:
        table.add_column(column, overflow="fold")
    for one in found.models:
        low, high = min(one.need.utilisation), max(one.need.utilisation)
        numbers = (one.need.needed, one.need.offered, one.need.seats)
        table.add_row(
            one.model,
            *(str(number) for number in (*numbers, one.held, one.paused, one.waiting)),
            f"{low // _BASIS_POINTS_OF_ONE_PERCENT} to {high // _BASIS_POINTS_OF_ONE_PERCENT}%",
        )
    Console().print(table)
    for seat in found.hosts:
        if seat.pause is not None:
            typer.echo(
                f"Paused: {seat.peer_id} until {moment(seat.pause.until_us)} UTC"
                f" ({seat.pause.reason}). The way back: {WAYS_BACK[seat.pause.reason]}."
            )
