"""What becomes of the host when the window and its tray icon are quit: its owner is asked."""

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QApplication, QMessageBox, QWidget

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.presentation import running_of
from peerllm.peer.desktop.state import HostSeen
from peerllm.peer.desktop.strings import counted, tr


class Quitting(QObject):
    """Asks once; without a host that works there is nothing to ask."""

    def __init__(self, desk: Desk, window: QWidget) -> None:
        super().__init__()
        self._desk = desk
        self._window = window
        self.question: QMessageBox | None = None

    def ask(self) -> None:
        """Quit, after the question what the host is to do."""
        state = self._desk.link.state
        if not isinstance(state, HostSeen) or state.status.state == "draining":
            QApplication.quit()
        elif self.question is None:
            self.question = self._question(running_of(state.status))
            self.question.open()
        else:
            self.question.activateWindow()

    def _question(self, running: int) -> QMessageBox:
        # A box over a hidden window would not be seen.
        box = QMessageBox(self._window if self._window.isVisible() else None)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle(tr("Quit", "Quit PeerLLM"))
        box.setText(tr("Quit", "Shall the host go on without this window?"))
        told = tr(
            "Quit",
            "It is a program of its own and can go on earning. If it is to stop, it first "
            "finishes what runs, for half a minute at most, and ends by itself.",
        )
        now = counted(
            running,
            tr("Quit", "One answer is being written now."),
            tr("Quit", "{count} answers are being written now."),
        )
        box.setInformativeText(f"{told} {now}" if running else told)
        role = QMessageBox.ButtonRole
        self.leave = box.addButton(tr("Quit", "Quit, the host goes on"), role.AcceptRole)
        self.stop = box.addButton(tr("Quit", "Stop the host and quit"), role.DestructiveRole)
        self.cancel = box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(self.leave)
        box.setEscapeButton(self.cancel)
        box.finished.connect(self._on_answer)
        return box

    def _on_answer(self, _result: int) -> None:
        box, self.question = self.question, None
        chosen = box.clickedButton() if box is not None else None
        if chosen is self.leave:
            QApplication.quit()
        elif chosen is self.stop:
            self._desk.link.ask("POST", "/v1/drain", self._on_drain)

    def _on_drain(self, raw: bytes | None, sentence: str) -> None:
        if raw is None:
            self._desk.said.emit(sentence, True)
        else:
            QApplication.quit()
