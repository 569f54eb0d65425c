"""What every request of a coordinator passes through, and the terms it is served on."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import trio

from peerllm.coordinator.dispatch import Dispatcher
from peerllm.coordinator.in_flight import InFlight
from peerllm.coordinator.metrics import Metrics
from peerllm.coordinator.orders import ServedModel
from peerllm.coordinator.owed_voids import OwedVoids
from peerllm.coordinator.price_list import PriceList
from peerllm.coordinator.quotes import Quotes
from peerllm.coordinator.statement import Statements
from peerllm.coordinator.storage import Storage
from peerllm.safety.judge import Judge
from peerllm.safety.judge_cascade import JudgeCascade
from peerllm.safety.vault import Finder


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the signed charter says, as a request needs it."""

    race_size: int
    exposure_basis_points: int
    exposure_minimum_operators: int


@dataclass(frozen=True, kw_only=True)
class House:
    """Everything a request passes through.

    `finder_turn` is held while the finder works: it is not for several threads at once. Without a
    `cascade` the gates' thresholds decide uncertain texts.
    """

    models: Mapping[str, ServedModel]
    terms: Terms
    price_list: PriceList
    quotes: Quotes
    judge: Judge
    answer_judge: Judge
    finder: Finder
    dispatcher: Dispatcher
    storage: Storage
    owed_voids: OwedVoids
    statements: Statements
    metrics: Metrics
    draw: random.Random
    cascade: JudgeCascade | None = None
    in_flight: InFlight = field(default_factory=InFlight)
    finder_turn: trio.Lock = field(default_factory=trio.Lock)
