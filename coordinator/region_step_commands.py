"""`peerllm region open`, `activate`, `federate` and the rest: drafts of records, to be voted on.

None of these changes anything that is in force: each writes a region's next record into a folder of
documents, which `peerllm charter propose` takes and the stewards vote on.
"""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from peerllm.charter.command_options import EXIT_CODES, At, RootFile
from peerllm.charter.document_set import region_file
from peerllm.charter.documents import write_document
from peerllm.charter.errors import Malformed
from peerllm.charter.folder import put_file
from peerllm.charter.key_files import read_public
from peerllm.charter.region_record import RegionRecord, RegionStep, standing_of
from peerllm.charter.region_rules import (
    StepRefused,
    due_step,
    months_needed,
    open_region,
    take_step,
)
from peerllm.charter.stewards import Steward
from peerllm.coordinator.accounts import check_region
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.region_view import (
    EXPECTED,
    CharterFolder,
    Data,
    Region,
    RegionView,
    region_view,
)
from peerllm.privacy.endings import clear_endings

Documents = Annotated[
    Path, typer.Option("--documents", help="Folder of documents to write the draft to.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, in one sentence.")]
OwnReason = Annotated[
    str | None,
    typer.Option("--reason", help="Why, in one sentence; else that the charter's rule says so."),
]

_BY_THE_RULE: Final = "By the charter's rule, on the figures of these months."
_KEY_CHARACTERS: Final = 64


class StepRefusedError(CoordinatorError):
    """The charter's rule does not let a region take the step now."""


def register_step_commands(app: typer.Typer) -> None:
    """Add these commands to `peerllm region`."""
    for command in (open_, activate, federate, notice, return_, suspend, change):
        app.command(command.__name__.rstrip("_"), epilog=EXIT_CODES)(command)


def open_(
    region: Region,
    contact: Annotated[str, typer.Option("--contact", help="How its operators are reached.")],
    data_directory: Data,
    charter_directory: CharterFolder,
    documents: Documents,
    reason: Reason = "Hosts of this region have come together.",
    root: RootFile = None,
    at: At = None,
) -> None:
    """Draft the first record of a region: a local community.

    \b
    Example:
      peerllm region open bavaria --contact hosts@bavaria.example --documents draft \\
        --data-directory coordinator --charter-directory public
    """
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        check_region(region)
        if region in view.charter.regions:
            raise StepRefusedError(f"region {region!r} has a record already")
        _write(
            documents,
            open_region(region, contact=contact, reason=reason, now_us=view.now_us),
        )


def activate(
    region: Region,
    data_directory: Data,
    charter_directory: CharterFolder,
    documents: Documents,
    reason: OwnReason = None,
    root: RootFile = None,
    at: At = None,
) -> None:
    """Draft a local community's rise to an active region, or a suspended region's way back.

    \b
    Example:
      peerllm region activate bavaria --documents draft --data-directory coordinator \\
        --charter-directory public
    """
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        _write(documents, _after(view, region, "activate", reason))


def federate(
    region: Region,
    region_key: Annotated[
        list[str],
        typer.Option(
            "--region-key",
            help="A key of the region: its public file, or 64 hexadecimal digits; repeat it.",
        ),
    ],
    data_directory: Data,
    charter_directory: CharterFolder,
    documents: Documents,
    threshold: Annotated[
        int, typer.Option("--threshold", min=1, max=20, help="How many of these keys must sign.")
    ] = 1,
    reason: OwnReason = None,
    root: RootFile = None,
    at: At = None,
) -> None:
    """Draft an active region's federation, with the keys that will sign its own capacity.

    \b
    Example:
      peerllm region federate bavaria --region-key bavaria.public.json --documents draft \\
        --data-directory coordinator --charter-directory public
    """
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        keys = tuple(_public_key(given) for given in region_key)
        _write(documents, _after(view, region, "federate", reason, keys, threshold))


def notice(
    region: Region,
    data_directory: Data,
    charter_directory: CharterFolder,
    documents: Documents,
    reason: OwnReason = None,
    root: RootFile = None,
    at: At = None,
) -> None:
    """Draft the notice that a federated region has fallen below, or the notice's end.

    \b
    Example:
      peerllm region notice bavaria --documents draft --data-directory coordinator \\
        --charter-directory public
    """
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        record = view.published(region)
        step: RegionStep = "give-notice" if record.notice is None else "withdraw-notice"
        _write(documents, _after(view, region, step, reason))


