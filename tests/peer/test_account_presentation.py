import io

import msgspec
import pytest
from rich.console import Console

from peerllm.overlay.account_messages import Account
from peerllm.peer.account_presentation import account_table, earned, trusted, usd
from peerllm.peer.control_api import HostAccount
from tests.overlay.account_samples import ACCOUNT, AS_OF_US, DAY_US, USD


def shown(account: Account | None, now_us: int = AS_OF_US) -> str:
    out = io.StringIO()
    told = HostAccount(told_at_us=AS_OF_US if account else 0, account=account)
    Console(file=out, width=120).print(account_table(told, now_us), highlight=False)
    return out.getvalue()


def test_an_account_is_shown_whole_with_the_time_it_was_asked() -> None:
    text = shown(ACCOUNT)
    for part in (
        "as the coordinator told it on 2023-11-14 22:13 UTC",
        "0.25 USD",
        "30.00 USD",
        "free from 2023-11-16",
        "from 2023-12-24, and 120 more receipts",
        "20.00 USD; from 20.00 USD on, every 30 days",
        "2023-10-31, 2023-10",
        "2023-11-11, overstated_tokens",
        "counts 1; appeal until 2023-12-11: stewards@bavaria.example",
        "bavaria, active",
        "8 active hosts, 1,200.00 USD of revenue",
        "50 active hosts and 50,000.00 USD of revenue a month",
    ):
        assert part in text, part


def test_what_was_never_told_is_said_to_be_unknown() -> None:
    assert shown(None).startswith("account  not known")


def test_an_empty_account_of_a_region_without_a_record_is_no_fault() -> None:
    region = msgspec.structs.replace(ACCOUNT.region, status="", contact="", months=[])
    text = shown(
        msgspec.structs.replace(
            ACCOUNT, strikes=[], releases=[], payouts=[], days=[], region=region
        )
    )
    assert "none" in text
    assert "bavaria, no record published" in text
    assert "figures" in text


def test_words_of_the_coordinator_are_no_markup() -> None:
    strike = msgspec.structs.replace(ACCOUNT.strikes[0], rule="[red]broken[/red]")
    assert "[red]broken[/red]" in shown(msgspec.structs.replace(ACCOUNT, strikes=[strike]))


def test_an_appeal_that_is_too_late_and_a_strike_that_counts_no_longer_are_said_so() -> None:
    strike = msgspec.structs.replace(ACCOUNT.strikes[0], weight=0)
    text = shown(msgspec.structs.replace(ACCOUNT, strikes=[strike]), AS_OF_US + 27 * DAY_US)
    assert "counts no longer; the time to appeal ended 2023-12-11" in text


def test_a_payout_is_due_or_overdue() -> None:
    due = msgspec.structs.replace(ACCOUNT, payout_due_us=AS_OF_US)
    assert "2023-11-14" in next(line for line in shown(due).splitlines() if "next one due" in line)
    late = msgspec.structs.replace(due, payout_overdue_since_us=AS_OF_US - DAY_US)
    assert "2023-11-13" in next(line for line in shown(late).splitlines() if "overdue" in line)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "counts 1; appealed: withdrawn by itself 2023-11-24 if not decided"),
        ({"dismissed_at_us": AS_OF_US}, "counts 1; appeal dismissed 2023-11-14"),
        ({"withdrawn_at_us": AS_OF_US, "weight": 0}, "counts no longer; withdrawn 2023-11-14"),
    ],
)
def test_how_an_appeal_stands_is_said(fields: dict[str, int], said: str) -> None:
    decide_by_us = AS_OF_US + 10 * DAY_US
    strike = msgspec.structs.replace(
        ACCOUNT.strikes[0], **({"decide_by_us": decide_by_us} | fields)
    )
    assert said in shown(msgspec.structs.replace(ACCOUNT, strikes=[strike]))


@pytest.mark.parametrize(
    ("days_later", "today", "month"),
    [(0, USD // 4, 2 * USD + USD // 4), (1, 0, 2 * USD + USD // 4), (30, 0, 0)],
)
def test_today_and_this_month_are_those_of_now(days_later: int, today: int, month: int) -> None:
    assert earned(ACCOUNT, AS_OF_US + days_later * DAY_US) == (today, month)


def test_trust_is_said_with_what_it_still_takes() -> None:
    assert trusted(msgspec.structs.replace(ACCOUNT, trusted=True)).startswith("yes")
    newcomer = msgspec.structs.replace(ACCOUNT, trusted_from_us=None, receipts_missing=1_000)
    assert trusted(newcomer) == "not before the first paid answer, and 1,000 more receipts"


def test_amounts_are_exact() -> None:
    assert [usd(nano) for nano in (0, 1, 1_500_000_000, 10**12)] == [
        "0.00 USD",
        "0.000000001 USD",
        "1.50 USD",
        "1,000.00 USD",
    ]
