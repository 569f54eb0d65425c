"""Two cards: where this host stands with the network, and the models the network has."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from PySide6.QtWidgets import QApplication, QPushButton, QVBoxLayout

from peerllm.peer.catalogue_shown import CatalogueShown
from peerllm.peer.control_api import RegionRequest
from peerllm.peer.desktop.catalogue_view import (
    NetworkRow,
    Standing,
    check_of,
    network_rows,
    standing_of,
)
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.state import HostSeen, HostState
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import (
    Card,
    Dot,
    button,
    clear,
    copy_text,
    label,
    line,
    row,
    say,
    tone_colour,
)

Signed = Mapping[str, tuple[str, str, int, str]]


class StandingCard(Card):
    """The seat or the place in line, and what can be done about it. Hidden while not known."""

    def __init__(self, desk: Desk, *, also_with_seat: bool) -> None:
        super().__init__()
        self._desk = desk
        self._also_with_seat = also_with_seat
        self._shown: Standing | None = None
        self._host = ""
        self._dot = Dot(10)
        self.title = label("", "heading", wrap=False)
        self.text = label("", "muted")
        self.take_button = button(tr("Network", "Take the seat"), "primary", self._take)
        self.leave_button = button("", "plain", self._leave)
        self.copy_button = button(
            tr("Network", "Copy the host ID"), "plain", lambda: copy_text(self._host)
        )
        self.look_button = button(tr("Network", "Ask again"), "link", self._look)
        self.body.addLayout(row(self._dot, self.title, None))
        self.body.addWidget(self.text)
        self.body.addLayout(
            row(self.take_button, self.leave_button, self.copy_button, self.look_button, None)
        )
        self.hide()

    def show_state(self, state: HostState) -> None:
        """Show it as it is now."""
        shown = standing_of(state) if isinstance(state, HostSeen) else None
        if shown is not None and not shown.needs_owner and not self._also_with_seat:
            shown = None
        self._host = state.status.peer_id if isinstance(state, HostSeen) else ""
        self._dot.set_colour(tone_colour(self._desk.palette(), shown.tone if shown else "quiet"))
        self.setVisible(shown is not None)
        if shown == self._shown or shown is None:
            self._shown = shown
            return
        self._shown = shown
        say(self.title, shown.title)
        say(self.text, shown.text)
        self.take_button.setVisible(bool(shown.take))
        decline = tr("Network", "Decline it") if shown.take else tr("Network", "Leave the line")
        self.leave_button.setText(decline)
        self.leave_button.setVisible(bool(shown.leave))
        self.copy_button.setVisible(shown.send_id)
        self.look_button.setVisible(shown.needs_owner)

    def _take(self) -> None:
        if self._shown is not None:
            self._ask("/v1/seat/take", self._shown.take, tr("Network", "The seat is yours."))

    def _leave(self) -> None:
        if self._shown is not None:
            done = tr("Network", "This host is not in line there any more.")
            self._ask("/v1/line/leave", self._shown.leave, done)

    def _ask(self, path: str, region: str, done: str) -> None:
        self._desk.ask("POST", path, RegionRequest(region=region), done)

    def _look(self) -> None:
        self._desk.ask("POST", "/v1/catalogue/look")


class NetworkModels(Card):
    """The network's catalogue beside this computer; `get` is called with a model's digest."""

    def __init__(self, desk: Desk, get: Callable[[NetworkRow], None]) -> None:
        super().__init__(tr("Network", "Models of the network"))
        self._desk = desk
        self._get = get
        self._rows: list[NetworkRow] = []
        self._is_fetching = False
        # What the stewards signed, once the charter's folder has been read.
        self.signed: Signed = {}
        self._note = label("", "muted")
        self._list = QVBoxLayout()
        self._list.setSpacing(10)
        self.body.addWidget(self._note)
        self.body.addSpacing(6)
        self.body.addLayout(self._list)

    def show_catalogue(
        self, shown: CatalogueShown | None, unknown: str, *, is_fetching: bool
    ) -> None:
        """Show what was told; `unknown` says why there is nothing."""
        if shown is None:
            say(self._note, unknown, "muted")
            rows: list[NetworkRow] = []
        else:
            check = check_of(shown.catalogue, self.signed)
            about = tr("Network", "{network}, version {version} of its catalogue.")
            about = about.format(network=shown.network, version=shown.version)
            say(self._note, f"{about} {check.sentence}", "muted" if check.well else "problem")
            rows = network_rows(shown, check.altered)
        # Free memory changes all the time, and is worth no new list.
        same = [replace(one, fit="") for one in rows] == [
            replace(one, fit="") for one in self._rows
        ]
        if same and is_fetching == self._is_fetching:
            return
        self._rows, self._is_fetching = rows, is_fetching
        self._build()

    def _build(self) -> None:
        found = QApplication.focusWidget()
        inside = isinstance(found, QPushButton) and self.isAncestorOf(found)
        focused = found.accessibleName() if found is not None and inside else ""
        clear(self._list)
        for place, one in enumerate(self._rows):
            if place:
                self._list.addWidget(line())
            self._add(one)
        for again in self.findChildren(QPushButton):
            if focused and again.accessibleName() == focused:
                again.setFocus()

    def _add(self, one: NetworkRow) -> None:
        head = [label(one.name, "heading", wrap=False)]
        if one.recommended:
            head.append(label(tr("Network", "Recommended"), "good", wrap=False))
        get = button(
            tr("Network", "Get and load"),
            "primary" if one.recommended else "plain",
            partial(self._get, one),
        )
        get.setAccessibleName(f"{get.text()}: {one.name}")
        here = label(tr("Network", "On this computer"), "muted", wrap=False)
        get.setVisible(one.can_get)
        get.setEnabled(not self._is_fetching)
        here.setVisible(one.is_here)
        self._list.addLayout(row(*head, None, here, get))
        self._list.addWidget(label(one.facts, "muted"))
        self._list.addWidget(label(one.fit, "small" if one.fits else "waiting"))
        self._list.addWidget(label(one.seats, "good" if one.seats_tone == "good" else "small"))
