"""What a running host answers to its owner: joins daemon, engine, limits and log."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import msgspec
import trio

from peerllm.peer.bandwidth import Meter
from peerllm.peer.control_api import (
    DrainRequest,
    EngineStatus,
    Fault,
    LogLines,
    Status,
    WorkStatus,
)
from peerllm.peer.control_server import Broadcast, Event, Request, Response
from peerllm.peer.daemon import SOFTWARE, HostDaemon
from peerllm.peer.earnings import EarningsBook
from peerllm.peer.engine import EngineClient
from peerllm.peer.generation import EngineLoading, EngineReady, EngineRestarting, EngineState
from peerllm.peer.limit_keeper import LimitKeeper
from peerllm.peer.limits import Limits
from peerllm.peer.recent_log import RecentLog

T = TypeVar("T")

# Several changes of one moment make one event.
_SETTLE_SECONDS: Final = 0.1


@dataclass(frozen=True)
class ControlledHost:
    """All that the control API looks at or turns."""

    daemon: HostDaemon
    engine: EngineClient
    limits: LimitKeeper
    earnings: EarningsBook
    meter: Meter
    log: RecentLog
    broadcast: Broadcast
    peer_id: str
    coordinator: str
    started_at_us: int
    # Starts draining in a task of its own.
    drain: Callable[[float], None]


def status_of(host: ControlledHost) -> Status:
    """The host at this moment."""
    daemon, engine = host.daemon, host.engine
    state = engine.state
    return Status(
        software=SOFTWARE,
        peer_id=host.peer_id,
        coordinator=host.coordinator,
        started_at_us=host.started_at_us,
        connected=daemon.is_connected,
        state=_state(host),
        holds=sorted(host.limits.holds),
        model=engine.name,
        model_digest=engine.digest.hex(),
        slots=state.slots if isinstance(state, EngineReady) else 0,
        free_slots=daemon.free_slots,
        running=daemon.running,
        bytes_received=host.meter.received,
        bytes_sent=host.meter.sent,
        engine=_engine_status(engine, state),
        work=WorkStatus(
            complete=daemon.tally["complete"],
            cancelled=daemon.tally["cancelled"],
            failed=daemon.tally["failed"],
            refused=daemon.tally["refused"],
            prompt_tokens=daemon.tally["prompt_tokens"],
            tokens_generated=daemon.tally["completion_tokens"],
            receipts_signed=daemon.tally["receipts"],
        ),
        limits=host.limits.limits,
    )


class HostControl:
    """Answers requests and tells subscribers what changes."""

    def __init__(self, host: ControlledHost) -> None:
        self._host = host
        self._changed = trio.Event()
        host.log.on_line = self._on_line

    async def answer(self, request: Request) -> Response:
        """Do what was asked, or say in one sentence why not."""
        host = self._host
        match request.method, request.path:
            case "GET", "/v1/status":
                return Response(200, status_of(host))
            case "GET", "/v1/limits":
                return Response(200, host.limits.limits)
            case "GET", "/v1/earnings":
                return Response(200, host.earnings.earnings)
            case "GET", "/v1/log":
                return Response(200, LogLines(lines=list(host.log.lines)))
            case "PUT" | "POST", _:
                return await self._act(request)
        return _not_there(request)

    async def _act(self, request: Request) -> Response:
        host = self._host
        limits = host.limits.limits
        match request.method, request.path:
            case "PUT", "/v1/limits":
                wanted = _body(request, Limits)
                if isinstance(wanted, Response):
                    return wanted
                return await self._limit(wanted)
            case "POST", "/v1/pause":
                return await self._limit(msgspec.structs.replace(limits, paused=True))
            case "POST", "/v1/resume":
                return await self._limit(msgspec.structs.replace(limits, paused=False))
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

    async def _limit(self, limits: Limits) -> Response:
        try:
            await self._host.limits.set(limits)
        except OSError as error:
            sentence = f"in force, but not kept for the next start: {error.strerror}"
            return Response(507, Fault(error=sentence))
        self.changed()
        return Response(200, status_of(self._host))


def _state(
    host: ControlledHost,
) -> Literal["serving", "holding", "draining", "waiting"]:
    if host.daemon.is_draining:
        return "draining"
    if not host.daemon.is_connected or not isinstance(host.engine.state, EngineReady):
        return "waiting"
    return "holding" if host.limits.holds else "serving"


def _engine_status(engine: EngineClient, state: EngineState) -> EngineStatus:
    if isinstance(state, EngineReady):
        return EngineStatus(
            state="ready",
            process_id=engine.process_id,
            tokens_per_second_milli=state.tokens_per_second_milli,
            context_tokens=state.context_tokens,
            threads=engine.tuned.threads if engine.tuned else 0,
            nice=engine.tuned.nice if engine.tuned else 0,
        )
    if isinstance(state, EngineLoading):
        return EngineStatus(state="loading", percent=state.percent, process_id=engine.process_id)
    if isinstance(state, EngineRestarting):
        return EngineStatus(state="restarting", detail=state.cause)
    return EngineStatus(state="unavailable", detail=state.sentence)


def _body(request: Request, kind: type[T]) -> T | Response:
    try:
        return msgspec.json.decode(request.body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Settings, not content: the place and the bound may be named.
        return Response(400, Fault(error=f"the body is not right: {error}"))


def _not_there(request: Request) -> Response:
    return Response(404, Fault(error=f"there is no {request.method} {request.path} in version 1"))
