"""The command line of prices: offline, from the charter's public folder alone."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.table import Table

from peerllm.charter.calculation import (
    FORMULA,
    calculation_bytes,
    calculation_file,
    calculation_of,
)
from peerllm.charter.command_options import (
    EXIT_CODES,
    REFUSED,
    AsJson,
    At,
    Folder,
    RootFile,
    chosen_root,
    console,
    reckoned,
    refusals,
)
from peerllm.charter.drafts import FOUNDING, PROPOSAL, read_draft
from peerllm.charter.errors import Malformed
from peerllm.charter.forecast import AnnouncedPrice, read_profile
from peerllm.charter.forecast import forecast as forecast_of
from peerllm.charter.index_readings import (
    by_index,
    reading_sentence,
    require_source,
)
from peerllm.charter.loading import Charter
from peerllm.charter.log_command_line import read_input
from peerllm.charter.money_text import change, usd
from peerllm.charter.presentation import printable
from peerllm.charter.price_adjust_commands import SourceFiles, adjust
from peerllm.charter.spelling import MAXIMUM_DOCUMENT_BYTES, percent
from peerllm.charter.store import load_charter
from peerllm.charter.tariff import (
    STANDARD_TIER,
    TOKENS_PER_PRICE,
    PastPrices,
    Tariff,
    TokenPrice,
)
from peerllm.charter.tariff_rule import DAY_US, NOTICE_DAYS

price_app = typer.Typer(
    name="price",
    add_completion=False,
    help="What a request costs, why, and how prices may move; offline, from the charter alone.",
    no_args_is_help=True,
    # Keeps the lines of the examples as they are.
    rich_markup_mode=None,
)

Tier = Annotated[str, typer.Option("--tier", help="Tier of the account.")]
Tokens = Annotated[int, typer.Option(min=0, max=10_000_000)]
_DATE: Final = "%Y-%m-%d"


def _command(*examples: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command whose help ends with examples and exit codes."""
    lines = "\n".join(f"  peerllm price {example}" for example in examples)
    return price_app.command(epilog=f"\b\nExamples:\n{lines}\n\n{EXIT_CODES}")


@_command("show charter", "show charter --json")
def show(folder: Folder, root: RootFile = None, as_json: AsJson = False, at: At = None) -> None:
    """Print tiers, prices in force and announced, indices, and how a charge is shared."""
    with refusals():
        now = reckoned(at)
        charter = _charter(folder, root, now)
        tariff, in_force = charter.tariff, _in_force(charter, now)
        announced = tariff if tariff.valid_from_us > _us(now) else None
        if as_json:
            _print_json(
                {
                    "tiers": tariff.tiers,
                    "in_force": in_force,
                    "announced": announced
                    and {"valid_from_us": announced.valid_from_us, "prices": announced.prices},
                    "indices": tariff.indices,
                    "backup_share_basis_points": tariff.backup_share_basis_points,
                    "quote_lifetime_seconds": tariff.quote_lifetime_seconds,
                    "redundancy": tariff.redundancy,
                }
            )
            return
        out = console()
        tiers = Table("Tier", "Hosts get", "Meaning", title="Tiers", title_justify="left")
        for name, tier in sorted(tariff.tiers.items()):
            tiers.add_row(name, percent(tier.host_share_basis_points), printable(tier.meaning))
        out.print(tiers)
        out.print(_price_table(f"Prices of version {in_force.version}, in force", in_force))
        if announced is not None:
            coming = PastPrices(
                version=announced.version,
                valid_from_us=announced.valid_from_us,
                prices=announced.prices,
            )
            out.print(_price_table(f"Announced, from {_day(announced.valid_from_us)} on", coming))
        out.print(printable(f"Redundancy: {tariff.redundancy}"))
        out.print(
            f"Of each part's pool {percent(tariff.backup_share_basis_points)} go to backups by the"
            " tokens they delivered, the rest to whoever's words the customer got."
        )
        out.print(f"A quote holds {tariff.quote_lifetime_seconds // 86_400} days.")


