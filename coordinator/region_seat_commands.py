"""`peerllm region seats`, `pause`, `resume`, `waiting`: who may work in a region, and who waits."""

import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from peerllm.charter.command_options import AsJson, At, RootFile
from peerllm.charter.seat_rules import (
    LONGEST_PAUSE_DAYS,
    WAYS_BACK,
    Offers,
    PauseReason,
    Waiting,
    next_offers,
)
from peerllm.coordinator.accounts import Seat, SeatElsewhere, WaitingHost
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.region_capacity import CapacityOptions, draft_capacity
from peerllm.coordinator.region_view import (
    EXPECTED,
    CharterFolder,
    Data,
    Region,
    RegionSeats,
    RegionView,
    region_view,
    seats_of,
)
from peerllm.crypto.identity import public_key_of
from peerllm.privacy.endings import clear_endings

PeerId = Annotated[str, typer.Argument(help="The host's peer id.", metavar="PEER")]
_BASIS_POINTS_OF_ONE_PERCENT = 100


class SeatRefusedError(CoordinatorError):
    """The charter's rules, or where a region or host stands, forbid what was asked."""


def register_seat_commands(app: typer.Typer) -> None:
    """Add these commands to `peerllm region`."""
    for command in (seats, pause, resume, waiting):
        app.command()(command)


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
        found = _seats(view, region)
        if apply:
            _apply(view, region, found)
            found = _seats(view, region)
        if as_json:
            typer.echo(json.dumps(_plain_seats(region, found), indent=2))
        else:
            _print_seats(region, found)


def pause(
    peer_id: PeerId,
    reason: Annotated[PauseReason, typer.Option("--reason", help="Why it gets no work.")],
    data_directory: Data,
    charter_directory: CharterFolder,
    days: Annotated[
        int,
        typer.Option(
            "--days", min=1, max=LONGEST_PAUSE_DAYS, help="Days after which it works again."
        ),
    ] = 7,
    root: RootFile = None,
) -> None:
    """Give a host no work for a while. It keeps its seat, and comes back by itself at the latest.

    \b
    Example:
      peerllm region pause 12D3Koo... --reason errors --days 3 --data-directory coordinator \\
        --charter-directory public
    """
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, None) as view,
        view.storage() as storage,
    ):
        paused = storage.pause_seat(peer_id, reason, days)
        if paused is None:
            raise SeatRefusedError(f"{peer_id} holds no seat; nothing is paused")
        typer.echo(
            f"{peer_id} gets no work until {_moment(paused.until_us)} UTC ({reason}). The way back:"
            f" {WAYS_BACK[reason]}."
        )


def resume(
    peer_id: PeerId,
    data_directory: Data,
    charter_directory: CharterFolder,
    root: RootFile = None,
) -> None:
    """Let a paused host work again.

    \b
    Example:
      peerllm region resume 12D3Koo... --data-directory coordinator --charter-directory public
    """
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, None) as view,
        view.storage() as storage,
    ):
        if not storage.resume_seat(peer_id):
            raise SeatRefusedError(f"{peer_id} is not paused; nothing is changed")
        typer.echo(f"{peer_id} gets work again")


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
        found = _seats(view, region)
        if add is not None and operator is not None and model:
            _join(view, region, found, add, operator, model)
        if remove is not None:
            _leave(view, region, remove)
        if offer:
            _offer(view, region, found)
        if accept is not None:
            _accept(view, region, accept)
        line = _seats(view, region).line
        names = view.names()
        rows = [_plain_waiting(entry, names) for entry in line]
        if as_json:
            typer.echo(json.dumps({"region": region, "waiting": rows}, indent=2))
            return
        table = Table(title=f"In line in {region}", title_justify="left")
        for column in ("Place", "Host", "Operator", "Model", "Since", "Offered"):
            table.add_column(column, overflow="fold")
        for row, entry in zip(rows, line, strict=True):
            offered = "" if entry.offered_at_us is None else _moment(entry.offered_at_us)
            table.add_row(
                *(str(entry.position), entry.peer_id, entry.operator, str(row["model"])),
                *(_moment(entry.since_us), offered),
            )
        Console().print(table)


def _seats(view: RegionView, region: str) -> RegionSeats:
    view.record(region)
    return seats_of(view, region)


def _require_offering(view: RegionView, region: str) -> None:
    record = view.published(region)
    if record.status == "suspended":
        raise SeatRefusedError(f"region {region!r} is suspended: it offers no new seats")


def _apply(view: RegionView, region: str, found: RegionSeats) -> None:
    _require_offering(view, region)
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
    _require_offering(view, region)
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


def _accept(view: RegionView, region: str, peer_id: str) -> None:
    _require_offering(view, region)
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


def _plain_waiting(entry: WaitingHost, names: Any) -> dict[str, object]:
    return {
        "position": entry.position,
        "peer_id": entry.peer_id,
        "operator": entry.operator,
        "model": names.get(entry.digest, entry.digest.hex()),
        "since_us": entry.since_us,
        "offered_at_us": entry.offered_at_us,
    }


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
                f"Paused: {seat.peer_id} until {_moment(seat.pause.until_us)} UTC"
                f" ({seat.pause.reason}). The way back: {WAYS_BACK[seat.pause.reason]}."
            )


def _moment(moment_us: int) -> str:
    return f"{datetime.fromtimestamp(moment_us / 1_000_000, UTC):%Y-%m-%d %H:%M}"
