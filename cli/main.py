"""The command `peerllm`. Each sub-command's room is imported only when it is asked for.

A steward's machine need not have an engine, nor a host's a database: what is not installed costs
one clear sentence when it is used.
"""

import importlib
import os
import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup

from peerllm.privacy.endings import clear_endings

# Name, module, the typer application in it, and the one line shown in `peerllm --help`.
_ROOMS: Final = {
    "charter": ("peerllm.charter.commands", "charter_app", "The charter: read, verify, amend."),
    "coordinator": (
        "peerllm.coordinator.commands",
        "coordinator_app",
        "Run a coordinator; customers, keys, seats.",
    ),
    "host": ("peerllm.peer.commands", "host_app", "Serve models from this machine."),
    "desktop": (
        "peerllm.peer.desktop.commands",
        "desktop_app",
        "A window for the host of this computer.",
    ),
    "safety": (
        "peerllm.cli.safety_commands",
        "safety_app",
        "What would leave the house for a text, and how well it is known.",
    ),
    "log": ("peerllm.charter.log_commands", "log_app", "The public log: keep, witness, verify."),
    "model": ("peerllm.peer.model_commands", "model_app", "Models on this machine."),
    "ledger": (
        "peerllm.coordinator.ledger_commands",
        "ledger_app",
        "Statements, payouts and their proofs, and the audit of the books.",
    ),
    "price": ("peerllm.charter.price_commands", "price_app", "What a request costs, and why."),
    "region": (
        "peerllm.coordinator.region_commands",
        "region_app",
        "Regions: where they stand, on which figures, their seats.",
    ),
    "up": ("peerllm.cli.up", "up_app", "Start a whole network on this machine and ask it."),
}


class _Rooms(TyperGroup):
    """Sub-commands that are imported on use."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the base's signature
        return list(_ROOMS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the base's signature
        if cmd_name not in _ROOMS:
            return None
        module, application, _ = _ROOMS[cmd_name]
        try:
            found: typer.Typer = getattr(importlib.import_module(module), application)
        except ModuleNotFoundError as missing:
            typer.echo(
                f"peerllm: '{cmd_name}' needs the package {missing.name}, which is not "
                "installed; install peerllm with the extra for this role",
                err=True,
            )
            raise typer.Exit(1) from None
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, room[2]) for name, room in _ROOMS.items()])


# Without rich's help, which would import every room to describe it.
application = typer.Typer(cls=_Rooms, rich_markup_mode=None, pretty_exceptions_enable=False)


@application.callback()
def _peerllm() -> None:
    """PeerLLM: inference that many people own."""


def main() -> None:
    """Run the command line; also what no command answers for ends clearly, such as its help."""
    _forget_impossible_width()
    try:
        with clear_endings():
            application(prog_name="peerllm")
    except typer.Exit as ended:
        sys.exit(ended.exit_code)


def _forget_impossible_width() -> None:
    """Drop a COLUMNS of 0, as some terminals set it: rich would print tables without a sign."""
    columns = os.environ.get("COLUMNS", "")
    if not columns.strip("0") or not columns.isdecimal():
        os.environ.pop("COLUMNS", None)
