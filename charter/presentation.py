"""A charter for people at a terminal, and for programs as plain values."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import msgspec
from rich.table import Table
from rich.text import Text

from peerllm.charter.ballots import Tally
from peerllm.charter.differences import Difference, visible
from peerllm.charter.governance import LeadershipClause
from peerllm.charter.loading import Charter
from peerllm.charter.promises import SeatPolicy, StrikePolicy
from peerllm.charter.terms import CharterTerms

Row = tuple[str, str]


def plain_charter(charter: Charter) -> dict[str, object]:
    """Return a charter as values that JSON can carry."""
    return {
        "version": charter.version,
        "ballot": charter.ballot,
        "expires_at": charter.expires_at.isoformat(),
        "stewards": charter.stewards,
        "threshold": charter.threshold,
        "term_ends_us": charter.term_ends_us,
        "terms": charter.terms,
        "tariff": charter.tariff,
        "catalogue": charter.catalogue,
        "standard": charter.standard,
        "regions": charter.regions,
        "capacities": charter.capacities,
        "notices": charter.notices,
    }


def charter_sentence(charter: Charter) -> str:
    """Return in one sentence who signed a charter and until when it is good."""
    return (
        f"The charter of {charter.terms.network}, version {charter.version}, is signed by at least"
        f" {charter.threshold} of {len(charter.stewards)} stewards and good until"
        f" {charter.expires_at:%Y-%m-%d %H:%M} UTC."
    )


def charter_tables(charter: Charter) -> Iterator[Table]:
    """Yield a charter's tables in the order in which people ask."""
    terms = charter.terms
    yield _rows(
        f"Charter of {terms.network}, version {charter.version}",
        "Principle",
        ((str(number), text) for number, text in enumerate(terms.principles, start=1)),
    )
    yield _rows("What is promised", "Promise", _promises(charter))
    yield _rows("Tiers of hosts", "Tier", _tiers(terms))
    yield _rows("Strikes and appeal", "Rule", _strikes(terms.strikes))
    yield _rows("Seats", "Rule", _seats(terms.seats))
    yield _rows("Regions", "Rule", _regions(charter))
    yield _amendments(terms)
    yield _stewards(charter)
    yield from _document_tables(charter)


def _promises(charter: Charter) -> Iterator[Row]:
    terms, tariff = charter.terms, charter.tariff
    rule = terms.seat_rule
    yield "Good until", f"{charter.expires_at:%Y-%m-%d %H:%M} UTC"
    for name, tier in sorted(tariff.tiers.items()):
        yield (
            f"Hosts get, tier {name}",
            f"{_percent(tier.host_share_basis_points)} of every charge",
        )
    yield "Hosts get at least", _percent(terms.minimum_host_share_basis_points)
    yield "Of which sum", terms.margin_base.statement
    yield "No guaranteed earnings", terms.no_guaranteed_earnings
    yield "Backups share", f"{_percent(tariff.backup_share_basis_points)} of each chunk's pool"
    escrow = terms.escrow
    yield (
        "Newcomers' pay rests",
        f"{escrow.hold_days} days each, until {escrow.trusted_after_days} days and"
        f" {escrow.trusted_after_receipts:,} receipts have passed. {escrow.statement}",
    )
    dollars = terms.payout.minimum_nano_usd / 10**9
    yield "Paid out", f"every {terms.payout.every_days} days from {dollars:,.2f} USD on"
    yield "Race", f"{terms.race_size} hosts, backup {'late' if terms.hedge else 'at once'}"
    yield "Distinct operators in a race", _yes(rule.distinct_operators_per_race)
    yield "Distinct networks in a race", _yes(rule.distinct_networks_per_race)
    yield "Seats of one operator per model", f"at most {rule.maximum_seats_per_operator}"
    yield (
        "One operator sees",
        f"at most {_percent(terms.exposure_basis_points)} of a request's chunks, from"
        f" {terms.exposure_minimum_operators} operators on",
    )


def _tiers(terms: CharterTerms) -> Iterator[Row]:
    for name, tier in sorted(terms.tiers.items()):
        yield name, f"{tier.commitment} {tier.treatment}"


def _strikes(policy: StrikePolicy) -> Iterator[Row]:
    yield "In words", policy.statement
    yield (
        "Weights",
        ", ".join(
            f"{rule.replace('_', ' ')} {weight}" for rule, weight in sorted(policy.weights.items())
        ),
    )
    yield (
        "Suspended from",
        f"a weight of {policy.suspension_weight} within {policy.counted_days} days",
    )
    yield (
        "Appeal",
        f"within {policy.appeal_days} days; decided within {policy.decision_days}, or it has"
        " succeeded",
    )


def _seats(policy: SeatPolicy) -> Iterator[Row]:
    yield "In words", policy.statement
    yield (
        "How many",
        f"for a utilisation of {_percent(policy.target_utilisation_basis_points)}; more when"
        f" {policy.steady_days} days above {_percent(policy.grow_above_basis_points)}, fewer when"
        f" as long below {_percent(policy.shrink_below_basis_points)}; at least"
        f" {policy.minimum_seats_per_model} per model",
    )
    yield "An offered seat is kept", f"{policy.offer_days} days"


