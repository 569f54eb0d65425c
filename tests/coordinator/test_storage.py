import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from peerllm.coordinator import storage_schema
from peerllm.coordinator.accounts import (
    ApiKey,
    CustomerCreated,
    DuplicateReceipt,
    KeyRevoked,
    ReceiptRecorded,
    SignedReceipt,
)
from peerllm.coordinator.errors import LedgerError, StorageClosedError, StorageError
from peerllm.coordinator.ledger import (
    AlreadySettled,
    Funds,
    Leg,
    Posted,
    Recovery,
    Reserved,
    Voided,
)
from peerllm.coordinator.settlement import Settlement
from peerllm.coordinator.storage import Storage, open_storage
from peerllm.coordinator.storage_file import StorageFile

ADA = "customers/ada"
PAID = Settlement(
    charge=100,
    host_share=95,
    margin=5,
    legs=(Leg("hosts/h1", 95), Leg("network/margin", 5)),
)


@asynccontextmanager
async def funded(path: Path) -> AsyncIterator[Storage]:
    async with open_storage(path) as storage:
        await storage.create_customer("ada")
        await storage.deposit(ADA, 1_000_000, "wire-1")
        yield storage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordinator.sqlite"


@contextmanager
def held_up(path: Path) -> Iterator[Callable[[], None]]:
    """Another process's write lock: whatever is written meanwhile waits; call to let go."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other.rollback
    finally:
        other.close()


async def test_a_requests_money_from_deposit_to_earnings(path: Path) -> None:
    async with open_storage(path) as storage:
        assert await storage.create_customer("ada") == CustomerCreated(ADA)
        await storage.deposit(ADA, 1_000, "wire-1")
        issued = await storage.create_api_key(ADA, "laptop", budget=500)
        key = await storage.find_api_key(issued.plain)
        assert isinstance(key, ApiKey)
        reserved = await storage.reserve("r1", ADA, 150, key_id=key.key_id)
        assert isinstance(reserved, Reserved)
        receipt = SignedReceipt("h1", b"d" * 16, b"signed")
        assert await storage.post("r1", PAID, [receipt]) == Posted("r1", 100)
        assert await storage.post("r1", PAID, [receipt]) == AlreadySettled("r1", 100)
        assert await storage.void("r1") == AlreadySettled("r1", 100)
        assert await storage.balance(ADA) == Funds(balance=900, reserved=0)
        assert (await storage.earnings("h1")).total == 95
        assert await storage.record_receipts([receipt, SignedReceipt("h2", b"d" * 16, b"s")]) == [
            DuplicateReceipt("h1", b"d" * 16),
            ReceiptRecorded("h2", b"d" * 16),
        ]
        assert isinstance(await storage.revoke_api_key(key.key_id), KeyRevoked)
        assert [known.spent for known in await storage.api_keys(ADA)] == [100]
        assert await storage.customers() == (ADA,)
        assert (await storage.ledger_check()).balanced


async def test_seats_and_strikes_reach_the_file(path: Path) -> None:
    async with open_storage(path) as storage:
        seat = await storage.seat("p1", "coop", "community", [b"m" * 32], region="north")
        assert await storage.seats() == (seat,)
        strike = await storage.record_strike("p1", "wrong_model", dispatch_id=b"d" * 16)
        assert await storage.strikes("p1") == (strike,)
        assert await storage.unseat("p1")
        assert await storage.seats() == ()


async def test_writes_that_wait_together_are_committed_together(path: Path) -> None:
    async with funded(path) as storage:
        groups: list[int] = []
        commit = storage._file.together

        def counted(operations: list[Callable[[StorageFile], object]]) -> object:
            groups.append(len(operations))
            return commit(operations)

        storage._file.together = counted  # type: ignore[method-assign, assignment]
        with held_up(path) as let_go:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reserve, storage, "first")
                await trio.testing.wait_all_tasks_blocked()
                for number in range(50):
                    nursery.start_soon(reserve, storage, f"r{number}")
                await trio.testing.wait_all_tasks_blocked()
                let_go()
        assert groups == [1, 50]
        assert (await storage.balance(ADA)).reserved == 510


async def reserve(storage: Storage, reservation_id: str) -> None:
    assert isinstance(await storage.reserve(reservation_id, ADA, 10, key_id=None), Reserved)


async def test_one_callers_bug_does_not_touch_the_others_of_its_group(path: Path) -> None:
    async with funded(path) as storage:
        await reserve(storage, "small")
        caught: list[LedgerError] = []

        async def overcharge() -> None:
            try:
                await storage.post("small", PAID)
            except LedgerError as error:
                caught.append(error)

        with held_up(path) as let_go:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reserve, storage, "first")
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(reserve, storage, "a")
                nursery.start_soon(overcharge)
                nursery.start_soon(reserve, storage, "b")
                await trio.testing.wait_all_tasks_blocked()
                let_go()
        assert len(caught) == 1
        assert await storage.balance(ADA) == Funds(balance=1_000_000, reserved=40)


async def test_a_write_cancelled_while_it_waits_never_happens(path: Path) -> None:
    async with funded(path) as storage:
        with held_up(path) as let_go:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(reserve, storage, "first")
                await trio.testing.wait_all_tasks_blocked()
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel_once_blocked, scope)
                    await storage.reserve("r1", ADA, 10, key_id=None)
                assert scope.cancelled_caught
                let_go()
        assert (await storage.balance(ADA)).reserved == 10
        assert isinstance(await storage.reserve("r1", ADA, 10, key_id=None), Reserved)


async def cancel_once_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_a_write_cancelled_once_begun_still_answers(path: Path) -> None:
    async with funded(path) as storage:
        outcome: object = None

        async def cancel(scope: trio.CancelScope, let_go: Callable[[], None]) -> None:
            await cancel_once_blocked(scope)
            await trio.testing.wait_all_tasks_blocked()
            let_go()

        with held_up(path) as let_go:
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as scope:
                    nursery.start_soon(cancel, scope, let_go)
                    outcome = await storage.reserve("r1", ADA, 10, key_id=None)
                    await trio.lowlevel.checkpoint()
        assert isinstance(outcome, Reserved)
        assert scope.cancelled_caught
        assert (await storage.balance(ADA)).reserved == 10


async def test_a_task_already_cancelled_writes_nothing(path: Path) -> None:
    async with funded(path) as storage:
        with trio.CancelScope() as scope:
            scope.cancel()
            await storage.reserve("r1", ADA, 10, key_id=None)
        assert (await storage.balance(ADA)).reserved == 0


async def test_cancelling_everything_closes_cleanly_and_keeps_what_was_written(
    path: Path,
) -> None:
    with trio.CancelScope() as scope:
        async with funded(path) as storage:
            await reserve(storage, "r1")
            scope.cancel()
            await trio.sleep_forever()
    async with open_storage(path) as storage:
        assert await storage.recover() == Recovery(voided=1, released=10)
        assert await storage.void("r1") == Voided("r1")


async def test_a_closed_storage_takes_no_writes(path: Path) -> None:
    async with funded(path) as storage:
        pass
    with pytest.raises(StorageClosedError):
        await storage.void("r1")


async def test_a_failed_commit_fails_every_caller_and_the_writer_goes_on(path: Path) -> None:
    async with funded(path) as storage:
        working = storage._file.together

        def failing(_: object) -> object:
            raise StorageError("the disk is gone")

        storage._file.together = failing  # type: ignore[method-assign, assignment]
        failures: list[StorageError] = []

        async def attempt(reservation_id: str) -> None:
            try:
                await storage.reserve(reservation_id, ADA, 10, key_id=None)
            except StorageError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt, "r1")
            nursery.start_soon(attempt, "r2")
        assert len(failures) == 2
        assert failures[0] is not failures[1]
        storage._file.together = working  # type: ignore[method-assign]
        await reserve(storage, "r1")


async def test_an_administrator_writes_from_elsewhere_while_the_coordinator_runs(
    path: Path,
) -> None:
    async with funded(path) as storage:

        def administer() -> None:
            with StorageFile(path) as file:
                for number in range(20):
                    file.deposit(ADA, 1, f"desk-{number}")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, administer)
            for number in range(40):
                nursery.start_soon(reserve, storage, f"r{number}")
        assert await storage.balance(ADA) == Funds(balance=1_000_020, reserved=400)


async def test_what_an_administrator_changed_is_seen_at_once(path: Path) -> None:
    async with funded(path) as storage:
        issued = await storage.create_api_key(ADA, "laptop")
        with StorageFile(path) as file:
            file.revoke_api_key(issued.key.key_id)
        assert isinstance(await storage.find_api_key(issued.plain), KeyRevoked)


async def test_reads_go_on_while_a_write_holds_the_lock(path: Path) -> None:
    async with funded(path) as storage:
        with held_up(path):
            assert (await storage.balance(ADA)).balance == 1_000_000
            assert (await storage.ledger_check()).balanced


async def test_a_lock_that_is_never_released_is_an_error_and_not_a_wait(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_schema, "BUSY_SECONDS", 0.01)
    async with funded(path) as storage:
        with held_up(path), pytest.raises(StorageError, match="locked"):
            await storage.void("r1")
        await reserve(storage, "r1")
