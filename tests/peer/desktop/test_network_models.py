"""The network's models and the waiting list in the real window, with a real coordinator."""

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from peerllm.charter.defaults import FIRST_MODEL
from peerllm.charter.seat_rules import Offers, Waiting
from peerllm.coordinator.accounts import WaitingHost
from peerllm.coordinator.commands import coordinator_app
from peerllm.peer.catalogue import LocalCatalogue
from peerllm.peer.commands import host_app
from peerllm.peer.control_api import ControlFile
from peerllm.peer.model_commands import model_app
from peerllm.peer.models import EMBEDDED_MODEL

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE WINDOW IS NOT TESTED: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QMessageBox, QPushButton

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.state import HostSeen
from peerllm.peer.desktop.window import Window
from tests.peer.desktop.network_stage import Stage, staged

DIGEST = EMBEDDED_MODEL.digest


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("network"), newcomer=True) as found:
        LocalCatalogue(found.host).add_embedded()
        yield found


class Opened:
    """A window on the newcomer's folder."""

    def __init__(self, folder: Path) -> None:
        self.link = HostLink(folder)
        self.desk = Desk(folder, self.link)
        self.said: list[str] = []
        self.desk.said.connect(lambda sentence, _: self.said.append(sentence))
        self.window = Window(self.desk)
        self.window.keeps_running = True
        self.window.show()
        self.link.start()

    @property
    def seen(self) -> HostSeen | None:
        return self.link.state if isinstance(self.link.state, HostSeen) else None

    def close(self) -> None:
        self.link.stop()
        self.window.close()
        self.window.deleteLater()
        QCoreApplication.sendPostedEvents(self.window, QEvent.Type.DeferredDelete)


@pytest.fixture
def opened(application: Any, stage: Stage) -> Iterator[Opened]:
    found = Opened(stage.host)
    yield found
    found.close()


