"""The strikes of the overview in the real window: who may appeal, and that it is sent once."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from peerllm.overlay.account_messages import StrikeTold
from peerllm.peer.control_api import AppealRequest, ControlFile

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE STRIKES' CARD IS NOT TESTED: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPushButton

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.state import NoHost
from peerllm.peer.desktop.strikes_card import StrikesCard
from peerllm.peer.desktop.window import Window
from tests.peer.desktop.samples import TODAY_US, account, seen

YEAR_2099_US = 4_070_908_800_000_000
FIRST = StrikeTold(
    rule="false_receipt", at_us=TODAY_US, appeal_until_us=YEAR_2099_US, weight=2, number=7
)
SECOND = msgspec.structs.replace(FIRST, rule="wrong_model", number=8)
AWAY = (
    "no coordinator that takes appeals is connected: try again later, or write to your region's"
    " contact"
)
NAME = "Appeal against strike 7: false receipt on 2026-11-22"


class Struck:
    """A window whose host has strikes; `replies` are the host's answers, in order."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.link = HostLink(folder)
        self.desk = Desk(folder, self.link)
        self.window = Window(self.desk)
        self.window.keeps_running = True
        self.window.show()
        self.sent: list[tuple[str, str, Any]] = []
        self.replies: list[Callable[[bytes | None, str], None]] = []
        monkeypatch.setattr(self.link, "ask", self._ask)

    def _ask(self, method: str, path: str, on_answer: Any, value: Any = None) -> None:
        self.sent.append((method, path, value))
        self.replies.append(on_answer)

    @property
    def card(self) -> StrikesCard:
        return self.window.overview.strikes

    def tell(self, *strikes: StrikeTold) -> None:
        """The coordinator tells the account."""
        self.link.state = replace(seen(), account=account(strikes=list(strikes)))
        self.window.show_state(self.link.state)

    def buttons(self) -> list[QPushButton]:
        # What is new is shown in the next turn of the event loop.
        QCoreApplication.processEvents()
        found = self.card.findChildren(QPushButton)
        return [one for one in found if one.isVisibleTo(self.window)]

    def words(self) -> str:
        QCoreApplication.processEvents()
        found = self.card.findChildren(QLabel)
        return "\n".join(one.text() for one in found if one.isVisibleTo(self.window))

    def appeal(self) -> None:
        self.buttons()[0].click()
        self.card.send_button.click()


@pytest.fixture
def struck(application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Struck]:
    found = Struck(tmp_path, monkeypatch)
    yield found
    found.window.close()
    found.window.deleteLater()
    QCoreApplication.sendPostedEvents(found.window, QEvent.Type.DeferredDelete)


def test_only_what_may_be_appealed_against_has_a_button(struck: Struck) -> None:
    struck.tell()
    assert not struck.card.isVisibleTo(struck.window)
    # Over, taken down before, withdrawn, and of a coordinator that takes none from hosts.
    others = (
        {"number": 1, "appeal_until_us": TODAY_US},
        {"number": 2, "decide_by_us": YEAR_2099_US},
        {"number": 3, "withdrawn_at_us": TODAY_US},
        {"number": 0},
    )
    struck.tell(FIRST, *(msgspec.structs.replace(FIRST, **one) for one in others))
    assert [one.accessibleName() for one in struck.buttons()] == [NAME]
    assert struck.words().count("false receipt on 2026-11-22") == 5


def test_an_appeal_is_asked_about_once_and_sent_once(struck: Struck) -> None:
    struck.tell(FIRST, SECOND)
    struck.buttons()[0].click()
    question = struck.card.question
    assert question is not None
    assert "false receipt on 2026-11-22" in question.text()
    struck.buttons()[0].click()
    struck.buttons()[1].click()
    assert struck.card.question is question
    send = struck.card.send_button
    send.click()
    send.click()
    assert struck.card.question is None
    assert struck.sent == [("POST", "/v1/appeal", AppealRequest(strike=7))]
    assert "The coordinator's answer is awaited." in struck.words()
    # The other one waits until the coordinator takes another.
    (other,) = struck.buttons()
    assert other.accessibleName().startswith("Appeal against strike 8")
    assert not other.isEnabled()
    struck.card._rest.timeout.emit()
    struck.replies[0](b"{}", "")
    struck.tell(msgspec.structs.replace(FIRST, decide_by_us=YEAR_2099_US), SECOND)
    assert "awaited" not in struck.words()
    assert "withdrawn by itself on 2099-01-01 if nobody decides" in struck.words()
    assert struck.window.notice.text() == (
        "The coordinator has answered: false receipt on 2026-11-22, weighs 2; appealed: withdrawn "
        "by itself on 2099-01-01 if nobody decides."
    )
    assert len(struck.sent) == 1


