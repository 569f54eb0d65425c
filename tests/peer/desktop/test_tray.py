from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE TRAY IS NOT TESTED: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.state import Ending, Gone, HostState, NoHost
from peerllm.peer.desktop.tray import Tray
from peerllm.peer.limits import Limits
from tests.peer.desktop.samples import seen

HOUR = "Pause for an hour"
STOP = "Finish answers, then stop hosting"
PAUSED = seen(state="holding", holds=["paused"], limits=Limits(paused=True))


class Shown:
    """A tray, and what it would have notified of."""

    def __init__(self, folder: Path) -> None:
        self.opened = 0
        self.desk = Desk(folder, HostLink(folder))
        self.quits = 0
        self.tray = Tray(self.desk, self._open, self._quit)
        self.notices: list[str] = []
        self.tray.icon.showMessage = lambda title, *_: self.notices.append(title)

    def _open(self) -> None:
        self.opened += 1

    def _quit(self) -> None:
        self.quits += 1

    def menu(self, state: HostState) -> list[str]:
        self.tray.show_state(state)
        return [a.text() for a in self.tray.menu.actions() if a.isVisible() and a.text()]


@pytest.fixture
def shown(application: Any, tmp_path: Path) -> Shown:
    return Shown(tmp_path)


@pytest.mark.parametrize(
    ("state", "offered", "not_offered"),
    [
        (NoHost(has_run=False), "Start hosting", HOUR),
        (Gone(1), "Start hosting", STOP),
        (seen(), HOUR, "Resume"),
        (seen(), STOP, "Start hosting"),
        (PAUSED, "Resume", HOUR),
    ],
)
def test_the_menu_offers_what_makes_sense(
    shown: Shown, state: HostState, offered: str, not_offered: str
) -> None:
    menu = shown.menu(state)
    assert offered in menu
    assert not_offered not in menu
    assert menu[1] == "Open PeerLLM"
    assert shown.tray.icon.toolTip() == f"PeerLLM: {menu[0]}"


def test_quitting_is_asked_about_elsewhere(shown: Shown) -> None:
    shown.tray.quit.trigger()
    assert shown.quits == 1


def test_a_seat_and_a_dead_host_are_notified_unless_it_was_switched_off(shown: Shown) -> None:
    refused = seen(ending=Ending("refused_by_coordinator"), state="waiting", connected=False)
    for state in (refused, seen(), Gone(1)):
        shown.menu(state)
    assert shown.notices == [
        "The network has given you a seat",
        "The host stopped unexpectedly",
    ]
    shown.desk.change(notifications=False)
    shown.menu(seen())
    shown.menu(Gone(1))
    assert len(shown.notices) == 2


def test_a_host_that_was_never_set_up_is_set_up_in_the_window(shown: Shown) -> None:
    wanted: list[bool] = []
    shown.desk.set_up_wanted.connect(lambda: wanted.append(True))
    shown.menu(NoHost(has_run=False))
    shown.tray.start.trigger()
    assert (shown.opened, wanted) == (1, [True])
