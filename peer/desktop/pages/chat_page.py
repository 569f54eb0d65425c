"""Chat: ask the models this computer hosts, or the whole network."""

from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QKeyEvent, QShowEvent
from PySide6.QtNetwork import QNetworkAccessManager
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from peerllm.peer.desktop.chat_exchange import ChatExchange, ModelList, network_request
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.settings import network_address
from peerllm.peer.desktop.state import MAXIMUM_ANSWER_BYTES, HostSeen, HostState, parsed
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import Choice, button, clear, label, row
from peerllm.peer.local_chat import ChatTurnGiven

# As one message of the control API may have.
_LONGEST_MESSAGE = 32_768
_INPUT_HEIGHT = 76
# Laying out an answer of 2,000 words took 76 ms on two busy cores: not for each of them.
_SHOWN_MILLISECONDS = 100


@dataclass(frozen=True)
class Answerer:
    """Who is asked."""

    where: Literal["host", "network"]
    model: str


class ChatPage(QWidget):
    """A conversation, for as long as the window is open."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("pageBody")
        self.setAccessibleName(tr("Chat", "Chat"))
        self._desk = desk
        self._network = QNetworkAccessManager(self)
        self._network_models: list[str] = []
        self._turns: list[ChatTurnGiven] = []
        # Who was asked last, or is to be, also while there is no such model.
        self._chosen: Answerer | None = None
        self._exchange: ChatExchange | None = None
        self._answer: QLabel | None = None
        self._text = ""
        self._shown_soon = QTimer(self)
        self._shown_soon.setSingleShot(True)
        self._shown_soon.setInterval(_SHOWN_MILLISECONDS)
        self._shown_soon.timeout.connect(self._show_text)
        body = QVBoxLayout(self)
        body.setContentsMargins(32, 28, 32, 20)
        body.setSpacing(12)
        self.who = Choice(self._desk.palette)
        self.who.setAccessibleName(tr("Chat", "Who answers"))
        self.who.setMinimumWidth(300)
        self.fresh_button = button(tr("Chat", "New conversation"), "plain", self.begin_anew)
        body.addLayout(row(label(tr("Chat", "Chat"), "title"), None, self.who, self.fresh_button))
        self._where = label("", "muted")
        body.addWidget(self._where)
        body.addWidget(self._make_scroll(), 1)
        body.addLayout(self._make_input())
        self.who.currentIndexChanged.connect(self._on_who)
        self.begin_anew()

    def _make_scroll(self) -> QScrollArea:
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inside = QWidget()
        inside.setObjectName("pageBody")
        self._bubbles = QVBoxLayout(inside)
        self._bubbles.setContentsMargins(0, 0, 8, 0)
        self._bubbles.setSpacing(10)
        self._scroll.setWidget(inside)
        return self._scroll

    def _make_input(self) -> QHBoxLayout:
        self.input = QPlainTextEdit()
        self.input.setPlaceholderText(
            tr("Chat", "Ask something. Return sends, Shift+Return begins a line.")
        )
        self.input.setAccessibleName(tr("Chat", "Your message"))
        self.input.setFixedHeight(_INPUT_HEIGHT)
        self.input.setTabChangesFocus(True)
        self.input.installEventFilter(self)
        self.send_button = button(tr("Chat", "Send"), "primary", self.send)
        self.stop_button = button(tr("Chat", "Stop"), "plain", self._stop)
        found = row(self.input, self.send_button, self.stop_button)
        found.setAlignment(self.send_button, Qt.AlignmentFlag.AlignBottom)
        found.setAlignment(self.stop_button, Qt.AlignmentFlag.AlignBottom)
        return found

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's
        """Return sends."""
        if watched is self.input and isinstance(event, QKeyEvent):
            is_return = event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}
            shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            if event.type() == QEvent.Type.KeyPress and is_return and not shifted:
                self.send()
                return True
        return super().eventFilter(watched, event)

    def show_state(self, state: HostState) -> None:
        """Offer the models there are now."""
        local = [
            Answerer("host", model.name)
            for model in (state.status.models if isinstance(state, HostSeen) else [])
            if model.engine.state == "ready" or model.slots
        ]
        offered = local + [Answerer("network", name) for name in self._network_models]
        known = [self.who.itemData(place) for place in range(self.who.count())]
        if offered != known:
            self.who.blockSignals(True)
            self.who.clear()
            for one in offered:
                here = tr("Chat", "{model} on this computer")
                there = tr("Chat", "{model}, answered by the network")
                text = here if one.where == "host" else there
                self.who.addItem(text.format(model=one.model), one)
            self.who.setCurrentIndex(self._successor(offered))
            self.who.blockSignals(False)
        self._on_who()

    def _successor(self, offered: list[Answerer]) -> int:
        """The place of who answers now, or -1: what was for this computer goes nowhere unasked."""
        if self._chosen in offered:
            return offered.index(self._chosen)
        stays_here = self._chosen is not None and self._chosen.where == "host"
        allowed = [n for n, one in enumerate(offered) if one.where == "host" or not stays_here]
        return allowed[0] if allowed else -1

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's
        """Ask the network which models it has, if it is known."""
        super().showEvent(event)
        self.input.setFocus()
        settings = self._desk.settings
        address = network_address(settings.network_url)
        if not address:
            self._network_models = []
            self.show_state(self._desk.link.state)
            return
        reply = self._network.get(network_request(address, "/models", settings.network_key))

        def on_models() -> None:
            found = parsed(bytes(reply.read(MAXIMUM_ANSWER_BYTES).data()), ModelList)
            self._network_models = [model.id for model in found.data] if found else []
            reply.deleteLater()
            self.show_state(self._desk.link.state)

        reply.finished.connect(on_models)

    def begin_anew(self) -> None:
        """Forget what was said."""
        self._stop()
        self._turns.clear()
        clear(self._bubbles)
        self._bubbles.addStretch(1)
        self.fresh_button.setEnabled(False)
        self.input.setFocus()

    def send(self) -> None:
        """Ask what was typed."""
        text = self.input.toPlainText().strip()
        who = self.who.currentData()
        if not text or self._exchange is not None or not isinstance(who, Answerer):
            return
        if len(text) > _LONGEST_MESSAGE:
            self._desk.said.emit(tr("Chat", "That is too long for one message."), True)
            return
        self.input.clear()
        self._turns.append(ChatTurnGiven(role="user", content=text))
        self._bubble(text, "bubbleUser")
        self._answer = self._bubble("…", "bubbleModel")
        self._text = ""
        self._exchange = ChatExchange(self)
        self._exchange.piece.connect(self._on_piece)
        self._exchange.ended.connect(self._on_ended)
        self._show_buttons()
        if who.where == "host":
            self._exchange.ask_host(self._desk.link, who.model, self._turns)
        else:
            settings = self._desk.settings
            address = network_address(settings.network_url) or ""
            self._exchange.ask_network(
                self._network, address, settings.network_key, who.model, self._turns
            )

    def _on_who(self, _index: int = 0) -> None:
        who = self.who.currentData()
        self._chosen = who if isinstance(who, Answerer) else self._chosen
        if not isinstance(who, Answerer) and self.who.count():
            where = tr(
                "Chat",
                "The model on this computer is gone. Wait for it, or choose the network: what was "
                "said here goes there with the next message.",
            )
        elif not isinstance(who, Answerer):
            where = tr(
                "Chat",
                "No model is loaded. Load one on the page Models, or name the network's API in "
                "Settings.",
            )
        elif who.where == "host":
            where = tr("Chat", "Stays on this computer: nothing is sent, kept or logged.")
        else:
            where = tr(
                "Chat",
                "Goes to the network you chose in Settings; identifiers are removed before a host "
                "sees it.",
            )
        self._where.setText(where)
        self._show_buttons()

    def _show_buttons(self) -> None:
        busy = self._exchange is not None
        self.send_button.setVisible(not busy)
        self.send_button.setEnabled(isinstance(self.who.currentData(), Answerer))
        self.stop_button.setVisible(busy)
        self.who.setEnabled(not busy)
        self.fresh_button.setEnabled(bool(self._turns))

    def _bubble(self, text: str, name: str) -> QLabel:
        frame = QFrame()
        frame.setObjectName(name)
        inside = QVBoxLayout(frame)
        inside.setContentsMargins(14, 10, 14, 10)
        words = label(text)
        words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        words.setAccessibleName(tr("Chat", "You") if name == "bubbleUser" else tr("Chat", "Answer"))
        inside.addWidget(words)
        line = QHBoxLayout()
        if name == "bubbleUser":
            line.addStretch(1)
            line.addWidget(frame, 4)
        else:
            line.addWidget(frame, 4)
            line.addStretch(1)
        self._bubbles.insertLayout(self._bubbles.count() - 1, line)
        QTimer.singleShot(0, self, self._to_end)
        return words

    def _on_piece(self, text: str) -> None:
        self._text += text
        if not self._shown_soon.isActive():
            self._shown_soon.start()

    def _show_text(self) -> None:
        self._shown_soon.stop()
        if self._answer is not None:
            self._answer.setText(self._text)
            QTimer.singleShot(0, self, self._to_end)

    def _on_ended(self, fault: str) -> None:
        self._finish()
        if fault:
            self._desk.said.emit(fault, True)

    def _finish(self) -> None:
        if self._exchange is None:
            return
        self._exchange.deleteLater()
        self._exchange = None
        if self._text:
            self._show_text()
            self._turns.append(ChatTurnGiven(role="assistant", content=self._text))
        else:
            # What was not answered is asked no more.
            self._turns.pop()
            if self._answer is not None:
                self._answer.setText(tr("Chat", "No answer."))
        self._answer = None
        self._show_buttons()

    def _stop(self) -> None:
        if self._exchange is not None:
            self._exchange.stop()
            self._finish()

    def _to_end(self) -> None:
        bar = self._scroll.verticalScrollBar()
        bar.setValue(bar.maximum())
