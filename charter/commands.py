"""The command line of this room: show, verify, found and amend a network's charter."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from peerllm.charter.defaults import first_catalogue, first_standard, first_tariff, first_terms
from peerllm.charter.documents import (
    CharterTerms,
    Document,
    ModelCatalogue,
    SafetyStandard,
    Tariff,
    document_name,
    read_document,
)
from peerllm.charter.errors import CharterError
from peerllm.charter.store import (
    Charter,
    amend_network,
    found_network,
    founding_root,
    load_charter,
)
from peerllm.crypto.errors import KeyFileError

charter_app = typer.Typer(
    name="charter",
    help="What the network has promised: terms, prices, models and safety, signed by stewards.",
    no_args_is_help=True,
)

Folder = Annotated[Path, typer.Argument(help="Folder that holds the charter.")]
RootFile = Annotated[
    Path | None,
    typer.Option("--root", help="Root file the stewards gave you; else the folder's own."),
]
StateFolder = Annotated[
    Path | None,
    typer.Option("--state", help="Folder that remembers versions seen, to notice a roll back."),
]
DocumentsFolder = Annotated[
    Path | None,
    typer.Option(
        "--documents",
        help="Folder with any of charter-terms.json, tariff.json, model-catalogue.json and"
        " safety-standard.json.",
    ),
]
Days = Annotated[int, typer.Option("--days", min=1, max=3_650, help="Days until it expires.")]

_REFUSED: Final = 1


@charter_app.command()
def show(
    folder: Folder,
    root: RootFile = None,
    state: StateFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Verify the charter and print what it promises."""
    charter = _verified(folder, root, state)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(_plain(charter)), indent=2).decode())
        return
    console = Console()
    for table in _tables(charter):
        console.print(table)


@charter_app.command()
def verify(folder: Folder, root: RootFile = None, state: StateFolder = None) -> None:
    """Verify every signature, version, expiry and document; exit status 0 when all is well."""
    typer.echo(_sentence(_verified(folder, root, state)))


@charter_app.command()
def found(
    folder: Folder,
    network: Annotated[str, typer.Option("--network", help="Name of the new network.")],
    keys: Annotated[Path, typer.Option("--keys", help="Folder for the stewards' key files.")],
    stewards: Annotated[int, typer.Option("--stewards", min=1, max=50)] = 3,
    threshold: Annotated[int, typer.Option("--threshold", min=1, max=50)] = 2,
    days: Days = 365,
    documents: DocumentsFolder = None,
) -> None:
    """Found a network: make the stewards' keys, sign its first charter and write it."""
    now = datetime.now(UTC)
    try:
        root = found_network(
            folder,
            terms=_given(documents, CharterTerms) or first_terms(network),
            tariff=_given(documents, Tariff) or first_tariff(),
            catalogue=_given(documents, ModelCatalogue) or first_catalogue(),
            standard=_given(documents, SafetyStandard) or first_standard(),
            steward_keys_directory=keys,
            threshold=threshold,
            expires=now + timedelta(days=days),
            stewards=[f"steward-{number}" for number in range(1, stewards + 1)],
        )
    except (CharterError, KeyFileError, ValueError, OSError) as error:
        raise _refusal(error) from error
    typer.echo(
        f"Founded in {folder}. Root to hand out: {folder / 'metadata' / '1.root.json'}"
        f" (SHA-256 {hashlib.sha256(root).hexdigest()}).\n"
        f"The {stewards} key files in {keys} are all there is: give each to its steward, keep none"
        " here."
    )


@charter_app.command()
def amend(
    folder: Folder,
    key: Annotated[list[Path], typer.Option("--key", help="A steward's key file; repeat it.")],
    root: RootFile = None,
    days: Days = 365,
    documents: DocumentsFolder = None,
) -> None:
    """Publish the charter's next version; without --documents it is renewed as it is."""
    now = datetime.now(UTC)
    try:
        trusted_root = _root(folder, root)
        amend_network(
            folder,
            trusted_root=trusted_root,
            steward_keys=key,
            expires=now + timedelta(days=days),
            terms=_given(documents, CharterTerms),
            tariff=_given(documents, Tariff),
            catalogue=_given(documents, ModelCatalogue),
            standard=_given(documents, SafetyStandard),
        )
        charter = load_charter(folder, trusted_root=trusted_root, state_directory=None, now=now)
    except (CharterError, KeyFileError, OSError) as error:
        raise _refusal(error) from error
    typer.echo(_sentence(charter))


def _verified(folder: Path, root: Path | None, state: Path | None) -> Charter:
    try:
        return load_charter(
            folder, trusted_root=_root(folder, root), state_directory=state, now=datetime.now(UTC)
        )
    except (CharterError, OSError) as error:
        raise _refusal(error) from error


