"""All that lasts of a coordinator, synchronously: what the trio shell and the commands share."""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import outcome

from peerllm.charter.promises import EscrowRule
from peerllm.charter.seat_rules import DAY_US, LONGEST_PAUSE_DAYS, Offers, PauseReason
from peerllm.coordinator import accounts, ledger
from peerllm.coordinator.accounts import (
    ApiKey,
    CustomerCreated,
    CustomerExists,
    DuplicateReceipt,
    Earnings,
    IssuedKey,
    KeyExpired,
    KeyRevoked,
    ReceiptRecorded,
    Seat,
    SeatElsewhere,
    SeatPause,
    SignedReceipt,
    Strike,
    StrikeKnown,
    StrikeWithdrawn,
    Tier,
    WaitingHost,
)
from peerllm.coordinator.errors import (
    LedgerError,
    NameRefusedError,
    StorageError,
    UnknownAccountError,
)
from peerllm.coordinator.host_statement import HostStatement, host_statement
from peerllm.coordinator.ledger import (
    AlreadyDeposited,
    AlreadyReserved,
    AlreadySettled,
    BudgetExceeded,
    Deposited,
    Funds,
    InsufficientFunds,
    LedgerReport,
    Posted,
    Recovery,
    Reservation,
    Reserved,
    Voided,
)
from peerllm.coordinator.ledger_audit import audit
from peerllm.coordinator.ledger_statement import (
    CustomerStatement,
    PayoutRow,
    customer_statement,
    payouts_of,
)
from peerllm.coordinator.ledger_tables import LedgerTables
from peerllm.coordinator.payout_storage import PayoutStorage
from peerllm.coordinator.seat_tables import SeatTables
from peerllm.coordinator.settlement import Settlement
from peerllm.coordinator.storage_schema import io_errors, open_database, write_transaction
from peerllm.coordinator.strike_tables import StrikeTables

T = TypeVar("T")

ReserveOutcome = (
    Reserved | InsufficientFunds | BudgetExceeded | AlreadyReserved | KeyExpired | KeyRevoked
)
PostOutcome = Posted | AlreadySettled | Voided | DuplicateReceipt
VoidOutcome = Voided | AlreadySettled
KeyOutcome = ApiKey | KeyExpired | KeyRevoked | None


def wall_clock_us() -> int:
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


