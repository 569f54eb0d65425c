"""`peerllm log verify`, `prove`, `entries`: check a log with its public files alone."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from peerllm.charter.errors import Malformed, MissingDocument
from peerllm.charter.log_checkpoint import LogKeys, read_checkpoint
from peerllm.charter.log_command_line import (
    EXPECTED,
    AsJson,
    LogKey,
    Output,
    PublicFolder,
    Required,
    WitnessKeys,
    entries_in,
    moment,
    plain,
    print_json,
    read_input,
    refuse,
    sentence,
    trusted,
    write_output,
)
from peerllm.charter.log_entries import KINDS, MAXIMUM_ENTRY_BYTES, Entry, write_entry
from peerllm.charter.log_history import (
    MAXIMUM_EVIDENCE_BYTES,
    find_fork,
    forked,
    verify_evidence,
    write_evidence,
)
from peerllm.charter.log_proof import MAXIMUM_PROOF_BYTES, prove_entry, verify_proof
from peerllm.charter.log_tiles import CHECKPOINT, LogFiles
from peerllm.charter.log_verification import read_entries, verify_log


def verify(
    key: LogKey,
    public: Annotated[Path | None, typer.Argument(help="The log's public files.")] = None,
    proof: Annotated[
        Path | None, typer.Option("--proof", help="Check this proof of an entry instead.")
    ] = None,
    evidence: Annotated[
        Path | None, typer.Option("--evidence", help="Check this evidence of a fork instead.")
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option("--since", help="Checkpoint kept from before: the log must only have grown."),
    ] = None,
    witness: WitnessKeys = None,
    required: Required = None,
    as_json: AsJson = False,
) -> None:
    """Hash the whole log again and compare it with its signed checkpoint; or check one proof.

    Exit status 0: all is well (with --evidence: the fork is proven). 1: it is not. 2: wrong usage.

    \b
    Examples:
      peerllm log verify public --key log.vkey --witness witness.vkey
      peerllm log verify public --key log.vkey --since checkpoint-of-last-year
      peerllm log verify --proof payout.tlog-proof --key log.vkey
      peerllm log verify --evidence fork.json --key log.vkey
    """
    if sum(given is not None for given in (public, proof, evidence)) != 1 or (since and not public):
        raise typer.BadParameter("give the public files, or --proof, or --evidence")
    try:
        keys = trusted(key, witness, required)
        if public:
            _verify_files(public, keys, since, as_json)
        elif proof:
            _verify_proof(read_input(proof, MAXIMUM_PROOF_BYTES), keys, as_json)
        elif evidence:
            _verify_evidence(read_input(evidence, MAXIMUM_EVIDENCE_BYTES), keys, as_json)
    except EXPECTED as error:
        refuse(error)


def prove(
    public: PublicFolder,
    key: LogKey,
    index: Annotated[int | None, typer.Argument(help="Number of the entry.")] = None,
    entry: Annotated[
        Path | None, typer.Option("--entry", help="JSON file with the entry, instead of a number.")
    ] = None,
    witness: WitnessKeys = None,
    required: Required = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Write the proof that an entry is in the log; it needs nothing else to be checked.

    \b
    Examples:
      peerllm log prove public 17 --key log.vkey --out payout.tlog-proof
      peerllm log prove public --entry entry.json --key log.vkey
    """
    if (index is None) == (entry is None):
        raise typer.BadParameter("give the number of an entry, or --entry")
    try:
        keys, now_s = trusted(key, witness, required), time.time()
        number = index or 0
        if entry:
            number = _place(public, entries_in(read_input(entry, MAXIMUM_ENTRY_BYTES)), keys, now_s)
        proof = prove_entry(public, number, keys, now_s)
    except EXPECTED as error:
        refuse(error)
    if as_json:
        print_json({"index": number, "proof": proof.decode()})
        return
    write_output(output, proof)


