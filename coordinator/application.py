"""The HTTP API: OpenAI's chat completions, models, health, metrics and a request's statement.

A Starlette application that knows nothing of its server. It reads bodies with a bound and a
deadline, finds the key, hands the request to `request.answer` and writes what comes back.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
import trio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from peerllm.coordinator import api_errors
from peerllm.coordinator.accounts import ApiKey
from peerllm.coordinator.api_errors import ApiError
from peerllm.coordinator.chat_schema import MAXIMUM_BODY_BYTES, ChatRequest, parse_chat
from peerllm.coordinator.chat_stream import AnswerStream
from peerllm.coordinator.computing import computed
from peerllm.coordinator.events import CoordinatorEvent
from peerllm.coordinator.house import House
from peerllm.coordinator.house_in_force import HouseInForce
from peerllm.coordinator.quote_api import give_quote
from peerllm.coordinator.request import Answered, answer
from peerllm.privacy.event_log import EventLog

# A megabyte arrives in this time at 300 kbit/s; slower senders hold a connection for an attack.
BODY_SECONDS = 30
# Answers are kilobytes and buffers hold more: who takes none of it for this long reads no more.
SEND_SECONDS = 30
# Twenty times what is accepted: a slip still gets its answer, an attack is cut off.
DISCARDED_BODY_BYTES = 20 * MAXIMUM_BODY_BYTES
# A customer's own parallelism; beyond it waiting helps nobody and one key could fill the network.
REQUESTS_PER_KEY = 32

_json = msgspec.json.Encoder()


@dataclass(frozen=True)
class _Api:
    in_force: HouseInForce
    log: EventLog[CoordinatorEvent]
    new_request_id: Callable[[], str]
    created_at: int = field(default_factory=lambda: int(time.time()))

    @property
    def house(self) -> House:
        """The house that a new request enters."""
        return self.in_force.house

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        key = await self._authenticate(request)
        if isinstance(key, ApiError):
            return error_response(key)
        models = [self._model(name) for name in sorted(self.house.models) if self._sold(name, key)]
        return _respond({"object": "list", "data": models})

    async def model(self, request: Request) -> Response:
        """`GET /v1/models/{name}`."""
        key = await self._authenticate(request)
        if isinstance(key, ApiError):
            return error_response(key)
        name = request.path_params["name"]
        if name not in self.house.models or not self._sold(name, key):
            return error_response(api_errors.unknown_model(name))
        return _respond(self._model(name))

    async def health(self, _request: Request) -> Response:
        """`GET /healthz`: 200 when at least one host could take work."""
        hosts = len(self.house.dispatcher.registry.hosts)
        status = 200 if hosts else 503
        return _respond({"status": "ok" if hosts else "no_hosts", "hosts": hosts}, status)

    async def metrics(self, _request: Request) -> Response:
        """`GET /metrics`."""
        return Response(self.house.metrics.text(), media_type="text/plain; version=0.0.4")

    async def statement(self, request: Request) -> Response:
        """`GET /v1/statements/{id}`: who raced, who won, what it cost; PeerLLM's own addition."""
        key = await self._authenticate(request)
        if isinstance(key, ApiError):
            return error_response(key)
        found = self.house.statements.find(key.account, request.path_params["id"])
        if found is None:
            return error_response(api_errors.not_found("No statement of yours has this id."))
        return Response(_json.encode(found), media_type="application/json")

    async def quote(self, request: Request) -> Response:
        """`POST /v1/peerllm/quotes`: a locked price; PeerLLM's own addition."""
        key = await self._authenticate(request)
        body = await read_body(request)
        if isinstance(key, ApiError):
            return error_response(key)
        if self.in_force.expired:
            return error_response(api_errors.charter_expired())
        given = give_quote(body, key, self.house) if isinstance(body, bytes) else body
        if isinstance(given, ApiError):
            return error_response(given)
        return Response(_json.encode(given), media_type="application/json")

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        key = await self._authenticate(request)
        body = await read_body(request)
        if isinstance(key, ApiError):
            return self._refuse(key)
        # In a thread: a hostile schema of a megabyte is read for longer than others should wait.
        chat = await computed(lambda: parse_chat(body)) if isinstance(body, bytes) else body
        if isinstance(chat, ApiError):
            return self._refuse(chat)
        if self.in_force.expired:
            return self._refuse(api_errors.charter_expired())
        if self.house.in_flight.of(key.key_id) >= REQUESTS_PER_KEY:
            return self._refuse(api_errors.too_many_requests(REQUESTS_PER_KEY))
        return _ChatResponse(self, chat, key)

    def _sold(self, name: str, key: ApiKey) -> bool:
        return self.house.price_list.offer(name, key.price_tier) is not None

    def _model(self, name: str) -> dict[str, str | int]:
        return {"id": name, "object": "model", "created": self.created_at, "owned_by": "peerllm"}

    def _refuse(self, error: ApiError) -> Response:
        self.house.metrics.ended(error.code or error.type)
        return error_response(error)

    async def _authenticate(self, request: Request) -> ApiKey | ApiError:
        scheme, _, plain = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not plain.strip():
            return api_errors.unauthorized(
                "No API key was sent; send 'Authorization: Bearer <key>'."
            )
        found = await self.house.storage.find_api_key(plain.strip())
        if isinstance(found, ApiKey):
            return found
        return api_errors.unauthorized("This API key is unknown, expired or revoked.")


