"""A running coordinator: charter, models, storage, overlay and HTTP put together.

Started once, stopped by a signal. What a crash left open in the ledger is released at the start.
"""

import copy
import errno
import os
import random
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path

import trio

from peerllm.charter.documents import SafetyStandard
from peerllm.charter.loading import Charter
from peerllm.charter.store import founding_root, load_charter
from peerllm.coordinator.application import create_application
from peerllm.coordinator.catalogue_answers import CatalogueAnswers
from peerllm.coordinator.dispatch import Dispatcher
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.events import CoordinatorEvent
from peerllm.coordinator.guests import Guests
from peerllm.coordinator.host_accounts import HostAccounts
from peerllm.coordinator.host_sessions import HostSessions
from peerllm.coordinator.house import House, Terms
from peerllm.coordinator.house_in_force import HouseInForce, Looks, expiry_us, keep_in_force
from peerllm.coordinator.introductions import Introductions
from peerllm.coordinator.metrics import Metrics
from peerllm.coordinator.models import load_models
from peerllm.coordinator.owed_voids import OwedVoids
from peerllm.coordinator.price_list import price_list_of
from peerllm.coordinator.quotes import Quotes
from peerllm.coordinator.registry import Registry
from peerllm.coordinator.seats_in_force import SeatsInForce
from peerllm.coordinator.selection import RaceRule
from peerllm.coordinator.server import DRAIN_SECONDS, serve_http
from peerllm.coordinator.sole_owner import sole_owner
from peerllm.coordinator.statement import Statements
from peerllm.coordinator.storage import open_storage
from peerllm.coordinator.storage_schema import DATABASE_FILE
from peerllm.crypto.identity import Identity
from peerllm.overlay.catalogue_exchange import answer_catalogue
from peerllm.overlay.catalogue_messages import CATALOGUE_PROTOCOL
from peerllm.overlay.messages import SESSION_PROTOCOL
from peerllm.overlay.node import Stream, open_node
from peerllm.privacy.event_log import EventLog
from peerllm.safety.identifiers import IdentifierFinder
from peerllm.safety.judge import Judge, SafetyThresholds, shipped_gate
from peerllm.safety.judge_cascade import JudgeCascade
from peerllm.safety.judge_settings import open_cascade, read_judge_settings


class PortInUseError(CoordinatorError):
    """Another process listens where this coordinator should."""


@dataclass(frozen=True, kw_only=True)
class CoordinatorSettings:
    """Where a coordinator keeps its state and where it listens."""

    data_directory: Path
    charter_directory: Path
    root_file: Path | None = None
    http_address: str = "127.0.0.1"
    http_port: int = 8080
    overlay_address: str = "127.0.0.1"
    overlay_port: int = 0
    model_files: Mapping[str, Path] = field(default_factory=dict)
    judges_file: Path | None = None

    @property
    def identity_file(self) -> Path:
        """The coordinator's Ed25519 identity."""
        return self.data_directory / "identity"

    @property
    def database_file(self) -> Path:
        """Accounts, seats, receipts and the ledger."""
        return self.data_directory / DATABASE_FILE


def now_us() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


def read_charter(settings: CoordinatorSettings, *, remember: bool = True) -> Charter:
    """The verified charter; raises `CharterError` when it may not be obeyed.

    What is remembered in the data folder refuses an older charter from then on.
    """
    root = (
        settings.root_file.read_bytes()
        if settings.root_file
        else founding_root(settings.charter_directory)
    )
    return load_charter(
        settings.charter_directory,
        trusted_root=root,
        state_directory=settings.data_directory / "charter-seen" if remember else None,
        now=datetime.now(UTC),
    )


def terms_of(charter: Charter) -> Terms:
    """What requests obey of the charter's terms."""
    return Terms(
        race_size=charter.terms.race_size,
        exposure_basis_points=charter.terms.exposure_basis_points,
        exposure_minimum_operators=charter.terms.exposure_minimum_operators,
    )


def race_rule_of(charter: Charter) -> RaceRule:
    """Who may stand beside whom in a race."""
    rule = charter.terms.seat_rule
    return RaceRule(
        distinct_operators=rule.distinct_operators_per_race,
        distinct_networks=rule.distinct_networks_per_race,
    )


