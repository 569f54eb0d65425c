"""`peerllm region waiting`: who waits for a seat, and who gets the next one."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from peerllm.charter.command_options import EXIT_CODES, AsJson, At, RootFile
from peerllm.charter.presentation import printable
from peerllm.charter.seat_rules import Offers, Waiting, has_lapsed, next_offers
from peerllm.coordinator.accounts import Seat, SeatElsewhere, WaitingHost
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
from peerllm.crypto.identity import public_key_of
from peerllm.privacy.endings import clear_endings


def register_waiting_command(app: typer.Typer) -> None:
    """Add this command to `peerllm region`."""
    app.command(epilog=EXIT_CODES)(waiting)


def waiting(
    region: Region,
    data_directory: Data,
    charter_directory: CharterFolder,
    add: Annotated[
        str | None, typer.Option("--add", help="Put this host in line.", metavar="PEER")
    ] = None,
    operator: Annotated[
        str | None, typer.Option("--operator", help="Who runs the host that is added.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A model it would serve; repeat it.")
    ] = None,
    remove: Annotated[
        str | None, typer.Option("--remove", help="Take this host out of line.", metavar="PEER")
    ] = None,
    offer: Annotated[
        bool, typer.Option("--offer", help="Offer the free seats to those first in line.")
    ] = False,
    accept: Annotated[
        str | None,
        typer.Option("--accept", help="Seat this host, which took up its offer.", metavar="PEER"),
    ] = None,
    root: RootFile = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Show who waits for a seat; put a host in line, offer free seats, seat who accepted.

    \b
    Examples:
      peerllm region waiting bavaria --add 12D3Koo... --operator ada \\
        --model smollm2-135m-instruct --data-directory coordinator --charter-directory public
      peerllm region waiting bavaria --offer --data-directory coordinator \\
        --charter-directory public
    """
    if sum((add is not None, remove is not None, offer, accept is not None)) > 1:
        raise typer.BadParameter("--add, --remove, --offer and --accept exclude each other")
    if (add is None) != (operator is None) or (add is None) != (not model):
        raise typer.BadParameter("--add needs --operator and --model, and they need --add")
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        found = seats_of(view, region)
        if add is not None and operator is not None and model:
            _join(view, region, found, add, operator, model)
        if remove is not None:
            _leave(view, region, remove)
        if offer:
            _offer(view, region, found)
        if accept is not None:
            _accept(view, region, found, accept)
        line = seats_of(view, region).line
        names = view.names()
        rows = [_plain_waiting(entry, names) for entry in line]
        if as_json:
            typer.echo(json.dumps({"region": region, "waiting": rows}, indent=2))
            return
        table = Table(title=f"In line in {region}", title_justify="left")
        for column in ("Place", "Host", "Operator", "Model", "Since", "Offered"):
            table.add_column(column, overflow="fold")
        for row, entry in zip(rows, line, strict=True):
            offered = "" if entry.offered_at_us is None else moment(entry.offered_at_us)
            table.add_row(
                *(str(entry.position), entry.peer_id, printable(entry.operator), str(row["model"])),
                *(moment(entry.since_us), offered),
            )
        Console().print(table)


def _join(
    view: RegionView,
    region: str,
    found: RegionSeats,
    peer_id: str,
    operator: str,
    models: list[str],
) -> None:
    public_key_of(peer_id)
    digests = [view.digest(model) for model in models]
    held = next((seat for seat in found.hosts if seat.peer_id == peer_id), None)
    for model, digest in zip(models, digests, strict=True):
        if held is not None and digest in held.digests:
            raise SeatRefusedError(f"{peer_id} holds a seat for {model} already")
    with view.storage() as storage:
        new = storage.join_line(peer_id, operator, region, digests)
    typer.echo(f"{peer_id} is in line for {new} models more", err=True)


def _leave(view: RegionView, region: str, peer_id: str) -> None:
    with view.storage() as storage:
        if not storage.leave_line(peer_id, region):
            raise SeatRefusedError(f"{peer_id} is not in line in {region!r}; nothing is changed")


def _offer(view: RegionView, region: str, found: RegionSeats) -> None:
    require_offering(view, region)
    names = view.names()
    hosts: dict[str, set[str]] = defaultdict(set)

    def decide(line: tuple[WaitingHost, ...]) -> Offers:
        return next_offers(
            [
                Waiting(
                    position=entry.position,
                    peer_id=entry.peer_id,
                    operator=entry.operator,
                    model=names.get(entry.digest, ""),
                    offered_at_us=entry.offered_at_us,
                )
                for entry in line
            ],
            offered={one.model: one.need.offered for one in found.models},
            held={one.model: one.held for one in found.models},
            hosts_of_operator={name: frozenset(peers) for name, peers in hosts.items()},
            operator_cap=view.charter.terms.seat_rule.maximum_seats_per_operator,
            offer_days=view.charter.terms.seats.offer_days,
            now_us=view.now_us,
        )

    with view.storage() as storage:
        # An operator's cap counts all its hosts, whichever region they are in.
        for seat in storage.seats():
            hosts[seat.operator].add(seat.peer_id)
        offers = storage.move_line(decide, region)
    for entry in offers.offer:
        typer.echo(f"Offered: {entry.peer_id} a seat for {entry.model}", err=True)
    for entry in offers.lapsed:
        typer.echo(f"Lapsed: the offer to {entry.peer_id} for {entry.model}", err=True)
    for entry in offers.passed_over:
        typer.echo(
            f"Passed over: {entry.peer_id}; its operator {entry.operator} has all the seats it may"
            " hold",
            err=True,
        )


def _accept(view: RegionView, region: str, found: RegionSeats, peer_id: str) -> None:
    require_offering(view, region)
    days = view.charter.terms.seats.offer_days
    for entry in found.line:
        if entry.peer_id == peer_id and has_lapsed(entry.offered_at_us, days, view.now_us):
            raise SeatRefusedError(
                f"the offer to {peer_id} has lapsed after {days} days; --offer gives the seat to"
                " the next in line"
            )
    with view.storage() as storage:
        outcome = storage.accept_seat(peer_id, region)
    match outcome:
        case None:
            raise SeatRefusedError(f"{peer_id} has no offer of a seat in {region!r}")
        case SeatElsewhere(region=elsewhere):
            raise SeatRefusedError(
                f"{peer_id} holds a seat in region {elsewhere!r}; it must give that up first"
            )
        case Seat():
            typer.echo(f"{peer_id} holds a seat in {region}", err=True)


def _plain_waiting(entry: WaitingHost, names: Mapping[bytes, str]) -> dict[str, object]:
    return {
        "position": entry.position,
        "peer_id": entry.peer_id,
        "operator": entry.operator,
        "model": names.get(entry.digest, entry.digest.hex()),
        "since_us": entry.since_us,
        "offered_at_us": entry.offered_at_us,
    }
