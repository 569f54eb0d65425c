"""A whole host, put together from its configuration: engine, node, daemon, signals."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import trio

from peerllm.crypto.identity import Identity
from peerllm.overlay.messages import SESSION_PROTOCOL
from peerllm.overlay.node import open_node
from peerllm.peer.bandwidth import Meter, MeteredStream
from peerllm.peer.benchmark import build
from peerllm.peer.catalogue import measured_threads
from peerllm.peer.conditions import MachineWatch
from peerllm.peer.configuration import HostConfiguration
from peerllm.peer.control import ControlledHost, HostControl
from peerllm.peer.control_server import Broadcast, open_control
from peerllm.peer.daemon import DaemonParts, HostDaemon
from peerllm.peer.earnings import EarningsBook
from peerllm.peer.engine import EngineClient, EngineSettings, default_threads, open_engine
from peerllm.peer.events import HostEvent
from peerllm.peer.generation import (
    EngineLoading,
    EngineReady,
    EngineRestarting,
    EngineState,
    EngineUnavailable,
)
from peerllm.peer.limit_keeper import LimitKeeper
from peerllm.peer.limits import Conditions, HoldReason, Limits
from peerllm.peer.models import DigestCache, locate_model
from peerllm.peer.recent_log import RecentLog
from peerllm.privacy.event_log import EventLog

# Percent between two lines of the log while a model loads.
_PROGRESS_STEP = 25


def now_us() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1000


async def run_host(
    configuration: HostConfiguration, log: EventLog[HostEvent], recent: RecentLog
) -> EngineUnavailable | None:
    """Serve until SIGINT or SIGTERM, then drain; a second signal stops at once.

    `recent` is the stream that `log` writes to.

    Gives the reason when the model cannot be served. Raises `ModelError`, `KeyFileError`
    or `AddressError` when the host cannot even start.
    """
    configuration.data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    identity = Identity.load_or_create(configuration.identity_path)
    cache = DigestCache(configuration.digest_cache_path)
    model = await trio.to_thread.run_sync(locate_model, configuration.model, cache)
    settings = EngineSettings(
        model=model,
        digest_cache=configuration.digest_cache_path,
        slots=configuration.slots,
        context_tokens=configuration.context_tokens,
        threads=configuration.threads
        or measured_threads(configuration.data_directory, model.digest, build())
        or default_threads(),
    )
    log.event(
        "starting",
        peer_id=identity.peer_id,
        model=model.name,
        digest=model.digest.hex(),
        slots=settings.slots,
        context_tokens=settings.context_tokens,
        threads=settings.threads,
    )
    watch = _Watch(log, configuration.limits_path)
    book = EarningsBook(configuration.earnings_path)
    async with open_engine(settings, on_state=watch.engine_changed) as engine:
        watch.engine = engine
        # Before the process is told to load: the memory cap counts for loading, too.
        watch.keeper.govern(engine)
        end = await _serve(configuration, identity, watch, book, recent)
    log.event("stopped", reason=end.reason if end else "asked")
    return end


async def _serve(
    configuration: HostConfiguration,
    identity: Identity,
    watch: "_Watch",
    book: EarningsBook,
    recent: RecentLog,
) -> EngineUnavailable | None:
    coordinator = configuration.coordinator_peer_id
    log, keeper, engine = watch.log, watch.keeper, watch.engine
    assert engine is not None  # noqa: S101 - set where it was opened
    meter = Meter(lambda: keeper.limits.bandwidth_bytes_per_second)
    broadcast = Broadcast()
    async with (
        open_node(
            identity,
            listen=configuration.listen_multiaddr,
            admits=lambda peer_id: peer_id == coordinator,
            maximum_connections=8,
        ) as node,
        trio.open_nursery() as nursery,
    ):
        log.event("listening", port=node.port or 0)

        async def dial() -> MeteredStream:
            stream = await node.dial(configuration.coordinator, SESSION_PROTOCOL)
            return MeteredStream(stream, meter)

        def drain(seconds: float) -> None:
            if daemon.is_draining:
                daemon.stop()
            else:
                nursery.start_soon(daemon.drain, seconds)

        daemon = HostDaemon(
            DaemonParts(
                identity=identity,
                coordinator=coordinator,
                engine=engine,
                dial=dial,
                log=log,
                now_us=now_us,
                randomness=random.random,
                holding=lambda: bool(keeper.holds),
                on_receipt=book.count,
            )
        )
        control = HostControl(
            ControlledHost(
                daemon=daemon,
                engine=engine,
                limits=keeper,
                earnings=book,
                meter=meter,
                log=recent,
                broadcast=broadcast,
                peer_id=identity.peer_id,
                coordinator=coordinator,
                started_at_us=now_us(),
                drain=drain,
            )
        )
        watch.attach(daemon, control)
        async with open_control(
            configuration.data_directory,
            control.answer,
            broadcast,
            control.greeting,
            process_id=os.getpid(),
        ) as port:
            log.event("control_open", port=port)
            nursery.start_soon(_stop_on_signal, drain, configuration.drain_seconds)
            nursery.start_soon(control.tell_changes)
            nursery.start_soon(book.run)
            nursery.start_soon(keeper.run)
            # What was limited when the host last ran is limited from its first hello on.
            await keeper.look_now()
            end = await daemon.run()
        nursery.cancel_scope.cancel()
    return end


class _Watch:
    """Logs what engine and limits do, and tells those who act on it, once they are there."""

    def __init__(self, log: EventLog[HostEvent], limits_path: Path) -> None:
        self.log = log
        self.keeper = LimitKeeper(limits_path, look=self._look, on_change=self._holds_changed)
        self.engine: EngineClient | None = None
        self._daemon: HostDaemon | None = None
        self._control: HostControl | None = None
        self._machine = MachineWatch(self._processes)
        self._percent = -_PROGRESS_STEP

    def attach(self, daemon: HostDaemon, control: HostControl) -> None:
        """Name those who act on changes."""
        self._daemon, self._control = daemon, control

    async def _look(self, limits: Limits) -> Conditions:
        # In a thread: odd hardware answers slowly.
        return await trio.to_thread.run_sync(self._machine.read, limits)

    def engine_changed(self, state: EngineState) -> None:
        """Log the engine's new state and pass it on."""
        match state:
            case EngineLoading():
                if not 0 <= state.percent - self._percent < _PROGRESS_STEP:
                    self._percent = state.percent
                    self.log.event("engine_loading", percent=state.percent)
            case EngineReady():
                self.log.event(
                    "engine_ready",
                    slots=state.slots,
                    context_tokens=state.context_tokens,
                    tokens_per_second_milli=state.tokens_per_second_milli,
                )
            case EngineRestarting():
                self.log.event(
                    "engine_restarting",
                    cause="_".join(state.cause.split()),
                    delay_milliseconds=int(state.delay_seconds * 1000),
                )
            case EngineUnavailable():
                self.log.event("engine_unavailable", reason=state.reason)
        if self._daemon is not None:
            self._daemon.engine_changed(state)
        if self._control is not None:
            self._control.changed()

    def _holds_changed(self, holds: frozenset[HoldReason]) -> None:
        if holds:
            self.log.event("holding", reasons="+".join(sorted(holds)))
        else:
            self.log.event("resumed")
        if self._daemon is not None:
            self._daemon.limits_changed()

    def _processes(self) -> list[int]:
        engine = self.engine.process_id if self.engine else None
        return [os.getpid()] + ([engine] if engine else [])


async def _stop_on_signal(drain: Callable[[float], None], drain_seconds: float) -> None:
    # Windows knows no SIGTERM that can be received; Ctrl-C arrives as SIGINT everywhere.
    wanted = [signal.SIGINT] if sys.platform == "win32" else [signal.SIGINT, signal.SIGTERM]
    with trio.open_signal_receiver(*wanted) as signals:
        async for _ in signals:
            drain(drain_seconds)
