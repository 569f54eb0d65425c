"""Double-entry rules of the network's money: pure, exact, integer nano-USD.

Every account is seen from the network's side as money it owes: a credit raises a balance, a
debit lowers it. Only `outside` goes below zero, by what was paid in and not yet out again, and the
account of the payment processor's fees, by what they have cost the network.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from peerllm.coordinator.errors import LedgerError

OUTSIDE_ACCOUNT = "outside"
MARGIN_ACCOUNT = "network/margin"
UNCLAIMED_ACCOUNT = "hosts/unclaimed"
# Taxes that customers paid with their deposits, owed to the state.
TAX_ACCOUNT = "network/tax"
# The processor's fees, borne by the network out of its margin; never a part of a charge.
FEES_ACCOUNT = "network/processor-fees"
CUSTOMER_PREFIX = "customers/"
HOST_PREFIX = "hosts/"

BASIS_POINTS = 10_000

# The network's founding promise. A charter may promise hosts more, never less.
LOWEST_HOST_SHARE_BASIS_POINTS = 9_500

# 100,000 USD. Times 10,000 basis points it stays below 2**63, so a share can be checked inside
# SQLite, whose integers silently become floats above that; larger deposits are made in parts.
MAXIMUM_AMOUNT = 10**14

ReservationState = Literal["open", "posted", "voided"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Moves `amount` nano-USD from `debit_account` to `credit_account`; immutable once written."""

    transfer_id: str
    debit_account: str
    credit_account: str
    amount: int

    def __post_init__(self) -> None:
        check_amount(self.amount, "a transfer")
        if self.amount == 0:
            raise LedgerError(f"transfer {self.transfer_id} moves nothing: leave it out")
        if self.debit_account == self.credit_account:
            raise LedgerError(f"transfer {self.transfer_id} has {self.debit_account} on both sides")


@dataclass(frozen=True, slots=True)
class Leg:
    """One payee's part of a charge, in nano-USD."""

    account: str
    amount: int


@dataclass(frozen=True, slots=True)
class Reservation:
    """The most a request may cost, held back before any compute. `charge` is set once posted."""

    reservation_id: str
    account: str
    key_id: str | None
    amount: int
    state: ReservationState
    charge: int | None = None


@dataclass(frozen=True, slots=True)
class Funds:
    """A customer's balance and the sum of its open reservations, in nano-USD."""

    balance: int
    reserved: int

    @property
    def available(self) -> int:
        """What may still be reserved."""
        return self.balance - self.reserved


@dataclass(frozen=True, slots=True)
class Budget:
    """A key's own limit over its whole life, what it has spent and what it holds reserved."""

    limit: int
    spent: int
    reserved: int

    @property
    def remaining(self) -> int:
        """What the key may still reserve."""
        return self.limit - self.spent - self.reserved


@dataclass(frozen=True, slots=True)
class Reserved:
    """The reservation stands; compute may begin."""

    reservation: Reservation


@dataclass(frozen=True, slots=True)
class InsufficientFunds:
    """The account's balance less its open reservations is too small."""

    available: int
    needed: int


@dataclass(frozen=True, slots=True)
class BudgetExceeded:
    """The account could pay but the key's own budget is too small."""

    remaining: int
    needed: int


@dataclass(frozen=True, slots=True)
class AlreadyReserved:
    """This reservation id was used before; nothing was written."""

    reservation: Reservation


@dataclass(frozen=True, slots=True)
class Posted:
    """The charge was written and the reservation closed."""

    reservation_id: str
    charge: int


@dataclass(frozen=True, slots=True)
class AlreadySettled:
    """The reservation had been posted before; nothing was written."""

    reservation_id: str
    charge: int


@dataclass(frozen=True, slots=True)
class Voided:
    """The reservation holds nothing any more and never will: the customer was not charged."""

    reservation_id: str


@dataclass(frozen=True, slots=True)
class Deposited:
    """The customer's balance was raised."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class AlreadyDeposited:
    """This very deposit was written before; nothing was written now."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a start found left open by a crash and voided."""

    voided: int
    released: int


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """A full recount. `faults` names every rule found broken; sums are in nano-USD.

    `chain_head` is the digest of the hash chain's last link, `chain_entries` its number.
    """

    debits: int
    credits: int
    open_reservations: int
    settlements: int
    lowest_host_share_basis_points: int | None
    faults: tuple[str, ...]
    chain_entries: int
    chain_head: bytes

    @property
    def balanced(self) -> bool:
        """Whether debits equal credits and no rule was found broken."""
        return self.debits == self.credits and not self.faults


