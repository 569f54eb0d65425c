"""Who is paid what of its earnings, and when the rest comes free: pure, exact, integer nano-USD."""

from dataclasses import dataclass
from typing import Final, Literal

from peerllm.charter.merkle import inclusion_path, merkle_root
from peerllm.charter.payout_proof import LedgerLeaf, PayoutLeaf, PayoutProof, leaf_bytes
from peerllm.charter.promises import EscrowRule
from peerllm.coordinator.errors import LedgerError
from peerllm.coordinator.ledger import MAXIMUM_AMOUNT

DAY_US: Final = 86_400_000_000
# Banks move whole cents; what is less stays on the host's account.
CENT_NANO_USD: Final = 10_000_000

Unpaid = Literal["below the minimum", "in escrow", "no payee"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBooks:
    """A host's books at one moment, in nano-USD and epoch microseconds.

    `rested` is what was earned longer ago than the escrow rule's `hold_days`; `oldest_resting_us`
    when the oldest of the rest was. `receipts` counts settled ones, the first `first_receipt_us`.
    """

    host: str
    earned: int
    rested: int
    paid: int
    receipts: int
    first_receipt_us: int | None
    oldest_resting_us: int | None

    def __post_init__(self) -> None:
        if not 0 <= self.paid <= self.earned or not 0 <= self.rested <= self.earned:
            raise LedgerError(f"the books of {self.host} cannot be: {self.paid} of {self.earned}")

    @property
    def balance(self) -> int:
        """What the host is owed."""
        return self.earned - self.paid


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What of a balance may go out now and what rests, with the dates.

    `trusted_from_us` is the earliest day of full trust, None before the first receipt;
    `receipts_missing` what it takes besides. `next_release_us`: when the next earning comes free.
    """

    payable: int
    resting: int
    trusted: bool
    trusted_from_us: int | None
    receipts_missing: int
    next_release_us: int | None


@dataclass(frozen=True, slots=True)
class PayoutDates:
    """When a host's next payout is due, in epoch microseconds; None before anybody earned.

    `overdue_since_us` is the first due day that passed without the host being paid what it could
    have been; None while there is none.
    """

    due_us: int | None
    overdue_since_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Payee:
    """Whom to pay for a host: a name, an account (IBAN or another) and the bank's BIC, if any."""

    name: str
    account: str
    agent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutLine:
    """One host's payout of a batch; lines count from 1."""

    line: int
    host: str
    amount: int
    salt: bytes
    payee: Payee


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch of payouts as it stands in the ledger; `root` is what the public log gets.

    `ledger_entry` and `ledger_digest` are the last link of the hash chain before the batch.
    """

    batch: str
    created_at_us: int
    minimum: int
    lines: tuple[PayoutLine, ...]
    root: bytes
    payer: Payee
    ledger_entry: int
    ledger_digest: bytes

    @property
    def total(self) -> int:
        """The sum of its lines."""
        return sum(line.amount for line in self.lines)

    def leaves(self) -> list[bytes]:
        """The Merkle tree's leaves: the ledger's, then one for each line."""
        ledger = LedgerLeaf(batch=self.batch, entry=self.ledger_entry, digest=self.ledger_digest)
        return [
            leaf_bytes(ledger),
            *(
                leaf_bytes(
                    PayoutLeaf(
                        batch=self.batch,
                        line=line.line,
                        host=line.host,
                        amount=line.amount,
                        salt=line.salt,
                    )
                )
                for line in self.lines
            ),
        ]

    def computed_root(self) -> bytes:
        """The root over the leaves as they stand."""
        return merkle_root(self.leaves())

    def proof(self, host: str) -> PayoutProof | None:
        """A host's proof of its own payout; None when the batch pays it nothing."""
        for line in self.lines:
            if line.host == host:
                return PayoutProof(
                    batch=self.batch,
                    line=line.line,
                    leaves=len(self.lines) + 1,
                    host=host,
                    amount_nano_usd=line.amount,
                    salt=line.salt.hex(),
                    path=tuple(step.hex() for step in inclusion_path(self.leaves(), line.line)),
                    root=self.root.hex(),
                )
        return None


def standing(books: HostBooks, rule: EscrowRule, now_us: int) -> Standing:
    """Apply the charter's escrow rule to a host's books."""
    missing = max(0, rule.trusted_after_receipts - books.receipts)
    trusted_from = None
    if books.first_receipt_us is not None:
        trusted_from = books.first_receipt_us + rule.trusted_after_days * DAY_US
    trusted = missing == 0 and trusted_from is not None and trusted_from <= now_us
    payable = books.balance if trusted else max(0, books.rested - books.paid)
    release = None
    if not trusted and books.oldest_resting_us is not None:
        release = books.oldest_resting_us + rule.hold_days * DAY_US
    return Standing(
        payable=payable,
        resting=books.balance - payable,
        trusted=trusted,
        trusted_from_us=trusted_from,
        receipts_missing=missing,
        next_release_us=release,
    )


def due_after(last_us: int, every_days: int, times: int = 1) -> int:
    """The beginning of the UTC day on which a batch is due, so many intervals after `last_us`.

    By days, so that a batch drawn every month at the same hour is not refused for a minute.
    """
    return (last_us // DAY_US + every_days * times) * DAY_US


def due_days_passed(last_us: int, every_days: int, now_us: int) -> int:
    """How many due days have passed in full since `last_us`."""
    return max(0, (now_us // DAY_US - 1 - last_us // DAY_US) // every_days)


def payable_cents(payable: int) -> int:
    """What of a payable sum goes out: whole cents, no more than one transfer may move."""
    return min(payable, MAXIMUM_AMOUNT) // CENT_NANO_USD * CENT_NANO_USD


def unpaid_because(found: Standing, minimum: int, payee: Payee | None) -> Unpaid | None:
    """Why a host is left out of a batch; None when it is to be paid."""
    amount = payable_cents(found.payable)
    if amount == 0 or amount < minimum:
        return (
            "in escrow"
            if found.payable + found.resting >= max(minimum, 1)
            else ("below the minimum")
        )
    return None if payee is not None else "no payee"