def _root(folder: Path, root: Path | None) -> bytes:
    if root is not None:
        return root.read_bytes()
    raw = founding_root(folder)
    typer.echo(
        f"Trusting the folder's own root, SHA-256 {hashlib.sha256(raw).hexdigest()}; give --root to"
        " check against the one the stewards gave you.",
        err=True,
    )
    return raw


def _given(documents: Path | None, kind: type[Document]) -> Document | None:
    path = documents / f"{document_name(kind)}.json" if documents else None
    return read_document(path.read_bytes(), kind) if path and path.exists() else None


def _refusal(error: Exception) -> typer.Exit:
    typer.echo(f"Refused: {error}", err=True)
    return typer.Exit(_REFUSED)


def _sentence(charter: Charter) -> str:
    return (
        f"The charter of {charter.terms.network}, version {charter.version}, is signed by at least"
        f" {charter.threshold} of {charter.stewards} stewards and good until"
        f" {charter.expires_at:%Y-%m-%d %H:%M} UTC."
    )


def _plain(charter: Charter) -> dict[str, object]:
    return {
        "version": charter.version,
        "expires_at": charter.expires_at.isoformat(),
        "stewards": charter.stewards,
        "threshold": charter.threshold,
        "terms": charter.terms,
        "tariff": charter.tariff,
        "catalogue": charter.catalogue,
        "standard": charter.standard,
    }


def _tables(charter: Charter) -> list[Table]:
    terms, tariff = charter.terms, charter.tariff
    promises = _table(f"Charter of {terms.network}, version {charter.version}", "Promise", "Value")
    rule = terms.seat_rule
    for promise, value in (
        ("Signed by", f"{charter.threshold} of {charter.stewards} stewards"),
        ("Good until", f"{charter.expires_at:%Y-%m-%d %H:%M} UTC"),
        *(
            (f"Hosts get, tier {name}", f"{_percent(tier.host_share_basis_points)} of every charge")
            for name, tier in sorted(tariff.tiers.items())
        ),
        ("Hosts get at least", _percent(terms.minimum_host_share_basis_points)),
        ("Backups share", f"{_percent(tariff.backup_share_basis_points)} of each chunk's pool"),
        ("Race", f"{terms.race_size} hosts, backup {'late' if terms.hedge else 'at once'}"),
        ("Distinct operators in a race", _yes(rule.distinct_operators_per_race)),
        ("Distinct networks in a race", _yes(rule.distinct_networks_per_race)),
        ("Seats of one operator per model", f"at most {rule.maximum_seats_per_operator}"),
        (
            "One operator sees",
            f"at most {_percent(terms.exposure_basis_points)} of a request's chunks, from"
            f" {terms.exposure_minimum_operators} operators on",
        ),
    ):
        promises.add_row(promise, value)
    prices = _table(f"Tariff, version {tariff.version}", "Tier", "Class", "Input", "Output")
    for tier_name, classes in sorted(tariff.prices.items()):
        for model_class, price in sorted(classes.items()):
            prices.add_row(
                tier_name,
                model_class,
                _per_million(price.input_nano_usd_per_million),
                _per_million(price.output_nano_usd_per_million),
            )
    models = _table(
        f"Model catalogue, version {charter.catalogue.version}",
        *("Model", "Context", "Licence", "SHA-256"),
    )
    for name, entry in sorted(charter.catalogue.models.items()):
        models.add_row(name, f"{entry.context_tokens} tokens", entry.license, entry.sha256)
    safety = _table(
        f"Safety standard, version {charter.standard.version}",
        *("Category", "Refused from", "Uncertain"),
    )
    bands = charter.standard.bands_milli or {}
    for category, threshold in charter.standard.thresholds_milli.items():
        band = bands.get(category)
        safety.add_row(
            category.replace("_", " "),
            f"{threshold / 1_000:.3f}",
            f"{band.from_milli / 1_000:.3f} to {band.certain_milli / 1_000:.3f}" if band else "",
        )
    margin = f"{charter.standard.answer_margin_milli / 1_000:.3f}"
    safety.add_row("answers, above that", margin, margin if bands else "")
    return [promises, prices, models, safety]


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        # A digest or a price cut in the middle is of no use: fold it instead.
        table.add_column(column, overflow="fold")
    return table


def _percent(basis_points: int) -> str:
    return f"{basis_points / 100:g}%"


def _per_million(nano_usd: int) -> str:
    dollars, nano = divmod(nano_usd, 1_000_000_000)
    return f"{dollars}.{nano:09}".rstrip("0").ljust(len(str(dollars)) + 4, "0") + (
        " USD per million tokens"
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"
