"""The card of a model that is being fetched: how far it is, and stopping or going on."""

from collections.abc import Callable

from PySide6.QtWidgets import QProgressBar

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.models_view import fetch_line
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import Card, button, label, row
from peerllm.peer.model_fetch_api import RUNNING, FetchStatus


class DownloadCard(Card):
    """Hidden while there is nothing to say of a fetch."""

    def __init__(self, desk: Desk, go_on: Callable[[], None]) -> None:
        super().__init__(tr("Models", "Download"))
        self._desk = desk
        self.stop_button = button(tr("Models", "Stop"), "plain", self._stop)
        self.go_on_button = button(tr("Models", "Go on"), "plain", go_on)
        self.line = label("", "muted")
        self.bar = QProgressBar()
        self.bar.setAccessibleName(tr("Models", "Progress of the download"))
        self.body.addWidget(self.line)
        self.body.addWidget(self.bar)
        self.body.addLayout(row(self.stop_button, self.go_on_button, None))

    def show_fetch(self, fetch: FetchStatus) -> None:
        """Show the fetch as it is now."""
        line, percent = fetch_line(fetch)
        self.line.setText(line)
        self.setVisible(bool(line))
        self.bar.setVisible(percent >= 0)
        self.bar.setValue(max(0, percent))
        self.stop_button.setVisible(fetch.state in RUNNING)
        self.go_on_button.setVisible(fetch.state in {"stopped", "failed"})

    def _stop(self) -> None:
        """What has come is kept."""
        self._desk.ask("POST", "/v1/fetch/stop")
        self._desk.link.look_at_fetch()
