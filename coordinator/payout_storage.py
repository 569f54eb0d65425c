"""Payouts in the database: books of hosts, payees, and batches written whole or not at all."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from sqlite_utils import Database

from peerllm.charter.payout_proof import SALT_BYTES
from peerllm.charter.promises import EscrowRule, PayoutRule
from peerllm.coordinator import accounts, ledger
from peerllm.coordinator.chain import Row
from peerllm.coordinator.errors import LedgerError, NameRefusedError
from peerllm.coordinator.ledger_tables import LedgerTables
from peerllm.coordinator.payout import (
    DAY_US,
    Batch,
    HostBooks,
    Payee,
    PayoutDates,
    PayoutLine,
    Standing,
    Unpaid,
    due_after,
    payable_cents,
    standing,
    unpaid_because,
)
from peerllm.coordinator.payout_dates import PAID, RECEIPTS, last_batch, payout_dates
from peerllm.coordinator.storage_schema import io_errors, write_transaction

# What a bank's message id may be, so that a batch has one name everywhere.
_BATCH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,34}")
# An IBAN, or any other account number within ISO 20022's bounds.
_ACCOUNT: Final = re.compile(r"[A-Z0-9]{4,34}")
_AGENT: Final = re.compile(r"[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?")
_NAME_CHARACTERS: Final = 70


@dataclass(frozen=True, slots=True)
class PayoutMade:
    """The batch is written; its hosts' balances are lower by it."""

    batch: Batch
    unpaid: tuple[tuple[str, Unpaid], ...]


@dataclass(frozen=True, slots=True)
class PayoutExists:
    """This batch was made before; nothing was written now."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class NothingToPay:
    """No host is due anything; nothing was written. `unpaid` says why, host by host."""

    unpaid: tuple[tuple[str, Unpaid], ...]


@dataclass(frozen=True, slots=True)
class PayoutTooEarly:
    """The charter's interval since the last batch is not over; nothing was written."""

    last_batch: str
    last_at_us: int
    due_us: int


PayoutOutcome = PayoutMade | PayoutExists | NothingToPay | PayoutTooEarly