def test_whoever_thinks_better_of_it_sends_nothing(struck: Struck) -> None:
    struck.tell(FIRST)
    for _ in range(2):
        struck.buttons()[0].click()
        struck.card.cancel_button.click()
        assert (struck.card.question, struck.sent) == (None, [])
    struck.buttons()[0].click()
    assert struck.card.question is not None
    struck.card.question.reject()
    assert (struck.card.question, struck.sent) == (None, [])
    assert struck.buttons()[0].isEnabled()


def test_the_keyboard_does_it_and_a_key_pressed_twice_does_not(struck: Struck) -> None:
    struck.tell(FIRST)
    struck.buttons()[0].setFocus()
    QTest.keyClick(struck.buttons()[0], Qt.Key.Key_Space)
    question = struck.card.question
    assert question is not None
    QTest.keyClick(question, Qt.Key.Key_Return)
    assert (struck.card.question, struck.sent) == (None, [])
    QTest.keyClick(struck.buttons()[0], Qt.Key.Key_Return)
    QTest.keyClick(struck.card.send_button, Qt.Key.Key_Space)
    assert [path for _, path, _ in struck.sent] == ["/v1/appeal"]
    # It goes on from the same strike, whatever came of it.
    window = struck.window
    said = window.focusWidget()
    assert isinstance(said, QLabel)
    assert "was sent" in said.text()
    struck.replies[0](None, AWAY)
    assert window.focusWidget() is struck.buttons()[0]


class HostWithoutCoordinator(BaseHTTPRequestHandler):
    """Answers as a host does whose coordinator is away."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        is_right = (self.path, json.loads(raw)) == ("/v1/appeal", {"strike": 7})
        body = json.dumps({"error": AWAY if is_right else f"{self.path} {raw!r}"}).encode()
        self.send_response(409)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_a_refusal_is_said_and_the_button_comes_back(
    struck: Struck, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    struck.tell(FIRST, SECOND)
    with HTTPServer(("127.0.0.1", 0), HostWithoutCoordinator) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        struck.link._here = ControlFile(port=server.server_port, token="t", process_id=1)
        for _ in range(2):
            struck.appeal()
            until(lambda: len(struck.buttons()) == 2, "the refusal")
            assert struck.window.notice.text() == AWAY
            assert struck.window.notice.isVisible()
            assert [one.isEnabled() for one in struck.buttons()] == [True, True]
            struck.window.notice.clear()
        server.shutdown()
        thread.join()


def test_a_host_that_does_not_answer_is_said(struck: Struck) -> None:
    struck.tell(FIRST)
    struck.appeal()
    struck.replies[0](None, "The host does not answer.")
    assert struck.window.notice.text() == "The host does not answer."
    assert struck.buttons()[0].isEnabled()


def test_a_coordinator_that_does_not_answer_is_not_waited_for_for_ever(
    struck: Struck, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peerllm.peer.desktop.strikes_card._UNANSWERED_MILLISECONDS", 1)
    struck.tell(FIRST)
    struck.appeal()
    struck.replies[0](b"{}", "")
    until(lambda: "has not said" in struck.words(), "the end of waiting")
    assert struck.buttons()
    # It was taken down all the same, as the next account says.
    struck.tell(msgspec.structs.replace(FIRST, decide_by_us=YEAR_2099_US))
    assert "has not said" not in struck.words()
    assert not struck.buttons()
    assert struck.window.notice.text().startswith("The coordinator has answered")


def test_a_host_that_ends_while_it_is_asked_is_no_crash(
    struck: Struck, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    struck.tell(FIRST)
    struck.buttons()[0].click()
    struck.link.state = NoHost(has_run=True)
    struck.window.show_state(struck.link.state)
    assert not struck.card.isVisibleTo(struck.window)
    struck.card.send_button.click()
    until(lambda: "No host is running" in struck.window.notice.text(), "the refusal")
