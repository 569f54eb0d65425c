"""The card of strikes: each one with the button to appeal against it, while one may."""

import time
from functools import partial
from typing import Final

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QMessageBox, QVBoxLayout, QWidget

from peerllm.peer.control_api import AppealRequest
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.state import HostSeen, HostState
from peerllm.peer.desktop.strikes_view import StrikeRow, appeal_question, strike_rows
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import Card, breakable, button, clear, label, line, row

# A coordinator takes one appeal of a host in ten seconds, and says nothing of what came sooner.
_BETWEEN_MILLISECONDS: Final = 11_000
# A coordinator answers within a minute. Where it cannot, the host asks for its account again
# after a minute and a half, which shows whether the appeal was taken down after all.
_UNANSWERED_MILLISECONDS: Final = 120_000


class StrikesCard(Card):
    """Hidden while there are none. An appeal is asked about once, and sent once."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(tr("Overview", "Strikes"))
        self._desk = desk
        self._rows: tuple[StrikeRow, ...] = ()
        self._contact = ""
        # On their way, until the coordinator has told an account that has them.
        self._sent: set[int] = set()
        self._unanswered: set[int] = set()
        # Where the keyboard can be in each row, by the strike's number.
        self._places: dict[int, QWidget] = {}
        self.question: QMessageBox | None = None
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_BETWEEN_MILLISECONDS)
        self._rest.timeout.connect(self._build)
        self._list = QVBoxLayout()
        self._list.setSpacing(10)
        self.body.addLayout(self._list)
        self.hide()

    def show_state(self, state: HostState) -> None:
        """Show the strikes as the coordinator has told them."""
        account = state.account if isinstance(state, HostSeen) else None
        rows = strike_rows(account, time.time_ns() // 1000) if account else ()
        self._contact = account.region.contact if account else ""
        self.setVisible(bool(rows))
        if rows == self._rows:
            return
        self._rows = rows
        self._confirm()
        self._build()

    def _confirm(self) -> None:
        """Say what became of those that were sent, once the account has it."""
        for one in self._rows:
            if not one.can_appeal and one.number in self._sent | self._unanswered:
                self._sent.discard(one.number)
                self._unanswered.discard(one.number)
                done = tr("Overview", "The coordinator has answered: {name}, {text}.")
                self._desk.said.emit(done.format(name=one.name, text=one.text), False)

    def _build(self) -> None:
        focused = self.window().focusWidget()
        before = {number for number, place in self._places.items() if place is focused}
        clear(self._list)
        self._places = {}
        for place, one in enumerate(self._rows):
            if place:
                self._list.addWidget(line())
            self._places[one.number] = self._add(one)
        for number in before & self._places.keys():
            # What is new is shown in the next turn, and takes no focus before.
            self._places[number].show()
            self._places[number].setFocus()

    def _add(self, one: StrikeRow) -> QWidget:
        """Where the keyboard is then: at the button, or at what is said in its stead."""
        words = QVBoxLayout()
        words.setSpacing(4)
        said = label(breakable(one.text), "muted")
        words.addWidget(label(breakable(one.name)))
        words.addWidget(said)
        if one.number in self._sent:
            said = label(
                tr("Overview", "The appeal was sent. The coordinator's answer is awaited."),
                "waiting",
            )
            words.addWidget(said)
        elif one.number in self._unanswered and one.can_appeal:
            unanswered = tr(
                "Overview",
                "The coordinator has not said that it took the appeal down. You can send it "
                "again: it counts once.",
            )
            words.addWidget(label(unanswered, "waiting"))
        across = row(spacing=16)
        across.addLayout(words, 1)
        self._list.addLayout(across)
        if not one.can_appeal or one.number in self._sent:
            return said
        appeal = button(tr("Overview", "Appeal …"), "plain", partial(self._ask, one))
        name = tr("Overview", "Appeal against strike {number}: {name}")
        appeal.setAccessibleName(name.format(number=one.number, name=one.name))
        across.addWidget(appeal, 0, Qt.AlignmentFlag.AlignTop)
        if not self._rest.isActive():
            return appeal
        appeal.setEnabled(False)
        appeal.setToolTip(tr("Overview", "In a few seconds: one appeal after the other."))
        return said

    def _ask(self, one: StrikeRow) -> None:
        if self.question is not None:
            self.question.activateWindow()
            return
        asked = appeal_question(one, self._contact)
        box = QMessageBox(self.window())
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle(asked.title)
        # The coordinator's words are no markup.
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText(asked.text)
        box.setInformativeText(asked.detail)
        role = QMessageBox.ButtonRole
        self.send_button = box.addButton(tr("Overview", "Send the appeal"), role.AcceptRole)
        self.cancel_button = box.addButton(QMessageBox.StandardButton.Cancel)
        # What cannot be taken back is no answer to a key pressed twice.
        box.setDefaultButton(self.cancel_button)
        box.setEscapeButton(self.cancel_button)
        box.finished.connect(lambda _result: self._on_choice(one.number))
        self.question = box
        box.open()

    def _on_choice(self, number: int) -> None:
        box, self.question = self.question, None
        if box is None or box.clickedButton() is not self.send_button:
            return
        self._sent.add(number)
        self._unanswered.discard(number)
        self._rest.start()
        self._build()
        asked = AppealRequest(strike=number)
        self._desk.link.ask("POST", "/v1/appeal", partial(self._on_answer, number), asked)

    def _on_answer(self, number: int, raw: bytes | None, sentence: str) -> None:
        if raw is None:
            # The host sent nothing, so the next one need not wait for it.
            self._rest.stop()
            self._sent.discard(number)
            self._desk.said.emit(sentence, True)
            self._build()
            return
        QTimer.singleShot(_UNANSWERED_MILLISECONDS, self, partial(self._on_silence, number))

    def _on_silence(self, number: int) -> None:
        if number in self._sent:
            self._sent.discard(number)
            self._unanswered.add(number)
            self._build()
