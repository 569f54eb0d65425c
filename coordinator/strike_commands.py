"""`peerllm coordinator strike`, `strikes`, `withdraw-strike`: violations shown, and taken back."""

import getpass
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from peerllm.charter.command_options import EXIT_CODES, AsJson, RootFile, chosen_root
from peerllm.charter.errors import CharterError
from peerllm.charter.folder import read_file
from peerllm.charter.promises import StrikePolicy
from peerllm.charter.store import load_charter
from peerllm.charter.strike_record import StrikeOpening, write_opening
from peerllm.coordinator.accounts import Strike, StrikeKnown, StrikeWithdrawn, check_label
from peerllm.coordinator.errors import CoordinatorError, StorageError
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.storage_schema import DATABASE_FILE
from peerllm.coordinator.strike_presentation import moment, show_strikes
from peerllm.coordinator.strike_rules import opening, withdrawal_opening
from peerllm.crypto.errors import CryptoError
from peerllm.crypto.keyfiles import create_private_file
from peerllm.privacy.endings import clear_endings

Data = Annotated[Path, typer.Option("--data-directory", help="Folder of the coordinator's state.")]
CharterFolder = Annotated[
    Path, typer.Option("--charter-directory", help="Folder of the signed charter.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder for the files to hand to the host; each is private."),
]
Number = Annotated[int, typer.Argument(min=1, max=2**53 - 1, help="Number of the strike.")]
By = Annotated[
    str | None,
    typer.Option("--by", help="Who does this, by name; else the user this command runs as."),
]
# A stream's records and a full report fit; what is larger belongs into an archive of its own.
_MAXIMUM_EVIDENCE_BYTES: Final = 64 * 1024 * 1024
_DISPATCH: Final = re.compile(r"[0-9a-f]{32}")
_REASON: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
EXPECTED: Final = (CoordinatorError, CharterError, CryptoError)


class StrikeRefusedError(CoordinatorError):
    """What was given makes no strike, or there is no such strike to withdraw."""


def register_strike_commands(app: typer.Typer) -> None:
    """Add these commands to `peerllm coordinator`."""
    app.command(epilog=EXIT_CODES)(strike)
    app.command(epilog=EXIT_CODES)(strikes)
    app.command("withdraw-strike", epilog=EXIT_CODES)(withdraw)


def strike(
    peer_id: Annotated[str, typer.Argument(metavar="PEER", help="Peer id of the host.")],
    rule: Annotated[str, typer.Option("--rule", help="One of the charter's strike rules.")],
    data_directory: Data,
    charter_directory: CharterFolder,
    evidence: Annotated[
        Path | None,
        typer.Option("--evidence", help="File that shows the violation; only its SHA-256 is kept."),
    ] = None,
    dispatch: Annotated[
        str | None,
        typer.Option("--dispatch", help="Dispatch whose receipt shows it, 32 hexadecimal digits."),
    ] = None,
    by: By = None,
    out: Out = None,
    root: RootFile = None,
    as_json: AsJson = False,
) -> None:
    """Record that a host broke a rule of the charter; never for underperformance.

    Strikes of enough weight suspend the host within seconds. With --out, strike-NUMBER.json is
    written: the record and salt that open the strike's commitment in the public log. Hand it to the
    host, and keep the evidence until the time for an appeal is over. Who records a strike (--by)
    cannot decide against the appeal.

    \b
    Examples:
      peerllm coordinator strike 12D3Koo... --rule wrong_model --evidence report.json \\
        --out strikes --data-directory coordinator --charter-directory public
      peerllm coordinator strike 12D3Koo... --rule forged_receipt --dispatch 5f0c... \\
        --data-directory coordinator --charter-directory public
    """
    if evidence is None and dispatch is None:
        raise typer.BadParameter("a strike needs --evidence or --dispatch")
    with clear_endings(*EXPECTED):
        recorder = person(by)
        _make_folder(out)
        policy = strike_policy(charter_directory, root)
        if rule not in policy.weights:
            raise StrikeRefusedError(
                f"{rule[:80]!r} is no strike rule of the charter; its rules are"
                f" {', '.join(sorted(policy.weights))}"
            )
        with strike_books(data_directory, write=True) as storage:
            if not (storage.knows_host(peer_id) or storage.strikes(peer_id)):
                raise StrikeRefusedError(
                    f"{peer_id[:60]!r} holds no seat here and never earned anything"
                )
            dispatch_id = None if dispatch is None else _dispatch_id(dispatch)
            receipt = None if dispatch_id is None else _receipt(storage, peer_id, dispatch_id)
            made = storage.record_strike(
                peer_id,
                rule,
                dispatch_id=dispatch_id,
                evidence_sha256=hashlib.sha256(
                    _evidence(evidence) if evidence is not None else receipt or b""
                ).digest(),
                by=recorder,
            )
            if isinstance(made, StrikeKnown):
                raise StrikeRefusedError(
                    f"this evidence is strike {made.number} by the same rule already; it counts"
                    " once"
                )
            files = _hand_out_changed(made, out)
            show_strikes(storage.strikes(peer_id), made.number, policy, files, as_json=as_json)


