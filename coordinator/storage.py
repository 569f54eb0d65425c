"""The trio shell of the coordinator's database: one writer with group commit, readers beside it.

Whoever writes waits until the write is on the disk. A caller cancelled before its write was
taken up leaves nothing behind; one cancelled later still gets its answer, and the cancellation
at its next checkpoint. There is no third case, so nobody has to wonder what became of a write.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import outcome
import trio

from peerllm.coordinator.accounts import (
    ApiKey,
    CustomerCreated,
    CustomerExists,
    DuplicateReceipt,
    Earnings,
    IssuedKey,
    KeyRevoked,
    ReceiptRecorded,
    Seat,
    SignedReceipt,
    Strike,
    StrikeKnown,
    Tier,
    WaitingHost,
)
from peerllm.coordinator.customer_storage import KeyOutcome
from peerllm.coordinator.errors import StorageClosedError, StorageError
from peerllm.coordinator.ledger import (
    AlreadyDeposited,
    Deposited,
    Funds,
    LedgerReport,
    Recovery,
)
from peerllm.coordinator.money_storage import PostOutcome, ReserveOutcome, VoidOutcome
from peerllm.coordinator.settlement import Settlement
from peerllm.coordinator.storage_connection import wall_clock_us
from peerllm.coordinator.storage_file import StorageFile

T = TypeVar("T")

# A group of this size commits in some 30 ms, which is what its last member waits in addition.
_LARGEST_GROUP = 128

# Readers share the processor with the rest of the coordinator; more would only queue there.
_READERS = 4


@dataclass(eq=False, slots=True)
class _QueuedWrite(Generic[T]):
    operation: Callable[[StorageFile], T]
    task: trio.lowlevel.Task
    taken: bool = field(default=False)


class Storage:
    """The coordinator's lasting state; made by `open_storage`. Methods as in StorageFile.

    Every wait ends: a write's with the disk, or with StorageError after StorageFile's patience
    with other processes.
    """

    def __init__(self, file: StorageFile, path: Path, clock: Callable[[], int]) -> None:
        self._file = file
        self._path = path
        self._clock = clock
        self._closing = False
        self._work = trio.Event()
        # A dict for its order and for taking a cancelled write out of the middle.
        self._queue: dict[_QueuedWrite[Any], None] = {}
        self._idle_readers: list[StorageFile] = []
        # Limiters of its own: the process-wide one may be full of slower work.
        self._writer_limit = trio.CapacityLimiter(1)
        self._reader_limit = trio.CapacityLimiter(_READERS)

    async def create_customer(self, name: str) -> CustomerCreated | CustomerExists:
        """Open an account `customers/<name>`."""
        return await self._write(lambda file: file.create_customer(name))

    async def customers(self) -> tuple[str, ...]:
        """All customers' accounts."""
        return await self._read(lambda file: file.customers())

    async def create_api_key(
        self,
        account: str,
        name: str,
        *,
        budget: int | None = None,
        expires_at_us: int | None = None,
        random: Callable[[int], bytes] | None = None,
    ) -> IssuedKey:
        """Issue a key; `random` must be cryptographic, the system's if left out."""
        source = {} if random is None else {"random": random}
        return await self._write(
            lambda file: file.create_api_key(
                account, name, budget=budget, expires_at_us=expires_at_us, **source
            )
        )

    async def revoke_api_key(self, key_id: str) -> KeyRevoked | None:
        """Withdraw a key at once and for good."""
        return await self._write(lambda file: file.revoke_api_key(key_id))

    async def find_api_key(self, plain: str) -> KeyOutcome:
        """Whom a presented key belongs to."""
        return await self._read(lambda file: file.find_api_key(plain))

    async def api_keys(self, account: str) -> tuple[ApiKey, ...]:
        """An account's keys."""
        return await self._read(lambda file: file.api_keys(account))

    async def deposit(
        self, account: str, amount: int, deposit_id: str
    ) -> Deposited | AlreadyDeposited:
        """Credit a customer with money paid in, once per `deposit_id`."""
        return await self._write(lambda file: file.deposit(account, amount, deposit_id))

    async def set_price_tier(self, account: str, tier: str) -> None:
        """Put an account into a tier of the tariff."""
        await self._write(lambda file: file.set_price_tier(account, tier))

    async def reserve(
        self, reservation_id: str, account: str, amount: int, *, key_id: str | None
    ) -> ReserveOutcome:
        """Hold back the most a request may cost; before any compute."""
        return await self._write(
            lambda file: file.reserve(reservation_id, account, amount, key_id=key_id)
        )

    async def post(
        self,
        reservation_id: str,
        settlement: Settlement,
        receipts: Iterable[SignedReceipt] = (),
    ) -> PostOutcome:
        """Charge a reservation and use up the receipts it was settled by."""
        used = tuple(receipts)
        return await self._write(lambda file: file.post(reservation_id, settlement, used))

    async def void(self, reservation_id: str) -> VoidOutcome:
        """Give a reservation up: nothing is charged."""
        return await self._write(lambda file: file.void(reservation_id))

    async def recover(self) -> Recovery:
        """Void what a crash left open; for the coordinator's start only."""
        return await self._write(lambda file: file.recover())

    async def balance(self, account: str) -> Funds:
        """An account's balance and what of it is reserved."""
        return await self._read(lambda file: file.balance(account))

    async def earnings(self, host: str) -> Earnings:
        """What a host has been credited with."""
        return await self._read(lambda file: file.earnings(host))

    async def ledger_check(self) -> LedgerReport:
        """Recount everything from the transfers."""
        return await self._read(lambda file: file.ledger_check())

    async def record_receipts(
        self, receipts: Iterable[SignedReceipt], *, reservation_id: str | None = None
    ) -> list[ReceiptRecorded | DuplicateReceipt]:
        """Keep receipts that nothing is paid for."""
        given = tuple(receipts)
        return await self._write(
            lambda file: file.record_receipts(given, reservation_id=reservation_id)
        )

    async def seat(
        self,
        peer_id: str,
        operator: str,
        tier: Tier,
        digests: Iterable[bytes],
        *,
        region: str = "default",
    ) -> Seat:
        """Give a host a seat, or replace the one it has."""
        models = tuple(digests)
        return await self._write(
            lambda file: file.seat(peer_id, operator, tier, models, region=region)
        )

    async def unseat(self, peer_id: str) -> bool:
        """Take a host's seat away."""
        return await self._write(lambda file: file.unseat(peer_id))

    async def seats(self) -> tuple[Seat, ...]:
        """All seats."""
        return await self._read(lambda file: file.seats())

    async def all_waiting(self) -> tuple[WaitingHost, ...]:
        """Who waits for a seat or has an offer, in any region."""
        return await self._read(lambda file: file.all_waiting())

    async def record_strike(
        self, peer_id: str, rule: str, *, dispatch_id: bytes | None = None
    ) -> Strike | StrikeKnown:
        """Note that a host broke a rule."""
        return await self._write(
            lambda file: file.record_strike(peer_id, rule, dispatch_id=dispatch_id)
        )

    async def write_due_appeals(self) -> int:
        """Write down that appeals which nobody decided in time have succeeded; how many."""
        return await self._write(lambda file: file.write_due_appeals())

    async def strikes(self, peer_id: str | None = None) -> tuple[Strike, ...]:
        """A host's strikes, or everybody's; the withdrawn ones too."""
        return await self._read(lambda file: file.strikes(peer_id))

    async def _write(self, operation: Callable[[StorageFile], T]) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closing:
            raise StorageClosedError("the storage is closing: no more writes")
        queued = _QueuedWrite(operation, trio.lowlevel.current_task())
        self._queue[queued] = None
        self._work.set()

        def cancel(_: Callable[[], None]) -> trio.lowlevel.Abort:
            if queued.taken:
                return trio.lowlevel.Abort.FAILED
            del self._queue[queued]
            return trio.lowlevel.Abort.SUCCEEDED

        return cast("T", await trio.lowlevel.wait_task_rescheduled(cancel))

    async def _read(self, question: Callable[[StorageFile], T]) -> T:
        return await trio.to_thread.run_sync(self._ask, question, limiter=self._reader_limit)

    def _ask(self, question: Callable[[StorageFile], T]) -> T:
        # In a reader's thread; list.pop and list.append are atomic.
        try:
            reader = self._idle_readers.pop()
        except IndexError:
            reader = StorageFile(self._path, clock=self._clock, read_only=True)
        try:
            return question(reader)
        finally:
            self._idle_readers.append(reader)

    async def _run_writer(self) -> None:
        # Shielded: it ends when the storage closes, after the last write that was asked for.
        with trio.CancelScope(shield=True):
            while self._queue or not self._closing:
                if self._queue:
                    await self._write_group()
                else:
                    self._work = trio.Event()
                    await self._work.wait()

    async def _write_group(self) -> None:
        group = list(self._queue)[:_LARGEST_GROUP]
        for queued in group:
            queued.taken = True
            del self._queue[queued]
        results = await self._commit([queued.operation for queued in group])
        for queued, result in zip(group, results, strict=True):
            trio.lowlevel.reschedule(queued.task, result)

    async def _commit(
        self, operations: list[Callable[[StorageFile], Any]]
    ) -> list[outcome.Outcome[Any]]:
        try:
            return await trio.to_thread.run_sync(
                self._file.together, operations, limiter=self._writer_limit
            )
        # Whatever it is, the waiting callers must get it: they cannot be cancelled any more.
        except Exception as error:
            return [_failed(error) for _ in operations]

    def _stop_writing(self) -> None:
        self._closing = True
        self._work.set()

    def _close_files(self) -> None:
        for reader in self._idle_readers:
            reader.close()
        self._file.close()


def _failed(cause: Exception) -> outcome.Outcome[Any]:
    # An exception object of its own for every task that will raise it.
    error = StorageError(f"nothing was written: {cause}")
    error.__cause__ = cause
    return outcome.Error(error)


@asynccontextmanager
async def open_storage(
    path: Path, *, clock: Callable[[], int] = wall_clock_us
) -> AsyncIterator[Storage]:
    """Open the database, creating or migrating it. Writes asked for are finished before it closes.

    `clock` gives unix microseconds. Raises StorageError and StorageVersionError.
    """
    file = await trio.to_thread.run_sync(lambda: StorageFile(path, clock=clock))
    storage = Storage(file, path, clock)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(storage._run_writer)
            try:
                yield storage
            finally:
                storage._stop_writing()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(storage._close_files)