class PayoutStorage:
    """Payouts on one connection; as `StorageFile`, of one thread at a time.

    Its methods raise StorageError when the disk or a lock fails them, and NameRefusedError for
    names and accounts of the wrong shape.
    """

    def __init__(self, database: Database, tables: LedgerTables, clock: Callable[[], int]) -> None:
        self._database = database
        self._tables = tables
        self._clock = clock

    def set_payee(self, host: str, payee: Payee) -> None:
        """Note whom to pay for a host; batches made before keep whom they were made for."""
        ledger.host_account(host)
        checked = check_payee(payee)
        with io_errors("a write to the database"), write_transaction(self._database):
            self._tables.execute(
                "INSERT OR REPLACE INTO payees (host, name, payee_account, payee_agent,"
                " changed_at_us) VALUES (?, ?, ?, ?, ?)",
                host,
                checked.name,
                checked.account,
                checked.agent,
                self._clock(),
            )

    def payee(self, host: str) -> Payee | None:
        """Whom to pay for a host, if that is known."""
        row = self._tables.row(
            "SELECT name, payee_account, payee_agent FROM payees WHERE host = ?", host
        )
        return None if row is None else Payee(name=row[0], account=row[1], agent=row[2])

    def books(self, rule: EscrowRule, host: str | None = None) -> Iterator[HostBooks]:
        """The books of one host or of all that ever earned, by peer id."""
        cutoff = self._clock() - rule.hold_days * DAY_US
        if host is None:
            rows = self._tables.rows(_ALL_BOOKS, cutoff, cutoff, ledger.UNCLAIMED_ACCOUNT)
        else:
            rows = self._tables.rows(_ONE_BOOK, cutoff, cutoff, ledger.host_account(host))
        for row in rows:
            account, earned, rested, oldest_resting = row
            (paid,) = self._tables.rows(PAID, account)[0]
            peer_id = account.removeprefix(ledger.HOST_PREFIX)
            receipts, first = self._tables.rows(RECEIPTS, peer_id)[0]
            yield HostBooks(
                host=peer_id,
                earned=earned,
                rested=rested,
                paid=paid,
                receipts=receipts,
                first_receipt_us=first,
                oldest_resting_us=oldest_resting,
            )

    def standing(self, rule: EscrowRule, host: str) -> tuple[HostBooks, Standing] | None:
        """A host's books and what of them may go out now; None for one that never earned."""
        for books in self.books(rule, host):
            return books, standing(books, rule, self._clock())
        return None

    def pay(
        self,
        batch: str,
        *,
        rule: EscrowRule,
        payout: PayoutRule,
        payer: Payee,
        random: Callable[[int], bytes],
    ) -> PayoutOutcome:
        """Pay everybody who is due, in one transaction; a batch of this name is made once.

        No batch before the charter's interval since the last one is over, whatever its name.
        """
        check_batch_name(batch)
        payer = check_payee(payer)
        with io_errors("a write to the database"), write_transaction(self._database):
            existing = self.batch(batch)
            if existing is not None:
                return PayoutExists(existing)
            last = last_batch(self._tables)
            if last is not None:
                due_us = due_after(last[1], payout.every_days)
                if self._clock() < due_us:
                    return PayoutTooEarly(*last, due_us)
            return self._pay(batch, rule, payout.minimum_nano_usd, payer, random)

    def _pay(
        self,
        batch: str,
        rule: EscrowRule,
        minimum: int,
        payer: Payee,
        random: Callable[[int], bytes],
    ) -> PayoutMade | NothingToPay:
        lines: list[PayoutLine] = []
        unpaid: list[tuple[str, Unpaid]] = []
        for books in list(self.books(rule)):
            found, payee = standing(books, rule, self._clock()), self.payee(books.host)
            reason = unpaid_because(found, minimum, payee)
            if reason is not None or payee is None:
                unpaid.append((books.host, reason or "no payee"))
                continue
            lines.append(
                PayoutLine(
                    line=len(lines) + 1,
                    host=books.host,
                    amount=payable_cents(found.payable),
                    salt=random(SALT_BYTES),
                    payee=payee,
                )
            )
        if not lines:
            return NothingToPay(tuple(unpaid))
        new = self._tables.new_link("payout", batch)
        made = Batch(
            batch=batch,
            created_at_us=self._clock(),
            minimum=minimum,
            lines=tuple(lines),
            root=b"",
            payer=payer,
            ledger_entry=new.entry - 1,
            ledger_digest=new.previous,
        )
        made = replace(made, root=made.computed_root())
        rows: list[Row] = []
        self._tables.open_account(ledger.OUTSIDE_ACCOUNT)
        for line in lines:
            transfer = ledger.payout_transfer(batch, line.host, line.amount)
            rows.append(self._tables.insert_transfer(new, transfer, None))
        rows += self._insert(made, new.entry)
        self._tables.insert_link(new, rows)
        return PayoutMade(made, tuple(unpaid))

    def dates(self, rule: EscrowRule, payout: PayoutRule, host: str) -> PayoutDates:
        """When a host's next payout is due, and since when one is overdue."""
        has_payee = self.payee(host) is not None
        return payout_dates(
            self._tables, rule, payout, host, now_us=self._clock(), has_payee=has_payee
        )

    def _insert(self, made: Batch, entry: int) -> list[Row]:
        head = (
            made.batch,
            made.created_at_us,
            made.minimum,
            len(made.lines),
            made.total,
            made.root,
            payer_text(made.payer),
        )
        self._tables.execute("INSERT INTO payouts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *head, entry)
        rows: list[Row] = [head]
        for line in made.lines:
            row = (
                made.batch,
                line.line,
                line.host,
                line.amount,
                line.salt,
                line.payee.name,
                line.payee.account,
                line.payee.agent,
            )
            self._tables.execute("INSERT INTO payout_lines VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)
            rows.append(row)
        return rows

    def batch(self, batch: str) -> Batch | None:
        """A batch as it was written."""
        row = self._tables.row(
            "SELECT created_at_us, minimum, root, payer, entry FROM payouts WHERE batch = ?", batch
        )
        if row is None:
            return None
        created_at_us, minimum, root, payer, entry = row
        before = self._tables.row("SELECT digest FROM chain WHERE entry = ?", entry - 1)
        if before is None:
            raise LedgerError(f"the hash chain has no link before batch {batch}: it was altered")
        lines = self._tables.rows(
            "SELECT line, host, amount, salt, payee_name, payee_account, payee_agent"
            " FROM payout_lines WHERE batch = ? ORDER BY line",
            batch,
        )
        return Batch(
            batch=batch,
            created_at_us=created_at_us,
            minimum=minimum,
            lines=tuple(
                PayoutLine(
                    line=line,
                    host=host,
                    amount=amount,
                    salt=salt,
                    payee=Payee(name=name, account=account, agent=agent),
                )
                for line, host, amount, salt, name, account, agent in lines
            ),
            root=root,
            payer=payer_of(payer),
            ledger_entry=entry - 1,
            ledger_digest=before[0],
        )

    def root_faults(self) -> list[str]:
        """Batches whose root is not that of their lines and of the ledger as it stood."""
        return [
            f"payout batch {name} has another root than its lines and the ledger before it make"
            for name in self.batches()
            if (batch := self.batch(name)) is not None and batch.computed_root() != batch.root
        ]

    def batches(self) -> tuple[str, ...]:
        """The names of all batches, oldest first."""
        rows = self._tables.rows("SELECT batch FROM payouts ORDER BY entry")
        return tuple(batch for (batch,) in rows)


_BOOKS: Final = """
    SELECT credit_account, SUM(amount),
        SUM(CASE WHEN recorded_at_us <= ? THEN amount ELSE 0 END),
        MIN(CASE WHEN recorded_at_us > ? THEN recorded_at_us END)
    FROM transfers
"""
_ONE_BOOK: Final = f"{_BOOKS} WHERE credit_account = ? GROUP BY credit_account"
_ALL_BOOKS: Final = (
    f"{_BOOKS} WHERE credit_account GLOB 'hosts/*' AND credit_account <> ?"
    " GROUP BY credit_account ORDER BY credit_account"
)


def check_batch_name(batch: str) -> str:
    """The name, if it can name a batch; raises NameRefusedError."""
    if _BATCH.fullmatch(batch) is None:
        raise NameRefusedError(
            f"{batch[:50]!r} cannot name a batch: use up to 35 letters, digits, dots, hyphens and"
            " underscores"
        )
    return batch


def check_payee(payee: Payee) -> Payee:
    """The payee with its account in capitals and without blanks; raises NameRefusedError."""
    accounts.check_label(payee.name, "a payee's name")
    if len(payee.name) > _NAME_CHARACTERS:
        raise NameRefusedError(f"a payee's name has up to {_NAME_CHARACTERS} characters")
    account = _capitals(payee.account)
    agent = _capitals(payee.agent) if payee.agent else None
    if _ACCOUNT.fullmatch(account) is None:
        raise NameRefusedError(
            "an account to pay to has 4 to 34 letters and digits: an IBAN, or the bank's number"
        )
    if is_iban_shaped(account) and not _checks_out(account):
        raise NameRefusedError("the IBAN's check digits are wrong: was it mistyped?")
    if agent is not None and _AGENT.fullmatch(agent) is None:
        raise NameRefusedError("a bank's BIC has 8 or 11 letters and digits")
    return Payee(name=payee.name, account=account, agent=agent)


def _capitals(text: str) -> str:
    # Other alphabets' letters are left as they are, and refused: a capital of "\xdf" is "SS", which
    # would be another account.
    without_blanks = text.replace(" ", "")
    return without_blanks.upper() if without_blanks.isascii() else without_blanks


def is_iban_shaped(account: str) -> bool:
    """Whether an account is written as an IBAN: a country, two check digits, at least 15 in all."""
    return len(account) >= 15 and account[:2].isalpha() and account[2:4].isdigit()


def _checks_out(iban: str) -> bool:
    # ISO 13616: letters count from 10, the whole modulo 97 is 1.
    return int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 == 1


def payer_text(payer: Payee) -> str:
    """A payer as it stands in its column."""
    return "\n".join((payer.name, payer.account, payer.agent or ""))


def payer_of(text: str) -> Payee:
    """The payer that `payer_text` wrote."""
    name, account, agent = text.split("\n")
    return Payee(name=name, account=account, agent=agent or None)
