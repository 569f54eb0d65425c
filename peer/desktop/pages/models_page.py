"""Models: what is on this machine, what it is good for here, and more from other hosts."""

import shutil
from pathlib import Path

import msgspec
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFileDialog, QLineEdit

from peerllm.peer.catalogue import CatalogueModel, LocalCatalogue
from peerllm.peer.catalogue_shown import CatalogueShown, catalogue_shown, machine_of
from peerllm.peer.control_api import ModelRequest
from peerllm.peer.desktop.catalogue_view import NetworkRow, check_of
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.download_card import DownloadCard
from peerllm.peer.desktop.local_models import LocalModels
from peerllm.peer.desktop.models_view import disk_line, model_rows
from peerllm.peer.desktop.network_models import NetworkModels, StandingCard
from peerllm.peer.desktop.state import HostSeen, HostState
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.widgets import Card, Page, button, field, label, row
from peerllm.peer.errors import PeerError
from peerllm.peer.measurements import Measurement, Measurements
from peerllm.peer.model_fetch_api import RUNNING, FetchRequest, FetchStatus
from peerllm.peer.model_fit import Machine
from peerllm.peer.models import EMBEDDED_MODEL


class ModelsPage(Page):
    """Models of this machine."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            tr("Models", "Models"),
            tr("Models", "A host answers with the models that are loaded here."),
        )
        self._desk = desk
        self.local = LocalModels(desk, self.refresh)
        self._disk = label("", "muted")
        self.standing = StandingCard(desk, also_with_seat=True)
        self.network = NetworkModels(desk, self._get)
        # The digest of a model to load once it has been fetched.
        self._then_load = ""
        self.body.addWidget(self.standing)
        self.body.addWidget(self.local)
        self.body.addWidget(self._disk)
        self.download = DownloadCard(desk, self._go_on)
        self.body.addWidget(self.download)
        self.body.addWidget(self.network)
        self.body.addWidget(self._more())
        self.body.addStretch(1)

    def _more(self) -> Card:
        card = Card(tr("Models", "Add another model"))
        self.wanted = QLineEdit()
        self.wanted.setPlaceholderText(tr("Models", "Name in the network's catalogue, or SHA-256"))
        self.fetch_button = button(tr("Models", "Get it from other hosts"), "primary", self._fetch)
        self.wanted.returnPressed.connect(self._fetch)
        card.body.addLayout(field(tr("Models", "From the network"), self.wanted))
        self.file_button = button(tr("Models", "Add a GGUF file …"), "plain", self._choose_file)
        self.bundled_button = button(
            tr("Models", "Add the small model that came with PeerLLM"), "link", self._add_bundled
        )
        card.body.addLayout(row(self.fetch_button, self.file_button, None))
        card.body.addLayout(row(self.bundled_button, None))
        self.add_line = label("", "muted")
        self.add_line.hide()
        card.body.addWidget(self.add_line)
        return card

    def show_state(self, state: HostState) -> None:
        """Show the models as they are now."""
        fetch = state.fetch if isinstance(state, HostSeen) else FetchStatus(state="none")
        served = state.status.models if isinstance(state, HostSeen) else []
        is_served = fetch.state == "complete" and fetch.digest in {one.digest for one in served}
        # What was fetched and is served needs no word any more.
        self.download.show_fetch(FetchStatus(state="none") if is_served else fetch)
        self.fetch_button.setEnabled(isinstance(state, HostSeen) and fetch.state not in RUNNING)
        self.fetch_button.setToolTip(
            "" if isinstance(state, HostSeen) else tr("Models", "Start the host first.")
        )
        self.standing.show_state(state)
        self._after_fetch(fetch)
        self._get_what_was_chosen(state)
        if self.isVisible():
            self._refresh(state)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's
        """The catalogue may have changed meanwhile."""
        super().showEvent(event)
        self.refresh()

    def refresh(self) -> None:
        """Read the catalogue anew."""
        self._refresh(self._desk.link.state, anew=True)

    def _refresh(self, state: HostState, *, anew: bool = False) -> None:
        try:
            catalogue = LocalCatalogue(self._desk.data_directory).models()
            measurements = Measurements(self._desk.data_directory)
            fault = ""
        except (PeerError, OSError) as error:
            catalogue, measurements, fault = {}, None, str(error)
        served = state.status.models if isinstance(state, HostSeen) else []
        self.bundled_button.setVisible(EMBEDDED_MODEL.digest.hex() not in catalogue)
        self._disk.setText(disk_line(list(catalogue.values()), _free_disk(self._desk)))

        def measured(digest: str) -> Measurement | None:
            try:
                return measurements.of(bytes.fromhex(digest)) if measurements else None
            except (PeerError, OSError):
                return None

        machine = machine_of(
            self._desk.data_directory,
            catalogue,
            measured,
            held_bytes=_loaded_bytes(state, catalogue),
        )
        self._show_network(state, machine, frozenset(catalogue))
        rows = model_rows(
            catalogue,
            served,
            measured,
            machine.memory_bytes,
            is_running=isinstance(state, HostSeen),
        )
        self.local.show_models(rows, fault, anew=anew)

    def _show_network(self, state: HostState, machine: Machine, here: frozenset[str]) -> None:
        """The network's models beside this computer, as far as the coordinator has told them."""
        told = state.catalogue if isinstance(state, HostSeen) else None
        shown: CatalogueShown | None = None
        unknown = tr("Models", "Start the host to see what the network has.")
        if isinstance(state, HostSeen):
            unknown = tr(
                "Models",
                "Not known yet: the network's coordinator tells it to hosts that hold a seat or "
                "are in line for one. It is asked again every minute.",
            )
            if told is not None:
                shown = catalogue_shown(
                    told,
                    machine,
                    told_at_us=state.status.catalogue_told_at_us,
                    here=here,
                    host=state.status.peer_id,
                )
        fetching = isinstance(state, HostSeen) and state.fetch.state in RUNNING
        self.network.show_catalogue(shown, unknown, is_fetching=fetching)

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self.window(), tr("Models", "Choose a GGUF file"), "", "GGUF (*.gguf)"
        )
        if path:
            self.add_file(Path(path))

    def add_file(self, path: Path) -> None:
        """Enter a file of this machine into the catalogue."""
        self.add_line.setText(tr("Models", "Reading {name} …").format(name=path.name))
        self.add_line.show()
        self._desk.run(["model", "add", "--", str(path)], self._on_added)

    def _add_bundled(self) -> None:
        self._desk.run(["model", "add"], self._on_added)

    def _on_added(self, well: bool, word: str) -> None:
        self.add_line.hide()
        self._desk.said.emit(word if not well else tr("Models", "The model was added."), not well)
        self.refresh()

    def _get(self, wanted: NetworkRow) -> None:
        """Fetch a model of the network, and load it once it is here and checked."""
        self.get(wanted.digest)

    def get(self, digest: str) -> None:
        """Fetch the file with this SHA-256, and load it once it is here and checked."""
        self._then_load = digest
        self._begin_fetch(digest)

    def _get_what_was_chosen(self, state: HostState) -> None:
        """A model chosen in the first run is fetched once the network has welcomed the host."""
        digest = self._desk.wanted_model
        if digest and isinstance(state, HostSeen) and state.status.connected:
            self._desk.wanted_model = ""
            self.get(digest)

    def _go_on(self) -> None:
        state = self._desk.link.state
        if isinstance(state, HostSeen):
            self._begin_fetch(state.fetch.wanted)

    def _after_fetch(self, fetch: FetchStatus) -> None:
        if not self._then_load or fetch.digest != self._then_load or fetch.state != "complete":
            return
        digest, self._then_load = self._then_load, ""
        done = tr("Models", "{name} is here and checked, and is being loaded.")
        self._desk.ask(
            "POST", "/v1/models/load", ModelRequest(model=digest), done.format(name=fetch.name)
        )
        self.refresh()

    def _fetch(self) -> None:
        self._then_load = ""
        self._begin_fetch(self.wanted.text().strip())

    def _begin_fetch(self, wanted: str) -> None:
        try:
            request = msgspec.convert({"model": wanted}, FetchRequest)
        except msgspec.ValidationError:
            self._desk.said.emit(
                tr("Models", "A model's name has 1 to 128 characters and no spaces."), True
            )
            return
        if self._is_altered(wanted):
            sentence = tr("Models", "{name} is not what the stewards signed: it is not fetched.")
            self._desk.said.emit(sentence.format(name=wanted), True)
            return

        def on_answer(raw: bytes | None, sentence: str) -> None:
            if raw is None:
                self._desk.said.emit(sentence, True)
            self._desk.link.look_at_fetch()

        self._desk.link.ask("POST", "/v1/fetch", on_answer, request)

    def _is_altered(self, wanted: str) -> bool:
        """Whether a model, by name or digest, is told otherwise than it was signed."""
        state = self._desk.link.state
        if not isinstance(state, HostSeen) or state.catalogue is None:
            return False
        altered = check_of(state.catalogue, self.network.signed).altered
        return any(
            wanted.lower() in {model.name.lower(), model.digest.hex()}
            for model in state.catalogue.models
            if model.name in altered
        )


def _loaded_bytes(state: HostState, catalogue: dict[str, CatalogueModel]) -> int:
    """What the host's models hold now: it is theirs to use again."""
    if not isinstance(state, HostSeen):
        return 0
    ready = [m for m in state.status.models if m.engine.state == "ready" and m.digest in catalogue]
    return sum(model.memory_bytes for model in ready)


def _free_disk(desk: Desk) -> int | None:
    try:
        return shutil.disk_usage(desk.data_directory).free
    except OSError:
        return None
