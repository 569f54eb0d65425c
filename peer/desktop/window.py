"""The window: a sidebar, one page at a time, and a line that says what came of a click."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QApplication,
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QMainWindow,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.errand import Errand
from peerllm.peer.desktop.first_run import FirstRun
from peerllm.peer.desktop.icons import line_icon, sign_icon
from peerllm.peer.desktop.money import Price
from peerllm.peer.desktop.pages.activity_page import ActivityPage
from peerllm.peer.desktop.pages.chat_page import ChatPage
from peerllm.peer.desktop.pages.limits_page import LimitsPage
from peerllm.peer.desktop.pages.models_page import ModelsPage
from peerllm.peer.desktop.pages.overview_page import OverviewPage
from peerllm.peer.desktop.pages.settings_page import SettingsPage
from peerllm.peer.desktop.presentation import headline
from peerllm.peer.desktop.price_list import (
    ROOT_FILE,
    prices_of,
    root_fault,
    signed_models,
)
from peerllm.peer.desktop.state import HostState
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.style import apply_style
from peerllm.peer.desktop.widgets import Dot, button, label, set_role, tone_colour

_SIDEBAR_WIDTH: Final = 212
# Long enough to read a sentence twice.
_NOTICE_MILLISECONDS: Final = 10_000
_FIRST_SIZE: Final = QSize(1080, 760)


class _Page(Protocol):
    def show_state(self, state: HostState) -> None: ...


class Window(QMainWindow):
    """Follows the host; closing it leaves the host as it is."""

    # By its keys: what becomes of the host is to be asked.
    quit_wanted = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setWindowTitle("PeerLLM")
        self.setMinimumSize(820, 560)
        self.resize(_FIRST_SIZE)
        self._desk = desk
        self.keeps_running = False
        self.overview = OverviewPage(desk)
        self.models = ModelsPage(desk)
        self.limits = LimitsPage(desk)
        self.activity = ActivityPage(desk)
        self.chat = ChatPage(desk)
        self.settings = SettingsPage(desk)
        self.first_run: FirstRun | None = None
        self._nav: list[tuple[str, QPushButton]] = []
        self._pages = QStackedWidget()
        self._outer = QStackedWidget()
        self._lay_out()
        desk.said.connect(self.say)
        desk.settings_changed.connect(self._on_settings)
        desk.set_up_wanted.connect(self.set_up)
        desk.link.changed.connect(self.show_state)
        self._on_settings()
        if desk.file.fault:
            damaged = tr("Window", "The window's settings could not be read: {why}")
            self.say(damaged.format(why=desk.file.fault), True)
        self.show_page(0)

    def _lay_out(self) -> None:
        main = QWidget()
        across = QHBoxLayout(main)
        across.setContentsMargins(0, 0, 0, 0)
        across.setSpacing(0)
        across.addWidget(self._sidebar())
        right = QVBoxLayout()
        right.setSpacing(0)
        right.addWidget(self._notice())
        right.addWidget(self._pages, 1)
        across.addLayout(right, 1)
        for page in self._all_pages():
            self._pages.addWidget(page)
        self._outer.addWidget(main)
        self.setCentralWidget(self._outer)
        for keys, slot in (
            (QKeySequence.StandardKey.Close, self.close),
            (QKeySequence("Ctrl+Q"), self.quit_wanted.emit),
        ):
            QShortcut(QKeySequence(keys), self).activated.connect(slot)

    def _sidebar(self) -> QFrame:
        side = QFrame()
        side.setObjectName("sidebar")
        side.setFixedWidth(_SIDEBAR_WIDTH)
        column = QVBoxLayout(side)
        column.setContentsMargins(14, 22, 14, 18)
        column.setSpacing(4)
        brand = label("PeerLLM", wrap=False)
        brand.setObjectName("brand")
        self._sign = label("", wrap=False)
        head = QHBoxLayout()
        head.setContentsMargins(8, 0, 0, 14)
        head.setSpacing(10)
        head.addWidget(self._sign)
        head.addWidget(brand)
        head.addStretch(1)
        column.addLayout(head)
        group = QButtonGroup(self)
        for place, (name, title) in enumerate(
            (
                ("overview", tr("Window", "Overview")),
                ("models", tr("Window", "Models")),
                ("limits", tr("Window", "Limits")),
                ("activity", tr("Window", "Activity")),
                ("chat", tr("Window", "Chat")),
                ("settings", tr("Window", "Settings")),
            )
        ):
            found = button(title, "plain", partial(self.show_page, place))
            found.setObjectName("nav")
            found.setCheckable(True)
            found.setIconSize(QSize(20, 20))
            found.setToolTip(f"Ctrl+{place + 1}")
            group.addButton(found)
            column.addWidget(found)
            self._nav.append((name, found))
            shortcut = QShortcut(QKeySequence(f"Ctrl+{place + 1}"), self)
            shortcut.activated.connect(partial(self.show_page, place))
        column.addStretch(1)
        self._dot = Dot(10)
        self._state = label("", "small")
        foot = QHBoxLayout()
        foot.setContentsMargins(10, 0, 0, 0)
        foot.setSpacing(8)
        foot.addWidget(self._dot)
        foot.addWidget(self._state, 1)
        column.addLayout(foot)
        return side

    def _notice(self) -> QWidget:
        around = QWidget()
        around.setObjectName("pageBody")
        inside = QVBoxLayout(around)
        inside.setContentsMargins(32, 14, 32, 0)
        bar = QFrame()
        bar.setObjectName("notice")
        line = QHBoxLayout(bar)
        line.setContentsMargins(16, 8, 8, 8)
        self.notice = label("")
        self.notice.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        line.addWidget(self.notice, 1)
        line.addWidget(button(tr("Window", "Close"), "link", around.hide))
        inside.addWidget(bar)
        self._notice_bar = around
        self._notice_timer = QTimer(self)
        self._notice_timer.setSingleShot(True)
        self._notice_timer.setInterval(_NOTICE_MILLISECONDS)
        self._notice_timer.timeout.connect(around.hide)
        around.hide()
        return around

    def _all_pages(self) -> tuple[QWidget, ...]:
        return (
            self.overview,
            self.models,
            self.limits,
            self.activity,
            self.chat,
            self.settings,
        )

    def show_page(self, place: int) -> None:
        """Turn to a page, by its place in the sidebar."""
        if self._outer.currentIndex():
            return
        self._nav[place][1].setChecked(True)
        self._pages.setCurrentIndex(place)

    def show_state(self, state: HostState) -> None:
        """Show the host as it is now, on all pages."""
        self.overview.show_state(state)
        self.models.show_state(state)
        self.limits.show_state(state)
        self.activity.show_state(state)
        self.chat.show_state(state)
        self.settings.show_state(state)
        shown = headline(state, time.time_ns() // 1000)
        self._dot.set_colour(tone_colour(self._desk.palette(), shown.tone))
        self._state.setText(shown.title)

    def say(self, sentence: str, is_problem: bool) -> None:
        """Say what came of something; problems stay until closed or followed by another."""
        self.notice.setText(sentence)
        set_role(self.notice, "problem" if is_problem else "body")
        self._notice_bar.show()
        if is_problem:
            self._notice_timer.stop()
        else:
            self._notice_timer.start()

    def set_up(self) -> None:
        """Begin the first run, in place of the pages."""
        if self.first_run is None:
            self.first_run = FirstRun(self._desk)
            self.first_run.left.connect(self._on_left)
            self._outer.addWidget(self.first_run)
            self._outer.setCurrentWidget(self.first_run)

    def _on_left(self) -> None:
        self._outer.setCurrentIndex(0)
        if self.first_run is not None:
            self._outer.removeWidget(self.first_run)
            self.first_run.deleteLater()
            self.first_run = None
        self.show_page(0)
        self.settings.power.fill()

    def _on_settings(self) -> None:
        palette = self._desk.palette()
        application = QApplication.instance()
        if isinstance(application, QApplication):
            apply_style(application, palette)
        for name, found in self._nav:
            found.setIcon(line_icon(name, palette.text))
        icon = sign_icon(palette.accent, palette.on_accent)
        self._sign.setPixmap(icon.pixmap(QSize(26, 26)))
        self.setWindowIcon(icon)
        self._read_prices()
        self.show_state(self._desk.link.state)
        self.overview.refresh()
        self.models.refresh()

    def _read_prices(self) -> None:
        folder = self._desk.settings.charter_directory
        fault = root_fault(Path(folder), self._desk.settings.charter_root) if folder else ""
        if fault:
            self._know_charter(b"")
            unusable = tr("Window", "{folder}: {why}")
            self.settings.show_prices(unusable.format(folder=folder, why=fault), well=False)
            return
        if not folder:
            self._know_charter(b"")
            none = tr("Window", "None chosen: earnings are not estimated.")
            self.settings.show_prices(none, well=True)
            return
        # The root is named, though it is the folder's own: a note about that would stand in the
        # output, which is read as JSON.
        root = f"--root={Path(folder) / ROOT_FILE}"
        errand = Errand(["charter", "show", "--json", root, "--", folder], self)

        def on_end(well: bool, word: str) -> None:
            found = self._know_charter(errand.output.encode() if well else b"")
            known = tr("Window", "{folder}: verified, prices of {count} models.")
            unusable = tr("Window", "{folder}: {why}")
            why = word if not well else tr("Window", "no prices of models are in it")
            sentence = known.format(folder=folder, count=len(found))
            if not found:
                sentence = unusable.format(folder=folder, why=why)
            self.settings.show_prices(sentence, well=bool(found))
            errand.deleteLater()

        errand.ended.connect(on_end)
        errand.start()

    def _know_charter(self, printed: bytes) -> Mapping[str, Price]:
        """Go by this charter as it was printed, or by none; gives its prices."""
        found = prices_of(printed)
        self.overview.prices = dict(found)
        self.overview.refresh()
        self.models.network.signed = signed_models(printed)
        self.models.refresh()
        return found

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's
        """With a tray icon the program stays there; else it ends. The host goes on either way."""
        event.accept()
        if not self.keeps_running:
            QApplication.quit()
