"""The first run: six steps, each of which can be gone back on; nothing starts before the last."""

from typing import Final

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.first_run_model import ModelChoice
from peerllm.peer.desktop.first_run_step import Step
from peerllm.peer.desktop.first_run_steps import Cost, FirstLimits, Invitation, Meaning
from peerllm.peer.desktop.first_steps import limits_sentence
from peerllm.peer.desktop.presentation import size
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import button, label, row
from peerllm.peer.files import write_state

_WIDTH: Final = 680


class FirstRun(QWidget):
    """Shown in place of the pages until it is left."""

    left = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("pageBody")
        self._desk = desk
        self._stack = QStackedWidget()
        meaning = Meaning(desk, self._add(tr("First run", "What hosting means")))
        self.invitation = Invitation(desk, self._add(tr("First run", "Who it works for")))
        self.choice = ModelChoice(
            desk,
            self._add(tr("First run", "A model for this computer")),
            lambda: self.invitation.address,
        )
        self.cost = Cost(desk, self._add(tr("First run", "What it costs")), self.choice)
        self.limits = FirstLimits(desk, self._add(tr("First run", "Your limits")))
        last = Step(desk, self._add(tr("First run", "Ready")))
        self.summary = label("")
        last.body.addWidget(self.summary)
        last.say(
            tr(
                "First run",
                "The host goes on when this window is closed. You stop it here, in the tray, "
                "or with peerllm host stop.",
            )
        )
        self._steps = (meaning, self.invitation, self.choice, self.cost, self.limits, last)
        for step in self._steps:
            step.body.addStretch(1)
        self._lay_out()
        self._on_step()

    def _add(self, title: str) -> QVBoxLayout:
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inside = QWidget()
        inside.setObjectName("pageBody")
        body = QVBoxLayout(inside)
        body.setContentsMargins(0, 0, 8, 0)
        body.setSpacing(12)
        body.addWidget(label(title, "title"))
        scroll.setWidget(inside)
        self._stack.addWidget(scroll)
        return body

    def _lay_out(self) -> None:
        self._marks: list[QFrame] = []
        marks = QHBoxLayout()
        for _ in self._steps:
            mark = QFrame()
            mark.setObjectName("step")
            self._marks.append(mark)
            marks.addWidget(mark)
        self.back_button = button(tr("First run", "Back"), "plain", self.back)
        self.next_button = button(tr("First run", "Next"), "primary", self.forward)
        self.later_button = button(tr("First run", "Not now"), "link", self.left.emit)
        self.message = label("", "waiting")
        column = QWidget()
        column.setMaximumWidth(_WIDTH)
        inside = QVBoxLayout(column)
        inside.setContentsMargins(24, 36, 24, 28)
        inside.setSpacing(18)
        inside.addLayout(marks)
        inside.addWidget(self._stack, 1)
        inside.addWidget(self.message)
        inside.addLayout(row(self.later_button, None, self.back_button, self.next_button))
        outer = QHBoxLayout(self)
        outer.addStretch(1)
        outer.addWidget(column, 100)
        outer.addStretch(1)

    @property
    def step(self) -> int:
        """Which step is shown, from 0."""
        return self._stack.currentIndex()

    @property
    def _is_last(self) -> bool:
        return self.step == len(self._steps) - 1

    def back(self) -> None:
        """To the step before."""
        self._stack.setCurrentIndex(max(0, self.step - 1))
        self._on_step()

    def forward(self) -> None:
        """To the next step, once this one is right; from the last, start."""
        if fault := self._steps[self.step].fault():
            self.message.setText(fault)
        elif self._is_last:
            self._start()
        else:
            self._stack.setCurrentIndex(self.step + 1)
            self._on_step()

    def _on_step(self) -> None:
        for number, mark in enumerate(self._marks):
            mark.setProperty("done", "true" if number <= self.step else "false")
            mark.style().unpolish(mark)
            mark.style().polish(mark)
        self.back_button.setEnabled(self.step > 0)
        start, further = tr("First run", "Start hosting"), tr("First run", "Next")
        self.next_button.setText(start if self._is_last else further)
        self.message.setText("")
        self._steps[self.step].arrive()
        if self._is_last and self.choice.model is not None:
            summary = tr("First run", "Serve {model}. {limits}")
            limits = limits_sentence(self.limits.limits())
            parts = [summary.format(model=self.choice.model[1].name, limits=limits)]
            if (wanted := self.choice.wanted) is not None:
                then = tr("First run", "Then get {model}, {size}, from other hosts and load it.")
                parts.append(then.format(model=wanted.name, size=size(wanted.download_bytes)))
            if (standing := self.choice.standing) is not None:
                parts.append(f"{standing.title}. {standing.text}")
            self.summary.setText("\n\n".join(parts))
        title = tr("First run", "Step {number} of {count}")
        self.setAccessibleName(title.format(number=self.step + 1, count=len(self._steps)))

    def _start(self) -> None:
        if self.choice.model is None:
            return
        try:
            write_state(self._desk.data_directory / "limits.json", self.limits.limits())
        except OSError as error:
            sentence = tr("First run", "The limits cannot be kept ({why}): nothing was started.")
            self.message.setText(sentence.format(why=error.strerror))
            return
        errand = self._desk.start_host(
            [f"--coordinator={self.invitation.address}", f"--model={self.choice.model[0]}"]
        )
        if errand is None:
            return
        self.next_button.setEnabled(False)
        self.message.setText(tr("First run", "Starting …"))
        errand.ended.connect(self._on_started)

    def _on_started(self, well: bool, word: str) -> None:
        self.next_button.setEnabled(True)
        self.message.setText("" if well else word)
        if well:
            if (wanted := self.choice.wanted) is not None:
                self._desk.wanted_model = wanted.digest
            self.left.emit()
