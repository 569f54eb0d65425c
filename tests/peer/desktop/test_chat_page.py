"""Who a conversation goes to, when those who answer come and go."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE PAGE OF CHAT IS NOT TESTED: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from peerllm.peer.desktop.chat_exchange import ChatExchange
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.pages.chat_page import Answerer, ChatPage
from peerllm.peer.desktop.state import NoHost
from peerllm.peer.local_chat import ChatTurnGiven
from tests.peer.desktop.samples import model, seen

HERE, THERE = Answerer("host", "mine"), Answerer("network", "theirs")
UP, DOWN = seen(model(name="mine")), NoHost(has_run=True)


@pytest.fixture
def page(application: Any, tmp_path: Path) -> ChatPage:
    found = ChatPage(Desk(tmp_path, HostLink(tmp_path)))
    found._network_models = ["theirs"]
    return found


def test_what_was_for_this_computer_does_not_go_to_the_network_unasked(page: ChatPage) -> None:
    page.show_state(UP)
    assert page.who.currentData() == HERE
    page.show_state(DOWN)
    assert page.who.count() == 1
    assert page.who.currentData() is None
    assert not page.send_button.isEnabled()
    assert "goes there with the next message" in page._where.text()
    page.input.setPlainText("Only for me.")
    page.send()
    assert page.input.toPlainText() == "Only for me."
    page.show_state(UP)
    assert page.who.currentData() == HERE
    page.show_state(DOWN)
    page.who.setCurrentIndex(0)
    assert page.who.currentData() == THERE
    assert page.send_button.isEnabled()


def test_who_asks_the_network_goes_on_asking_it(page: ChatPage) -> None:
    page.show_state(DOWN)
    assert page.who.currentData() == THERE
    page.show_state(UP)
    assert page.who.currentData() == THERE
    page._network_models = []
    page.show_state(UP)
    assert page.who.currentData() == HERE


def test_an_answer_is_laid_out_now_and_then_and_whole_at_its_end(
    page: ChatPage, until: Callable[..., None]
) -> None:
    page._turns.append(ChatTurnGiven(role="user", content="Count."))
    page._answer = shown = page._bubble("…", "bubbleModel")
    page._exchange = ChatExchange(page)
    for number in range(1000):
        page._on_piece(f"{number} ")
        assert shown.text() == "…"
    until(lambda: shown.text().endswith("998 999 "), "the text")
    page._on_piece("the end")
    page._on_ended("")
    assert shown.text().endswith("999 the end")
    assert page._turns[-1].content == shown.text()
