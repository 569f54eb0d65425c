"""What is asked of a host's model, before it is sent."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PySide6.QtNetwork", exc_type=ImportError)

from peerllm.peer.desktop.chat_exchange import ChatExchange
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.local_chat import ChatTurnGiven


@pytest.mark.parametrize(
    "turns",
    [
        [ChatTurnGiven(role="user", content="Go on.")] * 257,
        [ChatTurnGiven(role="user", content="x" * 32_769)],
        [ChatTurnGiven(role="user", content="\u00e4" * 32_768)],
    ],
    ids=["messages", "characters", "bytes"],
)
def test_what_a_host_would_not_take_is_called_too_long(
    application: Any, tmp_path: Path, turns: list[ChatTurnGiven]
) -> None:
    said: list[str] = []
    exchange = ChatExchange()
    exchange.ended.connect(said.append)
    exchange.ask_host(HostLink(tmp_path), "mine", turns)
    exchange.stop()
    assert said == ["This conversation has become too long: begin a new one."]
