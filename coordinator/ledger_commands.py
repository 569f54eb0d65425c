"""The command line of the books: statements, payouts, proofs and the audit."""

import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from peerllm.charter.command_options import (
    EXIT_CODES,
    AsJson,
    RootFile,
    console,
)
from peerllm.charter.errors import Malformed
from peerllm.charter.folder import put_file
from peerllm.charter.log_command_line import read_input
from peerllm.charter.log_entries import MAXIMUM_ENTRY_BYTES, PayoutBatch, read_entry
from peerllm.charter.money_text import usd
from peerllm.charter.payout_proof import proof_holds, read_proof, write_proof
from peerllm.charter.spelling import MAXIMUM_DOCUMENT_BYTES
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.ledger_audit_commands import audit
from peerllm.coordinator.ledger_command_line import Data, books_in, print_json, refusals, terms_in
from peerllm.coordinator.ledger_presentation import (
    HostAccount,
    customer_table,
    customer_values,
    day,
    host_table,
    host_values,
)
from peerllm.coordinator.payout import Batch, Payee

T = TypeVar("T")

ledger_app = typer.Typer(
    name="ledger",
    add_completion=False,
    help="The books: statements, payouts and their proofs, and the audit.",
    no_args_is_help=True,
    # Keeps the lines of the examples as they are.
    rich_markup_mode=None,
)

