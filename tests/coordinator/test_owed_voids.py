"""Money that a request held and the ledger could not give back at once."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import trio
from simulated_host import Faults
from toy_house import ADA, ToyHouse, toy_house
from trio.testing import MockClock, wait_all_tasks_blocked

from peerllm.coordinator.errors import LedgerError, StorageError
from peerllm.coordinator.events import CoordinatorEvent
from peerllm.coordinator.ledger import Voided
from peerllm.coordinator.metrics import Metrics
from peerllm.coordinator.owed_voids import MOST_OWED, RETRY_SECONDS, OwedVoids
from peerllm.coordinator.storage import Storage
from peerllm.privacy.event_log import EventLog


class Ledger:
    """Voids that fail as long as `failure` is set, and ids that always fail."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.hangs = False
        self.impossible: set[str] = set()
        self.voided: list[str] = []

    async def void(self, reservation_id: str) -> Voided:
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        if self.failure is not None:
            raise self.failure
        if reservation_id in self.impossible:
            raise LedgerError("never")
        self.voided.append(reservation_id)
        return Voided(reservation_id)


@asynccontextmanager
async def owing(ledger: Ledger) -> AsyncIterator[tuple[OwedVoids, Metrics, io.StringIO]]:
    stream, metrics = io.StringIO(), Metrics()
    log: EventLog[CoordinatorEvent] = EventLog(lambda: 0, stream)
    owed = OwedVoids(cast("Storage", ledger), metrics.voids_owed, log)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(owed.give_back)
        yield owed, metrics, stream
        nursery.cancel_scope.cancel()


def gauge(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("peerllm_voids_owed")


async def test_what_is_owed_is_voided_once_the_ledger_can(autojump_clock: MockClock) -> None:
    ledger = Ledger()
    ledger.failure = StorageError("locked")
    async with owing(ledger) as (owed, metrics, log):
        for name in ("a", "b"):
            owed.owe(name)
        await trio.sleep(10 * RETRY_SECONDS)
        assert (ledger.voided, gauge(metrics)) == ([], 2)
        ledger.failure = None
        await trio.sleep(2 * RETRY_SECONDS)
        assert (sorted(ledger.voided), gauge(metrics)) == (["a", "b"], 0)
        owed.owe("c")
        await wait_all_tasks_blocked()
        assert ledger.voided[-1] == "c"
        assert log.getvalue().count("void_made") == 3


async def test_a_void_that_never_succeeds_holds_up_no_other(autojump_clock: MockClock) -> None:
    ledger = Ledger()
    ledger.impossible = {"a"}
    async with owing(ledger) as (owed, metrics, _):
        for name in ("a", "b", "c"):
            owed.owe(name)
        await trio.sleep(3 * RETRY_SECONDS)
        assert (ledger.voided, gauge(metrics)) == (["b", "c"], 1)


async def test_a_ledger_that_does_not_answer_is_asked_again(autojump_clock: MockClock) -> None:
    ledger = Ledger()
    ledger.hangs = True
    async with owing(ledger) as (owed, _, _log):
        owed.owe("a")
        await trio.sleep(60)
        ledger.hangs = False
        await trio.sleep(60)
        assert ledger.voided == ["a"]


async def test_the_list_is_bounded(autojump_clock: MockClock) -> None:
    ledger = Ledger()
    ledger.hangs = True
    async with owing(ledger) as (owed, metrics, log):
        for number in range(MOST_OWED + 2):
            owed.owe(str(number))
        assert gauge(metrics) == MOST_OWED
        assert log.getvalue().count("void_left_to_restart") == 2


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_request_ends_as_it_would_have_and_its_money_comes_back(
    tmp_path: Path, patient_clock: MockClock, monkeypatch: pytest.MonkeyPatch, *, hangs: bool
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a", Faults(refuses="engine_failed"))
        failing = Ledger()
        failing.failure, failing.hangs = StorageError("locked"), hangs
        with monkeypatch.context() as patched:
            patched.setattr(toy.storage, "void", failing.void)
            reply = await toy.chat()
            assert (reply.status, reply.error["code"]) == (503, "no_capacity")
            assert await _held(toy) > 0
        await trio.sleep(60)
        assert await _held(toy) == 0
        assert "void_made" in toy.log.getvalue()


async def _held(toy: ToyHouse) -> int:
    return (await toy.storage.balance(ADA)).reserved
