"""The command line of the public log: keep one, witness one, prove and verify with files alone."""

import typer

from peerllm.charter.log_operator_commands import append, checkpoint, init
from peerllm.charter.log_reader_commands import entries, prove, verify
from peerllm.charter.log_strike_command import strike
from peerllm.charter.log_witness_commands import witness

log_app = typer.Typer(
    name="log",
    add_completion=False,
    help="The public log: what the network decided and paid, in a log that can only grow.",
    no_args_is_help=True,
    # Keeps the lines of the examples as they are.
    rich_markup_mode=None,
)
for command in (init, append, checkpoint, verify, prove, witness, entries, strike):
    log_app.command()(command)
