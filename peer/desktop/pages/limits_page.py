"""Limits: when the host may work and what it may take, in force within a second."""

from dataclasses import replace
from typing import Final

from PySide6.QtCore import QTime
from PySide6.QtWidgets import QGridLayout, QSpinBox, QTimeEdit, QVBoxLayout, QWidget

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.limits_form import (
    LARGEST_SHOWN,
    DayHours,
    LimitsForm,
    blindness_sentence,
    form_of,
    limits_of,
    typed_end,
)
from peerllm.peer.desktop.presentation import hold_sentence
from peerllm.peer.desktop.state import HostSeen, HostState
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import Card, Page, Switch, button, field, label, row, say
from peerllm.peer.errors import PeerError
from peerllm.peer.files import read_state, write_state
from peerllm.peer.limits import UNATTENDED, Limits
from peerllm.peer.senses import Senses

_FIRST_IDLE_MINUTES: Final = 10


def number_field(most: int, unit: str, zero: str, step: int = 1) -> QSpinBox:
    """A whole number; 0 reads as what it means."""
    found = QSpinBox()
    found.setRange(0, most)
    found.setSingleStep(step)
    found.setSuffix(f" {unit}" if unit else "")
    found.setSpecialValueText(zero)
    found.setFixedWidth(190)
    found.lineEdit().setTextMargins(8, 0, 0, 0)
    return found


