"""A whole host, put together from its configuration: engine, node, daemon, signals."""

import random
import signal
import sys
import time

import trio

from peerllm.crypto.identity import Identity
from peerllm.overlay.messages import SESSION_PROTOCOL
from peerllm.overlay.node import open_node
from peerllm.peer.benchmark import build
from peerllm.peer.catalogue import measured_threads
from peerllm.peer.configuration import HostConfiguration
from peerllm.peer.daemon import DaemonParts, HostDaemon
from peerllm.peer.engine import EngineSettings, default_threads, open_engine
from peerllm.peer.events import HostEvent
from peerllm.peer.generation import (
    EngineLoading,
    EngineReady,
    EngineRestarting,
    EngineState,
    EngineUnavailable,
)
from peerllm.peer.models import DigestCache, locate_model
from peerllm.privacy.event_log import EventLog

# Percent between two lines of the log while a model loads.
_PROGRESS_STEP = 25


def now_us() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1000


async def run_host(
    configuration: HostConfiguration, log: EventLog[HostEvent]
) -> EngineUnavailable | None:
    """Serve until SIGINT or SIGTERM, then drain; a second signal stops at once.

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
    watch = _EngineWatch(log)
    coordinator = configuration.coordinator_peer_id
    async with (
        open_engine(settings, on_state=watch.changed) as engine,
        open_node(
            identity,
            listen=configuration.listen_multiaddr,
            admits=lambda peer_id: peer_id == coordinator,
            maximum_connections=8,
        ) as node,
    ):
        log.event("listening", port=node.port or 0)
        daemon = HostDaemon(
            DaemonParts(
                identity=identity,
                coordinator=coordinator,
                engine=engine,
                dial=lambda: node.dial(configuration.coordinator, SESSION_PROTOCOL),
                log=log,
                now_us=now_us,
                randomness=random.random,
            )
        )
        watch.daemon = daemon
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, daemon, configuration.drain_seconds)
            end = await daemon.run()
            nursery.cancel_scope.cancel()
    log.event("stopped", reason=end.reason if end else "asked")
    return end


class _EngineWatch:
    """Logs what the engine does and tells the daemon, once there is one."""

    def __init__(self, log: EventLog[HostEvent]) -> None:
        self._log = log
        self._percent = -_PROGRESS_STEP
        self.daemon: HostDaemon | None = None

    def changed(self, state: EngineState) -> None:
        match state:
            case EngineLoading():
                if not 0 <= state.percent - self._percent < _PROGRESS_STEP:
                    self._percent = state.percent
                    self._log.event("engine_loading", percent=state.percent)
            case EngineReady():
                self._log.event(
                    "engine_ready",
                    slots=state.slots,
                    context_tokens=state.context_tokens,
                    tokens_per_second_milli=state.tokens_per_second_milli,
                )
            case EngineRestarting():
                self._log.event(
                    "engine_restarting",
                    cause="_".join(state.cause.split()),
                    delay_milliseconds=int(state.delay_seconds * 1000),
                )
            case EngineUnavailable():
                self._log.event("engine_unavailable", reason=state.reason)
        if self.daemon is not None:
            self.daemon.engine_changed(state)


async def _stop_on_signal(daemon: HostDaemon, drain_seconds: float) -> None:
    # Windows knows no SIGTERM that can be received; Ctrl-C arrives as SIGINT everywhere.
    wanted = [signal.SIGINT] if sys.platform == "win32" else [signal.SIGINT, signal.SIGTERM]
    with trio.open_signal_receiver(*wanted) as signals:
        async with trio.open_nursery() as nursery:
            async for _ in signals:
                if daemon.is_draining:
                    daemon.stop()
                else:
                    nursery.start_soon(daemon.drain, drain_seconds)
