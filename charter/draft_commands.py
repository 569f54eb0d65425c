"""What stewards do with a draft: init, propose, rotate, second, sign, tally, rebase."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from peerllm.charter.amending import (
    begin_founding,
    epoch_us,
    rebase_draft,
    second_draft,
    sign_draft,
    version_differences,
)
from peerllm.charter.amending import propose as propose_draft
from peerllm.charter.ballot_papers import Choice, Founding
from peerllm.charter.ballots import Ballot
from peerllm.charter.ballots import tally as count
from peerllm.charter.command_options import (
    EXIT_CODES,
    AsJson,
    At,
    Days,
    DocumentsFolder,
    DraftFolder,
    Folder,
    KeyFile,
    PassphraseFile,
    RootFile,
    chosen_root,
    console,
    passphrase,
    reckoned,
    refusals,
)
from peerllm.charter.differences import visible
from peerllm.charter.drafts import Draft, read_draft
from peerllm.charter.errors import BadSignature, Malformed
from peerllm.charter.folder import read_bounded
from peerllm.charter.given_documents import first_files, given_files
from peerllm.charter.key_files import open_key, read_public
from peerllm.charter.presentation import as_json, difference_table, moment, tally_table
from peerllm.charter.publishing import verified
from peerllm.charter.ratifying import good_signatures
from peerllm.charter.stewards import OnlineKey, Signatories, Steward
from peerllm.charter.versions import digest

draft_app = typer.Typer()

NewDraft = Annotated[Path, typer.Argument(help="New folder for the draft, which then travels.")]
Summary = Annotated[str, typer.Option("--summary", help="What changes and why, in one sentence.")]
PublicKeys = Annotated[
    list[Path], typer.Option("--steward", help="A steward's public key file; repeat it.")
]


@draft_app.command(epilog=EXIT_CODES)
def init(
    draft: NewDraft,
    network: Annotated[str, typer.Option("--network", help="Name of the new network.")],
    steward: PublicKeys,
    online_key: Annotated[
        Path, typer.Option("--online-key", help="Public key file of the operator.")
    ],
    threshold: Annotated[int, typer.Option("--threshold", min=1, max=50)] = 2,
    days: Days = 365,
    documents: DocumentsFolder = None,
    at: At = None,
) -> None:
    """Begin a network from its stewards' public keys: a draft that each of them then signs.

    Example: peerllm charter init founding --network example --steward ada.public.json --steward
    ben.public.json --steward cai.public.json --online-key operator.public.json
    """
    with refusals():
        now = reckoned(at)
        signatories = Signatories(
            stewards=tuple(read_public(path, Steward) for path in steward),
            threshold=threshold,
            online_key=read_public(online_key, OnlineKey).public_key,
        )
        begun = begin_founding(
            draft,
            files=first_files(network, documents, epoch_us(now)),
            signatories=signatories,
            now=now,
            expires=now + timedelta(days=days),
        )
    typer.echo(
        f"Founding {begun.identity} is in {draft}. Each steward signs it: charter sign {draft}"
        " --vote yes --key KEY; then the operator runs: charter ratify."
    )


@draft_app.command(epilog=EXIT_CODES)
def propose(
    folder: Folder,
    draft: NewDraft,
    key: KeyFile,
    summary: Summary,
    documents: DocumentsFolder = None,
    root: RootFile = None,
    days: Days = 365,
    passphrase_file: PassphraseFile = None,
    at: At = None,
    json: AsJson = False,
) -> None:
    """Propose new documents; without --documents, that the charter lives on as it is.

    Example: peerllm charter propose public draft --key ada.key --summary "Cheaper input"
    --documents new
    """
    with refusals():
        now = reckoned(at)
        made = propose_draft(
            draft,
            base=verified(folder, chosen_root(folder, root), now).version,
            new_files={} if documents is None else given_files(documents),
            summary=summary,
            key=open_key(key, passphrase(passphrase_file)),
            now=now,
            expires=now + timedelta(days=days),
        )
    _tell_proposed(made, json)


@draft_app.command(epilog=EXIT_CODES)
def rotate(
    folder: Folder,
    draft: NewDraft,
    key: KeyFile,
    summary: Summary,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", help="Name of a steward who leaves.")
    ] = None,
    add: Annotated[
        list[Path] | None, typer.Option("--add", help="Public key file of one who joins.")
    ] = None,
    renew: Annotated[
        list[str] | None,
        typer.Option("--renew", help="Name of a steward who stays and begins another term."),
    ] = None,
    online_key: Annotated[
        Path | None, typer.Option("--online-key", help="The operator's new public key file.")
    ] = None,
    threshold: Annotated[int | None, typer.Option("--threshold", min=1, max=50)] = None,
    documents: DocumentsFolder = None,
    root: RootFile = None,
    days: Days = 365,
    passphrase_file: PassphraseFile = None,
    at: At = None,
    json: AsJson = False,
) -> None:
    """Propose other keys or new terms: a lost key by removing and adding the same steward.

    Examples: peerllm charter rotate public draft --key ada.key --remove ben --add ben.public.json
    --summary "Ben lost his key"; peerllm charter rotate public draft --key ada.key --renew ada
    --renew ben --summary "Two more years"
    """
    with refusals():
        now = reckoned(at)
        base = verified(folder, chosen_root(folder, root), now).version
        old = base.signatories
        made = propose_draft(
            draft,
            base=base,
            new_files={} if documents is None else given_files(documents),
            renewed=_known(old.stewards, renew or []),
            signatories=Signatories(
                stewards=_rotated(old.stewards, remove or [], add or []),
                threshold=old.threshold if threshold is None else threshold,
                online_key=(
                    old.online_key
                    if online_key is None
                    else read_public(online_key, OnlineKey).public_key
                ),
            ),
            summary=summary,
            key=open_key(key, passphrase(passphrase_file)),
            now=now,
            expires=now + timedelta(days=days),
        )
    _tell_proposed(made, json)


@draft_app.command(epilog=EXIT_CODES)
def second(
    draft: DraftFolder, key: KeyFile, passphrase_file: PassphraseFile = None, at: At = None
) -> None:
    """Second another steward's proposal: its notice begins, and the vote with it.

    Example: peerllm charter second draft --key ben.key
    """
    with refusals():
        seconded = second_draft(draft, open_key(key, passphrase(passphrase_file)), reckoned(at))
    ends = count(_ballot(seconded), epoch_us(reckoned(at))).closes_at_us or 0
    typer.echo(f"Seconded. Vote until {moment(ends)}; ratified it can be from then on.")


@draft_app.command(epilog=EXIT_CODES)
def sign(
    draft: DraftFolder,
    key: KeyFile,
    vote: Annotated[Choice, typer.Option("--vote", help="Your vote; a yes also signs.")],
    root: Annotated[
        Path | None,
        typer.Option("--root", help="The network's newest root file, to check the draft by."),
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm/--no-confirm", help="Ask before signing.")
    ] = True,
    passphrase_file: PassphraseFile = None,
    at: At = None,
) -> None:
    """Show what would change, ask, and vote; needs the draft and your key and no network.

    Example: peerllm charter sign draft --key ben.key --vote yes
    """
    with refusals():
        shown = read_draft(draft)
        _require_root(shown, root)
        console().print(_changes(shown))
        if confirm and not typer.confirm(f"Vote {vote} on this?", err=True):
            raise Malformed("nothing was signed")
        key_pair = open_key(key, passphrase(passphrase_file))
        sign_draft(draft, key_pair, vote, reckoned(at), shown=shown)
    typer.echo(f"Done. What must travel back is in {draft}: your files in votes and signatures.")


@draft_app.command(epilog=EXIT_CODES)
def tally(draft: DraftFolder, at: At = None, json: AsJson = False) -> None:
    """Show a draft: what would change, who voted how, who has signed, and what is missing.

    Exit status 0 when it can be ratified now. Example: peerllm charter tally draft
    """
    with refusals():
        shown = read_draft(draft)
        now_us = epoch_us(reckoned(at))
        ballot = shown.ballot
        counted = None if ballot is None else count(ballot, now_us)
        signed = _signed_names(shown)
    needed = len(shown.electorate) if counted is None else shown.version.signatories.threshold
    enough = _is_signed_by_enough(shown)
    ready = enough and (counted is None or counted.outcome == "passed")
    if json:
        typer.echo(
            as_json(
                {
                    "plan": shown.identity,
                    "ready": ready,
                    "version": shown.version.number,
                    "changes": version_differences(shown.base, shown.version),
                    "tally": counted,
                    "signed_by": signed,
                    "signatures_needed": needed,
                }
            )
        )
    else:
        console().print(_changes(shown))
        if counted is not None:
            console().print(tally_table(counted))
        typer.echo(f"Signed by {', '.join(signed) or 'nobody'}; {_who_must_sign(shown, needed)}.")
    if not ready:
        raise typer.Exit(1)


@draft_app.command(epilog=EXIT_CODES)
def rebase(draft: DraftFolder, folder: Folder, root: RootFile = None, at: At = None) -> None:
    """Put a draft on top of a version that came into force meanwhile; votes stand, sign again.

    Example: peerllm charter rebase draft public
    """
    with refusals():
        base = verified(folder, chosen_root(folder, root), reckoned(at)).version
        rebased = rebase_draft(draft, base)
    typer.echo(
        f"The draft would now be version {rebased.version.number}; who voted yes signs it again."
    )


def _tell_proposed(made: Draft, json: bool) -> None:
    ballot = _ballot(made)
    days = ballot.proposal.rule.notice_days
    if json:
        typer.echo(
            as_json(
                {
                    "proposal": made.identity,
                    "version": made.version.number,
                    "rule": ballot.proposal.rule,
                    "changes": version_differences(made.base, made.version),
                }
            )
        )
        return
    console().print(_changes(made))
    typer.echo(
        f"Proposal {made.identity} is in {made.folder}. Its notice of {days} days begins when"
        " another steward runs: charter second."
    )


def _ballot(draft: Draft) -> Ballot:
    if draft.ballot is None:
        raise Malformed("a founding is signed by all stewards and not voted on")
    return draft.ballot


def _changes(draft: Draft) -> Table:
    version = draft.version
    what = (
        f"Founding of {draft.plan.network}"
        if isinstance(draft.plan, Founding)
        else f"{draft.plan.summary} ({draft.plan.network})"
    )
    root = "" if draft.base is None else f", on root SHA-256 {digest(draft.base.root_raw)}"
    return difference_table(
        f"{what}\nVersion {version.number}{root}\nProposal {draft.identity}",
        version_differences(draft.base, version),
    )


def _require_root(draft: Draft, root: Path | None) -> None:
    if root is None:
        return
    if draft.base is None or read_bounded(root) != draft.base.root_raw:
        raise BadSignature(
            f"the draft is not based on the root {root}; sign only what is based on the network's"
            " newest root"
        )


def _rotated(
    stewards: tuple[Steward, ...], remove: list[str], add: list[Path]
) -> tuple[Steward, ...]:
    gone = _known(stewards, remove)
    kept = [steward for steward in stewards if steward.name not in gone]
    joined = [*kept, *(read_public(path, Steward) for path in add)]
    return tuple(sorted(joined, key=lambda steward: steward.name))


def _known(stewards: tuple[Steward, ...], names: list[str]) -> list[str]:
    unknown = set(names) - {steward.name for steward in stewards}
    if unknown:
        raise Malformed(
            f"no steward is called {', '.join(map(visible, sorted(unknown)))}; the stewards are"
            f" {', '.join(steward.name for steward in stewards)}"
        )
    return names


def _signed_names(draft: Draft) -> list[str]:
    names = {
        steward.public_key: steward.name
        for steward in (*draft.electorate, *draft.version.signatories.stewards)
    }
    # Copies of a draft that were joined may hold one steward's signatures twice.
    signed = {paper.steward for paper in good_signatures(draft)}
    return sorted(names[key] for key in signed & names.keys())


def _is_signed_by_enough(draft: Draft) -> bool:
    """A founding by all; a change by the thresholds of those who sign before it and after it."""
    signed = {paper.steward for paper in good_signatures(draft)}
    if draft.base is None:
        return signed >= {steward.public_key for steward in draft.electorate}
    return all(
        len(signed & {steward.public_key for steward in signatories.stewards})
        >= signatories.threshold
        for signatories in (draft.base.signatories, draft.version.signatories)
    )


def _who_must_sign(draft: Draft, needed: int) -> str:
    if draft.base is None or draft.base.signatories == draft.version.signatories:
        return f"{needed} must sign"
    return (
        f"{draft.base.signatories.threshold} of the stewards in force and {needed} of those to be"
        " must sign"
    )