class LimitsPage(Page):
    """The owner's limits."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            tr("Limits", "Limits"),
            tr("Limits", "The computer is yours first. No limit cuts a running answer."),
        )
        self._desk = desk
        self._limits = Limits()
        self._filling = False
        self.now = label("", "muted")
        self.hour_button = button(
            tr("Limits", "Pause for an hour"), "primary", desk.pause_for_an_hour
        )
        self.resume_button = button(tr("Limits", "Resume"), "primary", desk.resume)
        card = Card(tr("Limits", "Now"))
        card.body.addWidget(self.now)
        card.body.addLayout(row(self.hour_button, self.resume_button, None))
        self.body.addWidget(card)
        self.body.addWidget(self._when())
        self.body.addWidget(self._how_much())
        self.apply_button = button(tr("Limits", "Apply"), "primary", self._apply)
        self.undo_button = button(tr("Limits", "Undo"), "plain", self._undo)
        self.message = label("", "muted")
        self.body.addLayout(row(self.apply_button, self.undo_button, None))
        self.body.addWidget(self.message)
        self.body.addStretch(1)
        self._undo()

    def _when(self) -> Card:
        card = Card(tr("Limits", "When it may work"))
        self.only_idle = self._switch(tr("Limits", "Only while I am not using the computer"))
        self.idle_minutes = number_field(24 * 60, tr("Limits", "min"), tr("Limits", "off"))
        self.idle_minutes.setAccessibleName(tr("Limits", "Minutes the computer must be quiet"))
        self.on_battery = self._switch(tr("Limits", "Also on battery"))
        self.on_metered = self._switch(
            tr("Limits", "Also on a network that is paid for by the byte")
        )
        self.beside_full_screen = self._switch(
            tr("Limits", "Also while a program fills the screen")
        )
        self.metered_note, self.full_screen_note = label("", "small"), label("", "small")
        self.sleep_note = label("", "small")
        self.scheduled = self._switch(tr("Limits", "Only at certain hours"))
        quiet = label(tr("Limits", "quiet for"), "muted", wrap=False)
        self.idle_minutes.setFixedWidth(100)
        # A line of their own: beside the switch, some fonts need more than the narrowest window.
        card.body.addWidget(self.only_idle)
        card.body.addLayout(row(quiet, self.idle_minutes, None, spacing=6))
        card.body.addWidget(self.on_battery)
        for switch, why_not in (
            (self.on_metered, self.metered_note),
            (self.beside_full_screen, self.full_screen_note),
        ):
            both = QVBoxLayout()
            both.setSpacing(4)
            # Below the words of the switch.
            why_not.setContentsMargins(50, 0, 0, 0)
            both.addWidget(switch)
            both.addWidget(why_not)
            card.body.addLayout(both)
        card.body.addWidget(self.scheduled)
        self.intricate = label(
            tr(
                "Limits",
                "Your schedule has several spans a day, as written with peerllm host limits. It "
                "stays as it is; switch it off here to begin a new one.",
            ),
            "muted",
        )
        card.body.addWidget(self.intricate)
        card.body.addWidget(self._schedule())
        self.only_idle.toggled.connect(self._on_idle)
        self.idle_minutes.valueChanged.connect(self._on_edit)
        card.body.addWidget(self.sleep_note)
        return card

    def _schedule(self) -> QWidget:
        names = (
            tr("Limits", "Monday"),
            tr("Limits", "Tuesday"),
            tr("Limits", "Wednesday"),
            tr("Limits", "Thursday"),
            tr("Limits", "Friday"),
            tr("Limits", "Saturday"),
            tr("Limits", "Sunday"),
        )
        self.days: list[tuple[Switch, QTimeEdit, QTimeEdit]] = []
        self._grid = QWidget()
        grid = QGridLayout(self._grid)
        grid.setContentsMargins(0, 4, 0, 4)
        grid.setHorizontalSpacing(12)
        for number, name in enumerate(names):
            on = self._switch(name)
            start, end = QTimeEdit(), QTimeEdit()
            for edit, which in ((start, tr("Limits", "from")), (end, tr("Limits", "to"))):
                edit.setDisplayFormat("HH:mm")
                edit.setFixedWidth(96)
                edit.lineEdit().setTextMargins(8, 0, 0, 0)
                edit.setAccessibleName(f"{name}, {which}")
                edit.timeChanged.connect(self._on_edit)
            grid.addWidget(on, number, 0)
            grid.addWidget(start, number, 1)
            grid.addWidget(label(tr("Limits", "to"), "muted", wrap=False), number, 2)
            grid.addWidget(end, number, 3)
            self.days.append((on, start, end))
        grid.setColumnStretch(4, 1)
        return self._grid

    def _how_much(self) -> Card:
        card = Card(
            tr("Limits", "What it may take"),
            tr("Limits", "Measured values are used where nothing is set."),
        )
        none = tr("Limits", "no limit")
        self.threads = number_field(256, tr("Limits", "threads"), tr("Limits", "as measured"))
        self.memory = number_field(LARGEST_SHOWN, "MB", none, 500)
        self.bandwidth = number_field(LARGEST_SHOWN, "KiB/s", none, 64)
        self.celsius = number_field(150, "°C", none, 5)
        self.nice = number_field(19, tr("Limits", "of 19"), tr("Limits", "normal"))
        grid = QGridLayout()
        grid.setSpacing(16)
        later = tr("Limits", "A model that does not fit below it is not loaded.")
        for place, (name, widget, note) in enumerate(
            (
                (tr("Limits", "Processor threads"), self.threads, ""),
                (tr("Limits", "Memory"), self.memory, later),
                (tr("Limits", "Bandwidth"), self.bandwidth, ""),
                (tr("Limits", "Pause when warmer than"), self.celsius, ""),
                (tr("Limits", "Stand back behind other programs"), self.nice, ""),
            )
        ):
            cell = field(name, widget, note)
            cell.addStretch(1)
            grid.addLayout(cell, place // 2, place % 2)
            widget.valueChanged.connect(self._on_edit)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 1)
        card.body.addLayout(grid)
        self.share_models = self._switch(
            tr("Limits", "Let other hosts of the network fetch models from here")
        )
        card.body.addWidget(self.share_models)
        return card

    def _switch(self, text: str) -> Switch:
        found = Switch(text, self._desk.palette)
        found.toggled.connect(self._on_edit)
        return found

    def show_state(self, state: HostState) -> None:
        """Show the limits in force, unless something else is being typed."""
        is_up = isinstance(state, HostSeen)
        holds = state.status.holds if isinstance(state, HostSeen) else []
        paused = "paused" in holds
        self.hour_button.setVisible(not paused)
        self.hour_button.setEnabled(is_up)
        self.resume_button.setVisible(paused)
        if not is_up:
            now = tr("Limits", "The host does not run. What you set here holds when it starts.")
        elif holds:
            now = " ".join(hold_sentence(reason) for reason in holds)
        else:
            now = tr("Limits", "Nothing keeps it from working now.")
        self.now.setText(now)
        self._show_senses(state.status.senses if isinstance(state, HostSeen) else None)
        limits = state.status.limits if isinstance(state, HostSeen) else self._kept()
        if limits is None or limits == self._limits:
            return
        was_edited = self._is_edited()
        self._limits = limits
        if was_edited:
            self._on_edit()
        else:
            self._undo()

    def _show_senses(self, senses: Senses | None) -> None:
        """A limit that could not be kept is not offered."""
        known = senses or Senses()
        for switch, note, blindness in (
            (self.on_metered, self.metered_note, known.metered),
            (self.beside_full_screen, self.full_screen_note, known.full_screen),
        ):
            why_not = blindness_sentence(blindness)
            switch.setEnabled(not why_not)
            no_effect = tr("Limits", "No effect here. {why}").format(why=why_not)
            say(note, no_effect if why_not else "")
        finished = tr(
            "Limits",
            "Before the computer sleeps, running answers are finished, for the few seconds that "
            "the system waits.",
        )
        cut = tr(
            "Limits",
            "When the computer sleeps, running answers are cut; other hosts take them over. {why}",
        ).format(why=blindness_sentence(known.sleep))
        say(self.sleep_note, finished if not known.sleep else cut if senses else "")

    def _kept(self) -> Limits | None:
        try:
            return read_state(self._desk.data_directory / "limits.json", Limits) or UNATTENDED
        except (PeerError, OSError) as error:
            say(self.message, str(error), "problem")
            return None

    def form(self) -> LimitsForm:
        """What is typed now."""
        shown = form_of(self._limits)
        return LimitsForm(
            scheduled=self.scheduled.isChecked(),
            days=tuple(
                DayHours(on.isChecked(), _minute(start), typed_end(_minute(end), day))
                for (on, start, end), day in zip(self.days, shown.days, strict=True)
            ),
            is_intricate=shown.is_intricate and self.scheduled.isChecked(),
            idle_minutes=self.idle_minutes.value() if self.only_idle.isChecked() else 0,
            on_battery=self.on_battery.isChecked(),
            on_metered=self.on_metered.isChecked(),
            beside_full_screen=self.beside_full_screen.isChecked(),
            threads=self.threads.value(),
            nice=self.nice.value(),
            memory_megabytes=self.memory.value(),
            celsius=self.celsius.value(),
            bandwidth_kib=self.bandwidth.value(),
            share_models=self.share_models.isChecked(),
        )

    def _fill(self, form: LimitsForm) -> None:
        self._filling = True
        self.only_idle.setChecked(bool(form.idle_minutes))
        self.idle_minutes.setValue(form.idle_minutes)
        self.idle_minutes.setEnabled(bool(form.idle_minutes))
        self.on_battery.setChecked(form.on_battery)
        self.on_metered.setChecked(form.on_metered)
        self.beside_full_screen.setChecked(form.beside_full_screen)
        self.scheduled.setChecked(form.scheduled)
        for (on, start, end), hours in zip(self.days, form.days, strict=True):
            on.setChecked(hours.on)
            start.setTime(_time(hours.start))
            end.setTime(_time(hours.end))
        self.threads.setValue(form.threads)
        self.nice.setValue(form.nice)
        self.memory.setValue(form.memory_megabytes)
        self.celsius.setValue(form.celsius)
        self.bandwidth.setValue(form.bandwidth_kib)
        self.share_models.setChecked(form.share_models)
        self._filling = False
        self._on_edit()

    def _is_edited(self) -> bool:
        shown = _comparable(form_of(self._limits))
        return _comparable(self.form()) != shown

    def _on_idle(self, on: bool) -> None:
        self.idle_minutes.setEnabled(on)
        if on and not self.idle_minutes.value():
            self.idle_minutes.setValue(_FIRST_IDLE_MINUTES)

    def _on_edit(self, _value: object = None) -> None:
        if self._filling:
            return
        form = self.form()
        self._grid.setVisible(form.scheduled and not form.is_intricate)
        self.intricate.setVisible(form.is_intricate)
        for on, start, end in self.days:
            start.setEnabled(on.isChecked())
            end.setEnabled(on.isChecked())
        edited = self._is_edited()
        wanted = limits_of(form, self._limits)
        self.apply_button.setEnabled(edited and isinstance(wanted, Limits))
        self.undo_button.setEnabled(edited)
        say(self.message, wanted if isinstance(wanted, str) else "", "waiting")

    def _undo(self) -> None:
        self._fill(form_of(self._limits))

    def _apply(self) -> None:
        wanted = limits_of(self.form(), self._limits)
        if not isinstance(wanted, Limits):
            return
        if isinstance(self._desk.link.state, HostSeen):
            in_force = tr("Limits", "The new limits are in force.")
            self._desk.ask("PUT", "/v1/limits", wanted, in_force)
            return
        try:
            write_state(self._desk.data_directory / "limits.json", wanted)
        except OSError as error:
            sentence = tr("Limits", "The limits cannot be kept: {why}.")
            self._desk.said.emit(sentence.format(why=error.strerror), True)
            return
        self._desk.said.emit(tr("Limits", "Kept for when the host starts."), False)
        self.show_state(self._desk.link.state)


def _comparable(form: LimitsForm) -> LimitsForm:
    """Without the hours of days that do not count."""
    if not form.scheduled or form.is_intricate:
        return replace(form, days=())
    return replace(form, days=tuple(d if d.on else DayHours(False) for d in form.days))


def _minute(edit: QTimeEdit) -> int:
    return edit.time().hour() * 60 + edit.time().minute()


def _time(minute: int) -> QTime:
    return QTime(minute // 60 % 24, minute % 60)
