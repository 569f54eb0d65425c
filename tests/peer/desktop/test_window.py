"""The real window over a real host, with a real coordinator and the real model."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from peerllm.charter.defaults import FIRST_MODEL
from peerllm.cli.local_network import LocalNetwork
from peerllm.peer.control_client import ControlClient
from peerllm.peer.limits import Limits
from peerllm.peer.models import EMBEDDED_MODEL
from tests.peer.x_server import NoXServerError, x_server

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE WINDOW IS NOT TESTED: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from peerllm.peer.desktop.application import put_away
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.pages.chat_page import ChatPage
from peerllm.peer.desktop.state import Gone, HostSeen, NoHost
from peerllm.peer.desktop.window import Window
from tests.peer.desktop.network_stage import Stage, staged

SECRET = "Say the word heliotrope."


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("network"), newcomer=False) as found:
        yield found


class Opened:
    """A window, and what a test does with it."""

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

    def is_state(self, state: str) -> bool:
        return self.seen is not None and self.seen.status.state == state

    def close(self) -> None:
        put_away(self.desk, self.window)


@pytest.fixture
def opened(application: Any, stage: Stage) -> Iterator[Opened]:
    found = Opened(stage.host)
    yield found
    found.close()


def ask_network(network: LocalNetwork) -> str:
    client = openai.OpenAI(base_url=network.base_url, api_key=network.api_key, max_retries=0)
    answer = client.chat.completions.create(
        model=FIRST_MODEL,
        messages=[{"role": "user", "content": "Name a colour."}],
        max_tokens=8,
        temperature=0,
    )
    client.close()
    return str(answer.choices[0].message.content)


def first_run(opened: Opened, stage: Stage, until: Callable[..., None]) -> None:
    """Every step, back and forth, up to the first request served."""
    window = opened.window
    assert isinstance(opened.link.state, NoHost)
    window.overview.main_button.click()
    steps = window.first_run
    assert steps is not None
    steps.forward()
    steps.forward()
    assert "Paste the address" in steps.message.text()
    assert steps.step == 1
    until(steps.invitation.copy_button.isEnabled, "the host's id")
    assert steps.invitation.host_id.text() == stage.network.hosts[0].peer_id
    steps.invitation.coordinator.setText(stage.network.coordinator_address)
    steps.forward()
    until(lambda: "nothing to download" in steps.choice.facts.text(), "the model")
    steps.forward()
    steps.cost.power.price.setText("-1")
    steps.forward()
    assert "below 0" in steps.message.text()
    steps.back()
    steps.forward()
    steps.cost.power.price.setText("0,30")
    steps.cost.power.price.textEdited.emit("0,30")
    assert "a million answer tokens" in steps.cost.cost_line.text()
    steps.forward()
    # The machine of a test is never quiet.
    steps.limits.only_idle.setChecked(False)
    steps.forward()
    assert "Also while you are using the computer" in steps.summary.text()
    steps.forward()
    until(lambda: opened.is_state("serving"), "serving")
    assert window.first_run is None
    assert json.loads((stage.host / "desktop.json").read_text())["power"]["price_per_kwh"] == 0.3
    assert ask_network(stage.network)
    until(lambda: opened.seen and opened.seen.receipts.receipts, "a receipt")
    until(lambda: opened.seen and opened.seen.account, "the account")
    shown = {name.text(): value.text() for name, value in window.overview._fact_values}
    assert shown["Strikes"] == "they weigh 2 of the 3 that suspend a host"
    assert shown["Trust"].startswith("newcomer")


def test_from_the_first_run_to_a_stopped_host(request: pytest.FixtureRequest) -> None:
    """On a display as people have one, in a process of its own, where there is one to be had."""
    if os.environ["QT_QPA_PLATFORM"] == "offscreen":
        try:
            with x_server() as (display, _):
                environment = os.environ | display | {"QT_QPA_PLATFORM": "xcb"}
                check_display(environment)
                run_again(request.node.name, environment)
                return
        except NoXServerError as missing:
            warnings.warn(f"THE WINDOW IS NOT TESTED ON A DISPLAY: {missing}", stacklevel=1)
    journey(*(request.getfixturevalue(name) for name in ("opened", "stage", "until")))


def check_display(environment: dict[str, str]) -> None:
    """Qt ends a process that lacks what it needs for a display."""
    first = "from PySide6.QtGui import QGuiApplication as A; A([])"
    command = [sys.executable, "-c", first]
    done = subprocess.run(command, check=False, env=environment, capture_output=True)
    if done.returncode:
        raise NoXServerError("Qt lacks libraries, run install.py --display-libraries as root")


def run_again(name: str, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, f"{__file__}::{name}"],
        check=False,
        env=environment,
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def journey(opened: Opened, stage: Stage, until: Callable[..., None]) -> None:
    with stage.storage() as storage:
        for rule in ("wrong_model", "a_rule_of_old"):
            storage.record_strike(stage.peer_id, rule)
    first_run(opened, stage, until)
    window = opened.window
    check_appeal(opened, stage, until)
    check_activity(opened, until)
    # Pause for an hour, from the overview; another window hears of it.
    window.show_page(0)
    window.overview.main_button.click()
    until(lambda: opened.is_state("holding"), "paused")
    assert "It goes on by itself at" in window.overview._detail.text()
    assert ControlClient(stage.host).status().limits.paused_until_us
    window.overview.main_button.click()
    until(lambda: opened.is_state("serving"), "resumed")
    check_limits(opened, stage, until)
    check_models(opened, stage, until)
    check_chat(opened, stage, until)
    check_kill(opened, stage, until)
    window.overview.stop_button.click()
    until(lambda: isinstance(opened.link.state, NoHost), "stopped")
    assert window.overview.main_button.text() == "Start hosting"
    for found in stage.host.rglob("*"):
        if found.is_file() and not found.is_symlink():
            assert b"heliotrope" not in found.read_bytes().lower()


def check_appeal(opened: Opened, stage: Stage, until: Callable[..., None]) -> None:
    """Against one of two strikes; the coordinator takes it down and says so."""
    card = opened.window.overview.strikes

    def find() -> list[Any]:
        buttons = card.findChildren(type(opened.window.overview.main_button))
        return [one for one in buttons if "wrong model" in one.accessibleName() and one.isVisible()]

    until(find, "the strike")
    find()[0].click()
    card.send_button.click()
    until(lambda: any("The coordinator has answered" in word for word in opened.said), "taken down")
    assert not find()
    with stage.storage() as storage:
        taken = {one.rule: one.decide_by_us for one in storage.strikes(stage.peer_id)}
    assert taken["wrong_model"]
    assert not taken["a_rule_of_old"]


def check_activity(opened: Opened, until: Callable[..., None]) -> None:
    window = opened.window
    window.show_page(3)
    until(lambda: window.activity.table.rowCount() == 1, "the receipt's row")
    window.activity.verify_button.click()
    assert "All 1 receipts carry" in window.activity.result.text()
    window.activity.table.selectRow(0)
    window.activity.verify_button.click()
    assert window.activity.result.text().startswith("Verified")


def check_limits(opened: Opened, stage: Stage, until: Callable[..., None]) -> None:
    page = opened.window.limits
    opened.window.show_page(2)
    page.bandwidth.setValue(12)
    assert not page.apply_button.isEnabled()
    assert "slowest bandwidth" in page.message.text()
    page.bandwidth.setValue(640)
    page.scheduled.setChecked(True)
    weekday = (time.localtime().tm_wday + 3) % 7
    page.days[weekday][0].setChecked(True)
    page.apply_button.click()
    until(lambda: opened.is_state("holding"), "the schedule")
    assert opened.seen is not None
    assert opened.seen.status.holds == ["schedule"]
    assert not page.apply_button.isEnabled()
    page.scheduled.setChecked(False)
    page.apply_button.click()
    until(lambda: opened.is_state("serving"), "no schedule")
    kept = json.loads((stage.host / "limits.json").read_text())
    assert kept["bandwidth_bytes_per_second"] == 640 * 1024


def check_models(opened: Opened, stage: Stage, until: Callable[..., None]) -> None:
    page = opened.window.models
    opened.window.show_page(1)

    def find(name: str) -> list[Any]:
        text = f"{name}: {EMBEDDED_MODEL.name}"
        return [b for b in page.findChildren(type(page.fetch_button)) if _is(b, text)]

    def press(name: str) -> None:
        until(lambda: find(name), name)
        find(name)[0].click()

    press("Verify file")
    until(lambda: any("is whole" in word for word in opened.said), "verified")
    until(lambda: opened.seen and not opened.seen.status.running, "no answer")
    press("Unload")
    until(lambda: opened.is_state("waiting"), "unloaded")
    until(lambda: "Unloaded by its owner." in opened.window.overview._detail.text(), "why")
    press("Load")
    until(lambda: opened.is_state("serving"), "loaded")
    page.wanted.setText("no such model")
    page.fetch_button.click()
    assert "no spaces" in opened.said[-1]
    page.wanted.setText("mystery")
    page.fetch_button.click()
    until(lambda: opened.seen and opened.seen.fetch.state == "failed", "a failed fetch")
    broken = stage.host / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(40))
    page.add_file(broken)
    until(lambda: "broken.gguf" in opened.said[-1], "a broken file")


def _is(found: Any, name: str) -> bool:
    return found.accessibleName() == name and found.isVisibleTo(found.window())


def check_chat(opened: Opened, stage: Stage, until: Callable[..., None]) -> None:
    window = opened.window
    window.show_page(4)
    page = window.chat
    until(lambda: page.who.count() == 1, "the model of this host")
    say_and_hear(page, until)
    opened.desk.change(network_url=stage.network.base_url, network_key=stage.network.api_key)
    window.show_page(0)
    window.show_page(4)
    until(lambda: page.who.count() == 2, "the network's model")
    page.who.setCurrentIndex(1)
    page.begin_anew()
    say_and_hear(page, until)


def say_and_hear(page: ChatPage, until: Callable[..., None]) -> None:
    page.input.setPlainText(SECRET)
    page.send()
    until(lambda: page._exchange is None or len(page._text) > 10, "words")
    page.stop_button.click()
    assert len(page._text) > 1
    assert len(page._turns) == 2


def check_kill(opened: Opened, stage: Stage, until: Callable[..., None]) -> None:
    process_id = ControlClient(stage.host).process_id
    os.kill(process_id, signal.SIGKILL)
    until(lambda: isinstance(opened.link.state, Gone), "the killed host")
    psutil.Process(process_id).wait(10) if psutil.pid_exists(process_id) else None
    assert opened.window.overview.main_button.text() == "Start it again"
    opened.window.show_page(0)
    opened.window.overview.main_button.click()
    until(lambda: opened.is_state("serving"), "started again")


def test_limits_can_be_set_without_a_host(
    application: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    opened = Opened(tmp_path)
    opened.window.show_page(2)
    opened.window.limits.memory.setValue(2000)
    opened.window.limits.apply_button.click()
    assert opened.said == ["Kept for when the host starts."]
    kept = json.loads((tmp_path / "limits.json").read_text())
    assert Limits(**kept).memory_cap_bytes == 2_000_000_000
    opened.close()


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ('{"version": 2, "port": 5, "token": "t", "process_id": 1}', "of another release"),
        ('{"version": 1, "port": 5', "cannot be found"),
        ('{"version": 1, "port": 1, "token": "t", "process_id": 1}', "stopped unexpectedly"),
    ],
)
def test_a_host_that_cannot_be_spoken_to_is_told_calmly(
    application: Any, tmp_path: Path, until: Callable[..., None], content: str, title: str
) -> None:
    (tmp_path / "control.json").write_text(content)
    opened = Opened(tmp_path)
    until(lambda: title in opened.window.overview._title.text(), title)
    opened.close()


def test_a_token_that_is_not_the_host_s_is_told_calmly(
    application: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        here = {"version": 1, "port": port, "token": "t", "process_id": os.getpid()}
        (tmp_path / "control.json").write_text(json.dumps(here))
        opened = Opened(tmp_path)
        until(lambda: _refuse(server), "a connection")
        until(lambda: "does not know" in opened.window.overview._title.text(), "refused")
        opened.close()


def test_whoever_listens_on_a_killed_host_s_port_is_not_spoken_to(
    application: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait(10)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        here = {"version": 1, "port": port, "token": "t", "process_id": ended.pid}
        (tmp_path / "control.json").write_text(json.dumps(here))
        opened = Opened(tmp_path)
        until(lambda: "stopped unexpectedly" in opened.window.overview._title.text(), "gone")
        opened.desk.drain()
        until(lambda: opened.said == ["No host is running: start it first."], "an answer")
        with pytest.raises(BlockingIOError):
            server.accept()
        opened.close()


def _refuse(server: socket.socket) -> bool:
    try:
        connection, _ = server.accept()
    except BlockingIOError:
        return False
    with connection:
        connection.settimeout(10)
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}")
    return True
