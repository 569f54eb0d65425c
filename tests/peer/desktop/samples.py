"""A host's state as its control API could tell it."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from peerllm.crypto.identity import Identity
from peerllm.crypto.receipt import Receipt, sign_receipt
from peerllm.overlay.account_messages import (
    Account,
    EarnedDay,
    MonthTold,
    PaidOut,
    RegionTold,
    Release,
)
from peerllm.overlay.catalogue_messages import (
    Catalogue,
    ModelTold,
    PlaceInLine,
    RegionOfHosts,
    SeatHeld,
)
from peerllm.peer.control_api import EngineStatus, ModelStatus, Status, WorkStatus
from peerllm.peer.desktop.state import Ending, HostSeen
from peerllm.peer.earnings import DayOfWork, Earnings
from peerllm.peer.limits import Limits, ScheduleWindow
from peerllm.peer.models import EMBEDDED_MODEL
from peerllm.peer.receipt_book import Receipts
from peerllm.peer.senses import Senses

HOST = Identity.from_seed(b"h" * 32)
COORDINATOR = Identity.from_seed(b"c" * 32).peer_id
ADDRESS = f"/ip4/127.0.0.1/tcp/1/p2p/{COORDINATOR}"
DIGEST = EMBEDDED_MODEL.digest.hex()
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000


def model(**changes: Any) -> ModelStatus:
    engine = EngineStatus(
        state="ready", tokens_per_second_milli=88_000, context_tokens=4096, threads=1
    )
    whole = ModelStatus(
        name=EMBEDDED_MODEL.name,
        digest=DIGEST,
        preloaded=False,
        memory_bytes=410_000_000,
        load_milliseconds=320,
        slots=4,
        free_slots=3,
        running=1,
        engine=engine,
    )
    return msgspec.structs.replace(whole, **changes)


def engine(state: str, detail: str = "", percent: int = 0) -> EngineStatus:
    return msgspec.convert({"state": state, "detail": detail, "percent": percent}, EngineStatus)


def status(*models: ModelStatus, **changes: Any) -> Status:
    served = list(models or (model(),))
    whole = Status(
        software="peerllm/0.1.0",
        peer_id=HOST.peer_id,
        coordinator=COORDINATOR,
        started_at_us=NOW_US,
        connected=True,
        state="serving",
        holds=[],
        models=served,
        model=served[0].name,
        model_digest=served[0].digest,
        slots=4,
        free_slots=3,
        running=1,
        bytes_received=1,
        bytes_sent=1,
        engine=served[0].engine,
        work=WorkStatus(complete=1, tokens_generated=120, receipts_signed=1),
        limits=Limits(
            schedule=[ScheduleWindow(days=[0, 1, 2, 3, 4], start_minute=1080, end_minute=480)],
            idle_minutes=10,
            on_battery=False,
            on_metered=False,
            beside_full_screen=False,
        ),
        senses=Senses(metered="", full_screen="", sleep=""),
    )
    return msgspec.structs.replace(whole, **changes)


def receipt(number: int = 0) -> str:
    at_us = NOW_US - number * 371_000_000
    signed = sign_receipt(
        HOST,
        Receipt(
            dispatch_id=number.to_bytes(16),
            host=HOST.peer_id,
            coordinator=COORDINATOR,
            nonce=b"n" * 16,
            model_digest=EMBEDDED_MODEL.digest,
            prompt_tokens=35 + number * 7 % 90,
            completion_tokens=128 - number * 11 % 100,
            first_token_us=180_000,
            duration_us=1_900_000 - number * 23_000,
            outcome="complete" if number % 3 else "cancelled",
            issued_at_us=at_us,
            expires_at_us=at_us + 3_600_000_000,
        ),
    )
    return base64.b64encode(signed).decode()


def earnings(last: datetime = NOW, days: int = 26) -> Earnings:
    return Earnings(
        days=[
            DayOfWork(
                day=(last - timedelta(days=back)).date().isoformat(),
                coordinator=COORDINATOR,
                model_digest=DIGEST,
                receipts=40 + (back * 37) % 60,
                prompt_tokens=9_000 + back * 111,
                completion_tokens=11_000 + (back * 7919) % 23_000,
            )
            for back in reversed(range(days))
        ]
    )


def seen(*models: ModelStatus, ending: Ending | None = None, **changes: Any) -> HostSeen:
    return HostSeen(
        status=status(*models, **changes),
        ending=ending or Ending("connected"),
        earnings=earnings(),
        receipts=Receipts(receipts=[receipt(number) for number in range(9)]),
        tokens_per_second=21.4,
    )


DAY_US = 86_400_000_000
TODAY_US = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp()) * 1_000_000


def month(hosts: int, revenue: int) -> MonthTold:
    return MonthTold(begins_us=TODAY_US - 50 * DAY_US, revenue=revenue, active_hosts=hosts)


REGION = RegionTold(
    name="north",
    status="active",
    contact="north@example.org",
    months=[month(12, 40_000_000_000)],
    active_hosts_needed=10,
    federated_hosts_needed=50,
    federated_revenue_needed=5_000_000_000_000,
)


def account(**changes: Any) -> Account:
    whole = Account(
        as_of_us=NOW_US,
        earned=9_000_000_000,
        balance=2_500_000_000,
        in_escrow=1_200_000_000,
        releases=[Release(at_us=NOW_US + 3 * DAY_US, amount=400_000_000)],
        trusted=False,
        trusted_from_us=NOW_US + 20 * DAY_US,
        receipts_missing=1,
        paid_out=6_500_000_000,
        payouts=[PaidOut(batch="2026-10", at_us=TODAY_US - 20 * DAY_US, amount=6_500_000_000)],
        minimum_payout=10_000_000_000,
        payout_every_days=30,
        days=[
            EarnedDay(begins_us=TODAY_US - 30 * DAY_US, amount=1),
            EarnedDay(begins_us=TODAY_US - DAY_US, amount=300_000_000),
            EarnedDay(begins_us=TODAY_US, amount=40_000_000),
        ],
        strikes=[],
        suspension_weight=6,
        region=REGION,
    )
    return msgspec.structs.replace(whole, **changes)


def network_model(name: str, number: int, **changes: Any) -> ModelTold:
    facts: dict[str, Any] = {
        "name": name,
        "digest": bytes([number]) * 32,
        "model_class": "small",
        "context_tokens": 8192,
        "license": "Apache-2.0",
        "embedded": False,
        "file_bytes": 386_000_000,
        "cache_bytes_per_token": 40_960,
        "free_seats": 3,
        "waiting": 0,
    }
    return ModelTold(**{**facts, **changes})


EMBEDDED = network_model(
    EMBEDDED_MODEL.name,
    0,
    digest=EMBEDDED_MODEL.digest,
    embedded=True,
    file_bytes=98_362_432,
    cache_bytes_per_token=23_040,
)
MIDDLE = network_model("smollm2-360m-instruct", 1)
HUGE = network_model(
    "mixtral-8x22b-instruct",
    2,
    model_class="large",
    context_tokens=65_536,
    file_bytes=68_719_000_000,
    cache_bytes_per_token=229_376,
    free_seats=1,
    waiting=4,
)
APPROVED = network_model(
    "phi-4-mini-instruct",
    3,
    model_class="medium",
    license="MIT",
    file_bytes=0,
    cache_bytes_per_token=0,
    free_seats=0,
)


def catalogue(**changes: Any) -> Catalogue:
    whole = Catalogue(
        as_of_us=NOW_US,
        network="Example network",
        version=3,
        models=[EMBEDDED, MIDDLE, HUGE, APPROVED],
        regions=[RegionOfHosts(name="north", contact="north@example.org", takes_hosts=True)],
        seat=SeatHeld(region="north", digests=[EMBEDDED_MODEL.digest]),
        places=[],
    )
    return msgspec.structs.replace(whole, **changes)


def place_in_line(number: int = 2, offered_until_us: int = 0) -> PlaceInLine:
    return PlaceInLine(
        region="north",
        digest=EMBEDDED_MODEL.digest,
        place=number,
        since_us=NOW_US - 9 * DAY_US,
        offered_until_us=offered_until_us,
    )
