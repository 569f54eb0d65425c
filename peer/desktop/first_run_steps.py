"""The steps of the first run: each shows its part, and says what is still wrong with it."""

import contextlib

import msgspec
import psutil
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit, QProgressBar, QVBoxLayout

from peerllm.overlay.invitation import InvitationError, read_invitation
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.first_run_model import ModelChoice
from peerllm.peer.desktop.first_run_step import Step
from peerllm.peer.desktop.first_steps import coordinator_fault, what_hosting_means
from peerllm.peer.desktop.money import PowerSettings
from peerllm.peer.desktop.pages.limits_page import number_field
from peerllm.peer.desktop.pages.settings_page import PowerFields, cost_sentence
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import Switch, button, copy_text, field, label, row, set_role
from peerllm.peer.errors import PeerError
from peerllm.peer.files import read_state
from peerllm.peer.host_settings import SETTINGS_FILE, HostSettings
from peerllm.peer.limits import UNATTENDED, Limits

_IDLE_MINUTES = 10
_MEGABYTE = 1_000_000


class Meaning(Step):
    """What hosting means, in plain words."""

    def __init__(self, desk: Desk, body: QVBoxLayout) -> None:
        super().__init__(desk, body)
        for heading, text in what_hosting_means():
            body.addSpacing(6)
            body.addWidget(label(heading, "heading"))
            self.say(text)


class Invitation(Step):
    """Which network, and who this host is to it."""

    def __init__(self, desk: Desk, body: QVBoxLayout) -> None:
        super().__init__(desk, body)
        self.say(
            tr(
                "First run",
                "A network admits hosts one by one. Paste the invitation you were given, or the "
                "network's address.",
            )
        )
        self.coordinator = QLineEdit()
        self.coordinator.setPlaceholderText("peerllm:/ip4/ADDRESS/tcp/PORT/p2p/PEER-ID;check=…")
        self._kept = ""
        with contextlib.suppress(PeerError, OSError):
            kept = read_state(desk.data_directory / SETTINGS_FILE, HostSettings)
            self._kept = kept.coordinator if kept else ""
            self.coordinator.setText(self._kept)
            # An address is told by how it begins.
            self.coordinator.setCursorPosition(0)
        body.addLayout(field(tr("First run", "Invitation"), self.coordinator))
        body.addWidget(label(tr("First run", "Your host ID"), "heading"))
        self.host_id = label("…")
        self.copy_button = button(
            tr("First run", "Copy"), "plain", lambda: copy_text(self.host_id.text())
        )
        self.copy_button.setEnabled(False)
        body.addWidget(self.host_id)
        body.addLayout(row(self.copy_button, None))
        self.say(
            tr(
                "First run",
                "Send it to whoever invited you, or to the network's waiting list: it is what "
                "you are given a seat by. Until then the host waits and asks again by itself.",
            )
        )

    @property
    def address(self) -> str:
        """The network's address that was pasted; "" when it is none."""
        try:
            return read_invitation(self.coordinator.text()).address
        except InvitationError:
            return ""

    def arrive(self) -> None:
        """Make the host's identity, or find out what it is."""
        self.coordinator.setFocus(Qt.FocusReason.OtherFocusReason)
        if not self.copy_button.isEnabled():
            self.desk.run(["host", "identity"], self._on_identity)

    def fault(self) -> str:
        """What is wrong with the invitation; keep the charter it names when nothing is."""
        if fault := coordinator_fault(self.coordinator.text()):
            return fault
        found = read_invitation(self.coordinator.text())
        # An address that was kept says nothing of the charter, and takes nothing back.
        is_new = found.root_digest or found.address != self._kept
        if is_new and found.root_digest != self.desk.settings.charter_root:
            self.desk.change(charter_root=found.root_digest)
        return ""

    def _on_identity(self, well: bool, word: str) -> None:
        self.host_id.setText(word)
        set_role(self.host_id, "body" if well else "problem")
        self.copy_button.setEnabled(well)


