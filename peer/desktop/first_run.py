"""The first run: what hosting means, for whom, with what, at what cost, within which limits."""

import contextlib
from collections.abc import Callable
from typing import Final

import msgspec
import psutil
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from peerllm.peer.catalogue import CatalogueModel, LocalCatalogue
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.first_steps import (
    coordinator_fault,
    limits_sentence,
    recommended,
    what_hosting_means,
)
from peerllm.peer.desktop.models_view import needed_bytes
from peerllm.peer.desktop.money import PowerSettings
from peerllm.peer.desktop.pages.limits_page import number_field
from peerllm.peer.desktop.pages.settings_page import PowerFields, cost_sentence
from peerllm.peer.desktop.presentation import size
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import Switch, button, copy_text, field, label, row, set_role
from peerllm.peer.errors import PeerError
from peerllm.peer.files import read_state, write_state
from peerllm.peer.host_settings import SETTINGS_FILE, HostSettings
from peerllm.peer.limits import Limits
from peerllm.peer.measurements import Measurements
from peerllm.peer.models import EMBEDDED_MODEL

_WIDTH: Final = 680
_IDLE_MINUTES: Final = 10
_MEGABYTE: Final = 1_000_000


class FirstRun(QWidget):
    """Six steps, each of which can be gone back on; nothing starts before the last."""

    left = Signal()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("pageBody")
        self._desk = desk
        self._model: tuple[str, CatalogueModel] | None = None
        self._rate = 0.0
        self._is_measuring = False
        self._marks: list[QFrame] = []
        self._stack = QStackedWidget()
        makers: tuple[tuple[str, Callable[[QVBoxLayout], None]], ...] = (
            (tr("First run", "What hosting means"), self._meaning),
            (tr("First run", "Who it works for"), self._invitation),
            (tr("First run", "A model for this computer"), self._choice),
            (tr("First run", "What it costs"), self._cost),
            (tr("First run", "Your limits"), self._limits),
            (tr("First run", "Ready"), self._ready),
        )
        for title, make in makers:
            self._stack.addWidget(_step(title, make))
        self._lay_out(len(makers))
        self._on_step()

    def _lay_out(self, steps: int) -> None:
        marks = QHBoxLayout()
        for _ in range(steps):
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

    def back(self) -> None:
        """To the step before."""
        self._stack.setCurrentIndex(max(0, self.step - 1))
        self._on_step()

    def forward(self) -> None:
        """To the next step, once this one is right; from the last, start."""
        if fault := self._fault():
            self.message.setText(fault)
            return
        if self.step == self._stack.count() - 1:
            self._start()
            return
        self._stack.setCurrentIndex(self.step + 1)
        self._on_step()

    def _fault(self) -> str:
        if self.step == 1:
            return coordinator_fault(self.coordinator.text())
        if self.step == 2 and self._model is None:
            return tr("First run", "The model is not ready yet.")
        if self.step == 3:
            found = self.power.typed()
            if isinstance(found, str):
                return found
            self.power.take()
        return ""

    def _on_step(self) -> None:
        for number, mark in enumerate(self._marks):
            mark.setProperty("done", "true" if number <= self.step else "false")
            mark.style().unpolish(mark)
            mark.style().polish(mark)
        last = self.step == self._stack.count() - 1
        self.back_button.setEnabled(self.step > 0)
        self.next_button.setText(
            tr("First run", "Start hosting") if last else tr("First run", "Next")
        )
        self.message.setText("")
        arrivals = {1: self._ask_identity, 2: self._look_for_model, 3: self._on_cost, 5: self._sum}
        if arrive := arrivals.get(self.step):
            arrive()
        title = tr("First run", "Step {number} of {count}")
        self.setAccessibleName(title.format(number=self.step + 1, count=self._stack.count()))

    # The steps.

    def _meaning(self, body: QVBoxLayout) -> None:
        for heading, text in what_hosting_means():
            body.addSpacing(6)
            body.addWidget(label(heading, "heading"))
            body.addWidget(label(text, "muted"))

    def _invitation(self, body: QVBoxLayout) -> None:
        body.addWidget(
            label(
                tr(
                    "First run",
                    "A network admits hosts one by one. Paste the address you were given with "
                    "your invitation.",
                ),
                "muted",
            )
        )
        self.coordinator = QLineEdit()
        self.coordinator.setPlaceholderText("/ip4/ADDRESS/tcp/PORT/p2p/PEER-ID")
        with contextlib.suppress(PeerError, OSError):
            kept = read_state(self._desk.data_directory / SETTINGS_FILE, HostSettings)
            self.coordinator.setText(kept.coordinator if kept else "")
        body.addLayout(field(tr("First run", "The network's address"), self.coordinator))
        body.addWidget(label(tr("First run", "Your host ID"), "heading"))
        self.host_id = label("…")
        self.copy_button = button(
            tr("First run", "Copy"), "plain", lambda: copy_text(self.host_id.text())
        )
        self.copy_button.setEnabled(False)
        body.addWidget(self.host_id)
        body.addLayout(row(self.copy_button, None))
        body.addWidget(
            label(
                tr(
                    "First run",
                    "Send it to whoever invited you, or to the network's waiting list: it is what "
                    "you are given a seat by. Until then the host waits and asks again by itself.",
                ),
                "muted",
            )
        )

    def _choice(self, body: QVBoxLayout) -> None:
        self.model_name = label("", "heading")
        self.model_facts = label("", "muted")
        self.model_fit = label("", "muted")
        body.addWidget(self.model_name)
        body.addWidget(self.model_facts)
        body.addWidget(self.model_fit)
        body.addWidget(
            label(
                tr(
                    "First run",
                    "You can add larger models later, on the page Models: from other hosts of the "
                    "network, or from a file.",
                ),
                "muted",
            )
        )

    def _cost(self, body: QVBoxLayout) -> None:
        self.speed = label("", "muted")
        self.measure_bar = QProgressBar()
        self.measure_bar.setRange(0, 0)
        self.measure_bar.setAccessibleName(tr("First run", "Measuring"))
        self.measure_bar.hide()
        self.measure_button = button(
            tr("First run", "Measure this computer"), "plain", self._measure
        )
        body.addWidget(
            label(
                tr(
                    "First run",
                    "A short measurement tells how fast this computer answers; with your "
                    "electricity price, what an answer costs you. You can skip it.",
                ),
                "muted",
            )
        )
        body.addLayout(row(self.measure_button, None))
        body.addWidget(self.measure_bar)
        body.addWidget(self.speed)
        self.power = PowerFields(self._desk)
        for one in (self.power.price, self.power.currency, self.power.watts):
            one.textEdited.connect(self._show_cost)
        body.addWidget(self.power)
        self.cost_line = label("", "body")
        body.addWidget(self.cost_line)

    def _limits(self, body: QVBoxLayout) -> None:
        palette = self._desk.palette
        self.only_idle = Switch(tr("First run", "Only while I am not using the computer"), palette)
        self.only_idle.setChecked(True)
        self.on_battery = Switch(tr("First run", "Also on battery"), palette)
        total = psutil.virtual_memory().total // _MEGABYTE
        self.memory = number_field(total, "MB", tr("First run", "no limit"), 500)
        body.addWidget(self.only_idle)
        body.addWidget(self.on_battery)
        body.addLayout(field(tr("First run", "Most memory it may take"), self.memory))
        body.addWidget(
            label(
                tr(
                    "First run",
                    "Hours by weekday, temperature, bandwidth and more are on the page Limits, at "
                    "any time. One click pauses everything for an hour.",
                ),
                "muted",
            )
        )

    def _ready(self, body: QVBoxLayout) -> None:
        self.summary = label("")
        body.addWidget(self.summary)
        body.addWidget(
            label(
                tr(
                    "First run",
                    "The host goes on when this window is closed. You stop it here, in the tray, "
                    "or with peerllm host stop.",
                ),
                "muted",
            )
        )

    # What happens on arrival.

    def _ask_identity(self) -> None:
        self.coordinator.setFocus(Qt.FocusReason.OtherFocusReason)
        if self.copy_button.isEnabled():
            return

        def on_end(well: bool, word: str) -> None:
            self.host_id.setText(word)
            set_role(self.host_id, "body" if well else "problem")
            self.copy_button.setEnabled(well)

        self._desk.run(["host", "identity"], on_end)

    def _look_for_model(self) -> None:
        if self._find_model():
            return
        self.model_name.setText(EMBEDDED_MODEL.name)
        self.model_facts.setText(tr("First run", "Reading and checking the file …"))

        def on_end(well: bool, word: str) -> None:
            if not well or not self._find_model():
                set_role(self.model_facts, "problem")
                self.model_facts.setText(word)

        self._desk.run(["model", "add"], on_end)

    def _find_model(self) -> bool:
        try:
            models = LocalCatalogue(self._desk.data_directory).models()
        except (PeerError, OSError) as error:
            self.model_facts.setText(str(error))
            return False
        free = int(psutil.virtual_memory().available)
        self._model = recommended(models, free)
        if self._model is None:
            return False
        digest, model = self._model
        self.model_name.setText(model.name)
        facts = tr("First run", "{size}, already on this computer: nothing to download.")
        self.model_facts.setText(facts.format(size=size(model.file_bytes)))
        fit = tr("First run", "It takes about {need} of memory; {free} are free now.")
        self.model_fit.setText(fit.format(need=size(needed_bytes(model)), free=size(free)))
        self.message.setText("")
        self._read_rate(digest)
        return True

    def _read_rate(self, digest: str) -> None:
        with contextlib.suppress(PeerError, OSError):
            known = Measurements(self._desk.data_directory).of(bytes.fromhex(digest))
            self._rate = known.decode_all_milli / 1000 if known else 0.0

    def _on_cost(self) -> None:
        self._show_cost()

    def _measure(self) -> None:
        if self._model is None or self._is_measuring:
            return
        digest = self._model[0]

        def on_end(well: bool, word: str) -> None:
            self._is_measuring = False
            self.measure_bar.hide()
            self.measure_button.setEnabled(True)
            if well:
                self._read_rate(digest)
                self._show_cost()
            else:
                set_role(self.speed, "problem")
                self.speed.setText(word)

        self._is_measuring = True
        self.measure_bar.show()
        self.measure_button.setEnabled(False)
        set_role(self.speed, "muted")
        self.speed.setText(tr("First run", "Measuring: it takes some twenty seconds …"))
        self._desk.run(["model", "benchmark", digest], on_end)

    def _show_cost(self, _text: str = "") -> None:
        if self._rate and not self._is_measuring:
            sentence = tr("First run", "This computer answers with {rate} tokens a second.")
            self.speed.setText(sentence.format(rate=f"{self._rate:.0f}"))
        power = self.power.typed()
        if isinstance(power, PowerSettings) and self._rate:
            self.cost_line.setText(cost_sentence(self._rate, power))
        else:
            self.cost_line.setText("")

    def _wanted_limits(self) -> Limits:
        kept: Limits | None = None
        with contextlib.suppress(PeerError, OSError):
            kept = read_state(self._desk.data_directory / "limits.json", Limits)
        return msgspec.structs.replace(
            kept or Limits(),
            paused=False,
            paused_until_us=0,
            idle_minutes=_IDLE_MINUTES if self.only_idle.isChecked() else 0,
            on_battery=self.on_battery.isChecked(),
            memory_cap_bytes=self.memory.value() * _MEGABYTE,
        )

    def _sum(self) -> None:
        name = self._model[1].name if self._model else ""
        summary = tr("First run", "Serve {model}. {limits}")
        self.summary.setText(
            summary.format(model=name, limits=limits_sentence(self._wanted_limits()))
        )

    def _start(self) -> None:
        if self._model is None:
            return
        try:
            path = self._desk.data_directory / "limits.json"
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_state(path, self._wanted_limits())
        except OSError as error:
            sentence = tr("First run", "The limits cannot be kept ({why}): nothing was started.")
            self.message.setText(sentence.format(why=error.strerror))
            return
        coordinator = self.coordinator.text().strip()
        errand = self._desk.start_host(
            [f"--coordinator={coordinator}", f"--model={self._model[0]}"]
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
            self.left.emit()


def _step(title: str, make: Callable[[QVBoxLayout], None]) -> QScrollArea:
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    inside = QWidget()
    inside.setObjectName("pageBody")
    body = QVBoxLayout(inside)
    body.setContentsMargins(0, 0, 8, 0)
    body.setSpacing(12)
    body.addWidget(label(title, "title"))
    make(body)
    body.addStretch(1)
    scroll.setWidget(inside)
    return scroll
