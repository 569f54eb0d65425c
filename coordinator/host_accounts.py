"""Tells hosts about their own accounts: seldom, in a thread of its own, and each only its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from peerllm.charter.loading import Charter
from peerllm.charter.promises import StrikePolicy
from peerllm.charter.region_record import standing_of
from peerllm.charter.region_rules import last_full_months, month_bounds
from peerllm.coordinator.accounts import Strike
from peerllm.coordinator.appeal_rules import appeal_until_us
from peerllm.coordinator.errors import StorageError
from peerllm.coordinator.host_statement import HostStatement
from peerllm.coordinator.payout import PayoutDates
from peerllm.coordinator.region_figures import open_region_ledger
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.strike_rules import weight_of
from peerllm.overlay.account_messages import (
    MAXIMUM_MONTHS,
    MAXIMUM_PAYOUTS,
    MAXIMUM_RELEASES,
    MAXIMUM_STRIKES,
    Account,
    AccountNotTold,
    EarnedDay,
    MonthTold,
    PaidOut,
    RegionTold,
    Release,
    StrikeTold,
)

# A host asks every ten minutes, and once more when it has reconnected.
QUESTION_SECONDS: Final = 60.0
# Of each host, and each strike has one appeal: enough for a person, too seldom to wear a disk.
APPEAL_SECONDS: Final = 10.0
# Milliseconds as a rule; the first question after a start or a month's end waits for the figures
# of three months, which took 6 s for 100,000 requests.
_ANSWER_SECONDS: Final = 60.0
# `Line` and `Word` of the messages.
_LINE_CHARACTERS: Final = 500
_WORD_CHARACTERS: Final = 128


@dataclass(frozen=True, slots=True)
class _MonthOfRegions:
    """Each region's revenue in nano-USD and active hosts in one full month."""

    revenue: dict[str, int]
    active_hosts: dict[str, int]


class HostAccounts:
    """Answers hosts' questions from the coordinator's database, one at a time.

    On a connection of its own: a long account holds up no request. `charter` is the one in force,
    replaced by whoever puts another in force; `clock` gives seconds.
    """

    def __init__(
        self,
        database: Path,
        charter: Charter,
        *,
        clock: Callable[[], float],
        now_us: Callable[[], int],
    ) -> None:
        self._database = database
        self.charter = charter
        self._clock = clock
        self._now_us = now_us
        # One entry for each host that ever asked, as the registry keeps one for each it met.
        self._asked_at: dict[str, float] = {}
        self._appealed_at: dict[str, float] = {}
        # By month and days that make a host active; full months never change.
        self._months: dict[tuple[str, int], _MonthOfRegions] = {}
        self._turn = trio.CapacityLimiter(1)

    def may_ask(self, host: str) -> bool:
        """Whether a host's last question is long enough ago; if so, this one counts."""
        now = self._clock()
        if now - self._asked_at.get(host, -QUESTION_SECONDS) < QUESTION_SECONDS:
            return False
        self._asked_at[host] = now
        return True

    def may_appeal(self, host: str) -> bool:
        """Whether a host's last appeal is long enough ago; if so, this one counts."""
        now = self._clock()
        if now - self._appealed_at.get(host, -APPEAL_SECONDS) < APPEAL_SECONDS:
            return False
        self._appealed_at[host] = now
        return True

    async def appeal(self, host: str, strike: int, region: str) -> Account | AccountNotTold:
        """Take down a host's appeal against a strike of its own; its account then.

        What the charter does not let it appeal against changes nothing.
        """
        with trio.move_on_after(_ANSWER_SECONDS):
            try:
                await trio.to_thread.run_sync(
                    self._take_down, host, strike, limiter=self._turn, abandon_on_cancel=True
                )
            except StorageError:
                return AccountNotTold(reason="unavailable")
        return await self.answer(host, region)

    def _take_down(self, host: str, strike: int) -> None:
        # A connection that may write, as an administrator's command has one beside the daemon.
        with StorageFile(self._database, clock=self._now_us) as storage:
            if any(one.number == strike for one in storage.strikes(host)):
                storage.appeal_strike(strike, self.charter.terms.strikes)

    async def answer(self, host: str, region: str) -> Account | AccountNotTold:
        """The account of a host whose seat is in `region`."""
        with trio.move_on_after(_ANSWER_SECONDS):
            try:
                # Abandoned with the session: the thread ends by itself and closes what it opened.
                return await trio.to_thread.run_sync(
                    self._read, host, region, limiter=self._turn, abandon_on_cancel=True
                )
            except StorageError:
                pass
        return AccountNotTold(reason="unavailable")

    def _read(self, host: str, region: str) -> Account:
        charter = self.charter
        now_us = self._now_us()
        with StorageFile(self._database, clock=lambda: now_us, read_only=True) as storage:
            statement = storage.host_statement(charter.terms.escrow, host)
            strikes = storage.strikes(host)
            dates = storage.payouts.dates(charter.terms.escrow, charter.terms.payout, host)
        return account_of(
            charter,
            statement,
            strikes,
            dates,
            region=_region_told(charter, region, self._months_told(charter, region, now_us)),
            now_us=now_us,
        )

    def _months_told(self, charter: Charter, region: str, now_us: int) -> list[MonthTold]:
        rule = charter.terms.federation
        count = min(MAXIMUM_MONTHS, max(rule.active_months, rule.federated_months))
        names = last_full_months(now_us, count)
        keys = [(name, rule.active_days_per_month) for name in names]
        self._months = {key: self._months[key] for key in keys if key in self._months}
        if len(self._months) < len(keys):
            try:
                self._read_months(now_us, rule.active_days_per_month, names)
            except StorageError:
                # What the region lacks is no reason to hide from a host what it earned.
                return []
        return [
            MonthTold(
                begins_us=month_bounds(key[0])[0],
                revenue=self._months[key].revenue.get(region, 0),
                active_hosts=self._months[key].active_hosts.get(region, 0),
            )
            for key in keys
        ]

    def _read_months(self, now_us: int, active_days: int, names: Sequence[str]) -> None:
        with open_region_ledger(self._database, now_us) as books:
            for name in names:
                if (name, active_days) not in self._months:
                    book = books.month(name, active_days)
                    self._months[name, active_days] = _MonthOfRegions(
                        dict(book.revenue()), dict(book.active_hosts())
                    )