def _regions(charter: Charter) -> Iterator[Row]:
    rule = charter.terms.federation
    yield "In words", rule.statement
    yield "Active from", f"{rule.active_hosts} active hosts for {_months(rule.active_months)}"
    yield (
        "Federated from",
        f"{rule.federated_revenue_nano_usd / 10**9:,.0f} USD a month and {rule.federated_hosts}"
        f" active hosts for {_months(rule.federated_months)}",
    )
    yield (
        "Lost when",
        f"below {_percent(rule.keep_basis_points)} of that for {rule.fall_months} months, after"
        f" {rule.fall_notice_days} days of notice",
    )
    for name, record in sorted(charter.regions.items()):
        capacity = charter.capacities.get(name)
        seats = "" if capacity is None else f", {sum(capacity.seats.values())} seats of its own"
        yield name, f"{record.status}{seats}"
    for notice in charter.notices:
        yield "Note", notice


def _amendments(terms: CharterTerms) -> Table:
    table = make_table("Amendments", "Document", "Notice", "Quorum", "Majority")
    for kind, rule in sorted(terms.amendments.items()):
        table.add_row(kind, f"{rule.notice_days} days", str(rule.quorum), str(rule.supermajority))
    return table


def _stewards(charter: Charter) -> Table:
    clause: LeadershipClause = charter.terms.leadership
    table = make_table(
        f"Stewards: {charter.threshold} of {len(charter.stewards)} must sign",
        *("Name", "Interest", "Term until", "Public key"),
    )
    for steward in charter.stewards:
        end_us = charter.term_ends_us.get(steward.public_key)
        until = "not dated" if end_us is None else moment(end_us)[:10]
        table.add_row(steward.name, steward.interest, until, steward.public_key)
    years = (
        f"They serve {clause.term_days} days. One whose term has ended takes part in renewing the"
        " terms, and in nothing else."
    )
    table.caption = printable(f"{clause.statement} {years} {clause.recusal}")
    table.caption_justify = "left"
    return table


def difference_table(title: str, differences: Iterable[Difference]) -> Table:
    """Return differences side by side, file by file."""
    table = make_table(title, "Field", "Before", "After")
    file = None
    for difference in differences:
        if difference.file != file:
            file = difference.file
            table.add_section()
            table.add_row(Text(visible(file), style="bold"), "", "")
        values = (difference.place, difference.before, difference.after)
        table.add_row(*(printable(value or "") for value in values))
    return table


def printable(text: str) -> Text:
    """Return text for a table's cell, as it is: without markup, its hidden characters escaped."""
    return Text(visible(text, keep="\n"))


def tally_table(tally: Tally) -> Table:
    """Return who voted how, and what follows."""
    ends = "" if tally.closes_at_us is None else f", vote until {moment(tally.closes_at_us)}"
    table = make_table(f"Ballot: {tally.outcome}{ends}", "Vote", "Stewards")
    for choice, names in tally.by_choice.items():
        table.add_row(choice, ", ".join(names))
    table.add_row("spoilt (two different votes)", ", ".join(tally.spoilt))
    table.add_row("not voted", ", ".join(tally.missing))
    for reason in tally.refused:
        table.add_row("does not count", printable(reason))
    return table


def moment(epoch_us: int) -> str:
    """Return an epoch time in microseconds for people."""
    return f"{datetime.fromtimestamp(epoch_us / 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def as_json(value: object) -> str:
    """Return plain values, structs and dataclasses as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _document_tables(charter: Charter) -> Iterator[Table]:
    tariff = charter.tariff
    prices = make_table(f"Tariff, version {tariff.version}", "Tier", "Class", "Input", "Output")
    for tier_name, classes in sorted(tariff.prices.items()):
        for model_class, price in sorted(classes.items()):
            prices.add_row(
                tier_name,
                model_class,
                _per_million(price.input_nano_usd_per_million),
                _per_million(price.output_nano_usd_per_million),
            )
    models = make_table(
        f"Model catalogue, version {charter.catalogue.version}",
        *("Model", "Context", "Licence", "SHA-256"),
    )
    for name, entry in sorted(charter.catalogue.models.items()):
        models.add_row(name, f"{entry.context_tokens} tokens", entry.license, entry.sha256)
    safety = make_table(
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
    yield from (prices, models, safety)


def _rows(title: str, column: str, rows: Iterable[Row]) -> Table:
    table = make_table(title, column, "")
    for row in rows:
        table.add_row(*map(printable, row))
    return table


def make_table(title: str, *columns: str) -> Table:
    """Return an empty table."""
    table = Table(title=printable(title), title_justify="left")
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


def _months(count: int) -> str:
    return "1 full month" if count == 1 else f"{count} full months"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
