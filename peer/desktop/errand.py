"""A command of `peerllm` run beside the window: it never waits, and a crash stays over there."""

import os
from collections.abc import Sequence
from itertools import chain
from typing import Final

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Signal

from peerllm.peer.desktop.front_door import front_door
from peerllm.peer.desktop.strings import tr

# What a command says on one line; more is not for people.
_LONGEST_LINE: Final = 2000
# For a command to put itself away once it has been asked to.
_END_MILLISECONDS: Final = 2000
# For the system to end it; as a rule it takes none.
_KILL_MILLISECONDS: Final = 10_000


class Errand(QObject):
    """One run of a command; tells its lines and how it ended."""

    line = Signal(str)
    # Whether it went well, and its last word: on a failure, why.
    ended = Signal(bool, str)

    def __init__(self, arguments: Sequence[str], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._last = ""
        self._output: list[str] = []
        self._process = QProcess(self)
        program, *before = front_door()
        self._process.setProgram(program)
        self._process.setArguments([*before, *arguments])
        environment = QProcessEnvironment.systemEnvironment()
        environment.insert("PYTHONUNBUFFERED", "1")
        # The lines are read by programs: no colours, no folding to eighty columns.
        environment.insert("NO_COLOR", "1")
        environment.insert("COLUMNS", "400")
        self._process.setProcessEnvironment(environment)
        self._process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        self._process.readyReadStandardOutput.connect(self._on_output)
        self._process.finished.connect(self._on_finished)
        self._process.errorOccurred.connect(self._on_error)

    def start(self) -> None:
        """Run it. A host that it starts lives on by itself."""
        self._process.start()
        self._process.closeWriteChannel()

    def stop(self) -> None:
        """End it early, as Ctrl-C would."""
        if os.name == "posix":
            self._process.terminate()
        else:
            self._process.kill()

    def wait_for_end(self) -> None:
        """Wait for a stopped one, for two seconds; then it is ended at once."""
        if not self._process.waitForFinished(_END_MILLISECONDS) and self._is_running:
            self._process.kill()
            self._process.waitForFinished(_KILL_MILLISECONDS)

    @property
    def _is_running(self) -> bool:
        return self._process.state() != QProcess.ProcessState.NotRunning

    @property
    def output(self) -> str:
        """All it said."""
        return "\n".join(self._output)

    def _on_output(self) -> None:
        while self._process.canReadLine():
            self._take(bytes(self._process.readLine().data()))

    def _take(self, raw: bytes) -> None:
        text = raw.decode("utf-8", "replace").strip()[:_LONGEST_LINE]
        if text:
            self._last = text.removeprefix("peerllm: ").removeprefix("Refused: ")
            self._output.append(text)
            self.line.emit(text)

    def _on_finished(self, code: int, how: QProcess.ExitStatus) -> None:
        self._on_output()
        self._take(bytes(self._process.readAll().data()))
        well = how == QProcess.ExitStatus.NormalExit and code == 0
        nothing = tr("Errand", "It ended without saying why.")
        self.ended.emit(well, self._last if well or self._last else nothing)

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self.ended.emit(False, tr("Errand", "PeerLLM's own program cannot be started."))


def end_errands(*parents: QObject) -> None:
    """End all that still run for these: nobody is left to hear of them."""
    errands = list(chain.from_iterable(parent.findChildren(Errand) for parent in parents))
    for errand in errands:
        errand.blockSignals(True)
        errand.stop()
    for errand in errands:
        errand.wait_for_end()
