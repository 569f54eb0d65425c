"""Puts the window, the tray and the connection to the host together."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import shiboken6
from PySide6.QtCore import (
    QCoreApplication,
    QEvent,
    QLocale,
    QObject,
    QStandardPaths,
    QTimer,
    QTranslator,
)
from PySide6.QtNetwork import QNetworkReply
from PySide6.QtWidgets import QApplication, QSystemTrayIcon

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.errand import end_errands
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.quitting import Quitting
from peerllm.peer.desktop.style import choose_font
from peerllm.peer.desktop.tray import Tray
from peerllm.peer.desktop.window import Window
from peerllm.privacy.process_memory import place_of

# Python sees a signal only when it runs: once a second while Qt waits costs nothing to measure.
_SIGNAL_MILLISECONDS: Final = 1000


def default_data_directory() -> Path:
    """Where a host's state lies unless its owner says otherwise."""
    base = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.GenericDataLocation)
    return Path(base) / "peerllm" / "host"


def run_desktop(data_directory: Path, *, hidden: bool) -> int:
    """Show the window until it is closed, or until the tray icon is left."""
    application = QApplication(sys.argv[:1])
    application.setApplicationName("peerllm")
    application.setApplicationDisplayName("PeerLLM")
    application.setDesktopFileName("network.peerllm.desktop")
    choose_font(application)
    translator = QTranslator(application)
    # Made of peerllm.ts by Qt Linguist: peerllm_de.qm and the like, where there is one.
    if translator.load(QLocale(), "peerllm", "_", str(Path(__file__).parent)):
        application.installTranslator(translator)
    sys.excepthook = _say_crashed
    link = HostLink(data_directory)
    desk = Desk(data_directory, link)
    window = Window(desk)
    quitting = Quitting(desk, window)
    window.quit_wanted.connect(quitting.ask)
    tray = _tray(desk, _opener(window), quitting.ask)
    window.keeps_running = tray is not None
    application.setQuitOnLastWindowClosed(False)
    application.styleHints().colorSchemeChanged.connect(desk.settings_changed)
    for number in (signal.SIGINT, signal.SIGTERM):
        # From the event loop: Python may hear of it in the middle of a paint.
        signal.signal(number, lambda *_: QTimer.singleShot(0, application, application.quit))
    awake = QTimer()
    awake.setInterval(_SIGNAL_MILLISECONDS)
    awake.timeout.connect(lambda: None)
    awake.start()
    # After the first paint.
    QTimer.singleShot(0, link, link.start)
    if not hidden or tray is None:
        window.show()
    code = application.exec()
    awake.stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    put_away(desk, *([tray] if tray else []), quitting, window)
    application.shutdown()
    return code


def put_away(desk: Desk, *parts: QObject) -> None:
    """Take down a desk and what was built on it, in this order.

    Left to Python, Qt's objects go in no order when the process ends, which Qt may not survive.
    """
    link = desk.link
    link.stop()
    end_errands(desk, *parts)
    for reply in link.network.findChildren(QNetworkReply):
        # Nobody is left to read it.
        reply.blockSignals(True)
        reply.abort()
    for part in (*parts, desk, link):
        shiboken6.delete(part)
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def _tray(desk: Desk, open_window: Callable[[], None], quit_: Callable[[], None]) -> Tray | None:
    is_there = QSystemTrayIcon.isSystemTrayAvailable()
    return Tray(desk, open_window, quit_) if is_there else None


def _opener(window: Window) -> Callable[[], None]:
    def open_window() -> None:
        window.show()
        window.raise_()
        window.activateWindow()

    return open_window


def _say_crashed(_kind: object, error: BaseException, _trace: object) -> None:
    """A bug's kind and place only: the message may quote a conversation."""
    sys.stderr.write(f"peerllm: crashed at {place_of(error)}\n")
