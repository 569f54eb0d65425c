"""The overview: how the host is, the one button that matters, and what it has done."""

import time
from datetime import UTC, datetime
from typing import Final

from PySide6.QtCore import QTimer
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QPushButton, QVBoxLayout

from peerllm.peer.desktop.account_view import Fact
from peerllm.peer.desktop.days_chart import DaysChart
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.money import Price
from peerllm.peer.desktop.network_models import StandingCard
from peerllm.peer.desktop.overview_view import Overview, Tile, overview
from peerllm.peer.desktop.presentation import Headline, headline
from peerllm.peer.desktop.state import HostSeen, HostState
from peerllm.peer.desktop.strikes_card import StrikesCard
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import (
    Card,
    Dot,
    Page,
    breakable,
    button,
    label,
    row,
    say,
    tone_colour,
)

# The minutes left of a pause.
_REFRESH_MILLISECONDS: Final = 20_000
_TILES: Final = 4


class _TileCard(Card):
    """One figure."""

    def __init__(self) -> None:
        super().__init__()
        self._title = label("", "muted")
        self._value = label("", "value", wrap=False)
        self._note = label("", "small")
        for part in (self._title, self._value, self._note):
            self.body.addWidget(part)
        self.body.addStretch(1)
        self.body.setSpacing(4)

    def show_tile(self, tile: Tile) -> None:
        """Show a figure."""
        self._title.setText(tile.title)
        self._value.setText(tile.value)
        self._note.setText(tile.note)
        self._note.setVisible(bool(tile.note))
        self.setAccessibleName(f"{tile.title}: {tile.value}. {tile.note}")


class OverviewPage(Page):
    """The first page."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Overview", "Overview"))
        self._desk = desk
        self.prices: dict[str, Price] = {}
        self._headline: Headline | None = None
        self._dot = Dot(14)
        self._title = label("", "headline", wrap=False)
        self._detail = label("", "muted")
        self.main_button: QPushButton = button("", "primary", self._act)
        self.stop_button = button(tr("Overview", "Stop hosting"), "link", desk.drain)
        self.pause_button = button(tr("Overview", "Pause until I resume"), "link", desk.pause)
        card = Card()
        card.body.addLayout(row(self._dot, self._title, None, spacing=12))
        card.body.addWidget(self._detail)
        card.body.addSpacing(6)
        card.body.addLayout(row(self.main_button, self.pause_button, self.stop_button, None))
        self.body.addWidget(card)
        self.standing = StandingCard(desk, also_with_seat=False)
        self.body.addWidget(self.standing)
        self._tiles = [_TileCard() for _ in range(_TILES)]
        grid = QGridLayout()
        grid.setSpacing(16)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        for number, tile in enumerate(self._tiles):
            grid.addWidget(tile, number // 2, number % 2)
        self.body.addLayout(grid)
        self._chart_card = Card(tr("Overview", "Answer tokens, last 30 days"))
        self._chart = DaysChart(desk.palette)
        self._chart_card.body.addWidget(self._chart)
        self.body.addWidget(self._chart_card)
        self._facts_card = Card(tr("Overview", "Standing"))
        self._facts = QVBoxLayout()
        self._facts.setSpacing(8)
        self._facts_card.body.addLayout(self._facts)
        self._fact_values: list[tuple[QLabel, QLabel]] = []
        self.body.addWidget(self._facts_card)
        self.strikes = StrikesCard(desk)
        self.body.addWidget(self.strikes)
        self.body.addStretch(1)
        self._timer = QTimer(self)
        self._timer.setInterval(_REFRESH_MILLISECONDS)
        self._timer.timeout.connect(self.refresh)

    def show_state(self, state: HostState) -> None:
        """Show the host as it is now."""
        shown = headline(state, time.time_ns() // 1000)
        if self._desk.is_starting and not isinstance(state, HostSeen):
            shown = Headline(
                "waiting",
                tr("Overview", "Starting"),
                tr("Overview", "The host is starting. The first time, it measures this computer."),
            )
        self._headline = shown
        self._dot.set_colour(tone_colour(self._desk.palette(), shown.tone))
        self._title.setText(shown.title)
        self._detail.setText(shown.detail)
        self.main_button.setText(shown.button)
        self.main_button.setVisible(bool(shown.button))
        self.standing.show_state(state)
        self.strikes.show_state(state)
        is_up = isinstance(state, HostSeen) and state.status.state != "draining"
        self.stop_button.setVisible(is_up)
        self.pause_button.setVisible(is_up and shown.action == "pause")
        # A host that never ran has no figures.
        is_new = shown.action == "set_up"
        for card in (*self._tiles, self._chart_card):
            card.setVisible(not is_new)
        today = datetime.now(UTC).date()
        self._show_figures(overview(state, today, self._desk.settings.power, self.prices))
        if isinstance(state, HostSeen) and state.status.limits.paused_until_us:
            self._timer.start()
        else:
            self._timer.stop()

    def refresh(self) -> None:
        """Say it again: time, prices or colours may be others."""
        self.show_state(self._desk.link.state)
        self._chart.restyle()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's
        """The chart's library is loaded only now, after the first figures are seen."""
        super().showEvent(event)
        QTimer.singleShot(50, self._chart, self._chart.prepare)

    def _show_figures(self, shown: Overview) -> None:
        for card, tile in zip(self._tiles, shown.tiles, strict=True):
            card.show_tile(tile)
        self._chart.show_days(shown.days)
        while len(self._fact_values) < len(shown.facts):
            name, value = label("", "muted", wrap=False), label("")
            name.setMinimumWidth(120)
            line = row(name, value, spacing=16)
            line.setStretch(1, 1)
            self._facts.addLayout(line)
            self._fact_values.append((name, value))
        # One that says nothing takes no room.
        unused = [Fact("", "")] * (len(self._fact_values) - len(shown.facts))
        facts = [*shown.facts, *unused]
        for (name, value), fact in zip(self._fact_values, facts, strict=True):
            say(name, fact.name)
            say(value, breakable(fact.value))
        self._facts_card.setVisible(bool(shown.facts))

    def _act(self) -> None:
        match self._headline.action if self._headline else "":
            case "set_up":
                self._desk.set_up_wanted.emit()
            case "start":
                self._desk.start_host()
                self.refresh()
            case "pause":
                self._desk.pause_for_an_hour()
            case "resume":
                self._desk.resume()