async def run_coordinator(settings: CoordinatorSettings, log: EventLog[CoordinatorEvent]) -> None:
    """Serve until SIGTERM or SIGINT. Raises a `CoordinatorError` that says why it cannot start."""
    if not settings.data_directory.exists():
        # Before a folder is made that holds nothing and looks like a coordinator's.
        read_charter(settings, remember=False)
    settings.data_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    refuse_taken_port(settings.http_address, settings.http_port)
    with sole_owner(settings.database_file):
        await _run_alone(settings, log)
    log.event("stopped")


async def _run_alone(settings: CoordinatorSettings, log: EventLog[CoordinatorEvent]) -> None:
    identity = Identity.load_or_create(settings.identity_file)
    charter = read_charter(settings)
    models = await trio.to_thread.run_sync(load_models, charter.catalogue, settings.model_files)
    judge, answer_judge = await trio.to_thread.run_sync(judges_of, charter)
    finder = await trio.to_thread.run_sync(IdentifierFinder)
    metrics = Metrics()
    registry = Registry(trio.current_time, now_us)
    if settings.judges_file is not None and not charter.standard.bands_milli:
        log.event("judges_idle", standard=charter.standard.version)
    async with (
        open_storage(settings.database_file, clock=now_us) as storage,
        _cascade(settings, metrics) as cascade,
    ):
        recovery = await storage.recover()
        log.event("recovered", voided=recovery.voided, released_nano_usd=recovery.released)
        draw = random.SystemRandom()
        house = House(
            models=models,
            terms=terms_of(charter),
            price_list=price_list_of(charter, now_us),
            quotes=Quotes(identity, now_us=now_us, random_bytes=os.urandom),
            judge=judge,
            answer_judge=answer_judge,
            finder=finder,
            dispatcher=Dispatcher(
                registry,
                rule=race_rule_of(charter),
                coordinator=identity.peer_id,
                draw=draw,
                random_bytes=os.urandom,
                now_us=now_us,
                on_leader=lambda dispatch, host: log.event(
                    "leads", dispatch=dispatch.hex(), host=host
                ),
            ),
            storage=storage,
            owed_voids=OwedVoids(storage, metrics.voids_owed, log),
            statements=Statements(),
            metrics=metrics,
            draw=draw,
            cascade=cascade,
        )
        seats = SeatsInForce(
            storage,
            charter.terms.seat_rule.maximum_seats_per_operator,
            strike_policy=charter.terms.strikes,
            now_us=now_us,
        )
        await seats.refresh()
        introductions = Introductions(
            registry, models.values(), clock=trio.current_time, shuffle=draw.shuffle
        )
        accounts = HostAccounts(
            settings.database_file, charter, clock=trio.current_time, now_us=now_us
        )
        answers = CatalogueAnswers(
            settings.database_file,
            charter,
            models.values(),
            clock=trio.current_time,
            now_us=now_us,
        )
        sessions = HostSessions(
            registry,
            introductions=introductions,
            accounts=accounts,
            seats=lambda: seats.current,
            coordinator=identity.peer_id,
            now_us=now_us,
            metrics=metrics,
            log=log,
        )
        in_force = HouseInForce(house, expiry_us(charter), now_us)

        def rehouse(before: House, older: Charter, newer: Charter) -> House:
            after = rehoused(before, older, newer, settings.model_files)
            seats.maximum_per_operator = newer.terms.seat_rule.maximum_seats_per_operator
            seats.strike_policy = newer.terms.strikes
            introductions.serve(after.models.values())
            accounts.charter = newer
            answers.serve(newer, after.models.values())
            return after

        looks = Looks(lambda: read_charter(settings), rehouse)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_in_force, in_force, charter, looks, log)
            nursery.start_soon(house.owed_voids.give_back)
            await _serve(settings, identity, in_force, sessions, answers, seats, log)
            nursery.cancel_scope.cancel()


def rehoused(
    house: House, older: Charter, newer: Charter, model_files: Mapping[str, Path]
) -> House:
    """The house as a newer charter wants it; what that does not speak of goes on as it is.

    Model files are read again only for another catalogue, those it no longer names not at all.
    Raises `ModelFileError`.
    """
    models, standard = house.models, newer.standard
    if newer.catalogue != older.catalogue:
        named = {name: file for name, file in model_files.items() if name in newer.catalogue.models}
        models = load_models(newer.catalogue, named)
    dispatcher = copy.copy(house.dispatcher)
    dispatcher.rule = race_rule_of(newer)
    return replace(
        house,
        models=models,
        terms=terms_of(newer),
        price_list=price_list_of(newer, now_us),
        judge=house.judge.under(_thresholds(standard, 0)),
        answer_judge=house.answer_judge.under(_thresholds(standard, standard.answer_margin_milli)),
        dispatcher=dispatcher,
    )


