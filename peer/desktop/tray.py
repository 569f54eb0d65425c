"""The tray icon: how the host is at a glance, and what is wanted most with two clicks."""

import time
from collections.abc import Callable

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QSystemTrayIcon

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.icons import sign_icon
from peerllm.peer.desktop.presentation import headline, notice, tray_line
from peerllm.peer.desktop.state import HostSeen, HostState
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import tone_colour


class Tray(QObject):
    """Made only where the desktop has a tray."""

    def __init__(
        self, desk: Desk, open_window: Callable[[], None], quit_: Callable[[], None]
    ) -> None:
        super().__init__()
        self._desk = desk
        self._open = open_window
        self._before: HostState | None = None
        self._shown_tone = ""
        self.icon = QSystemTrayIcon(self)
        self.menu = QMenu()
        self.state_line = self._add("", open_window)
        self.state_line.setEnabled(False)
        self.menu.addSeparator()
        self._add(tr("Tray", "Open PeerLLM"), open_window)
        self.hour = self._add(tr("Tray", "Pause for an hour"), desk.pause_for_an_hour)
        self.pause = self._add(tr("Tray", "Pause until I resume"), desk.pause)
        self.resume = self._add(tr("Tray", "Resume"), desk.resume)
        self.start = self._add(tr("Tray", "Start hosting"), self._start)
        self.menu.addSeparator()
        self.drain = self._add(tr("Tray", "Finish answers, then stop hosting"), desk.drain)
        self.quit = self._add(tr("Tray", "Quit …"), quit_)
        self.icon.setContextMenu(self.menu)
        self.icon.activated.connect(self._on_activated)
        self.icon.messageClicked.connect(open_window)
        desk.link.changed.connect(self.show_state)
        self.show_state(desk.link.state)
        self.icon.show()

    def show_state(self, state: HostState) -> None:
        """Show the host as it is now; tell of what an owner would want to know."""
        now_us = time.time_ns() // 1000
        shown = headline(state, now_us)
        if shown.tone != self._shown_tone:
            self._shown_tone = shown.tone
            self.icon.setIcon(sign_icon(tone_colour(self._desk.palette(), shown.tone)))
        line = tray_line(state, now_us)
        self.icon.setToolTip(f"PeerLLM: {line}")
        self.state_line.setText(line)
        is_up = isinstance(state, HostSeen)
        self.hour.setVisible(is_up and shown.action == "pause")
        self.pause.setVisible(is_up and shown.action == "pause")
        self.resume.setVisible(shown.action == "resume")
        self.start.setVisible(shown.action in {"start", "set_up"})
        self.drain.setVisible(is_up and shown.title != "")
        found = notice(self._before, state, now_us)
        self._before = state
        if found is not None and self._desk.settings.notifications:
            self.icon.showMessage(found.title, found.text, self.icon.icon())

    def _add(self, text: str, slot: Callable[[], object]) -> QAction:
        action = QAction(text, self)
        action.triggered.connect(lambda _checked=False: slot())
        self.menu.addAction(action)
        return action

    def _start(self) -> None:
        if headline(self._desk.link.state, 0).action == "set_up":
            self._open()
            self._desk.set_up_wanted.emit()
        else:
            self._desk.start_host()

    def _on_activated(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        if reason == QSystemTrayIcon.ActivationReason.Trigger:
            self._open()
