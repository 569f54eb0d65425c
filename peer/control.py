"""What a running host answers to its owner: joins daemon, engine, limits and log."""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import msgspec
import trio

from peerllm.overlay.catalogue_messages import (
    CatalogueAsked,
    CatalogueQuestion,
    LineLeft,
    OfferTaken,
)
from peerllm.peer.appeals import appeal_refusal
from peerllm.peer.configuration import MAXIMUM_MODELS
from peerllm.peer.control_api import (
    AppealRequest,
    DrainRequest,
    Fault,
    LogLines,
    ModelRequest,
    PauseRequest,
    RegionRequest,
)
from peerllm.peer.control_server import Event, Request, Response, Stream
from peerllm.peer.control_status import (
    ControlledHost,
    account_of,
    catalogue_of,
    status_of,
    status_of_model,
)
from peerllm.peer.errors import PeerError
from peerllm.peer.limits import Limits
from peerllm.peer.local_chat import ChatRequest, converse
from peerllm.peer.model_fetch_api import FetchRequest
from peerllm.peer.pooled_model import PooledModel

T = TypeVar("T")

# Several changes of one moment make one event.
_SETTLE_SECONDS: Final = 0.1


class HostControl:
    """Answers requests and tells subscribers what changes."""

    def __init__(self, host: ControlledHost) -> None:
        self._host = host
        self._changed = trio.Event()
        host.log.on_line = self._on_line

    async def answer(self, request: Request) -> Response | Stream:
        """Do what was asked, or say in one sentence why not."""
        match request.method, request.path:
            case _, "/v1/fetch" | "/v1/fetch/stop":
                return self._fetch(request)
            case "POST", "/v1/catalogue/look" | "/v1/seat/take" | "/v1/line/leave":
                return await self._ask_network(request)
            case "GET", _:
                shown = self._shown(request.path)
                return _not_there(request) if shown is None else Response(200, shown)
            case "POST", "/v1/chat":
                return self._chat(request)
            case "POST", "/v1/appeal":
                return self._appeal(request)
            case "POST", "/v1/models/load" | "/v1/models/unload":
                return await self._move(request)
            case "PUT" | "POST", _:
                return await self._act(request)
        return _not_there(request)

    def _shown(self, path: str) -> msgspec.Struct | None:
        """What there is to look at."""
        host = self._host
        match path:
            case "/v1/status":
                return status_of(host)
            case "/v1/limits":
                return host.limits.limits
            case "/v1/earnings":
                return host.earnings.earnings
            case "/v1/account":
                return account_of(host)
            case "/v1/catalogue":
                return catalogue_of(host)
            case "/v1/receipts":
                return host.receipts.receipts
            case "/v1/log":
                return LogLines(lines=list(host.log.lines))
        return None

    async def _act(self, request: Request) -> Response:
        host = self._host
        match request.method, request.path:
            case "PUT", "/v1/limits":
                wanted = _body(request, Limits)
                if isinstance(wanted, Response):
                    return wanted
                return await self._limit(wanted)
            case "POST", "/v1/pause":
                return await self._pause(request)
            case "POST", "/v1/resume":
                return await self._limit(_resumed(host.limits.limits))
            case "POST", "/v1/drain":
                drain = _body(request, DrainRequest)
                if isinstance(drain, Response):
                    return drain
                host.drain(drain.seconds)
                return Response(200, status_of(host))
            case "POST", "/v1/stop":
                host.drain(0)
                return Response(200, status_of(host))
        return _not_there(request)

    async def _ask_network(self, request: Request) -> Response:
        question: CatalogueQuestion = CatalogueAsked()
        if request.path != "/v1/catalogue/look":
            asked = _body(request, RegionRequest)
            if isinstance(asked, Response):
                return asked
            takes = request.path == "/v1/seat/take"
            question = (OfferTaken if takes else LineLeft)(region=asked.region)
        if refusal := await self._host.catalogue.ask(question):
            return Response(409, Fault(error=refusal))
        return Response(200, catalogue_of(self._host))

    async def _pause(self, request: Request) -> Response:
        pause = _body(request, PauseRequest)
        if isinstance(pause, Response):
            return pause
        return await self._limit(_paused(self._host.limits.limits, pause.seconds))

    def _appeal(self, request: Request) -> Response:
        asked = _body(request, AppealRequest)
        if isinstance(asked, Response):
            return asked
        host = self._host
        told = account_of(host).account
        strikes = [] if told is None else told.strikes
        if refusal := appeal_refusal(asked.strike, strikes, time.time_ns() // 1_000):
            return Response(409, Fault(error=refusal))
        if not host.daemon.appeal(asked.strike):
            return Response(
                409,
                Fault(
                    error="no coordinator that takes appeals is connected: try again later, or"
                    " write to your region's contact"
                ),
            )
        return Response(200, account_of(host))

    def _fetch(self, request: Request) -> Response:
        exchange = self._host.exchange
        match request.method, request.path:
            case "GET", "/v1/fetch":
                return Response(200, exchange.status)
            case "POST", "/v1/fetch":
                asked = _body(request, FetchRequest)
                if isinstance(asked, Response):
                    return asked
                if refusal := exchange.start(asked.model):
                    return Response(409, Fault(error=refusal))
                return Response(200, exchange.status)
            case "POST", "/v1/fetch/stop":
                exchange.stop()
                return Response(200, exchange.status)
        return _not_there(request)

    def _chat(self, request: Request) -> Response | Stream:
        host = self._host
        try:
            asked = msgspec.json.decode(request.body, type=ChatRequest)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Not what is wrong with it: that may quote the conversation.
            return Response(400, Fault(error="that is not a conversation: see local_chat"))
        model = host.pool.find(asked.model)
        if model is None:
            return _no_model(host, asked.model)
        if host.daemon.is_draining:
            return Response(409, Fault(error="the host is stopping"))
        return Stream(partial(self._converse, model, asked))

    async def _converse(
        self, model: PooledModel, asked: ChatRequest, tell: Callable[[Event], Awaitable[None]]
    ) -> None:
        host = self._host
        lease = host.pool.take(model.digest)
        if lease is None:
            detail = status_of_model(host, model).engine.detail
            busy = f"{model.name} is busy with others or being loaded: ask again in a moment"
            await tell(Event("fault", Fault(error=detail or busy)))
            return
        # The network is told of a slot less, the owner of an answer more.
        host.daemon.models_changed()
        self.changed()
        await converse(lease, asked, tell)

    async def tell_changes(self) -> None:
        """Publish the status whenever something happened that may have changed it."""
        while True:
            await self._changed.wait()
            await trio.sleep(_SETTLE_SECONDS)
            self._changed = trio.Event()
            self._host.broadcast.publish(self.greeting())

    def greeting(self) -> Event:
        """What a subscriber hears first: how things are."""
        return Event("status", status_of(self._host))

    def changed(self) -> None:
        """Something that shows in the status is different now."""
        self._changed.set()

    def _on_line(self, line: str) -> None:
        self._host.broadcast.publish(Event("log", msgspec.Raw(line.encode())))
        self.changed()

    async def _move(self, request: Request) -> Response:
        asked = _body(request, ModelRequest)
        if isinstance(asked, Response):
            return asked
        if request.path == "/v1/models/load":
            return await self._load(asked.model)
        return self._unload(asked.model)

    async def _load(self, wanted: str) -> Response:
        """Begin to; how it ends is seen in the status."""
        host, pool = self._host, self._host.pool
        model = pool.find(wanted)
        if model is None:
            try:
                # In a thread: it reads the catalogue.
                found = await trio.to_thread.run_sync(host.find_model, wanted)
            except PeerError as error:
                return Response(404, Fault(error=str(error)))
            except OSError as error:
                # As when the catalogue belongs to another user since a command of that user's.
                sentence = f"{error.filename} cannot be read: {error.strerror}"
                return Response(409, Fault(error=sentence))
            model = pool.find(found.name)
            if model is None and len(pool.models) >= MAXIMUM_MODELS:
                sentence = f"a host serves at most {MAXIMUM_MODELS} models"
                return Response(409, Fault(error=sentence))
            if model is None:
                return Response(200, status_of_model(host, pool.add(found)))
            if model.wanted.path != found.path:
                sentence = f"the host calls another model {found.name!r}: {model.wanted.path}"
                return Response(409, Fault(error=sentence))
        else:
            # What cannot be found there is looked for where it was.
            with suppress(PeerError, OSError):
                pool.move(model, await trio.to_thread.run_sync(host.find_model, model.name))
        pool.load(model)
        return Response(200, status_of_model(host, model))

    def _unload(self, wanted: str) -> Response:
        model = self._host.pool.find(wanted)
        if model is None:
            return _no_model(self._host, wanted)
        self._host.pool.unload(model)
        return Response(200, status_of_model(self._host, model))

    async def _limit(self, limits: Limits) -> Response:
        try:
            await self._host.limits.set(limits)
        except OSError as error:
            sentence = f"in force, but not kept for the next start: {error.strerror}"
            return Response(507, Fault(error=sentence))
        finally:
            self._host.exchange.limits_changed()
        self.changed()
        return Response(200, status_of(self._host))


def _body(request: Request, kind: type[T]) -> T | Response:
    try:
        return msgspec.json.decode(request.body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Settings, not content: the place and the bound may be named.
        return Response(400, Fault(error=f"the body is not right: {error}"))


def _paused(limits: Limits, seconds: int) -> Limits:
    until_us = time.time_ns() // 1000 + seconds * 1_000_000 if seconds else 0
    return msgspec.structs.replace(limits, paused=not seconds, paused_until_us=until_us)


def _resumed(limits: Limits) -> Limits:
    return msgspec.structs.replace(limits, paused=False, paused_until_us=0)


def _no_model(host: ControlledHost, wanted: str) -> Response:
    names = ", ".join(model.name for model in host.pool.models)
    return Response(404, Fault(error=f"this host has no model {wanted!r}, it has {names}"))


def _not_there(request: Request) -> Response:
    return Response(404, Fault(error=f"there is no {request.method} {request.path} in version 1"))
