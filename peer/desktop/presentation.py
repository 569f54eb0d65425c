"""What the window says about the host: plain sentences and numbers, decided without a widget."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from peerllm.overlay.account_messages import Account
from peerllm.overlay.catalogue_messages import Catalogue
from peerllm.overlay.messages import SeatPause
from peerllm.peer.control_api import ModelStatus, Status
from peerllm.peer.desktop.state import (
    Ending,
    Gone,
    HostSeen,
    HostState,
    NoHost,
    NotAdmitted,
    OtherRelease,
    Unreadable,
)
from peerllm.peer.desktop.strings import counted, tr
from peerllm.peer.limits import HoldReason

Tone = Literal["good", "quiet", "waiting", "problem"]
Action = Literal["", "set_up", "start", "pause", "resume", "drain"]

_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True)
class Headline:
    """How the host is, why, and what the one large button does about it."""

    tone: Tone
    title: str
    detail: str
    action: Action = ""
    button: str = ""


def headline(state: HostState, now_us: int) -> Headline:
    """The first thing to read."""
    match state:
        case NoHost(has_run=False):
            return Headline(
                "quiet",
                tr("Overview", "Not set up yet"),
                tr(
                    "Overview",
                    "This computer does not host anything. Setting it up takes about "
                    "two minutes, and nothing runs before you say so.",
                ),
                "set_up",
                tr("Overview", "Set up hosting"),
            )
        case NoHost():
            return Headline(
                "quiet",
                tr("Overview", "Not running"),
                tr("Overview", "Your host is stopped. It takes no work and earns nothing."),
                "start",
                tr("Overview", "Start hosting"),
            )
        case Gone():
            return Headline(
                "problem",
                tr("Overview", "The host stopped unexpectedly"),
                tr(
                    "Overview",
                    "Its program ended or no longer answers. Answers it was working "
                    "on were taken over by other hosts; nothing you earned is lost.",
                ),
                "start",
                tr("Overview", "Start it again"),
            )
        case HostSeen():
            is_in_line = state.catalogue is not None and bool(state.catalogue.places)
            return _of_status(state.status, state.ending, now_us, is_in_line=is_in_line)
    return _unusable(state)


def _unusable(state: HostState) -> Headline:
    match state:
        case OtherRelease(version=version):
            title = tr("Overview", "The host is of another release")
            detail = tr(
                "Overview",
                "It speaks version {version} of the control API, which this "
                "window does not know. Stop it with the release that started it, then "
                "start it from here.",
            ).format(version=version)
        case NotAdmitted():
            title = tr("Overview", "The host does not know this window")
            detail = tr(
                "Overview",
                "The token in control.json is not the one the host was "
                "started with; another host may run from a copy of the folder. Stop that "
                "host, and this window finds its way by itself.",
            )
        case Unreadable(sentence=sentence):
            title = tr("Overview", "The host cannot be found")
            detail = sentence
        case _:
            raise AssertionError(state)
    return Headline("problem", title, detail)


def _of_status(status: Status, ending: Ending, now_us: int, *, is_in_line: bool) -> Headline:
    if status.seat_pause is not None and status.state == "serving":
        return _paused_by_network(status.seat_pause)
    match status.state:
        case "draining":
            detail = counted(
                running_of(status),
                tr("Overview", "One answer is being finished. It takes no new work."),
                tr("Overview", "{count} answers are being finished. It takes no new work."),
            )
            return Headline("waiting", tr("Overview", "Stopping"), detail)
        case "holding":
            if "paused" in status.holds:
                resume = tr("Overview", "Resume")
                title = tr("Overview", "Paused")
                return Headline("quiet", title, _pause(status, now_us), "resume", resume)
            reasons = " ".join(hold_sentence(reason) for reason in status.holds)
            title = tr("Overview", "Standing back")
            return Headline("quiet", title, reasons, "pause", tr("Overview", "Pause for an hour"))
        case "waiting":
            return _waiting(status, ending, is_in_line=is_in_line)
    pause = tr("Overview", "Pause for an hour")
    if running := running_of(status):
        detail = counted(
            running,
            tr("Overview", "One answer is being written on this computer now."),
            tr("Overview", "{count} answers are being written on this computer now."),
        )
        return Headline("good", tr("Overview", "Serving"), detail, "pause", pause)
    ready = tr("Overview", "Connected. Work arrives when people ask the network for your models.")
    return Headline("good", tr("Overview", "Ready for work"), ready, "pause", pause)


def _paused_by_network(pause: SeatPause) -> Headline:
    detail = tr(
        "Overview",
        "The network gives it no work for now ({reason}). The way back: {way_back}. It ends by "
        "itself on {date}.",
    ).format(
        reason=pause.reason.replace("_", " "),
        way_back=pause.way_back.rstrip("."),
        date=datetime.fromtimestamp(pause.until_us / 1e6).strftime("%d %B %Y, %H:%M"),
    )
    title = tr("Overview", "Paused by the network")
    return Headline("waiting", title, detail, "pause", tr("Overview", "Pause for an hour"))


def _pause(status: Status, now_us: int) -> str:
    if status.limits.paused:
        return tr("Overview", "You paused it. It takes no new work until you resume.")
    left = max(1, -(-(status.limits.paused_until_us - now_us) // _MINUTE_US))
    until = datetime.fromtimestamp(status.limits.paused_until_us / 1e6).strftime("%H:%M")
    sentence = tr("Overview", "It goes on by itself at {time}, in {minutes} min.")
    return sentence.format(time=until, minutes=left)


def hold_sentence(reason: HoldReason) -> str:
    """Why no new work is taken, as its owner set it."""
    return {
        "paused": tr("Limits", "You paused it."),
        "schedule": tr("Limits", "Your schedule has it rest now."),
        "owner_active": tr("Limits", "You are using the computer."),
        "battery": tr("Limits", "The computer runs on battery."),
        "metered": tr("Limits", "The network is paid for by the byte."),
        "full_screen": tr("Limits", "A program fills the screen."),
        "memory": tr("Limits", "It has reached the memory you allow."),
        "temperature": tr("Limits", "The computer is warmer than you allow."),
        "sleep": tr("Limits", "The computer is about to sleep."),
    }[reason]


def _waiting(status: Status, ending: Ending, *, is_in_line: bool) -> Headline:
    pause = tr("Overview", "Pause for an hour")
    if trouble := model_trouble(status):
        return Headline("waiting", *trouble, "pause", pause)
    match ending.event:
        case "refused_by_coordinator" | "unreachable" | "disconnected" if is_in_line:
            title = tr("Overview", "Waiting for a seat")
            in_line = tr(
                "Overview",
                "The network has this computer in line. It works once it has a seat, and asks "
                "again by itself.",
            )
            return Headline("waiting", title, in_line, "pause", pause)
        case "refused_by_coordinator":
            title = tr("Overview", "Waiting for a seat")
            detail = tr(
                "Overview",
                "The network knows of this computer and has not admitted it "
                "yet ({reason}). Send your host ID to whoever invited you; it asks again "
                "by itself.",
            )
            reason = ending.reason.replace("_", " ") or tr("Overview", "no reason given")
            return Headline("waiting", title, detail.format(reason=reason), "pause", pause)
        case "unreachable" | "disconnected":
            title = tr("Overview", "No connection")
            detail = tr(
                "Overview",
                "The network's coordinator cannot be reached, or has ended "
                "the connection. Check that this computer is online; it tries again by "
                "itself.",
            )
            return Headline("waiting", title, detail, "pause", pause)
    title = tr("Overview", "Connecting")
    return Headline(
        "waiting", title, tr("Overview", "Introducing itself to the network."), "pause", pause
    )


def model_trouble(status: Status) -> tuple[str, str] | None:
    """Why no model takes work: what to read first, and the rest; None when one does."""
    states = [model.engine.state for model in status.models]
    if any(model.slots for model in status.models) or "ready" in states:
        return None
    loading = next((m for m in status.models if m.engine.state in {"loading", "waiting"}), None)
    if loading is not None:
        title = tr("Overview", "Getting ready")
        detail = tr("Overview", "Loading {model}, {percent}%.")
        return title, detail.format(model=loading.name, percent=loading.engine.percent)
    detail = next((model.engine.detail for model in status.models if model.engine.detail), "")
    return tr("Overview", "No model to serve"), sentence_of(detail)


def sentence_of(detail: str) -> str:
    """A daemon's own words, as a sentence."""
    if not detail:
        return tr("Overview", "Load one on the page Models.")
    return detail[0].upper() + detail[1:] + ("" if detail.endswith((".", "!", "?")) else ".")


