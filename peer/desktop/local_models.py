"""The models of this machine, one card each, and what can be done with one of them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QMessageBox, QPushButton, QVBoxLayout, QWidget

from peerllm.peer.control_api import ModelRequest
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.models_view import ModelRow, unload_warning
from peerllm.peer.desktop.presentation import shown_path
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import Card, Dot, button, clear, label, row, tone_colour


class LocalModels(QWidget):
    """The cards; `on_changed` is called after something was done to a model's file or figures."""

    def __init__(self, desk: Desk, on_changed: Callable[[], None]) -> None:
        super().__init__()
        self._desk = desk
        self._on_changed = on_changed
        self._list = QVBoxLayout(self)
        self._list.setContentsMargins(0, 0, 0, 0)
        self._list.setSpacing(12)
        self._rows: list[ModelRow] = []
        self._cards: list[Card] = []
        # What a command beside the window is doing with a model, by digest.
        self._busy: dict[str, str] = {}
        self._fault = ""

    def show_models(self, rows: list[ModelRow], fault: str, *, anew: bool) -> None:
        """Show these; `fault` says why there are none. `anew`: colours may be others, too."""
        before, self._rows = self._rows, rows
        names = [(one.name, one.digest) for one in rows]
        known = [(one.name, one.digest) for one in before]
        if anew or fault != self._fault or names != known or len(names) != len(self._cards):
            self._fault = fault
            self._build()
            return
        for place, (old, new) in enumerate(zip(before, rows, strict=True)):
            # Free memory changes all the time, and is worth no new card.
            if replace(old, fit="") != replace(new, fit=""):
                self._renew(place)

    def _renew(self, place: int) -> None:
        """Make one card anew."""
        focused = self._focused()
        old, new = self._cards[place], self._card(self._rows[place])
        self._cards[place] = new
        self._list.replaceWidget(old, new)
        old.hide()
        old.deleteLater()
        self._focus(focused)

    def _build(self) -> None:
        """Make all cards anew."""
        focused = self._focused()
        clear(self._list)
        self._cards = [self._card(found) for found in self._rows]
        if self._fault:
            self._list.addWidget(label(self._fault, "problem"))
        elif not self._rows:
            card = Card(tr("Models", "No models yet"))
            card.body.addWidget(
                label(
                    tr("Models", "Add the small model that came with PeerLLM to begin with."),
                    "muted",
                )
            )
            self._list.addWidget(card)
        for card in self._cards:
            self._list.addWidget(card)
        self._focus(focused)

    def _focus(self, name: str) -> None:
        """Whoever works with the keyboard stays where they were, on a card that is new."""
        for one in self.findChildren(QPushButton):
            if name and one.accessibleName() == name:
                one.setFocus()

    def _focused(self) -> str:
        found = QApplication.focusWidget()
        inside = isinstance(found, QPushButton) and self.isAncestorOf(found)
        return found.accessibleName() if found is not None and inside else ""

    def _card(self, found: ModelRow) -> Card:
        card = Card()
        dot = Dot(10)
        dot.set_colour(tone_colour(self._desk.palette(), found.tone))
        state = label(found.state, "muted", wrap=False)
        card.body.addLayout(row(label(found.name, "heading", wrap=False), None, dot, state))
        card.body.addWidget(label(found.facts, "muted"))
        if found.fit:
            card.body.addWidget(label(found.fit, "small" if found.fits else "waiting"))
        if found.detail:
            card.body.addWidget(
                label(found.detail, "problem" if found.tone == "problem" else "muted")
            )
        if busy := self._busy.get(found.digest):
            card.body.addWidget(label(busy, "waiting"))
            return card
        load = button(tr("Models", "Load"), "primary", partial(self._load, found))
        unload = button(tr("Models", "Unload"), "plain", partial(self._unload, found))
        verify = button(tr("Models", "Verify file"), "plain", partial(self._verify, found))
        measure = button(tr("Models", "Benchmark"), "plain", partial(self._measure, found))
        remove = button(tr("Models", "Remove …"), "danger", partial(self._remove, found))
        load.setVisible(found.can_load)
        unload.setVisible(found.can_unload)
        for extra in (verify, measure, remove):
            extra.setVisible(found.is_in_catalogue)
        for one in (load, unload, verify, measure, remove):
            one.setAccessibleName(f"{one.text()}: {found.name}")
        remove.setEnabled(not found.can_unload)
        measure.setEnabled(not found.can_unload)
        if found.can_unload:
            tip = tr("Models", "Unload it first.")
            remove.setToolTip(tip)
            measure.setToolTip(tip)
        card.body.addLayout(row(load, unload, verify, measure, remove, None))
        return card

    def _load(self, found: ModelRow) -> None:
        self._desk.ask("POST", "/v1/models/load", ModelRequest(model=found.digest or found.name))

    def _unload(self, found: ModelRow) -> None:
        warning = unload_warning(found)
        if warning and not self._agrees(tr("Models", "Unload {name}?"), warning, found):
            return
        self._desk.ask("POST", "/v1/models/unload", ModelRequest(model=found.digest or found.name))

    def _verify(self, found: ModelRow) -> None:
        whole = tr("Models", "{name} is whole: its SHA-256 is what it was when it was added.")
        self._errand(
            found,
            ["model", "verify", found.digest],
            tr("Models", "Reading and hashing the whole file …"),
            lambda _word: whole.format(name=found.name),
        )

    def _measure(self, found: ModelRow) -> None:
        done = tr("Models", "Measured {name}: {word}.")
        self._errand(
            found,
            ["model", "benchmark", found.digest],
            tr("Models", "Measuring on this computer, up to a minute or two …"),
            lambda word: done.format(name=found.name, word=word),
        )

    def _remove(self, found: ModelRow) -> None:
        question = tr(
            "Models",
            "{name} leaves the list. Its file of {path} stays unless you also delete it.",
        ).format(name=found.name, path=shown_path(Path(found.path)))
        box = QMessageBox(self.window())
        box.setWindowTitle(tr("Models", "Remove {name}?").format(name=found.name))
        # A folder's name may look like markup, and is what the owner has to recognise.
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setText(question)
        keep = box.addButton(
            tr("Models", "Remove, keep the file"), QMessageBox.ButtonRole.AcceptRole
        )
        delete = box.addButton(
            tr("Models", "Delete the file too"), QMessageBox.ButtonRole.DestructiveRole
        )
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.exec()
        if box.clickedButton() not in {keep, delete}:
            return
        arguments = ["model", "remove", found.digest]
        if box.clickedButton() is delete:
            arguments.append("--delete-file")
        done = tr("Models", "{name} was removed.").format(name=found.name)
        self._errand(found, arguments, tr("Models", "Removing …"), lambda _word: done)

    def _agrees(self, title: str, question: str, found: ModelRow) -> bool:
        answer = QMessageBox.question(self.window(), title.format(name=found.name), question)
        return answer == QMessageBox.StandardButton.Yes

    def _errand(
        self, found: ModelRow, arguments: list[str], busy: str, done: Callable[[str], str]
    ) -> None:
        def on_end(well: bool, word: str) -> None:
            self._busy.pop(found.digest, None)
            self._desk.said.emit(done(word) if well else word, not well)
            self._on_changed()

        self._busy[found.digest] = busy
        self._desk.run(arguments, on_end)
        for place, one in enumerate(self._rows):
            if one.digest == found.digest:
                self._renew(place)
