"""A host's account in its coordinator's words, as the window tells it: money, standing, region."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from peerllm.overlay.account_messages import Account, RegionTold
from peerllm.peer.desktop.presentation import amount
from peerllm.peer.desktop.strikes_view import weight_line
from peerllm.peer.desktop.strings import counted, tr

_NANO: Final = 1_000_000_000
# As its public record and its rules name it.
_FEDERATED: Final = frozenset({"federated", "under-notice"})


@dataclass(frozen=True)
class Fact:
    """A name and what it is."""

    name: str
    value: str


def usd(nano_usd: int) -> str:
    """An amount as a person reads it; the statement has it exactly."""
    return amount(nano_usd / _NANO, "USD")


def earned(account: Account, day_or_month: str) -> int:
    """Nano-USD earned on a UTC day (2026-11-22), or in a month (2026-11) as far as it is told."""
    return sum(day.amount for day in account.days if _day(day.begins_us).startswith(day_or_month))


def account_facts(account: Account) -> tuple[Fact, ...]:
    """Standing, money and region."""
    facts = [
        Fact(tr("Overview", "Trust"), _trust(account)),
        Fact(tr("Overview", "Strikes"), weight_line(account)),
        Fact(tr("Overview", "In escrow"), _escrow(account)),
        Fact(tr("Overview", "Balance"), _balance(account)),
        Fact(tr("Overview", "Region"), _region(account.region)),
    ]
    if account.region.months:
        facts.append(Fact(tr("Overview", "Its path"), _path(account.region)))
    as_of = tr("Overview", "told by the coordinator, as of {time} UTC")
    facts.append(
        Fact(
            tr("Overview", "All of this"),
            as_of.format(time=_time(account.as_of_us)),
        )
    )
    return tuple(facts)


def _trust(account: Account) -> str:
    if account.trusted:
        return tr("Overview", "trusted: earnings are yours at once")
    missing = counted(
        account.receipts_missing,
        tr("Overview", "one more receipt"),
        tr("Overview", "{count} more receipts"),
    )
    if account.trusted_from_us is None:
        return tr("Overview", "newcomer: the time to trust begins with your first receipt")
    if not account.receipts_missing:
        later = tr("Overview", "newcomer until {date}")
        return later.format(date=_day(account.trusted_from_us))
    later = tr("Overview", "newcomer: {receipts}, and not before {date}")
    return later.format(receipts=missing, date=_day(account.trusted_from_us))


def _escrow(account: Account) -> str:
    if not account.in_escrow:
        return tr("Overview", "nothing")
    if not account.releases:
        return usd(account.in_escrow)
    soonest = account.releases[0]
    line = tr("Overview", "{escrow}; {part} of it comes free on {date}")
    return line.format(
        escrow=usd(account.in_escrow), part=usd(soonest.amount), date=_day(soonest.at_us)
    )


def _balance(account: Account) -> str:
    line = tr("Overview", "{balance}, escrow included; paid out from {minimum} on; {paid} so far")
    told = line.format(
        balance=usd(account.balance),
        minimum=usd(account.minimum_payout),
        paid=usd(account.paid_out),
    )
    if account.payout_overdue_since_us is None:
        return told
    overdue = tr("Overview", "A payout is overdue since {date}.")
    return f"{told}\n{overdue.format(date=_day(account.payout_overdue_since_us))}"


def _region(region: RegionTold) -> str:
    parts = [region.name, region.status.replace("-", " "), region.contact]
    return " · ".join(part for part in parts if part)


def _path(region: RegionTold) -> str:
    last = region.months[-1]
    if region.status == "suspended":
        return tr("Overview", "suspended: the stewards decide when it is active again")
    if region.status in _FEDERATED:
        line = tr(
            "Overview",
            "federated: {hosts} active hosts and {revenue} last month; to become so took {needed} "
            "and {revenue_needed}",
        )
    elif last.active_hosts < region.active_hosts_needed:
        line = tr("Overview", "{hosts} active hosts last month, {needed} make it a region")
        return line.format(hosts=last.active_hosts, needed=region.active_hosts_needed)
    else:
        line = tr(
            "Overview",
            "to federation: {hosts} of {needed} active hosts, {revenue} of {revenue_needed} a "
            "month",
        )
    return line.format(
        hosts=last.active_hosts,
        needed=region.federated_hosts_needed,
        revenue=usd(last.revenue),
        revenue_needed=usd(region.federated_revenue_needed),
    )


def payout_lines(account: Account) -> list[str]:
    """The latest payouts, newest first."""
    line = tr("Activity", "{date}: {amount}, batch {batch}")
    return [
        line.format(date=_day(paid.at_us), amount=usd(paid.amount), batch=paid.batch)
        for paid in account.payouts
    ]


def _day(epoch_us: int) -> str:
    return datetime.fromtimestamp(epoch_us / 1e6, UTC).date().isoformat()


def _time(epoch_us: int) -> str:
    return datetime.fromtimestamp(epoch_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
