"""`peerllm log strike`: a host opens the commitment to its strike, with files alone."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from peerllm.charter.errors import MissingDocument
from peerllm.charter.log_checkpoint import read_checkpoint
from peerllm.charter.log_command_line import (
    EXPECTED,
    AsJson,
    moment,
    print_json,
    read_input,
    refuse,
    trusted,
)
from peerllm.charter.log_entries import write_entry
from peerllm.charter.log_proof import prove_entry
from peerllm.charter.log_tiles import CHECKPOINT, LogFiles
from peerllm.charter.strike_record import (
    MAXIMUM_OPENING_BYTES,
    StrikeOpening,
    read_opening,
    strike_entry,
)


def strike(
    file: Annotated[Path, typer.Argument(help="File that the coordinator handed its host.")],
    public: Annotated[
        Path | None, typer.Option("--public", help="The log's public files, to find it in.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="The log's public key, or a file that holds it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a strike's file, and with --public that its commitment stands in the log.

    Needs no network and no coordinator. Exit status: 0 it opens its commitment, which is in the log
    (with --public); 1 it does not; 2 wrong usage.

    \b
    Examples:
      peerllm log strike strike-7.json
      peerllm log strike strike-7.json --public public --key log.vkey
    """
    if (public is None) != (key is None):
        raise typer.BadParameter("--public and --key go together")
    try:
        # One byte more is enough to be refused as too long.
        opening = read_opening(read_input(file, MAXIMUM_OPENING_BYTES + 1))
        index = None if public is None or key is None else _place(public, key, opening)
    except EXPECTED as error:
        refuse(error)
    if as_json:
        print_json({**msgspec.to_builtins(opening), "index": index})
        return
    record = opening.record
    typer.echo(
        f"Strike {record.number} of {record.host} in {record.region}: {record.rule},"
        f" {moment(record.at_us / 1e6)} UTC.\n"
        f"Evidence, SHA-256: {record.evidence_sha256 or 'none was noted'}"
    )
    if record.withdrawn is not None:
        when = moment(record.withdrawn.at_us / 1e6)
        typer.echo(f"Withdrawn {when} UTC ({record.withdrawn.reason}): it counts no more.")
    place = "look for it in the log" if index is None else f"entry {index} of the log"
    typer.echo(f"It opens the commitment {opening.commitment}: {place}.")


def _place(public: Path, key: str, opening: StrikeOpening) -> int:
    keys, now_s = trusted(key, None, 0), time.time()
    signed = read_checkpoint(public / CHECKPOINT, keys, now_s)
    index = LogFiles(public, signed.checkpoint.size).find(write_entry(strike_entry(opening)))
    if index is None:
        raise MissingDocument(
            f"the commitment {opening.commitment} is not among the {signed.checkpoint.size} entries"
            " of this log; it may not have been published yet"
        )
    prove_entry(public, index, keys, now_s)
    return index
