"""The figures of the overview: what was done, what it may have brought, what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from peerllm.overlay.account_messages import Account
from peerllm.peer.control_api import Status
from peerllm.peer.desktop.account_view import Fact, account_facts, earned, usd
from peerllm.peer.desktop.money import PowerSettings, Price, cost, energy_kwh, most_earned_usd
from peerllm.peer.desktop.presentation import amount, grouped
from peerllm.peer.desktop.state import HostSeen, HostState, sums, tokens_by_day
from peerllm.peer.desktop.strings import tr

DAYS_SHOWN: Final = 30
# Only then can what was spent be taken from what was earned.
_DOLLARS: Final = frozenset({"USD", "$", "US$"})


@dataclass(frozen=True)
class Tile:
    """One figure, what it is, and what it does not say."""

    title: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Overview:
    """All below the headline."""

    tiles: tuple[Tile, ...]
    # Answer tokens by day, the last one today.
    days: tuple[tuple[date, int], ...]
    facts: tuple[Fact, ...]


def overview(
    state: HostState, today: date, power: PowerSettings, prices: Mapping[str, Price]
) -> Overview:
    """What there is to say on a day (UTC). `prices` by model digest, as far as known."""
    days = tokens_by_day(state.earnings) if isinstance(state, HostSeen) else {}
    month = [row for day, row in days.items() if day[:7] == today.isoformat()[:7]]
    shown = tuple(
        (day, days.get(day.isoformat(), (0, 0, 0))[2])
        for day in (today - timedelta(days=back) for back in reversed(range(DAYS_SHOWN)))
    )
    if not isinstance(state, HostSeen):
        return Overview(_unknown_tiles(), shown, ())
    today_row = days.get(today.isoformat(), (0, 0, 0))
    tiles = (
        _rate(state),
        Tile(
            tr("Overview", "Requests served today"),
            grouped(today_row[0]),
            tr("Overview", "{count} this month").format(count=grouped(sums(month)[0])),
        ),
        _told_money(state, state.account, today, power)
        if state.account
        else _money(state, f"{today.isoformat()[:7]}", power, prices),
        _energy(state, sums(month)[2], power),
    )
    return Overview(tiles, shown, _facts(state))


def round_steps(top: int) -> list[int]:
    """Round numbers from 0 up to `top`, five at most, to label an axis with."""
    step = 1
    while top // step >= 5:
        # 1, 2, 5, 10, 20 ...
        step = step * 5 // 2 if str(step).startswith("2") else step * 2
    return list(range(0, top + 1, step))


def _unknown_tiles() -> tuple[Tile, ...]:
    titles = (
        tr("Overview", "Tokens a second"),
        tr("Overview", "Requests served today"),
        tr("Overview", "Earned this month"),
        tr("Overview", "Power this month"),
    )
    return tuple(Tile(title, "-") for title in titles)


def _rate(state: HostSeen) -> Tile:
    proved = max((m.engine.tokens_per_second_milli for m in state.status.models), default=0)
    note = tr("Overview", "measured at loading: {rate}").format(rate=f"{proved / 1000:.0f}")
    value = f"{state.tokens_per_second:.1f}"
    return Tile(tr("Overview", "Tokens a second"), value, note if proved else "")


def _told_money(state: HostSeen, account: Account, today: date, power: PowerSettings) -> Tile:
    """What the coordinator says was earned."""
    month = earned(account, today.isoformat()[:7])
    note = tr("Overview", "today {today}; {escrow} in escrow")
    parts = [
        note.format(today=usd(earned(account, today.isoformat())), escrow=usd(account.in_escrow))
    ]
    rows = [row for row in state.earnings.days if row.day.startswith(today.isoformat()[:7])]
    spent = cost(_month_energy(state, sum(row.completion_tokens for row in rows), power), power)
    if spent is not None and power.currency.upper() in _DOLLARS:
        net = tr("Overview", "net of power: {net}")
        parts.append(net.format(net=amount(month / 1e9 - spent, "USD")))
    return Tile(tr("Overview", "Earned this month"), usd(month), "; ".join(parts))


def _money(state: HostSeen, month: str, power: PowerSettings, prices: Mapping[str, Price]) -> Tile:
    title = tr("Overview", "Earned this month")
    rows = [row for row in state.earnings.days if row.day.startswith(month)]
    if not rows:
        return Tile(title, "0", tr("Overview", "no receipts signed yet"))
    if any(row.model_digest not in prices for row in rows):
        note = tr("Overview", "not known yet by this host: choose the price list in Settings")
        return Tile(title, tr("Overview", "not known"), note)
    most = sum(
        most_earned_usd(row.prompt_tokens, row.completion_tokens, prices[row.model_digest])
        for row in rows
    )
    note = tr("Overview", "at most, before escrow: an estimate from the public price list")
    spent = cost(_month_energy(state, sum(row.completion_tokens for row in rows), power), power)
    if spent is not None and power.currency.upper() in _DOLLARS:
        net = tr("Overview", "net of power: {net}; an estimate from the public price list")
        note = net.format(net=amount(most - spent, "USD"))
    return Tile(title, "≤ " + amount(most, "USD"), note)


def _month_energy(state: HostSeen, tokens: int, power: PowerSettings) -> float | None:
    rates = [m.engine.tokens_per_second_milli for m in state.status.models]
    return energy_kwh(tokens, max(rates, default=0) / 1000, power.extra_watts)


def _energy(state: HostSeen, tokens: int, power: PowerSettings) -> Tile:
    title = tr("Overview", "Power this month")
    kwh = _month_energy(state, tokens, power)
    if kwh is None:
        return Tile(title, tr("Overview", "not known"), tr("Overview", "no speed measured yet"))
    watts = tr("Overview", "at {watts} W while answering").format(watts=f"{power.extra_watts:g}")
    spent = cost(kwh, power)
    if spent is None:
        return Tile(title, f"{kwh:.2f} kWh", watts)
    return Tile(title, amount(spent, power.currency), f"{kwh:.2f} kWh, {watts}")


def _facts(state: HostSeen) -> tuple[Fact, ...]:
    network = Fact(tr("Overview", "Network"), _coordinator(state.status))
    if state.account is not None:
        return (network, *account_facts(state.account))
    unknown = tr("Overview", "not known yet by this host")
    return (
        network,
        Fact(tr("Overview", "Trust"), unknown),
        Fact(tr("Overview", "Strikes"), unknown),
        Fact(tr("Overview", "In escrow"), unknown),
        Fact(tr("Overview", "Region"), unknown),
    )


def _coordinator(status: Status) -> str:
    short = f"…{status.coordinator[-8:]}"
    if status.connected:
        return tr("Overview", "connected to {name}").format(name=short)
    return tr("Overview", "not connected to {name}").format(name=short)