def invite(stage: Stage) -> str:
    """The invitation as the operator's command prints it."""
    data = stage.network.data_directory
    options = [f"--data-directory={data / 'coordinator'}"]
    options += [f"--charter-directory={data / 'charter'}"]
    options += [f"--address=/ip4/127.0.0.1/tcp/{stage.network.overlay_port}"]
    done = CliRunner().invoke(coordinator_app, ["invite", *options])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_from_an_invitation_over_the_waiting_list_to_a_seat(
    opened: Opened, stage: Stage, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    window = opened.window
    first_run(opened, stage, until)
    standing = window.overview.standing
    until(lambda: standing.title.text() == "In line for a seat", "the place in line")
    assert f"{FIRST_MODEL} in default: place 1" in standing.text.text()
    assert opened.seen is not None
    assert not opened.seen.status.connected
    check_network(opened, until)
    with stage.storage() as storage:
        storage.move_line(_offer_to_all, "default")
    standing.look_button.click()
    until(lambda: standing.title.text() == "A seat is offered to you", "the offer")
    standing.take_button.click()
    until(lambda: "The seat is yours." in opened.said, "taken")
    until(lambda: opened.seen and opened.seen.status.connected, "work")
    assert not standing.isVisibleTo(window)
    with stage.storage() as storage:
        assert stage.peer_id in {seat.peer_id for seat in storage.seats()}
    check_commands(stage)
    check_unload(opened, stage, until, monkeypatch)


def check_commands(stage: Stage) -> None:
    """The command line tells the same of the host that runs."""
    folder = f"--data-directory={stage.host}"
    shown = CliRunner().invoke(host_app, ["seat", folder])
    assert (shown.exit_code, shown.stdout) == (0, "seat in default\n")
    plain = json.loads(CliRunner().invoke(host_app, ["seat", folder, "--json"]).stdout)
    assert plain["catalogue"]["seat"]["region"] == "default"
    refused = CliRunner().invoke(host_app, ["seat", folder, "--take=default"])
    assert refused.exit_code == 1
    assert "offered no seat" in refused.stderr
    assert CliRunner().invoke(host_app, ["seat", folder, "--take=a", "--leave=a"]).exit_code == 2
    assert (
        "no name of a region" in CliRunner().invoke(host_app, ["seat", folder, "--take=\n"]).stderr
    )
    listed = CliRunner().invoke(model_app, ["catalogue", folder])
    assert listed.exit_code == 0, listed.stderr
    assert f"{FIRST_MODEL} (recommended)" in listed.stdout
    assert "seat in default" in listed.stdout


def first_run(opened: Opened, stage: Stage, until: Callable[..., None]) -> None:
    """A stranger is told what to do; one in line, what there is."""
    opened.window.set_up()
    steps = opened.window.first_run
    assert steps is not None
    steps.forward()
    text = invite(stage)
    steps.invitation.coordinator.setText(text.strip().replace("tcp", "tcq"))
    steps.forward()
    assert "checksum does not fit" in steps.message.text()
    steps.invitation.coordinator.setText(text)
    until(steps.invitation.copy_button.isEnabled, "the host's id")
    assert steps.invitation.host_id.text() == stage.peer_id
    steps.forward()
    assert steps.step == 2
    until(lambda: "not known yet" in steps.choice.network.text(), "no word for a stranger")
    until(lambda: "nothing to download" in steps.choice.facts.text(), "the model that is here")
    steps.back()
    with stage.storage() as storage:
        storage.join_line(stage.peer_id, "ada", "default", [DIGEST])
    deadline = time.monotonic() + 20
    while steps.choice.shown is None:
        # The coordinator looks at its line every two seconds.
        assert time.monotonic() < deadline
        steps.forward()
        until(lambda: steps.choice._errand is None, "an answer")
        if steps.choice.shown is None:
            steps.back()
    assert steps.choice.network.text().startswith("In line for a seat.")
    (row,) = steps.choice.shown.models
    assert (row.name, row.recommended, row.fits) == (FIRST_MODEL, True, True)
    steps.forward()
    steps.forward()
    steps.limits.only_idle.setChecked(False)
    steps.forward()
    assert "place 1" in steps.summary.text()
    steps.forward()
    until(lambda: opened.window.first_run is None, "started")
    kept = json.loads((stage.host / "desktop.json").read_text())["charter_root"]
    assert len(kept) == 64


def _offer_to_all(line: tuple[WaitingHost, ...]) -> Offers:
    entries = tuple(
        Waiting(position=one.position, peer_id=one.peer_id, operator=one.operator, model="")
        for one in line
    )
    return Offers(entries, (), ())


def check_network(opened: Opened, until: Callable[..., None]) -> None:
    """The page Models lists the network's, compared with the signed charter once it may."""
    window = opened.window
    window.show_page(1)
    until(lambda: window.models.network._rows, "the network's models")
    (row,) = window.models.network._rows
    assert (row.name, row.is_here, row.seats) == (FIRST_MODEL, True, "You are in line: place 1")
    assert "As the network's coordinator tells it" in window.models.network._note.text()
    charter = opened.desk.data_directory.parent / "data" / "charter"
    opened.desk.change(charter_directory=str(charter))
    until(
        lambda: "Compared with the signed charter" in window.models.network._note.text(),
        "the charter",
    )
    opened.desk.change(charter_root="ab" * 32)
    until(lambda: "another network" in window.settings.prices_line.text(), "another root")
    assert "As the network's coordinator" in window.models.network._note.text()
    opened.desk.change(charter_root="", charter_directory="")
    window.show_page(0)


def check_unload(
    opened: Opened, stage: Stage, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an answer is written, unloading asks; it is finished whatever is said."""
    window = opened.window
    window.show_page(1)
    asked: list[str] = []
    answer = QMessageBox.StandardButton.No

    def question(_parent: object, _title: str, text: str) -> QMessageBox.StandardButton:
        asked.append(text)
        return answer

    monkeypatch.setattr(QMessageBox, "question", question)
    with talking(stage.host):
        until(lambda: opened.seen and opened.seen.status.models[0].running == 1, "an answer")
        press(opened, until)
        assert asked[-1].startswith("One answer is being written with it and is finished first.")
        until(lambda: engine(opened) == "ready" and running(opened) == 1, "it stays")
        answer = QMessageBox.StandardButton.Yes
        press(opened, until)
        assert len(asked) == 2
        until(lambda: opened.seen and not opened.seen.status.models[0].slots, "no new ones")
        assert running(opened) == 1
    until(lambda: engine(opened) == "not_loaded", "unloaded once the answer was over")
    assert running(opened) == 0


def press(opened: Opened, until: Callable[..., None]) -> None:
    name = f"Unload: {EMBEDDED_MODEL.name}"

    def find() -> list[QPushButton]:
        buttons = opened.window.models.findChildren(QPushButton)
        return [one for one in buttons if one.accessibleName() == name and one.isVisible()]

    until(find, name)
    find()[0].click()


def engine(opened: Opened) -> str:
    return opened.seen.status.models[0].engine.state if opened.seen else ""


def running(opened: Opened) -> int:
    return opened.seen.status.models[0].running if opened.seen else -1


@contextlib.contextmanager
def talking(folder: Path) -> Iterator[None]:
    """A conversation with the host's model that goes on until it is left."""
    here = msgspec.json.decode((folder / "control.json").read_bytes(), type=ControlFile)
    connection = http.client.HTTPConnection("127.0.0.1", here.port, timeout=30)
    turn = {"role": "user", "content": "Count from 1 to 3000, one number on each line."}
    body = {"model": EMBEDDED_MODEL.name, "messages": [turn], "max_tokens": 3800}
    headers = {"Authorization": f"Bearer {here.token}"}
    connection.request("POST", "/v1/chat", json.dumps(body | {"temperature_milli": 0}), headers)
    response = connection.getresponse()
    assert response.status == 200
    assert response.readline().startswith(b"event: piece")
    yield
    response.close()
    connection.close()
