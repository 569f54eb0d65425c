"""`peerllm price adjust`: the documents of a proposal that moves prices by their indices."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from peerllm.charter.amending import epoch_us
from peerllm.charter.calculation import calculation_bytes, calculation_file, calculation_of
from peerllm.charter.command_options import (
    AsJson,
    At,
    Folder,
    RootFile,
    chosen_root,
    reckoned,
    refusals,
)
from peerllm.charter.documents import write_document
from peerllm.charter.errors import Malformed
from peerllm.charter.folder import put_file
from peerllm.charter.index_readings import by_index, readings_of
from peerllm.charter.money_text import change, usd
from peerllm.charter.store import load_charter
from peerllm.charter.tariff import CostIndex
from peerllm.charter.tariff_rule import NOTICE_DAYS, adjustment_faults, next_tariff

SourceFiles = Annotated[
    list[str] | None,
    typer.Option("--source-file", help="NAME=FILE: a saved source document; repeat it."),
]
_DATE: Final = "%Y-%m-%d"
# What is announced is not overtaken: a year mistyped would hold the prices until then.
LONGEST_NOTICE_DAYS: Final = 366


def adjust(
    folder: Folder,
    value: Annotated[list[str], typer.Option("--value", help="NAME=VALUE of an index; repeat it.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the documents of a proposal.")],
    published: Annotated[
        list[str] | None,
        typer.Option("--published", help="NAME=DAY on which the source published the value."),
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option("--address", help="NAME=WHERE it was published; else the address of before."),
    ] = None,
    source_file: SourceFiles = None,
    starts: Annotated[
        datetime | None,
        typer.Option("--from", formats=[_DATE], help="Day (UTC) from which the prices count."),
    ] = None,
    root: RootFile = None,
    as_json: AsJson = False,
    at: At = None,
) -> None:
    """Write the tariff that new index values make, with its calculation; refuse a forbidden one.

    Each value comes with the day and place of its publication. With --source-file its digest is
    signed too, so that whoever has saved the same document can check it (`price explain`).

    Nothing is signed: give the folder to `peerllm charter propose --documents`.
    """
    with refusals():
        now = reckoned(at)
        charter = load_charter(
            folder, trusted_root=chosen_root(folder, root), state_directory=None, now=now
        )
        # Notice counts from the seconding of the proposal: a week to come so far.
        begins = (
            starts.replace(tzinfo=UTC)
            if starts is not None
            else (now + timedelta(days=NOTICE_DAYS + 8)).replace(
                hour=0, minute=0, second=0, microsecond=0
            )
        )
        if begins - now > timedelta(days=LONGEST_NOTICE_DAYS):
            raise Malformed(
                f"the prices would count from {begins:%Y-%m-%d} on, and no other tariff could come"
                f" before that; take a day within the next {LONGEST_NOTICE_DAYS} (--from)"
            )
        listed = charter.tariff.indices
        readings = readings_of(
            listed,
            by_index(listed, "--published", published or []),
            by_index(listed, "--address", address or []),
            by_index(listed, "--source-file", source_file or []),
        )
        values = _index_values(listed, value)
        for name, number in values.items():
            if number != listed[name].value and name not in readings:
                raise Malformed(
                    f"give --published {name}=DAY, the day on which its source published the value"
                )
        new = next_tariff(charter.tariff, values, epoch_us(begins), readings)
        raw = write_document(new)
        faults = adjustment_faults(charter.tariff, new, epoch_us(now))
        if faults:
            more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
            raise Malformed(faults[0] + more)
        put_file(out / calculation_file(new), calculation_bytes(new))
        put_file(out / "tariff.json", raw)
        if as_json:
            calculation = msgspec.json.encode(calculation_of(new))
            typer.echo(msgspec.json.format(calculation, indent=2).decode())
            return
        typer.echo(
            f"Tariff {new.version}, in force from {begins:%Y-%m-%d} on, is in {out}, with its"
            f" calculation in {calculation_file(new)}."
        )
        for line in calculation_of(new).prices:
            if line.before is not None:
                typer.echo(
                    f"  {line.tier} {line.model_class} {line.side}: {usd(line.before)} ->"
                    f" {usd(line.after)} per million tokens ({change(line.before, line.after)})"
                )


def _index_values(indices: Mapping[str, CostIndex], texts: list[str]) -> dict[str, int]:
    given = by_index(indices, "--value", texts)
    for name, number in given.items():
        if not (number.isascii() and number.isdigit() and len(number) <= 13):
            raise Malformed(f"--value takes NAME=WHOLE NUMBER, not {f'{name}={number}'[:60]!r}")
    return {name: int(number) for name, number in given.items()}