def strikes(
    data_directory: Data,
    peer_id: Annotated[str | None, typer.Argument(metavar="[PEER]")] = None,
    charter_directory: Annotated[
        Path | None,
        typer.Option(help="Folder of the signed charter: shows what each strike weighs now."),
    ] = None,
    out: Out = None,
    root: RootFile = None,
    as_json: AsJson = False,
) -> None:
    """List strikes, a host's or all, the withdrawn ones too.

    \b
    Examples:
      peerllm coordinator strikes --data-directory coordinator --charter-directory public
      peerllm coordinator strikes 12D3Koo... --out strikes --data-directory coordinator
    """
    with clear_endings(*EXPECTED):
        policy = None if charter_directory is None else strike_policy(charter_directory, root)
        with strike_books(data_directory) as storage:
            if peer_id is not None and not (
                storage.knows_host(peer_id) or storage.strikes(peer_id)
            ):
                raise StrikeRefusedError(
                    f"{peer_id[:60]!r} holds no seat here and never earned anything"
                )
            found = storage.strikes(peer_id)
        files = _hand_out(found, out)
        show_strikes(found, None, policy, files, as_json=as_json)


def withdraw(
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="A word: appeal_granted, mistaken, ...")],
    data_directory: Data,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Take a strike back for good, as when an appeal is granted. It stays listed.

    With --out, strike-NUMBER.withdrawn.json is written for the host, too.

    \b
    Example:
      peerllm coordinator withdraw-strike 7 --reason appeal_granted --out strikes \\
        --data-directory coordinator
    """
    with clear_endings(*EXPECTED):
        if _REASON.fullmatch(reason) is None:
            raise StrikeRefusedError(
                f"{reason[:80]!r} is no reason: it is one word of up to 64 of a-z 0-9 _ -, such as"
                " appeal_granted"
            )
        _make_folder(out)
        with strike_books(data_directory, write=True) as storage:
            taken = storage.withdraw_strike(number, reason)
            if taken is None:
                raise StrikeRefusedError(f"there is no strike {number}")
            if isinstance(taken, StrikeWithdrawn):
                raise StrikeRefusedError(
                    f"strike {number} was withdrawn on {moment(taken.withdrawn_at_us)} UTC"
                )
        show_strikes([taken], None, None, _hand_out_changed(taken, out), as_json=as_json)


def person(by: str | None) -> str:
    """Who runs a command, by the name given or that of the system's user."""
    if by is not None:
        return check_label(by, "the name given by --by")
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:
        raise StrikeRefusedError("this system names no user: say who does this by --by") from error


def strike_policy(folder: Path, root: Path | None) -> StrikePolicy:
    """What the charter in force says of strikes."""
    return load_charter(
        folder,
        trusted_root=chosen_root(folder, root),
        state_directory=None,
        now=datetime.now(UTC),
    ).terms.strikes


@contextmanager
def strike_books(data_directory: Path, *, write: bool = False) -> Iterator[StorageFile]:
    """The coordinator's database, which must be there."""
    database = data_directory / DATABASE_FILE
    if not database.is_file():
        raise StorageError(f"there is no coordinator's database {database}")
    with StorageFile(database, read_only=not write) as storage:
        yield storage


def _dispatch_id(text: str) -> bytes:
    if _DISPATCH.fullmatch(text) is None:
        raise StrikeRefusedError(
            f"a dispatch is 32 hexadecimal digits in small letters, not {text[:80]!r}"
        )
    return bytes.fromhex(text)


def _receipt(storage: StorageFile, peer_id: str, dispatch_id: bytes) -> bytes:
    raw = storage.receipt(peer_id, dispatch_id)
    if raw is None:
        raise StrikeRefusedError(
            f"{peer_id[:60]} handed in no receipt for dispatch {dispatch_id.hex()}; give --evidence"
        )
    return raw


def _evidence(path: Path) -> bytes:
    raw = read_file(path, _MAXIMUM_EVIDENCE_BYTES + 1)
    if not raw or len(raw) > _MAXIMUM_EVIDENCE_BYTES:
        raise StrikeRefusedError(
            f"{path} has {'no bytes' if not raw else 'too many bytes'}: evidence has 1 to"
            f" {_MAXIMUM_EVIDENCE_BYTES}"
        )
    return raw


def _make_folder(out: Path | None) -> None:
    """Refuse a folder that cannot be, before anything is recorded."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)


def _hand_out_changed(changed: Strike, out: Path | None) -> list[Path]:
    try:
        return _hand_out([changed], out)
    except (CoordinatorError, CharterError, OSError) as error:
        done = "recorded" if changed.withdrawn_at_us is None else "withdrawn"
        raise StrikeRefusedError(
            f"strike {changed.number} is {done}, but its file was not written ({error}); write it"
            " with `peerllm coordinator strikes --out`"
        ) from error


def _hand_out(found: list[Strike] | tuple[Strike, ...], out: Path | None) -> list[Path]:
    """Write what opens the commitments; a file that is there already stays as it is."""
    if out is None:
        return []
    files: dict[Path, StrikeOpening] = {}
    for one in found:
        files[out / f"strike-{one.number}.json"] = opening(one)
        withdrawn = withdrawal_opening(one)
        if withdrawn is not None:
            files[out / f"strike-{one.number}.withdrawn.json"] = withdrawn
    for path, content in files.items():
        raw = write_opening(content)
        try:
            create_private_file(path, raw)
        except FileExistsError:
            if read_file(path, len(raw) + 1) != raw:
                raise StrikeRefusedError(
                    f"{path} holds something else: take another --out folder"
                ) from None
    return list(files)
