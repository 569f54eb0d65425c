"""The command line of this room: read and verify a charter, found a network, amend it."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from peerllm.charter.amending import epoch_us, version_differences
from peerllm.charter.auditing import audit, read_published
from peerllm.charter.command_options import (
    EXIT_CODES,
    AsJson,
    At,
    Days,
    DocumentsFolder,
    Folder,
    PassphraseFile,
    RootFile,
    chosen_root,
    console,
    passphrase,
    reckoned,
    refusals,
)
from peerllm.charter.draft_commands import draft_app
from peerllm.charter.drafts import FOUNDING, PROPOSAL, read_draft
from peerllm.charter.errors import MissingDocument
from peerllm.charter.founding import found_files
from peerllm.charter.given_documents import first_files
from peerllm.charter.key_commands import key_app
from peerllm.charter.operator_commands import capacity_app, operator_app
from peerllm.charter.presentation import (
    as_json,
    charter_sentence,
    charter_tables,
    difference_table,
    plain_charter,
)
from peerllm.charter.publishing import verified
from peerllm.charter.steward_terms import term_notices
from peerllm.charter.store import load_charter
from peerllm.charter.versions import digest

charter_app = typer.Typer(
    name="charter",
    add_completion=False,
    help="What the network has promised: terms, prices, models and safety, signed by stewards.",
    no_args_is_help=True,
)

StateFolder = Annotated[
    Path | None,
    typer.Option("--state", help="Folder that remembers versions seen, to notice a roll back."),
]


@charter_app.command(epilog=EXIT_CODES)
def show(
    folder: Folder,
    root: RootFile = None,
    state: StateFolder = None,
    at: At = None,
    json: AsJson = False,
) -> None:
    """Verify the charter and print what it promises.

    Example: peerllm charter show public
    """
    with refusals():
        charter = load_charter(
            folder,
            trusted_root=chosen_root(folder, root),
            state_directory=state,
            now=reckoned(at),
        )
    if json:
        typer.echo(as_json(plain_charter(charter)))
        return
    for table in charter_tables(charter):
        console().print(table)


@charter_app.command(epilog=EXIT_CODES)
def verify(
    folder: Folder,
    root: RootFile = None,
    state: StateFolder = None,
    at: At = None,
    json: AsJson = False,
) -> None:
    """Verify every signature, version, expiry and document, and recount every ballot.

    Offline, from the public files alone. Example: peerllm charter verify public --root root.json
    """
    with refusals():
        trusted, now = chosen_root(folder, root), reckoned(at)
        charter = load_charter(folder, trusted_root=trusted, state_directory=state, now=now)
        past = audit(folder, charter.version, trusted, now)
        terms = tuple(term_notices(charter.stewards, charter.term_ends_us, epoch_us(now)))
    if json:
        versions = [
            {
                "version": each.version.number,
                "plan": each.version.ballot,
                "summary": None if each.proposal is None else each.proposal.summary,
                "tally": each.tally,
            }
            for each in past
        ]
        typer.echo(
            as_json(
                {
                    "network": charter.terms.network,
                    "version": charter.version,
                    "expires_at": charter.expires_at.isoformat(),
                    "notices": (*charter.notices, *terms),
                    "term_ends_us": charter.term_ends_us,
                    "versions": versions,
                }
            )
        )
        return
    typer.echo(charter_sentence(charter))
    for notice in (*charter.notices, *terms):
        typer.echo(f"Note: {notice}", err=True)


@charter_app.command(epilog=EXIT_CODES)
def diff(
    place: Annotated[Path, typer.Argument(help="Public folder of the network, or a draft.")],
    old: Annotated[
        int | None, typer.Option("--from", min=1, help="Older version; else the one before.")
    ] = None,
    new: Annotated[
        int | None, typer.Option("--to", min=1, help="Newer version; else the one in force.")
    ] = None,
    root: RootFile = None,
    at: At = None,
    json: AsJson = False,
) -> None:
    """Show what differs between two published versions, or what a draft would change.

    Examples: peerllm charter diff public --from 1 --to 3; peerllm charter diff draft
    """
    with refusals():
        if (place / PROPOSAL).exists() or (place / FOUNDING).exists():
            draft = read_draft(place)
            before, after = draft.base, draft.version
        else:
            newest = verified(place, chosen_root(place, root), reckoned(at)).version.number
            last = newest if new is None else new
            first = max(1, last - 1) if old is None else old
            if max(first, last) > newest:
                raise MissingDocument(f"there are {newest} versions, not {max(first, last)}")
            before, after = read_published(place, first), read_published(place, last)
        differences = version_differences(before, after)
    if json:
        typer.echo(as_json(differences))
        return
    title = f"Version {0 if before is None else before.number} to {after.number}"
    console().print(difference_table(title, differences))


@charter_app.command(epilog=EXIT_CODES)
def found(
    folder: Folder,
    network: Annotated[str, typer.Option("--network", help="Name of the new network.")],
    keys: Annotated[Path, typer.Option("--keys", help="Folder for the key files.")],
    stewards: Annotated[int, typer.Option("--stewards", min=1, max=50)] = 3,
    threshold: Annotated[int, typer.Option("--threshold", min=1, max=50)] = 2,
    days: Days = 365,
    documents: DocumentsFolder = None,
    passphrase_file: PassphraseFile = None,
    at: At = None,
) -> None:
    """Found a network on one machine, to try it out; `init` is for stewards on their own.

    Example: peerllm charter found public --network example --keys keys
    """
    with refusals():
        now = reckoned(at)
        seal = None if passphrase_file is None else passphrase(passphrase_file)()
        root = found_files(
            folder,
            files=first_files(network, documents, epoch_us(now)),
            steward_keys_directory=keys,
            threshold=threshold,
            now=now,
            expires=now + timedelta(days=days),
            stewards=[f"steward-{number}" for number in range(1, stewards + 1)],
            passphrase=seal,
        )
    typer.echo(
        f"Founded in {folder}. Root to hand out: {folder / 'metadata' / '1.root.json'}"
        f" (SHA-256 {digest(root)}).\n"
        f"The {stewards} stewards' key files and online.key in {keys} are all there is: give each"
        " to its owner, keep none here."
    )
    if seal is None:
        typer.echo(
            "The key files are not sealed with a passphrase: for trying out only. Give"
            " --passphrase-file, or begin with: charter key new, charter init.",
            err=True,
        )


charter_app.add_typer(draft_app)
charter_app.add_typer(operator_app)
charter_app.add_typer(capacity_app)
charter_app.add_typer(key_app)