class _ChatResponse(Response):
    """Runs the request while the connection lives; the client's leaving cancels it."""

    def __init__(self, api: _Api, chat: ChatRequest, key: ApiKey) -> None:
        super().__init__()
        self._api = api
        self._chat = chat
        self._key = key

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        house, request_id = self._api.house, self._api.new_request_id()
        outcome = "disconnected"
        with (
            house.in_flight.counted(self._key.key_id),
            house.metrics.in_flight.track_inprogress(),
        ):
            try:
                async with trio.open_nursery() as nursery:
                    in_time = _in_time(send, nursery.cancel_scope)
                    stream = AnswerStream(in_time, self._chat, request_id)
                    nursery.start_soon(_cancel_on_disconnect, receive, nursery.cancel_scope)
                    ended = await self._answer(house, request_id, stream)
                    # Before the last write: clients leave as soon as they have the whole body.
                    if isinstance(ended, Answered):
                        outcome = "answered"
                        await stream.finish(ended)
                    else:
                        outcome = ended.code or ended.type
                        await stream.fail(ended)
                    nursery.cancel_scope.cancel()
            finally:
                house.metrics.ended(outcome)

    async def _answer(
        self, house: House, request_id: str, stream: AnswerStream
    ) -> Answered | ApiError:
        try:
            return await answer(
                self._chat, self._key, request_id, house, stream.release, stream.deliver
            )
        # A bug must neither end the process nor carry content out with its message: the customer
        # gets an id, the log the exception's type.
        except Exception as error:
            self._api.log.event("request_failed", request=request_id, error=_innermost(error))
            return api_errors.internal_error(request_id)


def _innermost(error: BaseException) -> str:
    """The name of an exception's type, without its message; of the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__


async def _cancel_on_disconnect(receive: Receive, scope: trio.CancelScope) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            scope.cancel()
            return


def _in_time(send: Send, scope: trio.CancelScope) -> Send:
    """`send` with a deadline: a customer who reads nothing is let go like one who left."""

    async def send_in_time(message: Message) -> None:
        with trio.move_on_after(SEND_SECONDS) as patience:
            await send(message)
        if patience.cancelled_caught:
            scope.cancel()
            await trio.lowlevel.checkpoint()

    return send_in_time


async def read_body(request: Request) -> bytes | ApiError:
    """The whole body, bounded in size and time.

    What is too large is read on for a while and forgotten: most clients look for an answer only
    after they have sent everything, and would wait for us to read while we wait for them.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > DISCARDED_BODY_BYTES:
        return api_errors.too_large(MAXIMUM_BODY_BYTES)
    body = bytearray()
    size = 0
    with trio.move_on_after(BODY_SECONDS), suppress(ClientDisconnect):
        async for piece in request.stream():
            size += len(piece)
            if size > DISCARDED_BODY_BYTES:
                break
            if size <= MAXIMUM_BODY_BYTES:
                body += piece
        if size > MAXIMUM_BODY_BYTES:
            return api_errors.too_large(MAXIMUM_BODY_BYTES)
        return bytes(body)
    return api_errors.too_slow(BODY_SECONDS)


def error_response(error: ApiError) -> Response:
    """An error in OpenAI's shape."""
    headers = {"connection": "close"} if error.status in (408, 413) else {}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return _respond(error.body(), error.status, headers)


def _respond(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        _json.encode(body), status_code=status, headers=headers, media_type="application/json"
    )


def create_application(
    in_force: HouseInForce,
    log: EventLog[CoordinatorEvent],
    new_request_id: Callable[[], str],
) -> Starlette:
    """The whole HTTP API over the house in force."""
    api = _Api(in_force, log, new_request_id)
    application = Starlette(
        routes=[
            Route("/v1/chat/completions", api.chat, methods=["POST"]),
            Route("/v1/models", api.models),
            # No name here holds a slash, but names of other networks do.
            Route("/v1/models/{name:path}", api.model),
            Route("/v1/statements/{id}", api.statement),
            Route("/v1/peerllm/quotes", api.quote, methods=["POST"]),
            Route("/healthz", api.health),
            Route("/metrics", api.metrics),
        ],
        exception_handlers={404: _not_found, 405: _not_allowed},
    )
    # Behind a proxy with TLS a redirect would name http://, and a client that follows it would
    # send its prompt again in clear.
    application.router.redirect_slashes = False
    return application


async def _not_found(_request: Request, _error: Exception) -> Response:
    return error_response(api_errors.not_found("There is nothing at this path."))


async def _not_allowed(_request: Request, _error: Exception) -> Response:
    return error_response(api_errors.not_allowed())