def return_(
    region: Region,
    data_directory: Data,
    charter_directory: CharterFolder,
    documents: Documents,
    reason: OwnReason = None,
    root: RootFile = None,
    at: At = None,
) -> None:
    """Draft a federated region's return to an active one, when its notice is over.

    \b
    Example:
      peerllm region return bavaria --documents draft --data-directory coordinator \\
        --charter-directory public
    """
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        _write(documents, _after(view, region, "return", reason))


def suspend(
    region: Region,
    reason: Reason,
    data_directory: Data,
    charter_directory: CharterFolder,
    documents: Documents,
    root: RootFile = None,
    at: At = None,
) -> None:
    """Draft a region's suspension: it loses its own keys; its hosts keep their seats and work.

    \b
    Example:
      peerllm region suspend bavaria --reason "Its operators cannot be reached." \\
        --documents draft --data-directory coordinator --charter-directory public
    """
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        _write(documents, _after(view, region, "suspend", reason))


def change(
    region: Region,
    data_directory: Data,
    charter_directory: CharterFolder,
    documents: Documents,
    contact: Annotated[
        str | None, typer.Option("--contact", help="How its operators are reached from now on.")
    ] = None,
    region_key: Annotated[
        list[str] | None,
        typer.Option("--region-key", help="All keys that it is to have; repeat it."),
    ] = None,
    threshold: Annotated[
        int | None,
        typer.Option("--threshold", min=1, max=20, help="How many of its keys must sign."),
    ] = None,
    root: RootFile = None,
    at: At = None,
) -> None:
    """Draft another contact, or other keys for a federated region, for one that was lost.

    \b
    Example:
      peerllm region change bavaria --region-key new.public.json --documents draft \\
        --data-directory coordinator --charter-directory public
    """
    if contact is None and region_key is None and threshold is None:
        raise typer.BadParameter("give --contact, --region-key or --threshold")
    with (
        clear_endings(*EXPECTED),
        region_view(data_directory, charter_directory, root, at) as view,
    ):
        record = view.published(region)
        keys = tuple(_public_key(given) for given in region_key or ())
        changed = msgspec.structs.replace(
            record,
            version=record.version + 1,
            contact=record.contact if contact is None else contact,
            delegated_keys=keys or record.delegated_keys,
            delegated_threshold=threshold or record.delegated_threshold,
        )
        _write(documents, changed)


def _after(
    view: RegionView,
    region: str,
    step: RegionStep,
    reason: str | None,
    keys: tuple[str, ...] = (),
    threshold: int = 0,
) -> RegionRecord:
    rule = view.charter.terms.federation
    record = view.published(region)
    if reason is None and record.status == "suspended":
        raise StepRefusedError("no figures speak for a suspended region; give --reason")
    figures = [book.figures(region) for book in view.months(months_needed(rule))]
    after = take_step(
        record,
        step,
        figures=figures,
        rule=rule,
        now_us=view.now_us,
        reason=_BY_THE_RULE if reason is None else reason,
        delegated_keys=keys,
        delegated_threshold=threshold,
    )
    if isinstance(after, StepRefused):
        due = due_step(record, figures, rule, view.now_us)
        may = f"; what the figures allow is the step {due!r}" if due else ""
        raise StepRefusedError(f"{after.reason}{may}")
    return after


def _write(documents: Path, record: RegionRecord) -> None:
    path = documents / region_file(record.name)
    put_file(path, write_document(record))
    typer.echo(
        f"Drafted {path}: region {record.name} would be {standing_of(record)}. Put it to the vote"
        f" with: peerllm charter propose ... --documents {documents}"
    )


def _public_key(given: str) -> str:
    if len(given) == _KEY_CHARACTERS and not Path(given).exists():
        try:
            return bytes.fromhex(given).hex()
        except ValueError:
            raise Malformed(f"{given!r} is no key: give 64 hexadecimal digits or a file") from None
    return read_public(Path(given), Steward).public_key