@_command("quote charter smollm2-135m-instruct --input-tokens 800 --output-tokens 200")
def quote(
    folder: Folder,
    model: Annotated[str, typer.Argument(help="Model of the catalogue.")],
    input_tokens: Tokens,
    output_tokens: Tokens,
    tier: Tier = STANDARD_TIER,
    root: RootFile = None,
    as_json: AsJson = False,
    at: At = None,
) -> None:
    """Print the most that a request of this size costs; its part for hosts and the margin."""
    with refusals():
        charter, now = _charter(folder, root, reckoned(at)), reckoned(at)
        price = _model_price(charter, model, tier, now)
        charge = (
            input_tokens * price.input_nano_usd_per_million
            + output_tokens * price.output_nano_usd_per_million
        ) // TOKENS_PER_PRICE
        share = charter.tariff.tiers[tier].host_share_basis_points
        hosts = -(-charge * share // 10_000)
        if as_json:
            _print_json(
                {
                    "model": model,
                    "tier": tier,
                    "tariff_version": _in_force(charter, now).version,
                    "upper_bound_nano_usd": charge,
                    "host_share_nano_usd": hosts,
                    "margin_nano_usd": charge - hosts,
                }
            )
            return
        typer.echo(
            f"At most {usd(charge)} ({charge} nano-USD) for {input_tokens} tokens in and"
            f" {output_tokens} out, tier {tier}.\n"
            f"Of it {usd(hosts)} for hosts ({percent(share)}) and {usd(charge - hosts)} for the"
            " network. The price afterwards counts the tokens that were really needed."
        )


@_command(
    "explain charter",
    "explain charter --source-file electricity=epm.pdf",
    "explain draft --json",
)
def explain(
    folder: Annotated[Path, typer.Argument(help="Public folder of the network, or a draft.")],
    source_file: SourceFiles = None,
    root: RootFile = None,
    as_json: AsJson = False,
    at: At = None,
) -> None:
    """Work every price out again from its base price and the indices, and compare.

    With --source-file also whether a document that you hold is the one that an index was read from.
    """
    with refusals():
        tariff, calculations = _tariff(folder, root, at)
        calculation = calculation_of(tariff)
        name = calculation_file(tariff)
        published = calculations.get(name)
        agrees = published is None or published == calculation_bytes(tariff)
        sources = by_index(tariff.indices, "--source-file", source_file or [])
        for index_name, path in sources.items():
            require_source(index_name, tariff.indices[index_name], Path(path))
        if as_json:
            _print_json(
                {
                    "calculation": calculation,
                    "published": published is not None,
                    "agrees": agrees,
                    "sources": dict.fromkeys(sources, True),
                }
            )
        else:
            out = console()
            out.print(f"Formula: {FORMULA}.")
            indices = Table("Index", "Base", "Latest", "Weight", "Source", title_justify="left")
            for index_name, index in sorted(calculation.indices.items()):
                indices.add_row(
                    index_name,
                    str(index.base_value),
                    str(index.value),
                    percent(index.weight_basis_points),
                    printable(f"{index.source} ({index.unit})"),
                )
            out.print(indices)
            for index_name, index in sorted(calculation.indices.items()):
                if index.reading is not None:
                    typer.echo(reading_sentence(index_name, index.reading))
            for index_name, path in sources.items():
                typer.echo(f"{path} is the document that {index_name} was read from.")
            out.print(f"Factor: {calculation.factor_numerator}/{calculation.factor_denominator}")
            lines = Table("Price", "Base", "Before", "Now", "Move", title_justify="left")
            for line in calculation.prices:
                lines.add_row(
                    f"{line.tier} {line.model_class} {line.side}",
                    str(line.base),
                    "" if line.before is None else str(line.before),
                    str(line.after),
                    "" if line.before is None else change(line.before, line.after),
                )
            out.print(lines)
            out.print(
                f"The published {name} says the same."
                if published is not None and agrees
                else "This tariff's prices did not move: it came without a calculation file."
                if published is None
                else f"The published {name} says something else."
            )
        if not agrees:
            raise typer.Exit(REFUSED)


_command(
    "adjust charter --value electricity=106000 --published electricity=2026-11-20 --address"
    " electricity=https://www.eia.gov/electricity/monthly/ --out draft-documents",
    "adjust charter ... --source-file electricity=epm.pdf --from 2027-02-01 --out draft-documents",
)(adjust)


@_command(
    "forecast charter school.json --model smollm2-135m-instruct --tier school",
    "forecast charter school.json --model smollm2-135m-instruct --json",
)
def forecast(
    folder: Folder,
    profile: Annotated[Path, typer.Argument(help="JSON file of a usage profile.")],
    model: Annotated[str, typer.Option("--model", help="Model of the catalogue.")],
    tier: Tier = STANDARD_TIER,
    root: RootFile = None,
    as_json: AsJson = False,
    at: At = None,
) -> None:
    """Print a year's budget from a usage profile, and the worst that the tariff's rule allows.

    A profile names people, requests_per_person_and_day, input_tokens_per_request,
    output_tokens_per_request and days_per_year, all whole numbers.
    """
    with refusals():
        now = reckoned(at)
        charter = _charter(folder, root, now)
        usage = read_profile(read_input(profile, MAXIMUM_DOCUMENT_BYTES))
        price = _model_price(charter, model, tier, now)
        found = forecast_of(usage, price, _announced(charter, model, tier, now))
        if as_json:
            _print_json(
                {
                    "requests": found.requests,
                    "at_todays_price_nano_usd": found.at_todays_price,
                    "worst_case_nano_usd": found.worst_case,
                    "worst_prices": [
                        {"from_day": day, "price": price} for day, price in found.worst_prices
                    ],
                }
            )
            return
        typer.echo(
            f"{found.requests:,} requests a year cost at most {usd(found.at_todays_price)} at"
            f" today's price.\nWorst case: {usd(found.worst_case)}, if every price rose by the 5% a"
            f" quarter that the tariff's rule allows, first after {NOTICE_DAYS} days' notice or as"
            " announced, and the days of use were the dearest of the year."
        )


def _charter(folder: Path, root: Path | None, now: datetime) -> Charter:
    return load_charter(
        folder, trusted_root=chosen_root(folder, root), state_directory=None, now=now
    )


def _tariff(
    folder: Path, root: Path | None, at: datetime | None
) -> tuple[Tariff, Mapping[str, bytes]]:
    """The tariff with the published calculations: in force, or what a draft would put in force."""
    if (folder / PROPOSAL).exists() or (folder / FOUNDING).exists():
        documents = read_draft(folder).version.documents
        return documents.tariff, documents.calculations
    charter = _charter(folder, root, reckoned(at))
    return charter.tariff, charter.calculations


def _in_force(charter: Charter, now: datetime) -> PastPrices:
    found = charter.tariff.in_force_at(_us(now))
    if found is None:
        raise Malformed("no price is in force at that moment")
    return found


def _model_price(charter: Charter, model: str, tier: str, now: datetime) -> TokenPrice:
    entry = charter.catalogue.models.get(model)
    if entry is None:
        known = ", ".join(sorted(charter.catalogue.models)) or "none"
        raise Malformed(f"the catalogue has no model {model[:100]!r}; it has: {known}")
    prices = _in_force(charter, now).prices
    if tier not in prices:
        raise Malformed(f"there is no tier {tier[:50]!r}; there are: {', '.join(sorted(prices))}")
    price = prices[tier].get(entry.model_class)
    if price is None:
        raise Malformed(f"tier {tier!r} has no price for class {entry.model_class!r}")
    return price


def _announced(charter: Charter, model: str, tier: str, now: datetime) -> AnnouncedPrice | None:
    tariff = charter.tariff
    if tariff.valid_from_us <= _us(now):
        return None
    return AnnouncedPrice(
        day=(tariff.valid_from_us - _us(now)) // DAY_US,
        price=tariff.prices[tier][charter.catalogue.models[model].model_class],
    )


def _price_table(title: str, prices: PastPrices) -> Table:
    table = Table("Tier", "Class", "Input", "Output", title=title, title_justify="left")
    for tier, classes in sorted(prices.prices.items()):
        for model_class, price in sorted(classes.items()):
            table.add_row(
                tier,
                model_class,
                f"{usd(price.input_nano_usd_per_million)} per million tokens",
                f"{usd(price.output_nano_usd_per_million)} per million tokens",
            )
    return table


def _print_json(value: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def _day(moment_us: int) -> str:
    return datetime.fromtimestamp(moment_us / 1_000_000, UTC).strftime(_DATE)
