"""How the window ends: what is asked, and that nothing is left or breaks."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE WINDOW'S END IS NOT TESTED: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from PySide6.QtWidgets import QApplication, QWidget

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.errand import Errand, end_errands
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.quitting import Quitting
from peerllm.peer.desktop.state import NoHost
from tests.peer.desktop.samples import model, seen

# The real program, that is quit as people do, 0.3 s after it was shown: while a command that it
# began reads the price list.
PROGRAM = """
import os, signal, sys
from pathlib import Path
from PySide6.QtCore import Qt, QTimer
from PySide6.QtTest import QTest
from peerllm.peer.desktop import application
show = application.Window.show
control = Qt.KeyboardModifier.ControlModifier
ways = {
    "keys": lambda window: QTest.keyClick(window, Qt.Key.Key_Q, control),
    "signal": lambda window: os.kill(os.getpid(), signal.SIGTERM),
}
def shown(window):
    show(window)
    window.overview._chart.prepare()
    QTimer.singleShot(300, window, lambda: ways[sys.argv[2]](window))
application.Window.show = shown
code = application.run_desktop(Path(sys.argv[1]), hidden=False)
print("ended", code)
"""


@pytest.mark.parametrize("way", ["keys", "signal"])
def test_the_program_ends_well_however_it_is_quit(tmp_path: Path, way: str) -> None:
    (tmp_path / "desktop.json").write_text(f'{{"charter_directory": "{tmp_path}"}}')
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), way],
        check=False,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    # Of a machine without a login, Qt says that it uses another folder.
    said = [line for line in done.stderr.splitlines() if not line.startswith("QStandardPaths")]
    assert (done.returncode, done.stdout, said) == (0, "ended 0\n", [])


class Asked:
    """The question, and what came of it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.quits = 0
        self.requests: list[tuple[str, str]] = []
        self.refusal = ""
        self.said: list[str] = []
        self.link = HostLink(folder)
        self.desk = Desk(folder, self.link)
        self.desk.said.connect(lambda sentence, _: self.said.append(sentence))
        self.window = QWidget()
        self.quitting = Quitting(self.desk, self.window)
        monkeypatch.setattr(QApplication, "quit", self._quit)
        monkeypatch.setattr(self.link, "ask", self._ask)

    def _quit(self) -> None:
        self.quits += 1

    def _ask(self, method: str, path: str, on_answer: Callable[..., None]) -> None:
        self.requests.append((method, path))
        on_answer(None if self.refusal else b"{}", self.refusal)

    def choose(self, name: str) -> None:
        self.quitting.ask()
        getattr(self.quitting, name).click()


@pytest.fixture
def asked(application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(tmp_path, monkeypatch)


@pytest.mark.parametrize("state", [NoHost(has_run=True), seen(state="draining")])
def test_without_a_host_that_works_nothing_is_asked(asked: Asked, state: Any) -> None:
    asked.link.state = state
    asked.quitting.ask()
    assert (asked.quits, asked.quitting.question) == (1, None)


@pytest.mark.parametrize(
    ("choice", "quits", "requests"),
    [("leave", 1, []), ("stop", 1, [("POST", "/v1/drain")]), ("cancel", 0, [])],
)
@pytest.mark.parametrize("is_open", [True, False])
def test_the_owner_says_what_becomes_of_the_host(
    asked: Asked, choice: str, quits: int, requests: list[Any], is_open: bool
) -> None:
    asked.link.state = seen(model(running=3))
    asked.window.setVisible(is_open)
    asked.choose(choice)
    assert (asked.quits, asked.requests) == (quits, requests)
    assert asked.quitting.question is None


def test_it_is_asked_once_and_says_what_runs(asked: Asked) -> None:
    asked.link.state = seen(model(running=3))
    asked.quitting.ask()
    question = asked.quitting.question
    assert question is not None
    assert "3 answers are being written now." in question.informativeText()
    asked.quitting.ask()
    assert asked.quitting.question is question
    question.reject()
    assert (asked.quits, asked.quitting.question) == (0, None)


def test_a_host_that_will_not_stop_keeps_the_window(asked: Asked) -> None:
    asked.link.state = seen()
    asked.refusal = "The host does not answer."
    asked.choose("stop")
    assert (asked.quits, asked.said) == (0, ["The host does not answer."])


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
def test_no_errand_outlives_the_window(
    application: Any, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    script = f"{trap}echo here; while :; do sleep 0.1; done"
    monkeypatch.setattr("peerllm.peer.desktop.errand.front_door", lambda: ["sh", "-c"])
    monkeypatch.setattr("peerllm.peer.desktop.errand._END_MILLISECONDS", 300)
    window = QWidget()
    errand = Errand([script], window)
    ends: list[bool] = []
    errand.ended.connect(lambda well, _: ends.append(well))
    errand.start()
    until(lambda: errand.output == "here", "the command")
    end_errands(window)
    assert not errand._is_running
    # Nobody is left to hear of it.
    assert ends == []
