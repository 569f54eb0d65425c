"""`peerllm log init`, `append`, `checkpoint`: keep a log."""

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from peerllm.charter.log_checkpoint import LogKeys, read_checkpoint
from peerllm.charter.log_command_line import (
    EXPECTED,
    AsJson,
    WitnessKeys,
    entries_in,
    plain,
    print_json,
    private_key,
    read_input,
    refuse,
    sentence,
    verifier_keys,
)
from peerllm.charter.log_entries import MAXIMUM_ENTRY_BYTES
from peerllm.charter.log_notes import (
    MAXIMUM_NOTE_BYTES,
    parse_note,
)
from peerllm.charter.log_store import (
    MAXIMUM_BATCH,
    PUBLIC,
    LogWriter,
    check_new_log,
    create_log,
    open_log,
)
from peerllm.charter.log_tiles import CHECKPOINT
from peerllm.crypto.identity import Identity

Folder = Annotated[Path, typer.Argument(help="The operator's folder of the log.")]

_MAXIMUM_INPUT_BYTES: Final = MAXIMUM_BATCH * (MAXIMUM_ENTRY_BYTES + 1)


def init(
    folder: Folder,
    origin: Annotated[str, typer.Option("--origin", help="Name of the log, as a web address.")],
    key: Annotated[Path, typer.Option("--key", help="Private key file; made if not there.")],
    as_json: AsJson = False,
) -> None:
    """Make an empty log and print the public key that readers need.

    \b
    Example:
      peerllm log init log --origin example.org/log --key log.key
    """
    try:
        check_new_log(folder, origin)
        made = create_log(folder, origin, Identity.load_or_create(key))
    except EXPECTED as error:
        refuse(error)
    if as_json:
        print_json({"key": str(made), "origin": made.name, "public": str(folder / PUBLIC)})
        return
    typer.echo(
        f"Public key, to hand out: {made}\nPublic files, to hand out: {folder / PUBLIC}\n"
        f"Private key: {key}"
    )


def append(
    folder: Folder,
    file: Annotated[
        Path, typer.Argument(help="JSON file with an entry or a list of them; - is standard input.")
    ] = Path("-"),
    as_json: AsJson = False,
) -> None:
    """Take entries down, all or none; `checkpoint` publishes them.

    An entry is {"at_us": epoch time in microseconds, "body": {"kind": ..., ...}}. Kinds:
    charter-version, tariff-version, payout-batch, tier-change, strike-commitment,
    fallback-window, region-decision, ballot.

    \b
    Example:
      echo '{"at_us": 1790000000000000, "body": {"kind": "region-decision",
        "region": "eu-north", "decision": "active", "sha256":
        "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"}}' |
        peerllm log append log
    """
    try:
        entries = entries_in(read_input(file, _MAXIMUM_INPUT_BYTES))
        with open_log(folder) as log:
            _tell(log)
            taken = log.append(entries)
    except EXPECTED as error:
        refuse(error)
    if as_json:
        print_json({"first": taken.start, "count": len(taken)})
        return
    typer.echo(
        f"Taken down: {len(taken)}, from number {taken.start} on; not yet published."
        if taken
        else "Nothing to take down."
    )


def checkpoint(
    folder: Folder,
    key: Annotated[Path | None, typer.Option("--key", help="The log's private key file.")] = None,
    collect: Annotated[
        list[Path] | None,
        typer.Option("--collect", help="Cosigned checkpoint from a witness; repeat it."),
    ] = None,
    witness: WitnessKeys = None,
    as_json: AsJson = False,
) -> None:
    """Publish what was taken down and sign it, or take over what witnesses cosigned.

    \b
    Examples:
      peerllm log checkpoint log --key log.key
      peerllm log checkpoint log --collect cosigned --witness witness.vkey
    """
    if bool(key) == bool(collect) or bool(collect) != bool(witness):
        raise typer.BadParameter("give --key to publish, or --collect and --witness")
    try:
        witnesses = verifier_keys(witness or [])
        with open_log(folder) as log:
            _tell(log)
            if key:
                # A key that is not there must not be made here: it would not be the log's.
                log.publish(private_key(key))
            for file in collect or []:
                note = parse_note(read_input(file, MAXIMUM_NOTE_BYTES))
                if not log.add_cosignatures(note, witnesses, time.time()):
                    typer.echo(f"{file} has no cosignature of these witnesses.", err=True)
            trusted = LogKeys(log.key, tuple(witnesses))
            signed = read_checkpoint(folder / PUBLIC / CHECKPOINT, trusted, time.time())
    except EXPECTED as error:
        refuse(error)
    if as_json:
        print_json(plain(signed))
        return
    typer.echo(sentence(signed))


def _tell(log: LogWriter) -> None:
    for told in log.told:
        typer.echo(f"{told[0].upper()}{told[1:]}.", err=True)
