"""A host's account as a terminal shows it; nothing is rounded up, and nothing is guessed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from rich.markup import escape
from rich.table import Table

from peerllm.overlay.account_messages import Account, RegionTold, StrikeTold
from peerllm.peer.control_api import HostAccount

NOT_KNOWN: Final = (
    "account  not known: the coordinator has not told it since this host started, or tells none"
)


def account_table(told: HostAccount, now_us: int) -> Table | str:
    """What the coordinator said, with the time it was asked; or that nothing is known."""
    if told.account is None:
        return NOT_KNOWN
    asked = datetime.fromtimestamp(told.told_at_us / 1e6, UTC)
    title = f"Account, as the coordinator told it on {asked:%Y-%m-%d %H:%M} UTC"
    table = Table("", "", title=title, title_justify="left", show_header=False)
    for name, value in _rows(told.account, now_us):
        # Words of the coordinator's are no markup.
        table.add_row(escape(name), escape(value))
    return table


def _rows(account: Account, now_us: int) -> Iterator[tuple[str, str]]:
    today, month = earned(account, now_us)
    yield "Earned today (UTC)", usd(today)
    yield "Earned this month (UTC)", usd(month)
    yield "Earned in all", usd(account.earned)
    yield "Balance", usd(account.balance)
    yield "  of it in escrow", usd(account.in_escrow)
    for release in account.releases:
        yield f"  free from {day(release.at_us)}", usd(release.amount)
    yield "Trusted", trusted(account)
    rule = f"from {usd(account.minimum_payout)} on, every {account.payout_every_days} days"
    yield "Paid out", f"{usd(account.paid_out)}; {rule}"
    if account.payout_overdue_since_us is not None:
        yield "  overdue since", day(account.payout_overdue_since_us)
    elif account.payout_due_us is not None:
        yield "  next one due", day(account.payout_due_us)
    for payout in account.payouts:
        yield f"  {day(payout.at_us)}, {payout.batch}", usd(payout.amount)
    yield "Strikes", "" if account.strikes else "none"
    for strike in account.strikes:
        yield f"  {day(strike.at_us)}, {strike.rule}", appeal(strike, account.region, now_us)
    yield "Region", f"{account.region.name}, {account.region.status or 'no record published'}"
    for begins, figures in region_months(account.region):
        yield f"  {begins}", figures


def earned(account: Account, now_us: int) -> tuple[int, int]:
    """What was earned on the UTC day of `now_us` and in its month, as far as told."""
    now = datetime.fromtimestamp(now_us / 1e6, UTC)
    today = month = 0
    for one in account.days:
        begins = datetime.fromtimestamp(one.begins_us / 1e6, UTC)
        today += one.amount if begins.date() == now.date() else 0
        month += one.amount if (begins.year, begins.month) == (now.year, now.month) else 0
    return today, month


def trusted(account: Account) -> str:
    """Whether earnings rest no longer, or what it takes until then."""
    if account.trusted:
        return "yes: earnings rest no longer"
    when = "not before the first paid answer"
    if account.trusted_from_us is not None:
        when = f"from {day(account.trusted_from_us)}"
    missing = account.receipts_missing
    return when + (f", and {missing:,} more receipts" if missing else "")


def appeal(strike: StrikeTold, region: RegionTold, now_us: int) -> str:
    """What a strike still counts for, how its appeal stands, or how long and where one may."""
    counts = f"counts {strike.weight}" if strike.weight else "counts no longer"
    if strike.withdrawn_at_us is not None:
        return f"{counts}; withdrawn {day(strike.withdrawn_at_us)}"
    if strike.dismissed_at_us is not None:
        return f"{counts}; appeal dismissed {day(strike.dismissed_at_us)}"
    if strike.decide_by_us is not None:
        return f"{counts}; appealed: withdrawn by itself {day(strike.decide_by_us)} if not decided"
    if now_us >= strike.appeal_until_us:
        return f"{counts}; the time to appeal ended {day(strike.appeal_until_us)}"
    where = region.contact or "your coordinator"
    how = f"`peerllm host appeal {strike.number}`, " if strike.number else ""
    return f"{counts}; appeal until {day(strike.appeal_until_us)}: {how}{where}"


def region_months(region: RegionTold) -> Iterator[tuple[str, str]]:
    """The region's last full months beside what the next step takes, and that step."""
    if not region.months:
        yield "figures", "not known"
    for month in region.months:
        begins = datetime.fromtimestamp(month.begins_us / 1e6, UTC)
        yield (
            f"{begins:%Y-%m}",
            f"{month.active_hosts:,} active hosts, {usd(month.revenue)} of revenue",
        )
    yield "active with", f"{region.active_hosts_needed:,} active hosts"
    yield (
        "federated with",
        f"{region.federated_hosts_needed:,} active hosts and {usd(region.federated_revenue_needed)}"
        " of revenue a month",
    )


def usd(nano_usd: int) -> str:
    """An amount in US dollars, exact, with at least two decimals: "1.50 USD"."""
    dollars, nano = divmod(nano_usd, 10**9)
    return f"{dollars:,}.{f'{nano:09}'.rstrip('0').ljust(2, '0')} USD"


def day(moment_us: int) -> str:
    """A date in UTC."""
    return f"{datetime.fromtimestamp(moment_us / 1e6, UTC):%Y-%m-%d}"
