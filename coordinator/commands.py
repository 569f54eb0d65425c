"""The operator's command line: run a coordinator, keep its customers, keys and seats."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import trio
import typer

from peerllm.charter.command_options import chosen_root
from peerllm.charter.errors import CharterError
from peerllm.charter.store import load_charter
from peerllm.coordinator.accounts import Tier, check_label, check_price_tier
from peerllm.coordinator.appeal_commands import register_appeal_commands
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.events import CoordinatorEvent
from peerllm.coordinator.invite_commands import register_invite
from peerllm.coordinator.public_event_commands import register_public_events
from peerllm.coordinator.service import CoordinatorSettings, now_us, run_coordinator
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.strike_commands import register_strike_commands
from peerllm.crypto.errors import CryptoError
from peerllm.crypto.identity import Identity
from peerllm.overlay.errors import OverlayError
from peerllm.privacy.endings import clear_endings
from peerllm.privacy.event_log import EventLog, LibraryLog
from peerllm.privacy.process_memory import forbid_memory_dumps
from peerllm.safety.errors import SafetyError

coordinator_app = typer.Typer(
    name="coordinator",
    add_completion=False,
    help="Run a coordinator and keep its customers, keys and seats.",
    no_args_is_help=True,
)
register_strike_commands(coordinator_app)
register_appeal_commands(coordinator_app)
register_public_events(coordinator_app)
register_invite(coordinator_app)

Data = Annotated[Path, typer.Option("--data-directory", help="Folder of the coordinator's state.")]
_NANO_PER_USD = 1_000_000_000
_NANO_PER_CENT = 10_000_000
_EXPECTED = (CoordinatorError, CharterError, CryptoError, OverlayError, SafetyError)


@coordinator_app.command()
def run(
    data_directory: Data,
    charter_directory: Annotated[Path, typer.Option(help="Folder of the signed charter.")],
    http_address: str = "127.0.0.1",
    http_port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    overlay_address: str = "127.0.0.1",
    overlay_port: Annotated[int, typer.Option(min=0, max=65535)] = 4001,
    root: Annotated[
        Path | None, typer.Option(help="Root file from the stewards; else the folder's own.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE of a catalogue model's GGUF.")
    ] = None,
    judges: Annotated[
        Path | None, typer.Option(help="TOML file of stronger judges for uncertain texts.")
    ] = None,
) -> None:
    """Serve until interrupted. Events go to standard error, one JSON object a line."""
    log = EventLog[CoordinatorEvent](now_us)
    logging.getLogger().addHandler(LibraryLog(log, "library_warning"))
    forbid_memory_dumps()
    with clear_endings(*_EXPECTED, crashed=lambda place: log.event("crashed", place=place)):
        settings = CoordinatorSettings(
            data_directory=data_directory,
            charter_directory=charter_directory,
            root_file=root,
            http_address=http_address,
            http_port=http_port,
            overlay_address=overlay_address,
            overlay_port=overlay_port,
            model_files=dict(_model_file(text) for text in model or ()),
            judges_file=judges,
        )
        trio.run(run_coordinator, settings, log)


@coordinator_app.command()
def identity(data_directory: Data) -> None:
    """Print the coordinator's peer id, creating its identity when there is none."""
    with clear_endings(*_EXPECTED):
        data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings = CoordinatorSettings(
            data_directory=data_directory, charter_directory=data_directory
        )
        typer.echo(Identity.load_or_create(settings.identity_file).peer_id)


@coordinator_app.command()
def customer(
    name: str,
    data_directory: Data,
    deposit_usd: Annotated[int, typer.Option(min=0, max=1_000_000)] = 0,
    deposit_id: Annotated[
        str | None, typer.Option(help="Payment reference; the same one credits once.")
    ] = None,
    tax_cents: Annotated[
        int, typer.Option(min=0, max=100_000_000, help="Tax paid on top, owed to the state.")
    ] = 0,
    fee_cents: Annotated[
        int, typer.Option(min=0, max=100_000_000, help="What the payment processor kept.")
    ] = 0,
    tier: Annotated[
        str | None, typer.Option(help="Tier of the tariff; a new account has 'standard'.")
    ] = None,
    charter_directory: Annotated[
        Path | None, typer.Option(help="Folder of the signed charter; --tier needs it.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Root file from the stewards; else the folder's own.")
    ] = None,
) -> None:
    """Open a customer's account, pay into it, or put it into another tier."""
    if not deposit_usd and (tax_cents or fee_cents or deposit_id is not None):
        raise typer.BadParameter(
            "--deposit-id, --tax-cents and --fee-cents belong to a deposit; give --deposit-usd, too"
        )
    if tier is not None:
        _check_tier(tier, charter_directory, root)
    with _storage(data_directory, begin=True) as storage:
        if deposit_id is not None:
            # An empty one, as of a script's unset variable, would credit the same payment again.
            check_label(deposit_id, "a payment reference")
        account = storage.create_customer(name).account
        if deposit_usd:
            reference = f"{account}/{now_us()}" if deposit_id is None else deposit_id
            storage.deposit(
                account,
                deposit_usd * _NANO_PER_USD,
                reference,
                tax=tax_cents * _NANO_PER_CENT,
                fee=fee_cents * _NANO_PER_CENT,
            )
        if tier is not None:
            storage.set_price_tier(account, tier)
        funds = storage.balance(account)
        typer.echo(f"{account}: {funds.available} nano-USD available")


