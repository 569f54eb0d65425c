import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.coordinator.errors import LedgerError
from peerllm.coordinator.ledger import (
    FEES_ACCOUNT,
    MARGIN_ACCOUNT,
    MAXIMUM_AMOUNT,
    OUTSIDE_ACCOUNT,
    TAX_ACCOUNT,
    UNCLAIMED_ACCOUNT,
    Budget,
    BudgetExceeded,
    Funds,
    InsufficientFunds,
    Leg,
    Reservation,
    Reserved,
    Transfer,
    charge_transfers,
    decide_reservation,
    deposit_transfers,
    host_account,
)

amounts = st.integers(0, MAXIMUM_AMOUNT)


def reservation(amount: int = 1_000, state: str = "open") -> Reservation:
    return Reservation("r1", "customers/ada", "k1", amount, state)  # type: ignore[arg-type]


@given(amounts, amounts, amounts, st.none() | amounts, amounts, amounts)
def test_a_reservation_stands_exactly_when_account_and_key_can_bear_it(
    amount: int, balance: int, reserved: int, limit: int | None, spent: int, held: int
) -> None:
    budget = None if limit is None else Budget(limit, spent, held)
    outcome = decide_reservation(reservation(amount), Funds(balance, reserved), budget)
    if amount > balance - reserved:
        assert outcome == InsufficientFunds(available=balance - reserved, needed=amount)
    elif limit is not None and amount > limit - spent - held:
        assert outcome == BudgetExceeded(remaining=limit - spent - held, needed=amount)
    else:
        assert outcome == Reserved(reservation(amount))


@pytest.mark.parametrize("amount", [-1, MAXIMUM_AMOUNT + 1, 1.0, True])
def test_amounts_outside_the_ledgers_range_are_bugs(amount: int) -> None:
    with pytest.raises(LedgerError, match="whole number"):
        decide_reservation(reservation(amount), Funds(MAXIMUM_AMOUNT, 0), None)
    with pytest.raises(LedgerError, match="whole number"):
        Transfer("t", OUTSIDE_ACCOUNT, "customers/ada", amount)


def test_a_transfer_moves_something_between_two_accounts() -> None:
    with pytest.raises(LedgerError, match="moves nothing"):
        Transfer("t", "a", "b", 0)
    with pytest.raises(LedgerError, match="both sides"):
        Transfer("t", "a", "a", 1)


def test_deposits_come_from_outside_and_go_to_customers_only() -> None:
    (transfer,) = deposit_transfers("customers/ada", 5, "wire-1")
    assert (transfer.debit_account, transfer.credit_account) == (OUTSIDE_ACCOUNT, "customers/ada")
    _, tax, fee = deposit_transfers("customers/ada", 100, "wire-2", tax=19, fee=3)
    assert (tax.debit_account, tax.credit_account, tax.amount) == (OUTSIDE_ACCOUNT, TAX_ACCOUNT, 19)
    assert (fee.debit_account, fee.credit_account, fee.amount) == (FEES_ACCOUNT, OUTSIDE_ACCOUNT, 3)
    with pytest.raises(LedgerError, match="customers only"):
        deposit_transfers(MARGIN_ACCOUNT, 5, "wire-1")


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=6), st.integers(0, 10**6))
def test_a_charge_is_one_transfer_per_payee_and_sums_exactly(parts: list[int], slack: int) -> None:
    charge = sum(parts)
    legs = [Leg(host_account(f"host{number}"), part) for number, part in enumerate(parts)]
    transfers = charge_transfers(reservation(charge + slack), charge, legs)
    assert sum(transfer.amount for transfer in transfers) == charge
    assert {transfer.debit_account for transfer in transfers} == {"customers/ada"}
    assert len({transfer.transfer_id for transfer in transfers}) == len(parts)


def test_a_charge_of_nothing_moves_nothing() -> None:
    assert charge_transfers(reservation(), 0, ()) == ()


@pytest.mark.parametrize(
    ("charge", "legs", "message"),
    [
        (1_001, [Leg("hosts/a", 1_001)], "upper bound"),
        (1_000, [Leg("hosts/a", 999)], "add up"),
        (1_000, [Leg("hosts/a", 949), Leg(MARGIN_ACCOUNT, 51)], "basis points"),
        (1_000, [Leg("hosts/a", 950), Leg("customers/eve", 50)], "not customers/eve"),
        (1_000, [Leg("hosts/a", 500), Leg("hosts/a", 500)], "twice"),
    ],
)
def test_a_charge_that_breaks_a_rule_is_a_bug(charge: int, legs: list[Leg], message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        charge_transfers(reservation(), charge, legs)


@pytest.mark.parametrize("state", ["posted", "voided"])
def test_only_an_open_reservation_becomes_a_charge(state: str) -> None:
    with pytest.raises(LedgerError, match=state):
        charge_transfers(reservation(state=state), 1, [Leg("hosts/a", 1)])


def test_the_unclaimed_pool_belongs_to_the_hosts_and_is_no_host() -> None:
    assert len(charge_transfers(reservation(), 10, [Leg(UNCLAIMED_ACCOUNT, 10)])) == 1
    with pytest.raises(LedgerError, match="peer id"):
        host_account("unclaimed")
