"""`peerllm coordinator appeal` and `dismiss-appeal`: appeals against strikes, in time."""

from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from peerllm.charter.command_options import EXIT_CODES, AsJson, RootFile
from peerllm.charter.promises import StrikePolicy
from peerllm.coordinator.accounts import Strike
from peerllm.coordinator.appeal_rules import AppealRefused, DismissalRefused, appeal_until_us
from peerllm.coordinator.strike_commands import (
    EXPECTED,
    By,
    CharterFolder,
    Data,
    Number,
    StrikeRefusedError,
    person,
    strike_books,
    strike_policy,
)
from peerllm.coordinator.strike_presentation import moment, show_strikes
from peerllm.privacy.endings import clear_endings

# Days that documents can name.
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)


def register_appeal_commands(app: typer.Typer) -> None:
    """Add these commands to `peerllm coordinator`."""
    app.command(epilog=EXIT_CODES)(appeal)
    app.command("dismiss-appeal", epilog=EXIT_CODES)(dismiss)


def appeal(
    number: Number,
    data_directory: Data,
    charter_directory: CharterFolder,
    received: Annotated[
        datetime | None,
        typer.Option(
            "--received",
            formats=["%Y-%m-%d"],
            help="Day (UTC) on which it came in, if not now: the time to decide runs from then.",
        ),
    ] = None,
    root: RootFile = None,
    as_json: AsJson = False,
) -> None:
    """Take down that a host appeals against a strike; one appeal a strike.

    The charter's time to decide begins. Grant it by `withdraw-strike NUMBER --reason
    appeal_granted`, decide against it by `dismiss-appeal`. If nobody does either in time, the
    strike is withdrawn by itself.

    \b
    Examples:
      peerllm coordinator appeal 7 --data-directory coordinator --charter-directory public
      peerllm coordinator appeal 7 --received 2026-11-20 --data-directory coordinator \\
        --charter-directory public
    """
    with clear_endings(*EXPECTED):
        policy = strike_policy(charter_directory, root)
        with strike_books(data_directory, write=True) as storage:
            received_us = (
                None if received is None else _received_us(storage.strikes(), received, number)
            )
            taken = storage.appeal_strike(number, policy, received_us=received_us)
        if taken is None:
            raise StrikeRefusedError(f"there is no strike {number}")
        if isinstance(taken, AppealRefused):
            raise StrikeRefusedError(_no_appeal(taken, policy))
        show_strikes([taken], None, policy, [], as_json=as_json)


def dismiss(
    number: Number,
    data_directory: Data,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Decide against an appeal: the strike stands. Not by who recorded it, and not too late.

    \b
    Example:
      peerllm coordinator dismiss-appeal 7 --by ben --data-directory coordinator
    """
    with clear_endings(*EXPECTED):
        decider = person(by)
        with strike_books(data_directory, write=True) as storage:
            decided = storage.dismiss_appeal(number, decider)
        if decided is None:
            raise StrikeRefusedError(f"there is no strike {number}")
        if isinstance(decided, DismissalRefused):
            raise StrikeRefusedError(_no_dismissal(decided, decider))
        show_strikes([decided], None, None, [], as_json=as_json)


def _received_us(strikes: tuple[Strike, ...], received: datetime, number: int) -> int:
    """The beginning of a day, or the strike's own moment when that is later on the same day."""
    day = received.replace(tzinfo=UTC)
    if not _EARLIEST <= day < _LATEST:
        raise StrikeRefusedError(f"--received must lie from 1970 to 2099, got {received:%Y-%m-%d}")
    begins_us = int(day.timestamp()) * 1_000_000
    recorded = {one.number: one.recorded_at_us for one in strikes}.get(number, begins_us)
    same_day = datetime.fromtimestamp(recorded / 1e6, UTC).date() == day.date()
    return max(begins_us, recorded) if same_day else begins_us


def _no_appeal(refused: AppealRefused, policy: StrikePolicy) -> str:
    strike = refused.strike
    match refused.because:
        case "withdrawn":
            why = f"it was withdrawn on {moment(strike.withdrawn_at_us or 0)} UTC"
        case "appealed":
            why = (
                f"an appeal was taken down on {moment(strike.appealed_at_us or 0)} UTC; one appeal"
                " is decided once"
            )
        case "early":
            why = f"it was recorded later, on {moment(strike.recorded_at_us)} UTC"
        case "ahead":
            why = "the day given lies in the future: is this machine's clock wrong?"
        case "late":
            why = (
                f"the time to appeal ended on {moment(appeal_until_us(strike, policy))} UTC; give"
                " --received if the appeal came in before"
            )
    return f"no appeal was taken down against strike {strike.number}: {why}"


def _no_dismissal(refused: DismissalRefused, by: str) -> str:
    strike = refused.strike
    match refused.because:
        case "withdrawn":
            why = (
                f"the strike was withdrawn on {moment(strike.withdrawn_at_us or 0)} UTC"
                f" ({strike.withdrawal}), which no decision undoes"
            )
        case "no appeal":
            why = "there is no appeal against it"
        case "dismissed":
            why = (
                f"{strike.dismissed_by} decided against it on"
                f" {moment(strike.dismissed_at_us or 0)} UTC"
            )
        case "same person":
            why = f"{by} recorded the strike; somebody else decides (--by)"
        case "clock":
            why = "this machine's clock stands before what the books hold already; set it"
    return f"the appeal against strike {strike.number} is not dismissed: {why}"
