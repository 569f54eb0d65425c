"""`peerllm ledger audit`: the books recounted, held to what was published and to the charter."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from peerllm.charter.command_options import REFUSED, AsJson
from peerllm.charter.log_command_line import trusted
from peerllm.charter.money_text import usd
from peerllm.charter.terms import CharterTerms
from peerllm.coordinator.ledger_command_line import Data, books_in, print_json, refusals, terms_in
from peerllm.coordinator.ledger_presentation import day
from peerllm.coordinator.published_marks import (
    head_faults,
    logged_roots,
    read_head,
    read_root,
    root_faults,
    unlogged_faults,
)

if TYPE_CHECKING:
    from peerllm.coordinator.storage_file import StorageFile

T = TypeVar("T")


def audit(
    data_directory: Data,
    head: Annotated[
        list[str] | None, typer.Option("--head", help="NUMBER:DIGEST of a link noted before.")
    ] = None,
    root: Annotated[
        list[str] | None, typer.Option("--root", help="BATCH=ROOT as the public log has it.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="The public log's files, for all its roots.")
    ] = None,
    log_key: Annotated[
        str | None, typer.Option("--log-key", help="The log's public key, or a file that holds it.")
    ] = None,
    region: Annotated[str, typer.Option(help="Region of these books in the log.")] = "default",
    charter_directory: Annotated[
        Path | None, typer.Option(help="Folder of the signed charter: says what payout is overdue.")
    ] = None,
    charter_root: Annotated[
        Path | None, typer.Option(help="Root file of the stewards; else the charter folder's own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recount every balance, the hosts' share of every charge, every payout and every link.

    Reads only. What the books say of themselves is not enough against who can rewrite all of
    them: give heads or roots that were published before, or the public log with its key. With the
    charter also whom it promises a payout that was not made.
    """
    if (log is None) != (log_key is None):
        raise typer.BadParameter("--log and --log-key go together")
    heads = [_mark(read_head(text), "--head NUMBER:DIGEST") for text in head or ()]
    roots = [_mark(read_root(text), "--root BATCH=ROOT") for text in root or ()]
    with refusals(), books_in(data_directory) as books:
        began = time.monotonic()
        report = books.ledger_check()
        faults = [*report.faults, *_mark_faults(books, heads, roots)]
        if log is not None and log_key is not None:
            logged = logged_roots(log, trusted(log_key, None, None), region)
            faults += unlogged_faults(books, {batch for batch, _ in logged})
            faults += _mark_faults(books, [], list(logged))
        if report.debits != report.credits:
            faults.append(f"debits are {report.debits} nano-USD, credits {report.credits}")
        overdue = {}
        if charter_directory is not None:
            overdue = _overdue(books, terms_in(charter_directory, charter_root))
        seconds = time.monotonic() - began
    if as_json:
        print_json(
            {
                "well": not faults and not overdue,
                "faults": faults,
                "settlements": report.settlements,
                "debits_nano_usd": report.debits,
                "credits_nano_usd": report.credits,
                "lowest_host_share_basis_points": report.lowest_host_share_basis_points,
                "open_reservations": report.open_reservations,
                "head": f"{report.chain_entries}:{report.chain_head.hex()}",
                "payouts_overdue_since_us": overdue,
            }
        )
    else:
        typer.echo(
            f"{report.settlements:,} settlements and {report.chain_entries:,} links recounted in"
            f" {seconds:.1f} s; {usd(report.debits)} moved\n"
            f"head {report.chain_entries}:{report.chain_head.hex()}"
        )
        for fault in faults:
            typer.echo(f"fault: {fault}", err=True)
        for host, since_us in overdue.items():
            typer.echo(f"overdue: a payout to {host} since {day(since_us)}", err=True)
        typer.echo("the books are not in order" if faults else "the books are in order")
    if faults or overdue:
        raise typer.Exit(REFUSED)


def _mark_faults(
    books: "StorageFile", heads: list[tuple[int, str]], roots: list[tuple[str, str]]
) -> list[str]:
    """What does not lead to a head or root that was published before."""
    faults: list[str] = []
    for number, digest in heads:
        faults += head_faults(books, number, digest)
    for batch, batch_root in roots:
        faults += root_faults(books, batch, batch_root)
    return faults


def _overdue(books: "StorageFile", terms: CharterTerms) -> dict[str, int]:
    """Since when each host waits whose payout is overdue."""
    waiting = {}
    for host in [found.host for found in books.payouts.books(terms.escrow)]:
        since_us = books.payouts.dates(terms.escrow, terms.payout, host).overdue_since_us
        if since_us is not None:
            waiting[host] = since_us
    return waiting


def _mark(given: T | None, wanted: str) -> T:
    if given is None:
        raise typer.BadParameter(f"give {wanted}")
    return given