def host_account(host: str) -> str:
    """The account of the host with this peer id."""
    account = HOST_PREFIX + host
    if not host or account == UNCLAIMED_ACCOUNT:
        raise LedgerError(f"{host!r} cannot be a host's peer id")
    return account


def customer_account(name: str) -> str:
    """The account of the customer with this name."""
    return CUSTOMER_PREFIX + name


def check_amount(amount: int, what: str) -> None:
    """Raise LedgerError unless `amount` is a whole number of nano-USD within the ledger's range."""
    if type(amount) is not int or not 0 <= amount <= MAXIMUM_AMOUNT:
        raise LedgerError(
            f"{what} of {amount} nano-USD: it must be a whole number from 0 to {MAXIMUM_AMOUNT}"
        )


def decide_reservation(
    reservation: Reservation, funds: Funds, budget: Budget | None
) -> Reserved | InsufficientFunds | BudgetExceeded:
    """Hold the amount back only if the account, then the key, can bear the whole of it."""
    check_amount(reservation.amount, "a reservation")
    if reservation.amount > funds.available:
        return InsufficientFunds(available=funds.available, needed=reservation.amount)
    if budget is not None and reservation.amount > budget.remaining:
        return BudgetExceeded(remaining=budget.remaining, needed=reservation.amount)
    return Reserved(reservation)


def deposit_transfers(
    account: str, amount: int, deposit_id: str, *, tax: int = 0, fee: int = 0
) -> tuple[Transfer, ...]:
    """Money that came in from outside for a customer, and what came or went with it.

    `amount` is the customer's, after tax; `tax` came with it and is owed to the state; `fee` is
    what the payment processor kept, which the network bears.
    """
    if not account.startswith(CUSTOMER_PREFIX):
        raise LedgerError(f"deposits go to customers only, not to {account}")
    return (
        Transfer(f"deposit/{deposit_id}", OUTSIDE_ACCOUNT, account, amount),
        *((Transfer(f"tax/{deposit_id}", OUTSIDE_ACCOUNT, TAX_ACCOUNT, tax),) if tax else ()),
        *((Transfer(f"fee/{deposit_id}", FEES_ACCOUNT, OUTSIDE_ACCOUNT, fee),) if fee else ()),
    )


def payout_transfer(batch: str, host: str, amount: int) -> Transfer:
    """Money that goes out to a host; one of a batch at most."""
    return Transfer(f"payout/{batch}/{host}", host_account(host), OUTSIDE_ACCOUNT, amount)


def charge_transfers(
    reservation: Reservation, charge: int, legs: Iterable[Leg]
) -> tuple[Transfer, ...]:
    """The balanced set of transfers that turns an open reservation into a charge.

    One transfer per payee, named after both, so that the same charge cannot be written twice.
    Raises LedgerError when the charge exceeds the reservation, the legs do not add up to it,
    or the hosts' part is below the founding promise: all of them bugs of the caller.
    """
    legs = tuple(legs)
    check_amount(charge, "a charge")
    if reservation.state != "open":
        raise LedgerError(f"reservation {reservation.reservation_id} is {reservation.state}")
    if charge > reservation.amount:
        raise LedgerError(
            f"reservation {reservation.reservation_id} holds {reservation.amount} nano-USD, "
            f"{charge} was to be charged: reserve the price's upper bound"
        )
    if sum(leg.amount for leg in legs) != charge:
        raise LedgerError(
            f"the legs of {reservation.reservation_id} do not add up to {charge} nano-USD"
        )
    to_hosts = sum(leg.amount for leg in legs if leg.account.startswith(HOST_PREFIX))
    if to_hosts * BASIS_POINTS < charge * LOWEST_HOST_SHARE_BASIS_POINTS:
        raise LedgerError(
            f"hosts would get {to_hosts} of {charge} nano-USD, "
            f"less than {LOWEST_HOST_SHARE_BASIS_POINTS} basis points"
        )
    for leg in legs:
        if leg.account != MARGIN_ACCOUNT and not leg.account.startswith(HOST_PREFIX):
            raise LedgerError(f"a charge pays hosts and the network's margin, not {leg.account}")
    if len({leg.account for leg in legs}) != len(legs):
        raise LedgerError(f"the legs of {reservation.reservation_id} name a payee twice")
    return tuple(
        Transfer(
            f"charge/{reservation.reservation_id}/{leg.account}",
            reservation.account,
            leg.account,
            leg.amount,
        )
        for leg in legs
    )
