"""The first run's step that chooses a model: what is here, and what the network has for it."""

import contextlib
from collections.abc import Callable
from typing import Final

import psutil
from PySide6.QtWidgets import QVBoxLayout
from shiboken6 import isValid

from peerllm.peer.catalogue import CatalogueModel, LocalCatalogue
from peerllm.peer.catalogue_shown import CatalogueRow, CatalogueShown
from peerllm.peer.desktop.catalogue_view import Standing, fit_sentence, seats_sentence, standing
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.errand import Errand
from peerllm.peer.desktop.first_run_step import Step
from peerllm.peer.desktop.first_steps import recommended
from peerllm.peer.desktop.models_view import needed_bytes
from peerllm.peer.desktop.presentation import size
from peerllm.peer.desktop.state import parsed
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import Choice, field, label, say, set_role
from peerllm.peer.errors import PeerError
from peerllm.peer.measurements import Measurements
from peerllm.peer.models import EMBEDDED_MODEL

# More than a person compares; the page Models has them all.
_OFFERED: Final = 12


class ModelChoice(Step):
    """A model that fits this computer: one that is here, and one of the network to fetch later."""

    def __init__(self, desk: Desk, body: QVBoxLayout, address: Callable[[], str]) -> None:
        super().__init__(desk, body)
        self._address = address
        # What the host starts with: it is on this computer.
        self.model: tuple[str, CatalogueModel] | None = None
        self.shown: CatalogueShown | None = None
        self._asked = ""
        self._errand: Errand | None = None
        self._rows: list[CatalogueRow] = []
        self.choice = Choice(desk.palette)
        self.choice.currentIndexChanged.connect(lambda _place: self._show())
        self._choice_field = field(tr("First run", "Model"), self.choice)
        self._name = label("", "heading")
        self.facts = label("", "muted")
        self._fit = label("", "muted")
        self.network = label("", "muted")
        body.addLayout(self._choice_field)
        for part in (self._name, self.facts, self._fit, self.network):
            body.addWidget(part)
        self.say(
            tr(
                "First run",
                "You can change models at any time, on the page Models: from other hosts of the "
                "network, or from a file.",
            )
        )
        self._offer([])

    @property
    def wanted(self) -> CatalogueRow | None:
        """The model to fetch once the host may; None when it starts with what is chosen."""
        chosen = self._chosen
        return chosen if chosen is not None and chosen.download_bytes else None

    @property
    def standing(self) -> Standing | None:
        """Where this host stands with the network, as far as that was told."""
        return None if self.shown is None else standing(self.shown.catalogue)

    @property
    def _chosen(self) -> CatalogueRow | None:
        place = self.choice.currentIndex()
        return self._rows[place] if 0 <= place < len(self._rows) else None

    def arrive(self) -> None:
        """Ask the network what it has, and choose among the models here meanwhile."""
        address = self._address()
        if address and address != self._asked:
            self._ask(address)
        if self._find():
            return
        self._name.setText(EMBEDDED_MODEL.name)
        self.facts.setText(tr("First run", "Reading and checking the file …"))
        self.desk.run(["model", "add"], self._on_added)

    def fault(self) -> str:
        """Whether it is still being read."""
        return "" if self.model else tr("First run", "The model is not ready yet.")

    def rate(self) -> float:
        """Tokens a second, as measured on this computer; 0 until then."""
        if self.model is not None:
            with contextlib.suppress(PeerError, OSError):
                known = Measurements(self.desk.data_directory).of(bytes.fromhex(self.model[0]))
                return known.decode_all_milli / 1000 if known else 0.0
        return 0.0

    def take(self, shown: CatalogueShown | None, fault: str = "") -> None:
        """Offer what the network has; `fault` says why it is not known."""
        self.shown = shown
        if shown is None:
            self._offer([])
            unknown = tr(
                "First run",
                "What else the network has is not known yet: {why}. Start with this one; the page "
                "Models shows the rest once the network has answered.",
            )
            say(self.network, unknown.format(why=fault.rstrip(".")))
            return
        rows = sorted(
            (row for row in shown.models if row.fits),
            key=lambda row: (not row.recommended, -row.file_bytes, row.name),
        )
        self._offer(rows[:_OFFERED])
        found = standing(shown.catalogue)
        say(self.network, f"{found.title}. {found.text}")

    def _offer(self, rows: list[CatalogueRow]) -> None:
        self._rows = rows
        self.choice.blockSignals(True)
        self.choice.clear()
        for row in rows:
            text = tr("First run", "{model}, here already")
            if row.download_bytes:
                text = tr("First run", "{model}, {size} to download")
            if row.recommended:
                text = tr("First run", "{text} (recommended)").format(text=text)
            self.choice.addItem(text.format(model=row.name, size=size(row.download_bytes)))
        self.choice.blockSignals(False)
        for place in range(self._choice_field.count()):
            item = self._choice_field.itemAt(place)
            if item is not None and (widget := item.widget()) is not None:
                widget.setVisible(len(rows) > 1)
        self._show()

    def _ask(self, address: str) -> None:
        self._asked = address
        if self._errand is not None:
            self._errand.stop()
        say(self.network, tr("First run", "Asking the network what models it has …"))

        def on_end(well: bool, word: str) -> None:
            # The first run may have been left meanwhile, and its widgets be gone.
            if self._errand is not errand or not isValid(self.network):
                return
            self._errand = None
            found = parsed(errand.output.encode(), CatalogueShown) if well else None
            if found is None:
                # Asked again when this step is come back to.
                self._asked = ""
            self.take(found, word)

        errand = self.desk.run(["model", "catalogue", f"--coordinator={address}", "--json"], on_end)
        self._errand = errand

    def _on_added(self, well: bool, word: str) -> None:
        if not well or not self._find():
            set_role(self.facts, "problem")
            self.facts.setText(word)

    def _find(self) -> bool:
        try:
            models = LocalCatalogue(self.desk.data_directory).models()
        except (PeerError, OSError) as error:
            self.facts.setText(str(error))
            return False
        self.model = recommended(models, int(psutil.virtual_memory().available))
        self._show()
        return self.model is not None

    def _show(self) -> None:
        chosen = self._chosen
        if self.model is None:
            return
        model = self.model[1]
        if chosen is not None and not chosen.download_bytes:
            with contextlib.suppress(PeerError, OSError):
                known = LocalCatalogue(self.desk.data_directory).models()
                if chosen.digest in known:
                    self.model = (chosen.digest, known[chosen.digest])
                    model = self.model[1]
        if chosen is not None and chosen.download_bytes and self.shown is not None:
            self._show_wanted(chosen, self.shown, model)
            return
        free = int(psutil.virtual_memory().available)
        self._name.setText(model.name)
        facts = tr("First run", "{size}, already on this computer: nothing to download.")
        self.facts.setText(facts.format(size=size(model.file_bytes)))
        fit = tr("First run", "It takes about {need} of memory; {free} are free now.")
        self._fit.setText(fit.format(need=size(needed_bytes(model)), free=size(free)))

    def _show_wanted(
        self, chosen: CatalogueRow, shown: CatalogueShown, model: CatalogueModel
    ) -> None:
        """A model that is fetched once the host runs and has a seat."""
        self._name.setText(chosen.name)
        told = next(one for one in shown.catalogue.models if one.digest.hex() == chosen.digest)
        facts = tr(
            "First run",
            "{size} to download from other hosts, once the network has given you a seat. Until it "
            "is here, your computer starts with {model}.",
        )
        self.facts.setText(facts.format(size=size(chosen.download_bytes), model=model.name))
        seats, _ = seats_sentence(chosen, told, shown.catalogue)
        self._fit.setText(f"{fit_sentence(chosen, shown)}. {seats}.")
