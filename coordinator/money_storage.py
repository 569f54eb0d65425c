"""Money in the database: deposits, reservations, charges, and what is derived from them."""

from collections.abc import Iterable
from dataclasses import replace

from peerllm.charter.promises import EscrowRule
from peerllm.coordinator import accounts, ledger
from peerllm.coordinator.accounts import (
    ApiKey,
    DuplicateReceipt,
    Earnings,
    KeyExpired,
    KeyRevoked,
    ReceiptRecorded,
    SignedReceipt,
)
from peerllm.coordinator.errors import LedgerError, UnknownAccountError
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
from peerllm.coordinator.settlement import Settlement
from peerllm.coordinator.storage_connection import StorageConnection

ReserveOutcome = (
    Reserved | InsufficientFunds | BudgetExceeded | AlreadyReserved | KeyExpired | KeyRevoked
)
PostOutcome = Posted | AlreadySettled | Voided | DuplicateReceipt
VoidOutcome = Voided | AlreadySettled


class MoneyStorage(StorageConnection):
    """The books' part of `StorageFile`."""

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
