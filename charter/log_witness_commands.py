"""`peerllm log witness`: cosign a log that only grew."""

import time
from pathlib import Path
from typing import Annotated

import typer

from peerllm.charter.log_checkpoint import LogKeys, read_checkpoint
from peerllm.charter.log_command_line import (
    EXPECTED,
    AsJson,
    Output,
    PublicFolder,
    plain,
    print_json,
    private_key,
    refuse,
    sentence,
    verifier_key,
    write_output,
)
from peerllm.charter.log_witness import Witness
from peerllm.crypto.identity import Identity


def witness(
    public: PublicFolder,
    log_key: Annotated[
        str, typer.Option("--log-key", help="The log's public key, or a file that holds it.")
    ],
    key: Annotated[Path, typer.Option("--key", help="The witness's private key file.")],
    name: Annotated[str, typer.Option("--name", help="The witness's name, as a web address.")],
    state: Annotated[
        Path, typer.Option("--state", help="File that remembers the last checkpoint cosigned.")
    ],
    first: Annotated[
        bool, typer.Option("--first", help="This log was never seen before; makes the key too.")
    ] = False,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Cosign a log's checkpoint if the log only grew since the last one; else refuse and say why.

    A fork is proven by a file beside the state. Run it by cron on a machine of your own; give the
    output back to the log's operator.

    \b
    Examples:
      peerllm log witness public --log-key log.vkey --key witness.key \\
        --name example.net/witness --state seen --out cosigned --first
      peerllm log witness public --log-key log.vkey --key witness.key \\
        --name example.net/witness --state seen --out cosigned
    """
    try:
        log = verifier_key(log_key)
        identity = Identity.load_or_create(key) if first else private_key(key)
        watcher = Witness(name, identity, log, state)
        own = watcher.key
        note = watcher.cosign(public, time.time(), first=first)
        signed = read_checkpoint(state, LogKeys(log, (own,), 1), time.time())
    except EXPECTED as error:
        refuse(error)
    typer.echo(f"Cosigned as {own}\n{sentence(signed)}", err=True)
    if as_json:
        print_json({**plain(signed), "witness": str(own), "note": note.encode().decode()})
        return
    write_output(output, note.encode())