def entries(
    public: PublicFolder,
    key: LogKey,
    start: Annotated[int, typer.Option("--from", min=0, help="Number of the first.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 100,
    kind: Annotated[str | None, typer.Option("--kind", help="Only entries of this kind.")] = None,
    as_json: AsJson = False,
) -> None:
    """List entries, each checked against the signed checkpoint.

    \b
    Examples:
      peerllm log entries public --key log.vkey --kind payout-batch
      peerllm log entries public --key log.vkey --from 1000 --limit 5 --json
    """
    if kind not in (None, *KINDS):
        raise typer.BadParameter(f"no such kind; there are {', '.join(KINDS)}")
    table = Table()
    for column in ("Number", "When (UTC)", "What"):
        # A digest cut in the middle is of no use: fold it instead.
        table.add_column(column, overflow="fold")
    try:
        signed = read_checkpoint(public / CHECKPOINT, trusted(key, None, 0), time.time())
        shown = 0
        for index, entry in read_entries(public, signed, start):
            body = msgspec.to_builtins(entry.body)
            if kind not in (None, body["kind"]):
                continue
            if as_json:
                print_json({"index": index, "at_us": entry.at_us, "body": body})
            else:
                facts = [body.pop("kind"), *(f"{name} {value}" for name, value in body.items())]
                table.add_row(str(index), moment(entry.at_us / 1e6), "\n".join(facts))
            shown += 1
            if shown == limit:
                break
    except EXPECTED as error:
        refuse(error)
    if not as_json:
        Console().print(table)


def _verify_files(public: Path, keys: LogKeys, since: Path | None, as_json: bool) -> None:
    report = verify_log(public, keys, time.time())
    signed = report.signed
    if since:
        earlier = read_checkpoint(since, LogKeys(keys.log), time.time())
        fork = find_fork(LogFiles(public, signed.checkpoint.size), earlier, signed)
        if fork:
            kept = since.with_name(f"{since.name}.fork-{signed.checkpoint.size}.json")
            kept.write_bytes(write_evidence(fork))
            raise forked(fork, f"The evidence is in {kept}: publish it.")
    for stranger in report.strangers[:10]:
        typer.echo(f"{stranger} is no part of the log at this checkpoint.", err=True)
    if as_json:
        print_json(
            {
                **plain(signed),
                "kinds": report.entries_by_kind,
                "files": report.files,
                "bytes": report.total_bytes,
                "strangers": report.strangers,
            }
        )
        return
    typer.echo(sentence(signed))
    typer.echo(f"Every entry was hashed again: {report.files} files, {report.total_bytes} bytes.")
    if report.entries_by_kind:
        table = Table("Kind", "Entries")
        for kind, count in report.entries_by_kind.items():
            table.add_row(kind, str(count))
        Console().print(table)


def _verify_proof(raw: bytes, keys: LogKeys, as_json: bool) -> None:
    proven = verify_proof(raw, keys, time.time())
    body = msgspec.to_builtins(proven.entry)
    if as_json:
        print_json({"index": proven.index, "entry": body, **plain(proven.signed)})
        return
    typer.echo(f"Entry {proven.index} is in the log: {write_entry(proven.entry).decode()}")
    typer.echo(sentence(proven.signed))


def _verify_evidence(raw: bytes, keys: LogKeys, as_json: bool) -> None:
    earlier, later = verify_evidence(raw, keys, time.time())
    if as_json:
        print_json({"forked": True, "earlier_size": earlier.size, "later_size": later.size})
        return
    typer.echo(
        f"The fork is proven: the key of {earlier.origin} signed a log of {earlier.size} entries"
        f" and one of {later.size} that does not begin with it."
    )


def _place(public: Path, wanted: list[Entry], keys: LogKeys, now_s: float) -> int:
    if len(wanted) != 1:
        raise Malformed(f"one entry is proven at a time, the file has {len(wanted)}")
    signed = read_checkpoint(public / CHECKPOINT, keys, now_s)
    index = LogFiles(public, signed.checkpoint.size).find(write_entry(wanted[0]))
    if index is None:
        raise MissingDocument(
            f"no such entry among the {signed.checkpoint.size} of this log; it may be pending"
        )
    return index
