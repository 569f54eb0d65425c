"""What all pages share: the host, the settings, the palette, and a place to say something."""

from collections.abc import Callable
from pathlib import Path

import msgspec
from PySide6.QtCore import QObject, Signal

from peerllm.peer.control_api import PauseRequest
from peerllm.peer.desktop.errand import Errand
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.palette import Palette
from peerllm.peer.desktop.settings import DesktopSettings, SettingsFile
from peerllm.peer.desktop.strings import tr
from peerllm.peer.desktop.style import palette_for

_HOUR_SECONDS = 3600


class Desk(QObject):
    """Made once for the window."""

    # A sentence for the owner, and whether it is a problem.
    said = Signal(str, bool)
    settings_changed = Signal()
    set_up_wanted = Signal()

    def __init__(self, data_directory: Path, link: HostLink) -> None:
        super().__init__()
        self.data_directory = data_directory
        self.link = link
        self.file = SettingsFile(data_directory)
        self._starting: Errand | None = None
        # The digest of a model chosen in the first run: fetched as soon as the host may.
        self.wanted_model = ""

    @property
    def settings(self) -> DesktopSettings:
        """In force now."""
        return self.file.settings

    def palette(self) -> Palette:
        """In force now."""
        return palette_for(self.settings.theme)

    def change(self, **changes: object) -> None:
        """Put other settings in force and keep them."""
        fault = self.file.keep(msgspec.structs.replace(self.settings, **changes))
        if fault:
            sentence = tr("Desk", "In force, but not kept for the next start: {why}.")
            self.said.emit(sentence.format(why=fault), True)
        self.settings_changed.emit()

    def ask(
        self, method: str, path: str, value: msgspec.Struct | None = None, done: str = ""
    ) -> None:
        """Have the host do something; say `done`, or why it was not."""

        def on_answer(raw: bytes | None, sentence: str) -> None:
            if raw is None:
                self.said.emit(sentence, True)
            elif done:
                self.said.emit(done, False)

        self.link.ask(method, path, on_answer, value)

    def run(self, arguments: list[str], on_end: Callable[[bool, str], None]) -> Errand:
        """Run a command of `peerllm` on this data directory; `on_end` hears how it ended."""
        room, command, *rest = arguments
        directory = f"--data-directory={self.data_directory}"
        errand = Errand([room, command, directory, *rest], self)

        def ended(well: bool, word: str) -> None:
            errand.deleteLater()
            on_end(well, word)

        errand.ended.connect(ended)
        errand.start()
        return errand

    def pause_for_an_hour(self) -> None:
        """Take no new work for an hour."""
        self.ask("POST", "/v1/pause", PauseRequest(seconds=_HOUR_SECONDS))

    def pause(self) -> None:
        """Take no new work until told to go on."""
        self.ask("POST", "/v1/pause", PauseRequest())

    def resume(self) -> None:
        """Take work again."""
        self.ask("POST", "/v1/resume")

    def drain(self) -> None:
        """Let running answers end, then stop the host."""
        self.ask("POST", "/v1/drain")

    def start_host(self, arguments: list[str] | None = None) -> Errand | None:
        """Start the host in the background; None when it is being started already."""
        if self._starting is not None:
            return None

        def ended(well: bool, word: str) -> None:
            self._starting = None
            if not well:
                sentence = tr("Desk", "The host did not start: {why}").format(why=word)
                self.said.emit(sentence, True)
            self.link.look()

        self._starting = self.run(["host", "start", *(arguments or [])], ended)
        return self._starting

    @property
    def is_starting(self) -> bool:
        """Whether a host is on its way up."""
        return self._starting is not None