@asynccontextmanager
async def _cascade(
    settings: CoordinatorSettings, metrics: Metrics
) -> AsyncIterator[JudgeCascade | None]:
    """The stronger judges that the operator wrote down, if any."""
    if settings.judges_file is None:
        yield None
        return
    draw = random.SystemRandom()
    async with open_cascade(
        read_judge_settings(settings.judges_file.read_bytes()),
        environment=os.environ,
        jitter=(draw.random() for _ in count()),
        told=metrics.stronger_judge,
    ) as cascade:
        yield cascade


async def _serve(
    settings: CoordinatorSettings,
    identity: Identity,
    in_force: HouseInForce,
    sessions: HostSessions,
    answers: CatalogueAnswers,
    seats: SeatsInForce,
    log: EventLog[CoordinatorEvent],
) -> None:
    guests = Guests(
        seated=sessions.admits,
        in_line=lambda peer_id: peer_id in seats.in_line,
        clock=trio.current_time,
    )

    def admits(peer_id: str) -> bool:
        return sessions.admits(peer_id) or guests.admits(peer_id)

    async def serve_session(stream: Stream) -> None:
        await guests.attend(stream.peer_id, partial(sessions.serve, stream))

    async def tell_catalogue(stream: Stream) -> None:
        answer = partial(answers.answer, stream.peer_id)
        await guests.attend(stream.peer_id, partial(answer_catalogue, stream, answer))

    stopping = trio.Event()
    listen = f"/ip4/{settings.overlay_address}/tcp/{settings.overlay_port}"
    application = create_application(in_force, log, new_request_id)
    async with (
        open_node(identity, listen=listen, admits=admits) as node,
        trio.open_nursery() as nursery,
    ):
        node.serve(SESSION_PROTOCOL, serve_session)
        node.serve(CATALOGUE_PROTOCOL, tell_catalogue)
        nursery.start_soon(guests.see_out, node)
        nursery.start_soon(seats.keep_fresh, node, sessions.reseat)
        async with trio.open_nursery() as http:
            bound = await http.start(
                lambda task_status: serve_http(
                    application,
                    address=settings.http_address,
                    port=settings.http_port,
                    stop=stopping.wait,
                    task_status=task_status,
                )
            )
            log.event("listening", http=bound[0], overlay=node.addresses[0])
            await _signalled(log)
            stopping.set()
            # What is not answered by then is cancelled and not charged. Connections that are kept
            # open between requests are not waited for.
            with trio.move_on_after(DRAIN_SECONDS):
                await in_force.house.in_flight.idle()
            http.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def _signalled(log: EventLog[CoordinatorEvent]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for received in signals:
            log.event("stopping", signal=signal.Signals(received).name)
            return


def judges_of(charter: Charter) -> tuple[Judge, Judge]:
    """The judges of prompts and of answers, over the same gate."""
    gates = (shipped_gate(),)
    return (
        Judge(_thresholds(charter.standard, 0), gates),
        Judge(_thresholds(charter.standard, charter.standard.answer_margin_milli), gates),
    )


def _thresholds(standard: SafetyStandard, margin_milli: int) -> SafetyThresholds:
    def raised(milli: int) -> int:
        return min(1_000, milli + margin_milli)

    return SafetyThresholds(
        standard.version,
        {category: raised(one) for category, one in standard.thresholds_milli.items()},
        {
            category: (raised(band.from_milli), raised(band.certain_milli))
            for category, band in (standard.bands_milli or {}).items()
        },
    )


def new_request_id() -> str:
    """128 random bits in the form OpenAI's clients show."""
    return f"chatcmpl-{secrets.token_hex(16)}"


def refuse_taken_port(address: str, port: int) -> None:
    """Raise `PortInUseError` when the port cannot be listened on."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(
                    f"port {port} on {address} is in use; stop what listens there or choose "
                    "another port"
                ) from None
            raise PortInUseError(
                f"cannot listen on {address}:{port}: {os.strerror(error.errno or 0)}"
            ) from error
