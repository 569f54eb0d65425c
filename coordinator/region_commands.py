"""`peerllm region`: where regions stand, on which figures, and what they may do next."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from peerllm.charter.command_options import EXIT_CODES, AsJson, At, RootFile
from peerllm.charter.folder import put_file
from peerllm.charter.presentation import printable
from peerllm.charter.region_record import RegionRecord, RegionStep
from peerllm.charter.region_rules import (
    due_step,
    months_needed,
    next_steps,
    step_faults,
    usd,
)
from peerllm.coordinator.region_figures import MonthBook
from peerllm.coordinator.region_seat_commands import register_seat_commands
from peerllm.coordinator.region_step_commands import register_step_commands
from peerllm.coordinator.region_view import (
    EXPECTED,
    CharterFolder,
    Data,
    Region,
    RegionView,
    region_view,
)
from peerllm.coordinator.region_vote_commands import register_vote_command
from peerllm.coordinator.region_waiting_commands import register_waiting_command
from peerllm.privacy.endings import FAILED, clear_endings

region_app = typer.Typer(
    name="region",
    add_completion=False,
    help=f"Regions: where they stand, on which figures, their seats. {EXIT_CODES}",
    no_args_is_help=True,
)

# Steps that are bad news: the region has fallen below what it must keep.
_FALLS: Final = ("give-notice", "return")


@region_app.command("list", epilog=EXIT_CODES)
def list_regions(
    data_directory: Data,
    charter_directory: CharterFolder,
    root: RootFile = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """List every region that the charter or a seat names, with its last full month.

    \b
    Example:
      peerllm region list --data-directory coordinator --charter-directory public
    """
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        (month,) = view.months(1)
        revenue, hosts = month.revenue(), month.active_hosts()
        rows: list[dict[str, Any]] = [
            {
                "region": name,
                "status": "no record" if (record := view.record(name)) is None else record.status,
                "since_us": None if record is None else record.since_us,
                "month": month.month,
                "revenue_nano_usd": revenue[name],
                "active_hosts": hosts[name],
            }
            for name in view.regions
        ]
        whole = {name: amount for name, amount in revenue.items() if name not in view.regions}
        if as_json:
            print_json({"regions": rows, "of_no_region_nano_usd": whole})
            return
        table = Table(title=f"Regions, {month.month}", title_justify="left")
        for column in ("Region", "Status", "Since", "Revenue", "Active hosts"):
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(
                row["region"],
                row["status"],
                day_of(row["since_us"]),
                usd(row["revenue_nano_usd"]),
                str(row["active_hosts"]),
            )
        for name, amount in sorted(whole.items()):
            table.add_row(name, "", "", usd(amount), "")
        Console().print(table)


@region_app.command(epilog=EXIT_CODES)
def status(
    region: Region,
    data_directory: Data,
    charter_directory: CharterFolder,
    root: RootFile = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Show a region's record: how it stands, why, and the decisions that led there.

    \b
    Example:
      peerllm region status bavaria --data-directory coordinator --charter-directory public
    """
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        record = view.published(region)
        if as_json:
            print_json(msgspec.to_builtins(record))
            return
        facts = Table(title=f"Region {region}", title_justify="left", show_header=False)
        facts.add_column()
        facts.add_column(overflow="fold")
        facts.add_row("Status", f"{record.status} since {day_of(record.since_us)}")
        facts.add_row("Contact", printable(record.contact))
        if record.notice is not None:
            facts.add_row(
                "Under notice",
                f"since {day_of(record.notice.given_at_us)}; may be returned from"
                f" {day_of(record.notice.earliest_return_us)} unless it recovers",
            )
        if record.delegated_keys:
            facts.add_row(
                "Own keys", f"{record.delegated_threshold} of {', '.join(record.delegated_keys)}"
            )
        decisions = Table(title="Decisions", title_justify="left")
        for column in ("Date", "Step", "Reason", "Figures"):
            decisions.add_column(column, overflow="fold")
        for decision in record.decisions:
            decisions.add_row(
                day_of(decision.decided_at_us),
                decision.step,
                printable(decision.reason),
                "\n".join(
                    f"{figures.month}: {usd(figures.revenue_nano_usd)},"
                    f" {figures.active_hosts} active hosts of {figures.operators} operators"
                    for figures in decision.figures
                ),
            )
        console = Console()
        console.print(facts)
        console.print(decisions)