class Cost(Step):
    """How fast this computer is, and what an answer costs in power."""

    def __init__(self, desk: Desk, body: QVBoxLayout, choice: ModelChoice) -> None:
        super().__init__(desk, body)
        self._choice = choice
        self._is_measuring = False
        self._speed = label("", "muted")
        self._bar = QProgressBar()
        self._bar.setRange(0, 0)
        self._bar.setAccessibleName(tr("First run", "Measuring"))
        self._bar.hide()
        self.measure_button = button(
            tr("First run", "Measure this computer"), "plain", self._measure
        )
        self.say(
            tr(
                "First run",
                "A short measurement tells how fast this computer answers; with your "
                "electricity price, what an answer costs you. You can skip it.",
            )
        )
        body.addLayout(row(self.measure_button, None))
        body.addWidget(self._bar)
        body.addWidget(self._speed)
        self.power = PowerFields(desk)
        for one in (self.power.price, self.power.currency, self.power.watts):
            one.textEdited.connect(self._show)
        body.addWidget(self.power)
        self.cost_line = label("", "body")
        body.addWidget(self.cost_line)

    def arrive(self) -> None:
        """Show what is known by now."""
        self._show()

    def fault(self) -> str:
        """What is wrong with the price or the power; keep them when nothing is."""
        found = self.power.typed()
        if isinstance(found, str):
            return found
        self.power.take()
        return ""

    def _measure(self) -> None:
        if self._choice.model is None or self._is_measuring:
            return
        self._is_measuring = True
        self._bar.show()
        self.measure_button.setEnabled(False)
        set_role(self._speed, "muted")
        self._speed.setText(tr("First run", "Measuring: it takes some twenty seconds …"))
        self.desk.run(["model", "benchmark", self._choice.model[0]], self._on_measured)

    def _on_measured(self, well: bool, word: str) -> None:
        self._is_measuring = False
        self._bar.hide()
        self.measure_button.setEnabled(True)
        if well:
            self._show()
        else:
            set_role(self._speed, "problem")
            self._speed.setText(word)

    def _show(self, _text: str = "") -> None:
        rate, power = self._choice.rate(), self.power.typed()
        if rate and not self._is_measuring:
            sentence = tr("First run", "This computer answers with {rate} tokens a second.")
            self._speed.setText(sentence.format(rate=f"{rate:.0f}"))
        known = isinstance(power, PowerSettings) and rate
        self.cost_line.setText(
            cost_sentence(rate, power) if known and isinstance(power, PowerSettings) else ""
        )


class FirstLimits(Step):
    """The three limits that matter to most."""

    def __init__(self, desk: Desk, body: QVBoxLayout) -> None:
        super().__init__(desk, body)
        palette = desk.palette
        self.only_idle = Switch(tr("First run", "Only while I am not using the computer"), palette)
        self.only_idle.setChecked(True)
        self.on_battery = Switch(tr("First run", "Also on battery"), palette)
        total = psutil.virtual_memory().total // _MEGABYTE
        self.memory = number_field(total, "MB", tr("First run", "no limit"), 500)
        body.addWidget(self.only_idle)
        body.addWidget(self.on_battery)
        body.addLayout(field(tr("First run", "Most memory it may take"), self.memory))
        self.say(
            tr(
                "First run",
                "Hours by weekday, temperature, bandwidth and more are on the page Limits, at "
                "any time. One click pauses everything for an hour.",
            )
        )

    def limits(self) -> Limits:
        """What was chosen, on top of limits that were kept before."""
        kept: Limits | None = None
        with contextlib.suppress(PeerError, OSError):
            kept = read_state(self.desk.data_directory / "limits.json", Limits)
        return msgspec.structs.replace(
            kept or UNATTENDED,
            paused=False,
            paused_until_us=0,
            idle_minutes=_IDLE_MINUTES if self.only_idle.isChecked() else 0,
            on_battery=self.on_battery.isChecked(),
            memory_cap_bytes=self.memory.value() * _MEGABYTE,
        )