def running_of(status: Status) -> int:
    """Answers being written now, for the network and for the owner."""
    return max(status.running, sum(model.running for model in status.models))


def tray_line(state: HostState, now_us: int) -> str:
    """How the host is, in a few words."""
    shown = headline(state, now_us)
    if isinstance(state, HostSeen) and state.tokens_per_second >= 1:
        rate = tr("Tray", "{title}, {rate} tokens/s")
        return rate.format(title=shown.title, rate=round(state.tokens_per_second))
    return shown.title


@dataclass(frozen=True)
class Notice:
    """Something worth a notification."""

    title: str
    text: str


def notice(before: HostState | None, after: HostState, now_us: int) -> Notice | None:
    """What a change is worth telling an owner who is looking elsewhere; None as a rule."""
    if before is None:
        return None
    if isinstance(after, Gone) and not isinstance(before, Gone):
        shown = headline(after, now_us)
        return Notice(shown.title, tr("Tray", "Open PeerLLM to start it again."))
    if not isinstance(after, HostSeen) or not isinstance(before, HostSeen):
        return None
    if after.status.connected and before.ending.event == "refused_by_coordinator":
        return Notice(
            tr("Tray", "The network has given you a seat"),
            tr("Tray", "Your computer takes work from now on."),
        )
    if after.status.seat_pause is not None and before.status.seat_pause is None:
        shown = _paused_by_network(after.status.seat_pause)
        return Notice(shown.title, shown.detail)
    told = _account_notice(before.account, after.account)
    if told := told or _offer_notice(before.catalogue, after.catalogue):
        return told
    were_well = {model.name for model in before.status.models if not _is_down(model)}
    for model in after.status.models:
        if _is_down(model) and model.name in were_well:
            title = tr("Tray", "{model} cannot be served").format(model=model.name)
            return Notice(title, sentence_of(model.engine.detail))
    return None


