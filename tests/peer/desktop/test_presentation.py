import msgspec
import pytest

from peerllm.overlay.messages import SeatPause
from peerllm.peer.desktop.presentation import (
    amount,
    headline,
    notice,
    sentence_of,
    size,
    tray_line,
)
from peerllm.peer.desktop.state import (
    Ending,
    Gone,
    HostState,
    NoHost,
    NotAdmitted,
    OtherRelease,
    Unreadable,
)
from peerllm.peer.limits import Limits
from tests.peer.desktop.samples import NOW_US, engine, model, seen

HOUR_US = 3_600_000_000
AWAY = model(slots=0, free_slots=0, running=0, engine=engine("not_loaded", "unloaded by its owner"))
LOADING = model(slots=0, free_slots=0, running=0, engine=engine("loading", percent=40))
BROKEN = model(slots=0, running=0, engine=engine("unavailable", "the model file is damaged"))
OFF = {"state": "waiting", "connected": False}
PAUSE = SeatPause(
    reason="slow_answers", way_back="answer three probes in time", until_us=NOW_US + HOUR_US
)
REFUSED = Ending("refused_by_coordinator", "no_seat_for_this_host")


@pytest.mark.parametrize(
    ("state", "title", "words", "action"),
    [
        (NoHost(has_run=False), "Not set up yet", "two minutes", "set_up"),
        (NoHost(has_run=True), "Not running", "stopped", "start"),
        (Gone(1), "The host stopped unexpectedly", "nothing you earned is lost", "start"),
        (OtherRelease(2), "The host is of another release", "version 2", ""),
        (NotAdmitted(), "The host does not know this window", "token", ""),
        (Unreadable("x cannot be read"), "The host cannot be found", "x cannot be read", ""),
        (seen(), "Serving", "One answer is being written", "pause"),
        (seen(model(running=0), running=0), "Ready for work", "Connected", "pause"),
        (
            seen(seat_pause=PAUSE),
            "Paused by the network",
            "(slow answers). The way back: answer three probes in time. It ends",
            "pause",
        ),
        (seen(state="draining"), "Stopping", "One answer is being finished", ""),
        (
            seen(state="holding", holds=["paused"], limits=Limits(paused=True)),
            "Paused",
            "until you resume",
            "resume",
        ),
        (
            seen(
                state="holding",
                holds=["paused"],
                limits=Limits(paused_until_us=NOW_US + HOUR_US),
            ),
            "Paused",
            "in 60 min",
            "resume",
        ),
        (
            seen(state="holding", holds=["battery", "owner_active"]),
            "Standing back",
            "battery. You are using",
            "pause",
        ),
        (
            seen(state="holding", holds=["full_screen", "metered", "sleep"]),
            "Standing back",
            "fills the screen. The network is paid for by the byte. The computer is about to",
            "pause",
        ),
        (seen(ending=REFUSED, **OFF), "Waiting for a seat", "(no seat for this host)", "pause"),
        (seen(ending=Ending("unreachable"), **OFF), "No connection", "online", "pause"),
        (seen(ending=Ending(), **OFF), "Connecting", "Introducing", "pause"),
        (seen(AWAY, state="waiting"), "No model to serve", "Unloaded by its owner.", "pause"),
        (seen(LOADING, **OFF), "Getting ready", "40%", "pause"),
        (seen(BROKEN, AWAY, **OFF), "No model to serve", "is damaged.", "pause"),
    ],
)
def test_the_headline_says_how_it_is_and_what_can_be_done(
    state: HostState, title: str, words: str, action: str
) -> None:
    shown = headline(state, NOW_US)
    assert shown.title == title
    assert words in shown.detail
    assert shown.action == action
    assert bool(shown.button) == bool(action)
    assert tray_line(state, NOW_US).startswith(title)


def test_only_what_an_owner_would_want_to_know_is_notified() -> None:
    waiting, serving = seen(ending=REFUSED, **OFF), seen()
    found = notice(waiting, serving, NOW_US)
    assert found is not None
    assert "seat" in found.title
    gone = notice(serving, Gone(1), NOW_US)
    assert gone is not None
    assert "unexpectedly" in gone.title
    broken = notice(serving, seen(BROKEN), NOW_US)
    assert broken is not None
    assert broken.text == "The model file is damaged."
    paused = notice(serving, seen(seat_pause=PAUSE), NOW_US)
    assert paused is not None
    assert paused.title == "Paused by the network"
    for before, after in (
        (seen(seat_pause=PAUSE), seen(seat_pause=PAUSE)),
        (None, Gone(1)),
        (Gone(1), Gone(1)),
        (serving, serving),
        (serving, NoHost(has_run=True)),
        (seen(BROKEN), seen(BROKEN)),
        (NoHost(has_run=True), serving),
    ):
        assert notice(before, after, NOW_US) is None


def test_numbers_are_read_at_a_glance() -> None:
    assert [size(n) for n in (0, 1, 98_700_000, 4_300_000_000)] == [
        "0 MB",
        "1 MB",
        "99 MB",
        "4.3 GB",
    ]
    assert [amount(n, "EUR") for n in (0, 12.345, 0.0123, 0.0000456)] == [
        "0.00 EUR",
        "12.35 EUR",
        "0.0123 EUR",
        "0.000046 EUR",
    ]
    assert sentence_of("no room!") == "No room!"


def test_a_status_of_a_later_release_with_more_fields_is_still_read() -> None:
    raw = msgspec.json.decode(msgspec.json.encode(seen().status))
    raw["standing"] = {"trust": 3}
    assert msgspec.convert(raw, type(seen().status)) == seen().status
