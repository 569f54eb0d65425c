"""An account's statement from the ledger: what a customer paid for, what a host earned and got."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from peerllm.coordinator import ledger
from peerllm.coordinator.ledger import Funds

# Not imported when it runs: whoever only checks a proof has no database software.
if TYPE_CHECKING:
    from peerllm.coordinator.ledger_tables import LedgerTables


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositLine:
    """One payment in, in nano-USD: the customer's own part, the tax and the processor's fee."""

    deposit_id: str
    recorded_at_us: int
    amount: int
    tax: int
    processor_fee: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerStatement:
    """A customer's account in nano-USD.

    `charged` is after tax and before the processor's fees, and is what hosts get their share of;
    the fees are borne by the network's margin.
    """

    account: str
    price_tier: str
    funds: Funds
    deposits: tuple[DepositLine, ...]
    requests: int
    charged: int
    to_hosts: int
    margin: int

    @property
    def processor_fees(self) -> int:
        """What the payment processor kept in all."""
        return sum(line.processor_fee for line in self.deposits)


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutRow:
    """One payout to a host."""

    batch: str
    recorded_at_us: int
    amount: int


def customer_statement(tables: "LedgerTables", account: str) -> CustomerStatement:
    """Read a customer's statement; raises UnknownAccountError."""
    funds = tables.funds(account, keep_snapshot=False)
    ((tier,),) = tables.rows("SELECT price_tier FROM accounts WHERE account = ?", account)
    deposits = tables.rows(
        """
        SELECT SUBSTR(paid.transfer_id, 9), paid.recorded_at_us, paid.amount,
            COALESCE(tax.amount, 0), COALESCE(fee.amount, 0)
        FROM transfers AS paid
        LEFT JOIN transfers AS tax ON tax.transfer_id = 'tax/' || SUBSTR(paid.transfer_id, 9)
        LEFT JOIN transfers AS fee ON fee.transfer_id = 'fee/' || SUBSTR(paid.transfer_id, 9)
        WHERE paid.credit_account = ? ORDER BY paid.sequence
        """,
        account,
    )
    ((charged, to_hosts),) = tables.rows(
        """
        SELECT COALESCE(SUM(amount), 0),
            COALESCE(SUM(CASE WHEN credit_account GLOB 'hosts/*' THEN amount END), 0)
        FROM transfers WHERE debit_account = ?
        """,
        account,
    )
    ((requests,),) = tables.rows(
        "SELECT COUNT(*) FROM reservations WHERE account = ? AND state = 'posted'", account
    )
    return CustomerStatement(
        account=account,
        price_tier=tier,
        funds=funds,
        deposits=tuple(
            DepositLine(
                deposit_id=deposit_id,
                recorded_at_us=recorded_at_us,
                amount=amount,
                tax=tax,
                processor_fee=fee,
            )
            for deposit_id, recorded_at_us, amount, tax, fee in deposits
        ),
        requests=requests,
        charged=charged,
        to_hosts=to_hosts,
        margin=charged - to_hosts,
    )


def payouts_of(tables: "LedgerTables", host: str) -> tuple[PayoutRow, ...]:
    """What was paid out to a host, oldest first."""
    rows = tables.rows(
        "SELECT transfer_id, recorded_at_us, amount FROM transfers WHERE debit_account = ?"
        " ORDER BY sequence",
        ledger.host_account(host),
    )
    return tuple(
        PayoutRow(
            batch=transfer_id.removeprefix("payout/").removesuffix(f"/{host}"),
            recorded_at_us=recorded_at_us,
            amount=amount,
        )
        for transfer_id, recorded_at_us, amount in rows
    )
