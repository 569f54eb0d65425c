"""A whole host, put together from its configuration: engine, node, daemon, signals."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import trio

from peerllm.crypto.identity import Identity
from peerllm.crypto.receipt import Receipt
from peerllm.overlay.catalogue_messages import CATALOGUE_PROTOCOL
from peerllm.overlay.framing import ByteStream
from peerllm.overlay.messages import SESSION_PROTOCOL
from peerllm.overlay.model_messages import MODEL_PROTOCOL
from peerllm.overlay.node import open_node
from peerllm.peer.bandwidth import Meter, MeteredStream
from peerllm.peer.catalogue import find_model
from peerllm.peer.configuration import MAXIMUM_SLOTS, HostConfiguration
from peerllm.peer.control import HostControl
from peerllm.peer.control_server import Broadcast, open_control
from peerllm.peer.control_status import ControlledHost
from peerllm.peer.daemon import DaemonParts, HostDaemon
from peerllm.peer.earnings import EarningsBook
from peerllm.peer.engine import open_engine
from peerllm.peer.engine_pool import EnginePool, open_pool
from peerllm.peer.events import HostEvent
from peerllm.peer.generation import (
    EngineLoading,
    EngineReady,
    EngineRestarting,
    EngineUnavailable,
)
from peerllm.peer.limit_keeper import LimitKeeper
from peerllm.peer.limits import HoldReason
from peerllm.peer.model_exchange import ExchangeParts, ModelExchange
from peerllm.peer.model_files import DiskModelFiles
from peerllm.peer.network_catalogue import NetworkCatalogue
from peerllm.peer.pool_parts import PoolParts
from peerllm.peer.pooled_model import ModelAway, ModelInLine, ModelState, PooledModel
from peerllm.peer.receipt_book import ReceiptBook
from peerllm.peer.recent_log import RecentLog
from peerllm.peer.surroundings import Surroundings
from peerllm.privacy.event_log import EventLog

# Percent between two lines of the log while a model loads.
_PROGRESS_STEP = 25


def now_us() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1000


async def run_host(
    configuration: HostConfiguration, log: EventLog[HostEvent], recent: RecentLog
) -> None:
    """Serve until SIGINT or SIGTERM, then drain; a second signal stops at once.

    `recent` is the stream that `log` writes to. A model that cannot be served does not end
    the host: it says why, and serves it once it is mended.

    Raises `KeyFileError`, `AddressError` or `ConfigurationError` when the host cannot even
    start.
    """
    configuration.data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    identity = Identity.load_or_create(configuration.identity_path)
    log.event(
        "starting",
        peer_id=identity.peer_id,
        models=len(configuration.models),
        slots=configuration.slots,
        context_tokens=configuration.context_tokens,
    )
    watch = _Watch(log, configuration.limits_path)
    book = EarningsBook(configuration.earnings_path)
    receipts = ReceiptBook(configuration.receipts_path)
    parts = PoolParts(
        slots=configuration.slots or MAXIMUM_SLOTS,
        files=DiskModelFiles(
            data_directory=configuration.data_directory,
            digest_cache=configuration.digest_cache_path,
            slots=configuration.slots,
            context_tokens=configuration.context_tokens,
            threads=configuration.threads,
            on_tuning=lambda name: log.event("tuning", model=name),
        ),
        open_engine=lambda settings, on_state: open_engine(settings, on_state=on_state),
        free_memory=lambda: int(psutil.virtual_memory().available),
        own_memory=lambda: int(psutil.Process().memory_info().rss),
        weights_count_as_free=sys.platform == "linux",
        on_change=watch.models_changed,
    )
    async with open_pool(parts, configuration.models, configuration.preloaded) as pool:
        watch.pool = pool
        watch.keeper.govern(pool)
        await _serve(configuration, identity, watch, pool, book, receipts, recent)
    log.event("stopped", reason="asked")


async def _serve(
    configuration: HostConfiguration,
    identity: Identity,
    watch: "_Watch",
    pool: EnginePool,
    book: EarningsBook,
    receipts: ReceiptBook,
    recent: RecentLog,
) -> None:
    coordinator = configuration.coordinator_peer_id
    log, keeper = watch.log, watch.keeper
    meter = Meter(lambda: keeper.limits.bandwidth_bytes_per_second)
    broadcast = Broadcast()
    async with (
        open_node(
            identity,
            listen=configuration.listen_multiaddr,
            admits=lambda peer_id: peer_id == coordinator or exchange.admits(peer_id),
            # Coordinator, four hosts fetched from, four served, and some on their way.
            maximum_connections=16,
        ) as node,
        trio.open_nursery() as nursery,
    ):
        log.event("listening", port=node.port or 0)

        async def dial() -> MeteredStream:
            stream = await node.dial(configuration.coordinator, SESSION_PROTOCOL)
            return MeteredStream(stream, meter)

        async def dial_catalogue() -> MeteredStream:
            stream = await node.dial(configuration.coordinator, CATALOGUE_PROTOCOL)
            return MeteredStream(stream, meter)

        async def dial_holder(address: str) -> ByteStream:
            return await node.dial(address, MODEL_PROTOCOL)

        exchange = ModelExchange(
            ExchangeParts(
                data_directory=configuration.data_directory,
                dial=dial_holder,
                port=lambda: node.port,
                shares=lambda: keeper.limits.share_models,
                holding=lambda: bool(keeper.holds),
                bytes_per_second=lambda: keeper.limits.bandwidth_bytes_per_second,
                meter=meter,
                log=log,
            )
        )

        def on_receipt(receipt: Receipt, signed: bytes) -> None:
            book.count(receipt)
            receipts.keep(signed)

        def drain(seconds: float) -> None:
            if daemon.is_draining:
                daemon.stop()
            else:
                nursery.start_soon(daemon.drain, seconds)

        daemon = HostDaemon(
            DaemonParts(
                identity=identity,
                coordinator=coordinator,
                models=pool,
                dial=dial,
                log=log,
                now_us=now_us,
                randomness=random.random,
                holding=lambda: bool(keeper.holds),
                on_receipt=on_receipt,
                sharing=exchange.sharing,
                on_introduction=exchange.on_introduction,
                on_account=watch.tell,
            )
        )

        def catalogue_told() -> None:
            if not daemon.is_connected and catalogue.has_seat:
                daemon.seat_given()
            control.changed()

        catalogue = NetworkCatalogue(dial_catalogue, now_us=now_us, on_change=catalogue_told)
        control = HostControl(
            ControlledHost(
                daemon=daemon,
                pool=pool,
                find_model=partial(find_model, configuration.data_directory),
                limits=keeper,
                senses=watch.surroundings.senses,
                earnings=book,
                receipts=receipts,
                exchange=exchange,
                catalogue=catalogue,
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
        node.serve(MODEL_PROTOCOL, exchange.serve)
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
            nursery.start_soon(receipts.run)
            nursery.start_soon(exchange.run, daemon)
            nursery.start_soon(catalogue.run)
            nursery.start_soon(keeper.run)
            nursery.start_soon(watch.surroundings.run)
            # What was limited when the host last ran is limited from its first hello on.
            await keeper.look_now()
            await daemon.run()
        nursery.cancel_scope.cancel()


class _Watch:
    """Logs what models and limits do, and tells those who act on it, once they are there."""

    def __init__(self, log: EventLog[HostEvent], limits_path: Path) -> None:
        self.log = log
        self.surroundings = Surroundings(
            self._processes, rest=self._rest, wake=self._wake, on_change=self.tell
        )
        self.keeper = LimitKeeper(
            limits_path,
            look=self.surroundings.look,
            on_change=self._holds_changed,
            on_limits=self.tell,
        )
        self.pool: EnginePool | None = None
        self._daemon: HostDaemon | None = None
        self._control: HostControl | None = None
        # What was last logged of each model, and the percent when that was loading.
        self._logged: dict[str, ModelState] = {}
        self._percent: dict[str, int] = {}

    def attach(self, daemon: HostDaemon, control: HostControl) -> None:
        """Name those who act on changes."""
        self._daemon, self._control = daemon, control

    async def _rest(self, seconds: float) -> None:
        if self._daemon is not None:
            await self._daemon.rest(seconds)

    def _wake(self) -> None:
        if self._daemon is not None:
            self._daemon.wake()

    def models_changed(self, model: PooledModel | None) -> None:
        """Log a model's new state and pass it on; None when only slots changed."""
        if model is not None and self._logged.get(model.name) != model.shown_state:
            self._logged[model.name] = model.shown_state
            self._log_state(model.name, model.shown_state, model)
        if self._daemon is not None:
            self._daemon.models_changed()
        self.tell()

    def tell(self) -> None:
        """Have everybody who follows this host see how it is now."""
        if self._control is not None:
            self._control.changed()

    def _log_state(self, name: str, state: ModelState, model: PooledModel) -> None:
        match state:
            case EngineLoading():
                if not 0 <= state.percent - self._percent.get(name, -100) < _PROGRESS_STEP:
                    self._percent[name] = state.percent
                    self.log.event("engine_loading", model=name, percent=state.percent)
            case EngineReady():
                self.log.event(
                    "engine_ready",
                    model=name,
                    digest=model.digest.hex(),
                    slots=state.slots,
                    context_tokens=state.context_tokens,
                    tokens_per_second_milli=state.tokens_per_second_milli,
                    load_milliseconds=int(model.load_seconds * 1000),
                )
            case EngineRestarting():
                self.log.event(
                    "engine_restarting",
                    model=name,
                    cause="_".join(state.cause.split()),
                    delay_milliseconds=int(state.delay_seconds * 1000),
                )
            case EngineUnavailable():
                self.log.event("engine_unavailable", model=name, reason=state.reason)
            case ModelAway():
                self.log.event("model_away", model=name)
            case ModelInLine():
                pass

    def _holds_changed(self, holds: frozenset[HoldReason]) -> None:
        if holds:
            self.log.event("holding", reasons="+".join(sorted(holds)))
        else:
            self.log.event("resumed")
        if self._daemon is not None:
            self._daemon.models_changed()

    def _processes(self) -> list[int]:
        return [os.getpid(), *(self.pool.process_ids if self.pool else [])]


async def _stop_on_signal(drain: Callable[[float], None], drain_seconds: float) -> None:
    # Windows knows no SIGTERM that can be received; Ctrl-C arrives as SIGINT everywhere.
    wanted = [signal.SIGINT] if sys.platform == "win32" else [signal.SIGINT, signal.SIGTERM]
    with trio.open_signal_receiver(*wanted) as signals:
        async for _ in signals:
            drain(drain_seconds)
