"""Strikes for people and for programs."""

import json
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.table import Table

from peerllm.charter.command_options import console
from peerllm.charter.presentation import printable
from peerllm.charter.promises import StrikePolicy
from peerllm.coordinator.accounts import Strike
from peerllm.coordinator.appeal_rules import appeal_until_us
from peerllm.coordinator.storage_connection import wall_clock_us
from peerllm.coordinator.strike_rules import (
    Suspension,
    opening,
    suspension,
    weight_of,
)


def show_strikes(
    found: list[Strike] | tuple[Strike, ...],
    new: int | None,
    policy: StrikePolicy | None,
    files: list[Path],
    *,
    as_json: bool,
) -> None:
    """Print strikes and whom they suspend; `new` is the number of the one just recorded."""
    now_us = wall_clock_us()
    suspended = {} if policy is None else _suspended(found, policy, now_us)
    if as_json:
        shown = {
            "recorded": new,
            "strikes": [_plain(one, policy, now_us) for one in found],
            "suspended": [
                {"host": host, "since_us": state.since_us, "until_us": state.until_us}
                for host, state in suspended.items()
            ],
            "files": [str(path) for path in files],
        }
        typer.echo(json.dumps(shown, indent=2))
        return
    console().print(_table(found, policy, now_us))
    for host, state in suspended.items():
        typer.echo(
            f"Suspended: {host} until {moment(state.until_us)} UTC; its strikes weigh"
            f" {state.weight}. It keeps its seat; an appeal that is granted ends this sooner."
        )
    for path in files:
        typer.echo(f"For the host alone: {path}")


def _suspended(
    found: list[Strike] | tuple[Strike, ...], policy: StrikePolicy, now_us: int
) -> dict[str, Suspension]:
    states = {
        host: suspension([one for one in found if one.peer_id == host], policy, now_us)
        for host in sorted({one.peer_id for one in found})
    }
    return {host: state for host, state in states.items() if state is not None}


def _plain(one: Strike, policy: StrikePolicy | None, now_us: int) -> dict[str, object]:
    return {
        "number": one.number,
        "host": one.peer_id,
        "region": one.region,
        "rule": one.rule,
        "at_us": one.recorded_at_us,
        "dispatch": None if one.dispatch_id is None else one.dispatch_id.hex(),
        "evidence_sha256": None if one.evidence_sha256 is None else one.evidence_sha256.hex(),
        "commitment": opening(one).commitment,
        "withdrawn_at_us": one.withdrawn_at_us,
        "withdrawal": one.withdrawal,
        "recorded_by": one.recorded_by,
        "appealed_at_us": one.appealed_at_us,
        "decide_by_us": one.decide_by_us,
        "dismissed_at_us": one.dismissed_at_us,
        "dismissed_by": one.dismissed_by,
        "weight": None if policy is None else weight_of(one, policy, now_us),
        "appeal_until_us": None if policy is None else appeal_until_us(one, policy),
    }


def _table(
    found: list[Strike] | tuple[Strike, ...], policy: StrikePolicy | None, now_us: int
) -> Table:
    table = Table()
    for column in ("Strike", "Host", "Rule", "Recorded (UTC)", "Weighs", "Appeal until", "State"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(
            str(one.number),
            one.peer_id,
            one.rule,
            moment(one.recorded_at_us),
            "" if policy is None else str(weight_of(one, policy, now_us)),
            "" if policy is None else moment(appeal_until_us(one, policy)),
            printable(_state(one)),
        )
    return table


def _state(one: Strike) -> str:
    if one.withdrawn_at_us is not None:
        return f"withdrawn {moment(one.withdrawn_at_us)} ({one.withdrawal})"
    if one.dismissed_at_us is not None:
        return f"stands: appeal dismissed {moment(one.dismissed_at_us)} by {one.dismissed_by}"
    if one.appealed_at_us is not None and one.decide_by_us is not None:
        return (
            f"appealed {moment(one.appealed_at_us)}; withdrawn by itself"
            f" {moment(one.decide_by_us)} unless decided before"
        )
    return "stands"


def moment(at_us: int) -> str:
    """A date and time in UTC, to the minute."""
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d %H:%M}"