@coordinator_app.command()
def key(
    customer_name: Annotated[str, typer.Argument(metavar="CUSTOMER")],
    data_directory: Data,
    name: str = "default",
    budget_usd: Annotated[int | None, typer.Option(min=0, max=1_000_000)] = None,
) -> None:
    """Issue an API key. It is shown once: only its digest is kept."""
    with _storage(data_directory) as storage:
        issued = storage.create_api_key(
            f"customers/{customer_name}",
            name,
            budget=None if budget_usd is None else budget_usd * _NANO_PER_USD,
        )
        typer.echo(issued.plain)


@coordinator_app.command()
def revoke(key_id: str, data_directory: Data) -> None:
    """Withdraw an API key at once and for good."""
    with _storage(data_directory) as storage:
        if storage.revoke_api_key(key_id) is None:
            raise CoordinatorError(f"there is no key {key_id}")
        typer.echo(f"key {key_id} is revoked")


@coordinator_app.command()
def keys(
    customer_name: Annotated[str, typer.Argument(metavar="CUSTOMER")], data_directory: Data
) -> None:
    """List a customer's keys by id."""
    with _storage(data_directory) as storage:
        for found in storage.api_keys(f"customers/{customer_name}"):
            state = "revoked" if found.revoked_at_us is not None else "valid"
            typer.echo(f"{found.key_id}  {found.name}  {state}")


@coordinator_app.command()
def seat(
    peer_id: str,
    data_directory: Data,
    operator: Annotated[str, typer.Option(help="Who runs the host.")],
    model_digest: Annotated[list[str], typer.Option(help="SHA-256 of a model file, in hex.")],
    dedicated: Annotated[bool, typer.Option(help="Run by the network itself.")] = False,
    region: Annotated[str, typer.Option(help="Where it serves; its past work stays there.")] = (
        "default"
    ),
) -> None:
    """Give a host a seat: from then on it may connect and receive work."""
    with _storage(data_directory, begin=True) as storage:
        digests = [_digest(text) for text in model_digest]
        tier: Tier = "dedicated" if dedicated else "community"
        given = storage.seat(peer_id, operator, tier, digests, region=region)
        typer.echo(f"{given.peer_id} holds a {given.tier} seat of {given.operator}")


@coordinator_app.command()
def unseat(peer_id: str, data_directory: Data) -> None:
    """Take a host's seat; a connected host is disconnected within seconds.

    Never for underperformance: `peerllm region pause` lets a host rest and keeps its seat.
    """
    with _storage(data_directory) as storage:
        if not storage.unseat(peer_id):
            raise CoordinatorError(f"{peer_id} holds no seat")
        typer.echo(f"{peer_id} holds no seat any more")


@coordinator_app.command()
def ledger(data_directory: Data) -> None:
    """Recount the ledger from its transfers; exit status 1 when it does not balance."""
    with _storage(data_directory) as storage:
        report = storage.ledger_check()
        typer.echo(
            json.dumps(
                {
                    "debits_nano_usd": report.debits,
                    "credits_nano_usd": report.credits,
                    "open_reservations": report.open_reservations,
                    "settlements": report.settlements,
                    "lowest_host_share_basis_points": report.lowest_host_share_basis_points,
                    "balanced": report.balanced,
                    "faults": list(report.faults),
                },
                indent=2,
            )
        )
        if not report.balanced:
            raise typer.Exit(1)


@contextmanager
def _storage(data_directory: Path, *, begin: bool = False) -> Iterator[StorageFile]:
    """The coordinator's database; only what gives something new may `begin` one.

    In a folder that was mistyped an empty database would be in perfect order.
    """
    settings = CoordinatorSettings(data_directory=data_directory, charter_directory=data_directory)
    with clear_endings(*_EXPECTED):
        if begin:
            data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        elif not settings.database_file.exists():
            raise CoordinatorError(f"there is no coordinator's database {settings.database_file}")
        with StorageFile(settings.database_file, clock=now_us) as storage:
            yield storage


def _check_tier(tier: str, charter_directory: Path | None, root: Path | None) -> None:
    """Refuse a tier without prices: nothing would be sold to its customers."""
    if charter_directory is None:
        raise typer.BadParameter("--tier needs --charter-directory, whose tariff names the tiers")
    with clear_endings(*_EXPECTED):
        check_price_tier(tier)
        tariff = load_charter(
            charter_directory,
            trusted_root=chosen_root(charter_directory, root),
            state_directory=None,
            now=datetime.now(UTC),
        ).tariff
        if tier not in tariff.tiers:
            raise CoordinatorError(
                f"the tariff has no tier {tier!r}; it has {', '.join(sorted(tariff.tiers))}"
            )


def _model_file(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise CoordinatorError(f"--model takes NAME=FILE, not {text!r}")
    return name, Path(path)


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise CoordinatorError(f"a model digest is 64 hexadecimal digits, not {text!r}")
    return digest
