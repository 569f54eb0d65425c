"""One question and its answer as it comes, from a model of this host or from the network.

What is said is held in memory by the page alone; nothing here keeps or logs it.
"""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from PySide6.QtCore import QObject, QUrl, Signal
from PySide6.QtNetwork import QNetworkAccessManager, QNetworkReply, QNetworkRequest

from peerllm.peer.control_api import MAXIMUM_BODY_BYTES, Fault
from peerllm.peer.desktop.event_stream import EventStream, EventStreamError, StreamEvent
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.presentation import sentence_of
from peerllm.peer.desktop.state import parsed
from peerllm.peer.desktop.strings import tr
from peerllm.peer.local_chat import ChatPiece, ChatRequest, ChatTurnGiven

# A free network may take a minute to find room; no longer silence than this is an answer.
_SILENCE_MILLISECONDS: Final = 120_000


class _Delta(msgspec.Struct, frozen=True):
    content: Annotated[str, Meta(max_length=65_536)] | None = None

    def __repr__(self) -> str:
        return "_Delta(...)"


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta = _Delta()


class _Chunk(msgspec.Struct, frozen=True):
    choices: Annotated[list[_Choice], Meta(max_length=8)] = []


class _ErrorBody(msgspec.Struct, frozen=True):
    message: Annotated[str, Meta(max_length=4096)] = ""


class _ErrorAnswer(msgspec.Struct, frozen=True):
    error: _ErrorBody


class _Model(msgspec.Struct, frozen=True):
    id: Annotated[str, Meta(max_length=128)]


class ModelList(msgspec.Struct, frozen=True):
    """`GET /v1/models` of an OpenAI-compatible API."""

    data: Annotated[list[_Model], Meta(max_length=1024)] = []


class ChatExchange(QObject):
    """One answer; made anew for each question."""

    piece = Signal(str)
    # Empty when the answer is whole, else why it is not.
    ended = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._reply: QNetworkReply | None = None
        self._stream = EventStream()
        self._is_over = False
        self._raw = b""

    def ask_host(self, link: HostLink, model: str, turns: Sequence[ChatTurnGiven]) -> None:
        """Ask a model of this host."""
        body = msgspec.json.encode(ChatRequest(model=model, messages=list(turns)))
        # In bytes, in messages, or one of them: a host takes no longer ones.
        if len(body) > MAXIMUM_BODY_BYTES or parsed(body, ChatRequest) is None:
            self._end(tr("Chat", "This conversation has become too long: begin a new one."))
            return
        self._begin(link.network, link.request("/v1/chat"), body)

    def ask_network(
        self,
        network: QNetworkAccessManager,
        address: str,
        key: str,
        model: str,
        turns: Sequence[ChatTurnGiven],
    ) -> None:
        """Ask an OpenAI-compatible API."""
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        body = msgspec.json.encode({"model": model, "messages": messages, "stream": True})
        self._begin(network, network_request(address, "/chat/completions", key), body)

    def stop(self) -> None:
        """No more of it."""
        self._is_over = True
        if self._reply is not None:
            self._reply.abort()

    def _begin(self, network: QNetworkAccessManager, request: QNetworkRequest, body: bytes) -> None:
        request.setTransferTimeout(_SILENCE_MILLISECONDS)
        reply = network.post(request, body)
        self._reply = reply
        reply.readyRead.connect(self._on_bytes)
        reply.finished.connect(self._on_finished)

    def _on_bytes(self) -> None:
        if self._reply is None or self._is_over:
            return
        raw = bytes(self._reply.readAll().data())
        if _code(self._reply) != 200:
            self._raw = (self._raw + raw)[:65_536]
            return
        try:
            for event in self._stream.feed(raw):
                self._on_event(event)
        except EventStreamError:
            self._end(tr("Chat", "What came back is no answer."))

    def _on_event(self, event: StreamEvent) -> None:
        if self._is_over:
            return
        if event.name == "piece" and (found := parsed(event.data, ChatPiece)):
            self.piece.emit(found.text)
        elif event.name == "fault":
            fault = parsed(event.data, Fault)
            self._end(sentence_of(fault.error) if fault else _unsaid())
        elif event.name == "end" or event.data == b"[DONE]":
            self._end("")
        elif not event.name:
            self._on_chunk(event.data)

    def _on_chunk(self, data: bytes) -> None:
        if error := parsed(data, _ErrorAnswer):
            self._end(sentence_of(error.error.message) if error.error.message else _unsaid())
        elif chunk := parsed(data, _Chunk):
            text = "".join(choice.delta.content or "" for choice in chunk.choices)
            if text:
                self.piece.emit(text)

    def _on_finished(self) -> None:
        reply = self._reply
        if reply is None:
            return
        self._on_bytes()
        self._reply = None
        reply.deleteLater()
        if self._is_over:
            return
        code = _code(reply)
        fault, error = parsed(self._raw, Fault), parsed(self._raw, _ErrorAnswer)
        if code == 200:
            self._end(tr("Chat", "The answer broke off. Ask again."))
        elif fault is not None:
            self._end(sentence_of(fault.error))
        elif error is not None and error.error.message:
            self._end(sentence_of(error.error.message))
        elif code == 401:
            self._end(tr("Chat", "The API key was not accepted: see Settings."))
        else:
            self._end(tr("Chat", "Nobody answered. Check the address and the connection."))

    def _end(self, sentence: str) -> None:
        if not self._is_over:
            self._is_over = True
            self.ended.emit(sentence)


def network_request(address: str, path: str, key: str) -> QNetworkRequest:
    """A request to an OpenAI-compatible API."""
    request = QNetworkRequest(QUrl(address + path))
    request.setRawHeader(b"Authorization", f"Bearer {key}".encode())
    request.setHeader(QNetworkRequest.KnownHeaders.ContentTypeHeader, "application/json")
    # The key is for this address, not for wherever it may point.
    request.setAttribute(
        QNetworkRequest.Attribute.RedirectPolicyAttribute,
        QNetworkRequest.RedirectPolicy.ManualRedirectPolicy,
    )
    return request


def _unsaid() -> str:
    return tr("Chat", "There is no answer, and no reason was given.")


def _code(reply: QNetworkReply) -> int:
    found = reply.attribute(QNetworkRequest.Attribute.HttpStatusCodeAttribute)
    return found if isinstance(found, int) else 0
