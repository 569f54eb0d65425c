"""`peerllm region vote`: what a region's own operators say of a proposal before stewards decide."""

import json
from pathlib import Path
from typing import Annotated

import typer

from peerllm.charter.ballots import Ballot
from peerllm.charter.command_options import EXIT_CODES, AsJson, At, DraftFolder, RootFile, reckoned
from peerllm.charter.drafts import read_draft
from peerllm.charter.errors import Malformed, MissingDocument, NotDecided
from peerllm.charter.folder import put_file, read_bounded
from peerllm.charter.region_votes import (
    CHOICES,
    Choice,
    RegionTally,
    RegionVote,
    cast_vote,
    read_vote,
    tally_votes,
)
from peerllm.charter.spelling import spelling
from peerllm.coordinator.accounts import check_region
from peerllm.coordinator.region_view import EXPECTED, Region, region_view
from peerllm.crypto.identity import Identity
from peerllm.privacy.endings import clear_endings

# Beside the stewards' own votes, in a folder that no charter's draft uses.
_VOTES = "region-votes"


def register_vote_command(app: typer.Typer) -> None:
    """Add this command to `peerllm region`."""
    app.command(epilog=EXIT_CODES)(vote)


def vote(
    region: Region,
    draft: DraftFolder,
    choice: Annotated[
        Choice | None, typer.Option("--choice", help="Your word; without it votes are counted.")
    ] = None,
    identity: Annotated[
        Path | None, typer.Option("--identity", help="The identity file of a host of yours.")
    ] = None,
    data_directory: Annotated[
        Path | None, typer.Option("--data-directory", help="To count: the coordinator's state.")
    ] = None,
    charter_directory: Annotated[
        Path | None,
        typer.Option("--charter-directory", help="To count: public folder of the network."),
    ] = None,
    root: RootFile = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Say yes or no to a proposal as an operator of a region, or count what operators said.

    The stewards decide (`peerllm charter sign`); this is the region's advice to them. A host's
    identity signs, and each operator of the region has one voice, however many hosts it runs.

    \b
    Examples:
      peerllm region vote bavaria draft --choice yes --identity host/identity
      peerllm region vote bavaria draft --data-directory coordinator --charter-directory public
    """
    counting = data_directory is not None and charter_directory is not None
    if counting == (choice is not None) or (choice is None) != (identity is None):
        raise typer.BadParameter(
            "give --choice and --identity to vote, or --data-directory and --charter-directory to"
            " count"
        )
    with clear_endings(*EXPECTED):
        check_region(region)
        ballot = _ballot(draft)
        if choice is not None and identity is not None:
            now_us = int(reckoned(at).timestamp() * 1_000_000)
            path = _cast(draft, ballot, region, choice, identity, now_us)
            typer.echo(f"Signed {path}. It belongs in the draft's folder when votes are counted.")
            return
        if data_directory is None or charter_directory is None or ballot.second is None:
            raise NotDecided("nobody has seconded the proposal yet, so nobody has voted")
        with region_view(data_directory, charter_directory, root, at) as view:
            view.record(region)
            operators = view.ledger.operators(region, ballot.second.at_us)
        votes = [_read(path) for path in sorted((draft / _VOTES).glob("*.json"))]
        counted = tally_votes(ballot, region, votes, operators)
    if as_json:
        typer.echo(json.dumps(_plain(counted), indent=2))
        return
    _print(counted)


def _ballot(draft: Path) -> Ballot:
    ballot = read_draft(draft).ballot
    if ballot is None:
        raise NotDecided(f"{draft} founds a network; there is nothing to vote on")
    return ballot


def _cast(
    draft: Path, ballot: Ballot, region: str, choice: Choice, identity: Path, now_us: int
) -> Path:
    if not identity.is_file():
        raise MissingDocument(f"there is no identity file {identity}")
    host = Identity.load_or_create(identity)
    path = draft / _VOTES / f"{host.peer_id}.json"
    if path.exists():
        raise NotDecided(f"{path} exists: this host has voted, and a vote is not taken back")
    put_file(path, spelling(cast_vote(ballot, region, choice, host, now_us)))
    return path


def _read(path: Path) -> RegionVote:
    try:
        return read_vote(read_bounded(path))
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from error


def _plain(counted: RegionTally) -> dict[str, object]:
    return {
        "region": counted.region,
        "operators": counted.members,
        "by_choice": {choice: list(counted.by_choice[choice]) for choice in CHOICES},
        "spoilt": list(counted.spoilt),
        "refused": list(counted.refused),
    }


def _print(counted: RegionTally) -> None:
    numbers = ", ".join(f"{len(counted.by_choice[choice])} {choice}" for choice in CHOICES)
    typer.echo(
        f"Of {counted.members} operators in {counted.region}: {numbers},"
        f" {len(counted.spoilt)} spoilt."
    )
    for reason in counted.refused:
        typer.echo(reason)