def account_of(
    charter: Charter,
    statement: HostStatement,
    strikes: Sequence[Strike],
    dates: PayoutDates,
    *,
    region: RegionTold,
    now_us: int,
) -> Account:
    """What a host is told of its statement, payouts' dates and strikes, under this charter."""
    terms, books, standing = charter.terms, statement.books, statement.standing
    return Account(
        as_of_us=now_us,
        earned=books.earned,
        balance=books.balance,
        in_escrow=standing.resting,
        releases=[
            Release(at_us=one.at_us, amount=one.amount)
            for one in statement.releases[:MAXIMUM_RELEASES]
        ],
        trusted=standing.trusted,
        trusted_from_us=standing.trusted_from_us,
        receipts_missing=standing.receipts_missing,
        paid_out=books.paid,
        payouts=[
            PaidOut(batch=row.batch, at_us=row.recorded_at_us, amount=row.amount)
            for row in reversed(statement.payouts[-MAXIMUM_PAYOUTS:])
        ],
        minimum_payout=terms.payout.minimum_nano_usd,
        payout_every_days=terms.payout.every_days,
        days=[EarnedDay(begins_us=one.at_us, amount=one.amount) for one in statement.days],
        strikes=[
            _strike_told(strike, terms.strikes, now_us)
            for strike in reversed(strikes[-MAXIMUM_STRIKES:])
        ],
        suspension_weight=terms.strikes.suspension_weight,
        region=region,
        payout_due_us=dates.due_us,
        payout_overdue_since_us=dates.overdue_since_us,
    )


def _strike_told(strike: Strike, policy: StrikePolicy, now_us: int) -> StrikeTold:
    return StrikeTold(
        rule=printable(strike.rule, _WORD_CHARACTERS),
        at_us=strike.recorded_at_us,
        appeal_until_us=appeal_until_us(strike, policy),
        weight=weight_of(strike, policy, now_us),
        decide_by_us=strike.decide_by_us,
        dismissed_at_us=strike.dismissed_at_us,
        withdrawn_at_us=strike.withdrawn_at_us,
        number=strike.number,
    )


def _region_told(charter: Charter, region: str, months: list[MonthTold]) -> RegionTold:
    record, rule = charter.regions.get(region), charter.terms.federation
    return RegionTold(
        name=region,
        status="" if record is None else standing_of(record),
        contact="" if record is None else printable(record.contact, _LINE_CHARACTERS),
        months=months,
        active_hosts_needed=rule.active_hosts,
        federated_hosts_needed=rule.federated_hosts,
        federated_revenue_needed=rule.federated_revenue_nano_usd,
    )


def printable(text: str, characters: int) -> str:
    """Text as the messages take it: a host refuses what its terminal may not show."""
    return "".join(sign if " " <= sign <= "~" else "?" for sign in text[:characters])
