"""A running host in numbers and words, as its owner is shown it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from peerllm.peer.bandwidth import Meter
from peerllm.peer.catalogue import WantedModel
from peerllm.peer.control_api import (
    EngineStatus,
    HostAccount,
    HostCatalogue,
    ModelStatus,
    Status,
    WorkStatus,
)
from peerllm.peer.control_server import Broadcast
from peerllm.peer.daemon import SOFTWARE, HostDaemon
from peerllm.peer.earnings import EarningsBook
from peerllm.peer.engine_pool import EnginePool
from peerllm.peer.generation import (
    EngineLoading,
    EngineReady,
    EngineRestarting,
    EngineUnavailable,
)
from peerllm.peer.limit_keeper import LimitKeeper
from peerllm.peer.model_exchange import ModelExchange
from peerllm.peer.network_catalogue import NetworkCatalogue
from peerllm.peer.pooled_model import ModelAway, ModelInLine, PooledModel
from peerllm.peer.receipt_book import ReceiptBook
from peerllm.peer.recent_log import RecentLog
from peerllm.peer.senses import Senses


@dataclass(frozen=True)
class ControlledHost:
    """All that the control API looks at or turns."""

    daemon: HostDaemon
    pool: EnginePool
    # A model of the catalogue, or a file. Raises `PeerError`.
    find_model: Callable[[str], WantedModel]
    limits: LimitKeeper
    senses: Callable[[], Senses]
    earnings: EarningsBook
    receipts: ReceiptBook
    exchange: ModelExchange
    catalogue: NetworkCatalogue
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
    daemon = host.daemon
    models = [status_of_model(host, model) for model in host.pool.models]
    first = models[0]
    return Status(
        software=SOFTWARE,
        peer_id=host.peer_id,
        coordinator=host.coordinator,
        started_at_us=host.started_at_us,
        connected=daemon.is_connected,
        state=_state(host),
        holds=sorted(host.limits.holds | ({"sleep"} if daemon.is_resting else set())),
        seat_pause=daemon.seat_pause,
        models=models,
        model=first.name,
        model_digest=first.digest,
        slots=first.slots,
        free_slots=first.free_slots,
        running=daemon.running,
        bytes_received=host.meter.received,
        bytes_sent=host.meter.sent,
        engine=first.engine,
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
        senses=host.senses(),
        account_told_at_us=daemon.account.told_at_us if daemon.account else 0,
        catalogue_told_at_us=host.catalogue.told.told_at_us if host.catalogue.told else 0,
    )


def account_of(host: ControlledHost) -> HostAccount:
    """What the coordinator last said of its account."""
    told = host.daemon.account
    if told is None:
        return HostAccount()
    return HostAccount(told_at_us=told.told_at_us, account=told.account)


def catalogue_of(host: ControlledHost) -> HostCatalogue:
    """What the coordinator last said of its models."""
    told = host.catalogue.told
    if told is None:
        return HostCatalogue()
    return HostCatalogue(told_at_us=told.told_at_us, catalogue=told.catalogue)


def _state(
    host: ControlledHost,
) -> Literal["serving", "holding", "draining", "waiting"]:
    if host.daemon.is_draining:
        return "draining"
    if host.daemon.is_resting:
        return "holding"
    takes_work = any(model.takes_work for model in host.pool.models)
    if not host.daemon.is_connected or not takes_work:
        return "waiting"
    return "holding" if host.limits.holds else "serving"


def status_of_model(host: ControlledHost, model: PooledModel) -> ModelStatus:
    """One of its models at this moment."""
    known = model.known
    return ModelStatus(
        name=model.name,
        digest=model.digest.hex(),
        preloaded=model.preloaded,
        memory_bytes=known.need.total if known else 0,
        load_milliseconds=int(model.load_seconds * 1000),
        slots=model.proved.slots if model.proved and model.is_offered else 0,
        free_slots=host.daemon.free_slots(model.digest),
        running=model.leases,
        engine=_engine_status(model),
    )


def _engine_status(model: PooledModel) -> EngineStatus:
    engine = model.run.engine if model.run else None
    process_id = engine.process_id if engine else None
    match model.shown_state:
        case EngineReady() as ready:
            tuned = engine.tuned if engine else None
            return EngineStatus(
                state="ready",
                detail=model.detail,
                process_id=process_id,
                tokens_per_second_milli=ready.tokens_per_second_milli,
                context_tokens=ready.context_tokens,
                threads=tuned.threads if tuned else 0,
                nice=tuned.nice if tuned else 0,
            )
        case EngineLoading(percent=percent):
            return EngineStatus(state="loading", percent=percent, process_id=process_id)
        case EngineRestarting(cause=cause):
            return EngineStatus(state="restarting", detail=cause)
        case EngineUnavailable(sentence=sentence):
            return EngineStatus(state="unavailable", detail=sentence)
        case ModelAway(sentence=sentence):
            return EngineStatus(state="not_loaded", detail=sentence)
        case ModelInLine():
            return EngineStatus(state="waiting")