class StorageFile:
    """One connection to the coordinator's database; of one thread at a time.

    Several processes may hold one each: a write waits for the others' to finish. Every method is
    one transaction. They raise StorageError when the disk or a lock fails them, LedgerError and
    UnknownAccountError for bugs of the caller; whenever one raises, nothing of it was written.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], int] = wall_clock_us,
        read_only: bool = False,
    ) -> None:
        self._database = open_database(path, read_only=read_only)
        self._tables = LedgerTables(self._database, clock)
        self.payouts = PayoutStorage(self._database, self._tables, clock)
        self._seats = SeatTables(self._tables, clock)
        self._strikes = StrikeTables(self._tables, clock)
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        with io_errors("closing the database"):
            self._database.close()

    def together(
        self, operations: Sequence[Callable[["StorageFile"], T]]
    ) -> list[outcome.Outcome[T]]:
        """Run several writes as one group commit: one wait for the disk instead of many.

        Each succeeds or fails by itself; raises StorageError if the group as a whole could not
        be written, and then nothing of any of them was.
        """
        results: list[outcome.Outcome[T]] = []
        with io_errors("a group commit"), write_transaction(self._database):
            for operation in operations:
                results.append(outcome.capture(operation, self))
                if not self._database.conn.in_transaction:
                    # A full disk, for one, makes SQLite roll the whole transaction back.
                    raise StorageError("the database undid a group of writes: is the disk full?")
        return results

    def _write(self, write: Callable[[], T]) -> T:
        with io_errors("a write to the database"), write_transaction(self._database):
            return write()

    def _read(self, read: Callable[[], T]) -> T:
        with io_errors("reading the database"):
            return read()

    # Customers and their keys

    def create_customer(self, name: str) -> CustomerCreated | CustomerExists:
        """Open an account `customers/<name>`; raises NameRefusedError."""
        account = ledger.customer_account(accounts.check_customer_name(name))
        created = self._write(lambda: self._tables.open_account(account))
        return CustomerCreated(account) if created else CustomerExists(account)

    def set_price_tier(self, account: str, tier: str) -> None:
        """Put an account into a tier of the tariff, from its next request on."""
        accounts.check_price_tier(tier)

        def write() -> None:
            self._tables.require_account(account)
            self._tables.execute(
                "UPDATE accounts SET price_tier = ? WHERE account = ?", tier, account
            )

        self._write(write)

    def customers(self) -> tuple[str, ...]:
        """All customers' accounts, by name."""
        rows = self._read(
            lambda: self._tables.rows(
                "SELECT account FROM accounts WHERE account GLOB ? ORDER BY account",
                ledger.CUSTOMER_PREFIX + "*",
            )
        )
        return tuple(account for (account,) in rows)

    def create_api_key(
        self,
        account: str,
        name: str,
        *,
        budget: int | None = None,
        expires_at_us: int | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> IssuedKey:
        """Issue a key; only its digest is kept. `budget` limits what it may ever spend."""
        accounts.check_label(name, "a key's name")
        if budget is not None:
            ledger.check_amount(budget, "a budget")
        plain = accounts.new_key(random)
        digest = accounts.key_digest(plain)
        if digest is None:
            raise LedgerError("the random source gave the wrong number of bytes for a key")
        key = ApiKey(
            key_id=accounts.key_id_of(digest),
            account=account,
            name=name,
            created_at_us=self._clock(),
            expires_at_us=expires_at_us,
            revoked_at_us=None,
            budget=budget,
            spent=0,
        )

        def write() -> None:
            self._tables.require_account(account)
            self._tables.insert_key(key, digest)

        self._write(write)
        return IssuedKey(key, plain)

    def revoke_api_key(self, key_id: str) -> KeyRevoked | None:
        """Withdraw a key at once and for good; None if there is no such key."""

        def write() -> KeyRevoked | None:
            self._tables.execute(
                "UPDATE api_keys SET revoked_at_us = ? WHERE key_id = ? AND revoked_at_us IS NULL",
                self._clock(),
                key_id,
            )
            key = self._tables.key(key_id)
            if key is None or key.revoked_at_us is None:
                return None
            return KeyRevoked(key_id, key.revoked_at_us)

        return self._write(write)

    def find_api_key(self, plain: str) -> KeyOutcome:
        """Whom a presented key belongs to; None for one that was never issued."""
        digest = accounts.key_digest(plain)
        if digest is None:
            return None
        key = self._read(lambda: self._tables.key_by_digest(digest))
        return None if key is None else accounts.key_state(key, self._clock())

    def api_keys(self, account: str) -> tuple[ApiKey, ...]:
        """An account's keys, oldest first, the revoked and expired ones too."""
        return self._read(lambda: self._tables.keys_of(account))

    # Money

    def deposit(
        self, account: str, amount: int, deposit_id: str, *, tax: int = 0, fee: int = 0
    ) -> Deposited | AlreadyDeposited:
        """Credit a customer with money paid in; `deposit_id` makes it happen once only.

        `tax` came on top, `fee` is what the payment processor kept of it all. Raises LedgerError
        if the same id was used for another account or amount.
        """
        transfers = ledger.deposit_transfers(account, amount, deposit_id, tax=tax, fee=fee)
        transfer = transfers[0]

        def write() -> Deposited | AlreadyDeposited:
            self._tables.require_account(account)
            known = tuple(
                existing
                for kind in ("deposit", "tax", "fee")
                if (existing := self._tables.transfer(f"{kind}/{deposit_id}")) is not None
            )
            if known == transfers:
                return AlreadyDeposited(transfer)
            if known:
                raise LedgerError(
                    f"deposit {deposit_id} exists with another account, amount, tax or fee: use a"
                    " new id"
                )
            new = self._tables.new_link("deposit", deposit_id)
            rows = []
            for part in transfers:
                self._tables.open_account(part.debit_account)
                self._tables.open_account(part.credit_account)
                rows.append(self._tables.insert_transfer(new, part, None))
            self._tables.insert_link(new, rows)
            return Deposited(transfer)

        return self._write(write)

    def reserve(
        self, reservation_id: str, account: str, amount: int, *, key_id: str | None
    ) -> ReserveOutcome:
        """Hold back the most a request may cost; before any compute."""
        reservation = Reservation(reservation_id, account, key_id, amount, "open")

        def write() -> ReserveOutcome:
            existing = self._tables.reservation(reservation_id)
            if existing is not None:
                return AlreadyReserved(existing)
            budget = None
            if key_id is not None:
                key = self._key_of_account(key_id, account)
                if not isinstance(key, ApiKey):
                    return key
                budget = self._tables.budget(key)
            funds = self._tables.funds(account, keep_snapshot=True)
            decision = ledger.decide_reservation(reservation, funds, budget)
            if isinstance(decision, Reserved):
                self._tables.insert_reservation(reservation)
            return decision

        return self._write(write)

    def _key_of_account(self, key_id: str, account: str) -> ApiKey | KeyExpired | KeyRevoked:
        # Asked again within the transaction: a key revoked since it was presented buys nothing.
        key = self._tables.key(key_id)
        if key is None or key.account != account:
            raise UnknownAccountError(f"account {account} has no key {key_id}")
        return accounts.key_state(key, self._clock())

    def post(
        self,
        reservation_id: str,
        settlement: Settlement,
        receipts: Iterable[SignedReceipt] = (),
    ) -> PostOutcome:
        """Charge a reservation: balanced legs, used receipts and its closing, all or nothing.

        A receipt used before refuses the whole (DuplicateReceipt): settle again without it. A
        reservation that recovery has voided stays voided. Raises LedgerError when the charge
        exceeds the reservation or the legs break a rule, UnknownAccountError when there is none.
        """
        used = tuple(receipts)

        def write() -> PostOutcome:
            reservation = self._tables.require_reservation(reservation_id)
            if reservation.state == "voided":
                return Voided(reservation_id)
            if reservation.charge is not None:
                return AlreadySettled(reservation_id, reservation.charge)
            duplicate = self._tables.first_duplicate(used)
            if duplicate is not None:
                return duplicate
            charge = settlement.charge
            new = self._tables.new_link("charge", reservation_id)
            rows = []
            for transfer in ledger.charge_transfers(reservation, charge, settlement.legs):
                self._tables.open_account(transfer.credit_account)
                rows.append(self._tables.insert_transfer(new, transfer, reservation_id))
            rows.append(self._tables.post_reservation(new, reservation, charge))
            rows += self._tables.insert_receipts(new, used, reservation_id)
            self._tables.insert_link(new, rows)
            return Posted(reservation_id, charge)

        return self._write(write)

    def void(self, reservation_id: str) -> VoidOutcome:
        """Give a reservation up: nothing is charged. As often as one likes."""

        def write() -> VoidOutcome:
            reservation = self._tables.require_reservation(reservation_id)
            if reservation.charge is not None:
                return AlreadySettled(reservation_id, reservation.charge)
            if reservation.state == "open":
                self._tables.void_reservation(reservation)
            return Voided(reservation_id)

        return self._write(write)

    def recover(self) -> Recovery:
        """Void what a crash left open, and record it.

        For the coordinator's start only, when none of its requests can be running.
        """

        def write() -> Recovery:
            voided, released = self._tables.void_open_reservations()
            self._tables.execute(
                "INSERT INTO recoveries (recovered_at_us, voided, released) VALUES (?, ?, ?)",
                self._clock(),
                voided,
                released,
            )
            return Recovery(voided, released)

        return self._write(write)

    def balance(self, account: str) -> Funds:
        """An account's balance, derived from its transfers, and what of it is reserved."""

        # One moment for both: a charge posted between the two queries would count twice.
        def read() -> Funds:
            with self._database.atomic():
                return self._tables.funds(account, keep_snapshot=False)

        return self._read(read)

    def earnings(self, host: str) -> Earnings:
        """What a host has been credited with; zero for one never paid."""
        ((settlements, total),) = self._read(
            lambda: self._tables.rows(
                "SELECT COUNT(*), COALESCE(SUM(amount), 0) FROM transfers WHERE credit_account = ?",
                ledger.host_account(host),
            )
        )
        return Earnings(host, total, settlements)

    def knows_host(self, host: str) -> bool:
        """Whether a host holds a seat or was ever paid for work."""
        account = ledger.host_account(host)
        found = self._read(
            lambda: self._tables.row(
                "SELECT 1 FROM accounts WHERE account = ?"
                " UNION ALL SELECT 1 FROM seats WHERE peer_id = ?",
                account,
                host,
            )
        )
        return found is not None

    def ledger_check(self) -> LedgerReport:
        """Recount everything from the transfers; reads the whole ledger, at one moment."""

        def read() -> LedgerReport:
            with self._database.atomic():
                report = audit(self._database)
                return replace(report, faults=(*report.faults, *self.payouts.root_faults()))

        return self._read(read)

    def chain_digest(self, entry: int) -> bytes | None:
        """The digest of a link of the hash chain, None when there is no such link."""
        row = self._read(
            lambda: self._tables.row("SELECT digest FROM chain WHERE entry = ?", entry)
        )
        return None if row is None else row[0]

    def customer_statement(self, account: str) -> CustomerStatement:
        """A customer's statement from the ledger; raises UnknownAccountError."""

        def read() -> CustomerStatement:
            with self._database.atomic():
                return customer_statement(self._tables, account)

        return self._read(read)

    def payouts_of(self, host: str) -> tuple[PayoutRow, ...]:
        """What was paid out to a host, oldest first."""
        return self._read(lambda: payouts_of(self._tables, host))

    def host_statement(self, rule: EscrowRule, host: str) -> HostStatement:
        """What the ledger says to a host, at one moment."""

        def read() -> HostStatement:
            with self._database.atomic():
                now_us = self._clock()
                return host_statement(self._tables, self.payouts, rule, host, now_us)

        return self._read(read)

    # Receipts, seats, strikes

    def record_receipts(
        self, receipts: Iterable[SignedReceipt], *, reservation_id: str | None = None
    ) -> list[ReceiptRecorded | DuplicateReceipt]:
        """Keep receipts that nothing is paid for, such as late ones; each counts once."""
        given = tuple(receipts)

        def write() -> list[ReceiptRecorded | DuplicateReceipt]:
            results: list[ReceiptRecorded | DuplicateReceipt] = []
            for receipt in given:
                duplicate = self._tables.first_duplicate((receipt,))
                if duplicate is None:
                    new = self._tables.new_link("receipts", receipt.host)
                    rows = self._tables.insert_receipts(new, (receipt,), reservation_id)
                    self._tables.insert_link(new, rows)
                results.append(duplicate or ReceiptRecorded(receipt.host, receipt.dispatch_id))
            return results

        return self._write(write)

    def seat(
        self,
        peer_id: str,
        operator: str,
        tier: Tier,
        digests: Iterable[bytes],
        *,
        region: str = "default",
    ) -> Seat:
        """Give a host a seat, or replace the one it has."""
        ledger.host_account(peer_id)
        seat = Seat(
            peer_id=peer_id,
            operator=accounts.check_label(operator, "an operator"),
            tier=tier,
            digests=frozenset(accounts.check_model_digest(digest) for digest in digests),
            region=accounts.check_region(region),
            seated_at_us=self._clock(),
        )

        self._write(lambda: self._seats.give(seat))
        return seat

    def unseat(self, peer_id: str) -> bool:
        """Take a host's seat away; False if it had none."""
        return self._write(lambda: self._seats.take(peer_id))

    def seats(self) -> tuple[Seat, ...]:
        """All seats, by peer id, each with the pause that is in force."""
        return self._read(self._seats.seats)

    def pause_seat(self, peer_id: str, reason: PauseReason, days: int) -> SeatPause | None:
        """Give a seated host no work for a while; None if it holds no seat."""
        if not 1 <= days <= LONGEST_PAUSE_DAYS:
            raise NameRefusedError(
                f"a pause of {days} days: give 1 to {LONGEST_PAUSE_DAYS}, pause again if need be"
            )
        now_us = self._clock()
        pause = SeatPause(reason, now_us, now_us + days * DAY_US)
        return pause if self._write(lambda: self._seats.pause(peer_id, pause)) else None

    def resume_seat(self, peer_id: str) -> bool:
        """End a seat's pause; False if it was not paused."""
        return self._write(lambda: self._seats.resume(peer_id))

    def seats_offered(self, region: str) -> dict[bytes, int]:
        """How many seats a region offers, by model digest."""
        return self._read(lambda: self._seats.offered(region))

    def offer_seats(self, region: str, offers: Mapping[bytes, int]) -> None:
        """Offer so many seats from now on; models that are not named stay as they are."""

        def write() -> None:
            for digest, seats in offers.items():
                self._seats.offer(region, accounts.check_model_digest(digest), seats)

        self._write(write)

    def waiting(self, region: str) -> tuple[WaitingHost, ...]:
        """Who is in line for a region's seats, first in line first."""
        return self._read(lambda: self._seats.waiting(region))

    def join_line(self, peer_id: str, operator: str, region: str, digests: Iterable[bytes]) -> int:
        """Put a host in line, once a model; the number of models it was not in line for yet."""
        ledger.host_account(peer_id)
        accounts.check_label(operator, "an operator")
        accounts.check_region(region)
        models = [accounts.check_model_digest(digest) for digest in digests]
        return self._write(lambda: self._seats.join_line(peer_id, operator, region, models))

    def leave_line(self, peer_id: str, region: str) -> int:
        """Take a host out of line; the number of places it held."""

        def write() -> int:
            held = [one.position for one in self._seats.waiting(region) if one.peer_id == peer_id]
            return self._seats.leave_line(held, "withdrawn")

        return self._write(write)

    def move_line(self, decide: Callable[[tuple[WaitingHost, ...]], Offers], region: str) -> Offers:
        """Let `decide` see the line and write what it says, all at one moment."""

        def write() -> Offers:
            offers = decide(self._seats.waiting(region))
            self._seats.leave_line((entry.position for entry in offers.lapsed), "lapsed")
            self._seats.offer_to(entry.position for entry in offers.offer)
            return offers

        return self._write(write)

    def accept_seat(self, peer_id: str, region: str) -> Seat | SeatElsewhere | None:
        """Seat a host for the models it has been offered; None if it was offered none."""
        return self._write(lambda: self._seats.accept(peer_id, region))

    def record_strike(
        self,
        peer_id: str,
        rule: str,
        *,
        dispatch_id: bytes | None = None,
        evidence_sha256: bytes | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Strike | StrikeKnown:
        """Note that a host broke the rule of this name; the same evidence counts once."""
        accounts.check_label(rule, "a rule's name")
        return self._write(
            lambda: self._strikes.record(peer_id, rule, dispatch_id, evidence_sha256, random)
        )

    def withdraw_strike(self, number: int, reason: str) -> Strike | StrikeWithdrawn | None:
        """Let a strike count no more, for good; None if there is no strike of that number."""
        accounts.check_label(reason, "a reason")
        return self._write(lambda: self._strikes.withdraw(number, reason))

    def strikes(self, peer_id: str | None = None) -> tuple[Strike, ...]:
        """A host's strikes, or everybody's, oldest first; the withdrawn ones too."""
        return self._read(lambda: self._strikes.strikes(peer_id))

    def receipt(self, peer_id: str, dispatch_id: bytes) -> bytes | None:
        """The signed receipt that a host handed in for a dispatch, None if it did not."""
        return self._read(lambda: self._strikes.receipt(peer_id, dispatch_id))