def _account_notice(before: Account | None, after: Account | None) -> Notice | None:
    """A strike or a payout that was not there before."""
    if before is None or after is None:
        return None
    # Newest first, and only the latest are told. What becomes of a strike makes no new one of it.
    known = {(strike.rule, strike.at_us) for strike in before.strikes}
    if after.strikes and (after.strikes[0].rule, after.strikes[0].at_us) not in known:
        title = tr("Tray", "A strike was recorded: {rule}")
        appeal = tr("Tray", "The page Overview says what it weighs and until when to appeal.")
        return Notice(title.format(rule=after.strikes[0].rule.replace("_", " ")), appeal)
    if after.payouts and after.payouts[0] not in before.payouts:
        title = tr("Tray", "You were paid {amount}")
        proof = tr("Tray", "The page Activity checks the payout's proof.")
        paid = amount(after.payouts[0].amount / 1e9, "USD")
        return Notice(title.format(amount=paid), proof)
    return None


def _offer_notice(before: Catalogue | None, after: Catalogue | None) -> Notice | None:
    """A seat that is kept for this host, and was not before."""
    known = {place.region for place in before.places if place.offered_until_us} if before else set()
    offered = [place for place in after.places if place.offered_until_us] if after else []
    if not offered or {place.region for place in offered} <= known:
        return None
    until = datetime.fromtimestamp(offered[0].offered_until_us / 1e6).strftime("%d %B %Y")
    return Notice(
        tr("Tray", "A seat is offered to you"),
        tr("Tray", "Take it on the page Overview, until {date}.").format(date=until),
    )


def _is_down(model: ModelStatus) -> bool:
    return model.engine.state == "unavailable"


def grouped(number: int) -> str:
    """A whole number that can be read at a glance."""
    return f"{number:,}".replace(",", "\u202f")


def size(count: int) -> str:
    """Bytes as a person reads them."""
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f} GB"
    return f"{-(-count // 1_000_000)} MB"


def shown_path(path: Path) -> str:
    """A path as its owner writes it: from the home folder on where it lies there."""
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(path)


def amount(value: float, currency: str) -> str:
    """Money; small sums keep the digits that say anything."""
    digits = 2 if abs(value) >= 1 or value == 0 else 4 if abs(value) >= 0.001 else 6
    return f"{value:.{digits}f} {currency}"
