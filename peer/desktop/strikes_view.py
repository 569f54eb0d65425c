"""A host's strikes in words: what each weighs, how its appeal stands, what appealing means."""

from dataclasses import dataclass
from datetime import UTC, datetime

from peerllm.overlay.account_messages import Account, StrikeTold
from peerllm.peer.appeals import appeal_refusal
from peerllm.peer.desktop.strings import tr


@dataclass(frozen=True)
class StrikeRow:
    """One strike. `number` is the coordinator's, 0 when it takes no appeals from hosts."""

    number: int
    name: str
    text: str
    can_appeal: bool


@dataclass(frozen=True)
class AppealQuestion:
    """What is asked before an appeal is sent."""

    title: str
    text: str
    detail: str


def weight_line(account: Account) -> str:
    """What all strikes weigh together."""
    if not account.strikes:
        return tr("Overview", "none")
    weight = sum(strike.weight for strike in account.strikes)
    of = tr("Overview", "they weigh {weight} of the {limit} that suspend a host")
    return of.format(weight=weight, limit=account.suspension_weight)


def strike_rows(account: Account, now_us: int) -> tuple[StrikeRow, ...]:
    """All that were told, newest first; `now_us` by this computer's clock, as the host's own is."""
    return tuple(
        StrikeRow(
            number=strike.number,
            name=_name(strike),
            text=_text(strike, account),
            can_appeal=bool(strike.number)
            and not appeal_refusal(strike.number, account.strikes, now_us),
        )
        for strike in account.strikes
    )


def appeal_question(row: StrikeRow, contact: str) -> AppealQuestion:
    """What appealing against this strike means, by the charter and the coordinator's rules."""
    detail = tr(
        "Overview",
        "By the charter, people who did not record the strike decide. Their time, of as many days "
        "as the charter says, begins when the coordinator takes the appeal down; the last day is "
        "then shown here. If nobody decides by then, the strike is withdrawn by itself.\n\n"
        "Until then it weighs what it weighs now. If the appeal is dismissed, it goes on "
        "weighing that until it is too old.\n\n"
        "There is one appeal for each strike, and it cannot be taken back. It carries no words: "
        "give your reasons {contact}.",
    )
    reasons = tr("Overview", "to {contact}").format(contact=contact)
    return AppealQuestion(
        title=tr("Overview", "Appeal against strike {number}").format(number=row.number),
        text=tr("Overview", "Appeal against this strike: {name}?").format(name=row.name),
        detail=detail.format(contact=reasons if contact else _whoever_invited()),
    )


def _name(strike: StrikeTold) -> str:
    name = tr("Overview", "{rule} on {date}")
    return name.format(rule=strike.rule.replace("_", " "), date=_day(strike.at_us))


def _text(strike: StrikeTold, account: Account) -> str:
    weighs = tr("Overview", "weighs {weight}").format(weight=strike.weight)
    if not strike.weight:
        weighs = tr("Overview", "counts no longer")
    until_us, appeal = strike.appeal_until_us, tr("Overview", "appeal until {until}: {contact}")
    if strike.withdrawn_at_us is not None:
        until_us, appeal = strike.withdrawn_at_us, tr("Overview", "withdrawn on {until}")
    elif strike.dismissed_at_us is not None:
        until_us = strike.dismissed_at_us
        appeal = tr("Overview", "the appeal was dismissed on {until}")
    elif strike.decide_by_us is not None:
        until_us = strike.decide_by_us
        appeal = tr("Overview", "appealed: withdrawn by itself on {until} if nobody decides")
    elif account.as_of_us >= strike.appeal_until_us:
        appeal = tr("Overview", "the time to appeal ended on {until}")
    contact = account.region.contact or _whoever_invited()
    return tr("Overview", "{weighs}; {appeal}").format(
        weighs=weighs, appeal=appeal.format(until=_day(until_us), contact=contact)
    )


def _whoever_invited() -> str:
    return tr("Overview", "to whoever invited you")


def _day(epoch_us: int) -> str:
    return datetime.fromtimestamp(epoch_us / 1e6, UTC).date().isoformat()