CharterFolder = Annotated[
    Path, typer.Option("--charter-directory", help="Folder of the signed charter.")
]
Host = Annotated[str, typer.Argument(metavar="HOST", help="Peer id of a host.")]
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def _command(*examples: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose help ends with examples and exit codes."""
    lines = "\n".join(f"  peerllm ledger {example}" for example in examples)
    return ledger_app.command(epilog=f"\b\nExamples:\n{lines}\n\n{EXIT_CODES}")


@_command(
    "statement 12D3Koo... --data-directory data --charter-directory charter",
    "statement --customer ada --data-directory data --json",
)
def statement(
    data_directory: Data,
    host: Annotated[str | None, typer.Argument(metavar="[HOST]")] = None,
    customer: Annotated[str | None, typer.Option("--customer", help="Name of a customer.")] = None,
    charter_directory: Annotated[
        Path | None, typer.Option(help="Folder of the signed charter; a host's statement needs it.")
    ] = None,
    root: RootFile = None,
    as_json: AsJson = False,
) -> None:
    """Print what a host earned, got and will get when, or what a customer paid for."""
    if (host is None) == (customer is None):
        raise typer.BadParameter("name a HOST or a --customer, one of them")
    with refusals(), books_in(data_directory) as books:
        if customer is not None:
            found = books.customer_statement(f"customers/{customer}")
            if as_json:
                print_json(customer_values(found))
            else:
                console().print(customer_table(found))
            return
        if charter_directory is None:
            raise typer.BadParameter("a host's statement needs --charter-directory")
        terms = terms_in(charter_directory, root)
        standing = books.payouts.standing(terms.escrow, str(host))
        if standing is None:
            raise CoordinatorError(f"{host} has never earned anything here")
        dates = books.payouts.dates(terms.escrow, terms.payout, str(host))
        account = HostAccount(*standing, books.payouts_of(str(host)), terms.payout, dates)
        if as_json:
            print_json(host_values(account))
        else:
            console().print(host_table(account))


@_command("payee 12D3Koo... --name 'Grace Hopper' --account GB82WEST12345698765432")
def payee(
    host: Host,
    data_directory: Data,
    name: Annotated[str, typer.Option("--name", help="Whom to pay, as the bank knows them.")],
    account: Annotated[str, typer.Option("--account", help="IBAN, or another account number.")],
    agent: Annotated[str | None, typer.Option("--agent", help="BIC of the payee's bank.")] = None,
) -> None:
    """Note whom to pay for a host. It stays in the coordinator's database and the bank's files."""
    with refusals(), books_in(data_directory, write=True) as books:
        if not books.knows_host(host):
            raise CoordinatorError(f"{host[:60]} holds no seat here and never earned anything")
        books.payouts.set_payee(host, Payee(name=name, account=account, agent=agent))
        typer.echo(f"what {host} earns goes to {name}")


@_command(
    "payout 2026-11 --data-directory data --charter-directory charter --out payouts"
    " --payer-name 'PeerLLM e. V.' --payer-account DE89370400440532013000",
    "payout 2026-11 ... --region default --json",
)
def payout(
    batch: Annotated[str, typer.Argument(help="Name of the batch; the same one pays once.")],
    data_directory: Data,
    charter_directory: CharterFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the batch's files.")],
    payer_name: Annotated[str, typer.Option(help="Who pays, as the bank knows them.")],
    payer_account: Annotated[str, typer.Option(help="IBAN or account number of the payer.")],
    payer_agent: Annotated[str | None, typer.Option(help="BIC of the payer's bank.")] = None,
    region: Annotated[str, typer.Option(help="Region in the public log's entry.")] = "default",
    root: RootFile = None,
    as_json: AsJson = False,
) -> None:
    """Pay out what is due: one transaction in the ledger, then the batch's files.

    Writes bank/BATCH.csv and bank/BATCH.xml (pain.001) for the bank, public/BATCH.json and
    public/BATCH.entry.json to publish: the second is for `peerllm log append`. A batch that was
    made before is not paid again; its files are written again as they were. The next batch is
    refused until the charter's days since the last one are over.
    """
    from peerllm.coordinator.payout_files import check_region, require_writable  # noqa: PLC0415
    from peerllm.coordinator.payout_storage import (  # noqa: PLC0415
        NothingToPay,
        PayoutMade,
        PayoutTooEarly,
    )

    with refusals():
        terms = terms_in(charter_directory, root)
        check_region(region)
        require_writable(out)
        with books_in(data_directory, write=True) as books:
            outcome = books.payouts.pay(
                batch,
                rule=terms.escrow,
                payout=terms.payout,
                payer=Payee(name=payer_name, account=payer_account, agent=payer_agent),
                random=secrets.token_bytes,
            )
        if isinstance(outcome, PayoutTooEarly):
            raise CoordinatorError(
                f"batch {outcome.last_batch} was drawn on {day(outcome.last_at_us)}, the charter"
                f" pays every {terms.payout.every_days} days: the next one from"
                f" {day(outcome.due_us)} (UTC) on"
            )
        unpaid = () if not isinstance(outcome, NothingToPay | PayoutMade) else outcome.unpaid
        made = None if isinstance(outcome, NothingToPay) else outcome.batch
        files = () if made is None else _written(made, out, region)
    if as_json:
        print_json(
            {
                "batch": batch,
                "paid_now": isinstance(outcome, PayoutMade),
                "payouts": 0 if made is None else len(made.lines),
                "total_nano_usd": 0 if made is None else made.total,
                "root": None if made is None else made.root.hex(),
                "files": [str(path) for path in files],
                "unpaid": dict(unpaid),
            }
        )
        return
    if made is None:
        typer.echo("nothing is due: no batch was made")
    else:
        again = "" if isinstance(outcome, PayoutMade) else " was made before; nothing was paid now:"
        typer.echo(
            f"batch {batch}{again} {len(made.lines)} payouts, {usd(made.total)}, root"
            f" {made.root.hex()}"
        )
        for path in files:
            typer.echo(f"  {path}")
    for host, reason in unpaid:
        typer.echo(f"  not paid: {host} ({reason})")


@_command(
    "prove 12D3Koo... --batch 2026-11 --data-directory data --out proof.json",
    "prove --check proof.json --root 5f0c...",
    "prove --check proof.json --entry 2026-11.entry.json",
)
def prove(
    host: Annotated[str | None, typer.Argument(metavar="[HOST]")] = None,
    data_directory: Annotated[Path | None, typer.Option(help="Folder of the state.")] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="Name of the batch.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File for the proof.")] = None,
    check: Annotated[Path | None, typer.Option("--check", help="Proof to check, offline.")] = None,
    root: Annotated[
        str | None, typer.Option("--root", help="The batch's published root, in hexadecimal.")
    ] = None,
    entry: Annotated[
        Path | None, typer.Option("--entry", help="The batch's entry of the public log.")
    ] = None,
) -> None:
    """Write a host's proof of its own payout, or check one against the published root.

    Checking needs the proof and the root alone: no network, no ledger, no software of a
    coordinator.
    """
    with refusals():
        if check is not None:
            _check_proof(check, root, entry)
            return
        if host is None or data_directory is None or batch is None:
            raise typer.BadParameter("give HOST, --batch and --data-directory, or --check")
        with books_in(data_directory) as books:
            found = books.payouts.batch(batch)
        proof = None if found is None else found.proof(host)
        if proof is None:
            raise CoordinatorError(f"batch {batch} pays {host} nothing")
        raw = write_proof(proof)
        if out is None:
            typer.echo(raw.decode(), nl=False)
        else:
            put_file(out, raw)
            typer.echo(f"{out} proves {usd(proof.amount_nano_usd)} under root {proof.root}")


_command(
    "audit --data-directory data",
    "audit --data-directory data --root 2026-11=5f0c... --head 4711:9a3e...",
    "audit --data-directory data --log public --log-key log.vkey",
    "audit --data-directory data --charter-directory charter",
)(audit)


def _written(made: Batch, out: Path, region: str) -> tuple[Path, ...]:
    from peerllm.coordinator.payout_files import write_batch  # noqa: PLC0415

    try:
        return write_batch(made, out, region)
    except OSError as error:
        raise CoordinatorError(
            f"batch {made.batch} is paid in the ledger, but not all of its files were written"
            f" ({error}); give the same command again: nothing is paid twice"
        ) from error


def _check_proof(check: Path, root: str | None, entry: Path | None) -> None:
    if (root is None) == (entry is None):
        raise typer.BadParameter("check against --root or --entry, one of them")
    proof = read_proof(read_input(check, MAXIMUM_DOCUMENT_BYTES))
    if entry is not None:
        body = read_entry(read_input(entry, MAXIMUM_ENTRY_BYTES + 1).removesuffix(b"\n")).body
        if not isinstance(body, PayoutBatch) or body.batch != proof.batch:
            raise Malformed(f"{entry} is not the log's entry of batch {proof.batch}")
        root = body.root
    if root is None or _DIGEST.fullmatch(root) is None:
        raise typer.BadParameter("a root has 64 hexadecimal digits, in small letters")
    if not proof_holds(proof, bytes.fromhex(root)):
        raise Malformed(f"the proof does not lead to root {root}: do not believe it")
    typer.echo(
        f"proven: batch {proof.batch} pays {proof.host} {usd(proof.amount_nano_usd)} (root {root})"
    )