@region_app.command(epilog=EXIT_CODES)
def check(
    region: Region,
    data_directory: Data,
    charter_directory: CharterFolder,
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows", help="Folder to write the rows behind each month to, REGION-MONTH.csv."
        ),
    ] = None,
    months: Annotated[
        int | None, typer.Option("--months", min=1, max=120, help="How many full months to show.")
    ] = None,
    root: RootFile = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Hold a region's last full months against the charter's thresholds.

    Exit status 0 when the next step up is open to it, or when a federated region keeps what it
    must; 1 when not. The figures come from ledger and receipts alone. The SHA-256 of a month's rows
    is the one that the region's record names.

    \b
    Examples:
      peerllm region check bavaria --data-directory coordinator --charter-directory public
      peerllm region check bavaria --rows rows --data-directory coordinator \\
        --charter-directory public
    """
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        record = view.record(region)
        rule = view.charter.terms.federation
        books = view.months(max(months or 0, months_needed(rule)))
        verdict = _verdict(view, record, books, region)
        files = [] if rows is None else [_write_rows(rows, region, book) for book in books]
        report: dict[str, Any] = {
            "region": region,
            "status": None if record is None else record.status,
            "thresholds": {
                "active_hosts": rule.active_hosts,
                "active_months": rule.active_months,
                "active_days_per_month": rule.active_days_per_month,
                "federated_revenue_nano_usd": rule.federated_revenue_nano_usd,
                "federated_hosts": rule.federated_hosts,
                "federated_months": rule.federated_months,
                "keep_basis_points": rule.keep_basis_points,
                "fall_months": rule.fall_months,
            },
            "months": [msgspec.to_builtins(book.figures(region)) for book in books],
            "due": verdict.due,
            "well": verdict.well,
            "reasons": verdict.reasons,
            "files": files,
        }
        if as_json:
            print_json(report)
        else:
            _print_check(report)
        if not verdict.well:
            raise typer.Exit(FAILED)


class _Verdict(msgspec.Struct, frozen=True):
    well: bool
    due: RegionStep | None
    reasons: list[str]


def _verdict(
    view: RegionView, record: RegionRecord | None, books: tuple[MonthBook, ...], region: str
) -> _Verdict:
    if record is None:
        return _Verdict(False, None, [f"region {region!r} has no record yet: open it first"])
    figures = [book.figures(region) for book in books]
    rule = view.charter.terms.federation
    due = due_step(record, figures, rule, view.now_us)
    if record.status == "federated":
        if due in _FALLS:
            return _Verdict(False, due, ["every month counted was below what it must keep"])
        return _Verdict(True, due, [])
    reasons = [
        fault
        for step in next_steps(record)
        for fault in step_faults(record, step, figures, rule, view.now_us)
    ]
    if record.status == "suspended":
        reasons = ["the region is suspended: stewards may activate it again"]
    return _Verdict(due is not None, due, reasons)


def _write_rows(folder: Path, region: str, book: MonthBook) -> str:
    path = folder / f"{region}-{book.month}.csv"
    put_file(path, book.rows(region).encode())
    return str(path)


def _print_check(report: dict[str, Any]) -> None:
    thresholds = report["thresholds"]
    table = Table(
        title=f"Region {report['region']} ({report['status'] or 'no record'})",
        title_justify="left",
        caption=(
            f"Federated: {usd(thresholds['federated_revenue_nano_usd'])} and"
            f" {thresholds['federated_hosts']} active hosts for"
            f" {thresholds['federated_months']} full months. Active:"
            f" {thresholds['active_hosts']} active hosts for {thresholds['active_months']}."
        ),
        caption_justify="left",
    )
    for column in ("Month", "Revenue", "Active hosts", "Operators", "SHA-256 of the rows"):
        table.add_column(column, overflow="fold")
    for month in report["months"]:
        table.add_row(
            month["month"],
            usd(month["revenue_nano_usd"]),
            str(month["active_hosts"]),
            str(month["operators"]),
            month["rows_sha256"],
        )
    console = Console()
    console.print(table)
    for file in report["files"]:
        typer.echo(f"Rows: {file}")
    for reason in report["reasons"]:
        typer.echo(reason)
    if report["due"]:
        typer.echo(f"Step that the figures allow or demand: {report['due']}")


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    typer.echo(json.dumps(value, indent=2))


def day_of(moment_us: int | None) -> str:
    """Return the UTC day of a moment for people; "" without one."""
    if moment_us is None:
        return ""
    return f"{datetime.fromtimestamp(moment_us / 1_000_000, UTC):%Y-%m-%d}"


register_step_commands(region_app)
register_vote_command(region_app)
register_seat_commands(region_app)
register_waiting_command(region_app)
