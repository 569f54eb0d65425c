"""The window's connection to the host: events as they come, requests and their answers.

The host goes on without a window, and the window without a host: it looks once a second
whether there is one.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
from PySide6.QtCore import QByteArray, QObject, QTimer, QUrl, Signal
from PySide6.QtNetwork import (
    QNetworkAccessManager,
    QNetworkProxy,
    QNetworkReply,
    QNetworkRequest,
)

from peerllm.peer.control_api import (
    API_VERSION,
    ControlFile,
    Fault,
    HostAccount,
    HostCatalogue,
    LogLines,
    Status,
    control_path,
)
from peerllm.peer.control_client import is_alive
from peerllm.peer.desktop.event_stream import EventStream, EventStreamError
from peerllm.peer.desktop.state import (
    MAXIMUM_ANSWER_BYTES,
    Ending,
    Gone,
    HostSeen,
    HostState,
    NoHost,
    NotAdmitted,
    OtherRelease,
    Unreadable,
    WorkRate,
    ending_after,
    ending_of,
    parsed,
)
from peerllm.peer.desktop.strings import tr
from peerllm.peer.earnings import Earnings
from peerllm.peer.errors import ConfigurationError
from peerllm.peer.files import read_state
from peerllm.peer.host_settings import SETTINGS_FILE
from peerllm.peer.model_fetch_api import RUNNING, FetchStatus
from peerllm.peer.receipt_book import Receipts

_LOOK_MILLISECONDS: Final = 1000
# A fetch does not tell of itself; often enough for a bar that moves.
_FETCH_MILLISECONDS: Final = 500
# The host shows itself every 15 seconds; after three times that it is stuck.
_SILENCE_MILLISECONDS: Final = 45_000
_ANSWER_MILLISECONDS: Final = 10_000

# Whether it was done, and the answer; or why not, in one sentence.
OnAnswer = Callable[[bytes | None, str], None]


class HostLink(QObject):
    """Follows one host, by its data directory."""

    changed = Signal(object)

    def __init__(self, data_directory: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._directory = data_directory
        self._network = QNetworkAccessManager(self)
        # The host is on this machine: no proxy of the system has a part in it.
        self._network.setProxy(QNetworkProxy(QNetworkProxy.ProxyType.NoProxy))
        self._here: ControlFile | None = None
        self._events: QNetworkReply | None = None
        self._stream = EventStream()
        self._rate = WorkRate()
        self._ending = Ending()
        self.state: HostState = NoHost(has_run=self._has_run())
        self._look_timer = self._timer(_LOOK_MILLISECONDS, self.look)
        self._fetch_timer = self._timer(_FETCH_MILLISECONDS, self.look_at_fetch)
        self._silence_timer = self._timer(_SILENCE_MILLISECONDS, self._on_silence)
        # The rate of the last minute falls by itself.
        self._rate_timer = self._timer(10_000, self._on_rate)

    def start(self) -> None:
        """Begin to follow the host."""
        self._look_timer.start()
        self.look()

    def stop(self) -> None:
        """Let go of the host."""
        for timer in (self._look_timer, self._fetch_timer, self._silence_timer, self._rate_timer):
            timer.stop()
        if self._events is not None:
            self._events.abort()

    def look(self) -> None:
        """See whether there is a host, unless one is followed."""
        if self._events is not None:
            return
        try:
            here = read_state(control_path(self._directory), ControlFile)
        except (ConfigurationError, OSError) as error:
            self._show(Unreadable(str(error)))
            return
        if here is None:
            self._show(NoHost(has_run=self._has_run()))
        elif here.version != API_VERSION:
            self._show(OtherRelease(here.version))
        elif not is_alive(here.process_id):
            self._show(Gone(here.process_id))
        else:
            self._here = here
            self._follow()

    def ask(
        self,
        method: str,
        path: str,
        on_answer: OnAnswer,
        value: msgspec.Struct | None = None,
    ) -> None:
        """Send a request; `on_answer` is called once, later."""
        if self._here is None:
            sentence = tr("Link", "No host is running: start it first.")
            QTimer.singleShot(0, self, lambda: on_answer(None, sentence))
            return
        request = self.request(path)
        request.setTransferTimeout(_ANSWER_MILLISECONDS)
        body = b"" if value is None else msgspec.json.encode(value)
        reply = self._network.sendCustomRequest(request, QByteArray(method.encode()), body)
        reply.finished.connect(lambda: self._on_finished(reply, on_answer))

    def request(self, path: str) -> QNetworkRequest:
        """A request to the host, with its token. Only while a host is there."""
        here = self._here
        port, token = (here.port, here.token) if here else (1, "")
        request = QNetworkRequest(QUrl(f"http://127.0.0.1:{port}{path}"))
        request.setRawHeader(b"Authorization", f"Bearer {token}".encode())
        request.setHeader(QNetworkRequest.KnownHeaders.ContentTypeHeader, "application/json")
        request.setAttribute(
            QNetworkRequest.Attribute.RedirectPolicyAttribute,
            QNetworkRequest.RedirectPolicy.ManualRedirectPolicy,
        )
        return request

    @property
    def network(self) -> QNetworkAccessManager:
        """For answers that come piece by piece from this machine."""
        return self._network

    def look_at_fetch(self) -> None:
        """See how far the fetch of a model is, again and again while one runs."""
        self.ask("GET", "/v1/fetch", self._on_fetch)

    def _timer(self, milliseconds: int, slot: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setInterval(milliseconds)
        timer.timeout.connect(slot)
        return timer

    def _has_run(self) -> bool:
        return (self._directory / SETTINGS_FILE).exists()

    def _show(self, state: HostState) -> None:
        if state != self.state:
            self.state = state
            self.changed.emit(state)

    def _follow(self) -> None:
        self._stream, self._rate, self._ending = EventStream(), WorkRate(), Ending()
        reply = self._network.get(self.request("/v1/events"))
        self._events = reply
        reply.readyRead.connect(lambda: self._on_bytes(reply))
        reply.finished.connect(lambda: self._on_end(reply))
        self._silence_timer.start()

    def _on_bytes(self, reply: QNetworkReply) -> None:
        if reply is not self._events or _status_code(reply) != 200:
            return
        self._silence_timer.start()
        try:
            events = self._stream.feed(bytes(reply.readAll().data()))
        except EventStreamError:
            reply.abort()
            return
        for event in events:
            if event.name == "log":
                self._ending = ending_after(self._ending, event.data)
            elif (status := parsed(event.data, Status)) is not None:
                self._on_status(status)

    def _on_end(self, reply: QNetworkReply) -> None:
        reply.deleteLater()
        if reply is not self._events:
            return
        self._events = None
        self._silence_timer.stop()
        self._rate_timer.stop()
        here, self._here = self._here, None
        if _status_code(reply) == 401:
            self._show(NotAdmitted())
        elif control_path(self._directory).exists():
            self._show(Gone(here.process_id if here else 0))
        else:
            self._show(NoHost(has_run=self._has_run()))

    def _on_silence(self) -> None:
        if self._events is not None:
            self._events.abort()

    def _on_status(self, status: Status) -> None:
        now = time.monotonic()
        before = self.state if isinstance(self.state, HostSeen) else None
        self._rate = self._rate.after(now, status.work.tokens_generated)
        seen = before or HostSeen(status=status)
        rate = self._rate.per_second(now)
        self._show(replace(seen, status=status, ending=self._ending, tokens_per_second=rate))
        if before is None:
            self._rate_timer.start()
            self.ask("GET", "/v1/log", self._on_log)
            self.look_at_fetch()
        if before is None or before.status.work.receipts_signed != status.work.receipts_signed:
            self.ask("GET", "/v1/earnings", self._answer_into(Earnings, "earnings"))
            self.ask("GET", "/v1/receipts", self._answer_into(Receipts, "receipts"))

        told_at_us = status.account_told_at_us
        if told_at_us and (before is None or before.status.account_told_at_us != told_at_us):
            self.ask("GET", "/v1/account", self._on_account)

        told_at_us = status.catalogue_told_at_us
        if told_at_us and (before is None or before.status.catalogue_told_at_us != told_at_us):
            self.ask("GET", "/v1/catalogue", self._on_catalogue)

    def _on_catalogue(self, raw: bytes | None, _sentence: str) -> None:
        found = parsed(raw or b"", HostCatalogue)
        if found is not None and isinstance(self.state, HostSeen):
            self._show(replace(self.state, catalogue=found.catalogue))

    def _on_account(self, raw: bytes | None, _sentence: str) -> None:
        found = parsed(raw or b"", HostAccount)
        if found is not None and isinstance(self.state, HostSeen):
            self._show(replace(self.state, account=found.account))

    def _on_rate(self) -> None:
        if isinstance(self.state, HostSeen):
            now = time.monotonic()
            self._rate = self._rate.after(now, self.state.status.work.tokens_generated)
            self._show(replace(self.state, tokens_per_second=self._rate.per_second(now)))

    def _on_log(self, raw: bytes | None, _sentence: str) -> None:
        log = parsed(raw or b"", LogLines)
        if log is not None and isinstance(self.state, HostSeen):
            self._ending = ending_of(log)
            self._show(replace(self.state, ending=self._ending))

    def _on_fetch(self, raw: bytes | None, _sentence: str) -> None:
        fetch = parsed(raw or b"", FetchStatus)
        if fetch is None or not isinstance(self.state, HostSeen):
            self._fetch_timer.stop()
            return
        if fetch.state in RUNNING and not self._fetch_timer.isActive():
            self._fetch_timer.start()
        elif fetch.state not in RUNNING:
            self._fetch_timer.stop()
        self._show(replace(self.state, fetch=fetch))

    def _answer_into(self, kind: type[Any], field: str) -> OnAnswer:
        def on_answer(raw: bytes | None, _sentence: str) -> None:
            found = parsed(raw or b"", kind)
            if found is not None and isinstance(self.state, HostSeen):
                changes: dict[str, Any] = {field: found}
                self._show(replace(self.state, **changes))

        return on_answer

    def _on_finished(self, reply: QNetworkReply, on_answer: OnAnswer) -> None:
        raw = bytes(reply.read(MAXIMUM_ANSWER_BYTES + 1).data())
        code = _status_code(reply)
        reply.deleteLater()
        if code == 200:
            on_answer(raw, "")
            return
        fault = parsed(raw, Fault) if code else None
        on_answer(None, fault.error if fault else tr("Link", "The host does not answer."))


def _status_code(reply: QNetworkReply) -> int:
    found = reply.attribute(QNetworkRequest.Attribute.HttpStatusCodeAttribute)
    return found if isinstance(found, int) else 0
