from dataclasses import replace
from typing import Any

import msgspec
import pytest

from peerllm.overlay.account_messages import PaidOut, StrikeTold
from peerllm.peer.desktop.account_view import account_facts, earned, payout_lines
from peerllm.peer.desktop.money import PowerSettings
from peerllm.peer.desktop.overview_view import overview
from peerllm.peer.desktop.presentation import Notice, notice
from tests.peer.desktop.samples import DAY_US, NOW, NOW_US, REGION, TODAY_US, account, month, seen


def facts(**changes: Any) -> dict[str, str]:
    return {fact.name: fact.value for fact in account_facts(account(**changes))}


def test_what_was_earned_is_told_by_day_and_month() -> None:
    assert earned(account(), "2026-11-22") == 40_000_000
    assert earned(account(), "2026-11") == 340_000_000
    assert payout_lines(account()) == ["2026-11-02: 6.50 USD, batch 2026-10"]


def test_the_overview_tells_the_account_instead_of_an_estimate() -> None:
    state = replace(seen(), account=account())
    power = PowerSettings(price_per_kwh=0.30, extra_watts=60)
    tile = overview(state, NOW.date(), power, {}).tiles[2]
    assert tile.value == "0.3400 USD"
    assert tile.note.startswith("today 0.0400 USD; 1.20 USD in escrow; net of power: 0.3")
    poor = replace(seen(), account=account(days=[]))
    assert "net of power: -" in overview(poor, NOW.date(), power, {}).tiles[2].note


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({}, "Trust", "newcomer: one more receipt, and not before 2026-12-12"),
        ({"receipts_missing": 0}, "Trust", "newcomer until 2026-12-12"),
        ({"trusted_from_us": None}, "Trust", "newcomer: the time to trust begins with"),
        ({"trusted": True}, "Trust", "trusted: earnings are yours at once"),
        ({}, "In escrow", "1.20 USD; 0.4000 USD of it comes free on 2026-11-25"),
        ({"in_escrow": 0}, "In escrow", "nothing"),
        (
            {},
            "Balance",
            "2.50 USD, escrow included; paid out from 10.00 USD on; 6.50 USD so far",
        ),
        ({}, "Strikes", "none"),
        ({}, "Region", "north · active · north@example.org"),
        ({}, "Its path", "to federation: 12 of 50 active hosts, 40.00 USD of 5000.00 USD a month"),
        ({}, "All of this", "told by the coordinator, as of 2026-11-22 12:00 UTC"),
    ],
)
def test_standing_is_told_in_words(changes: dict[str, Any], name: str, value: str) -> None:
    assert facts(**changes)[name].startswith(value)


def test_an_overdue_payout_is_said() -> None:
    assert "overdue" not in facts(payout_due_us=TODAY_US)["Balance"]
    late = facts(payout_overdue_since_us=TODAY_US)["Balance"]
    assert late.endswith("A payout is overdue since 2026-11-22.")


def test_strikes_are_told_with_what_they_weigh_together() -> None:
    strike = StrikeTold(
        rule="false_receipt", at_us=TODAY_US, appeal_until_us=TODAY_US + DAY_US, weight=2
    )
    lighter = msgspec.structs.replace(strike, weight=1)
    told = facts(strikes=[strike, lighter])["Strikes"]
    assert told == "they weigh 3 of the 6 that suspend a host"


def test_a_young_region_says_what_it_takes_to_become_one() -> None:
    young = msgspec.structs.replace(REGION, status="", months=[month(3, 0)])
    assert facts(region=young)["Its path"] == "3 active hosts last month, 10 make it a region"
    federated = msgspec.structs.replace(REGION, status="under-notice")
    assert facts(region=federated)["Region"] == "north · under notice · north@example.org"
    assert facts(region=federated)["Its path"].startswith(
        "federated: 12 active hosts and 40.00 USD"
    )
    suspended = msgspec.structs.replace(REGION, status="suspended")
    assert facts(region=suspended)["Its path"].startswith("suspended: the stewards decide")
    unknown = msgspec.structs.replace(REGION, months=[])
    assert "Its path" not in facts(region=unknown)


def test_a_new_strike_and_a_new_payout_are_notified_once() -> None:
    strike = StrikeTold(
        rule="false_receipt", at_us=TODAY_US, appeal_until_us=TODAY_US + DAY_US, weight=2
    )
    paid = PaidOut(batch="2026-11", at_us=TODAY_US, amount=12_000_000_000)

    def told(before: dict[str, Any] | None, **after: Any) -> Notice | None:
        first = replace(seen(), account=None if before is None else account(**before))
        return notice(first, replace(seen(), account=account(**after)), NOW_US)

    struck = told({}, strikes=[strike])
    assert struck is not None
    assert struck.title == "A strike was recorded: false receipt"
    rich = told({}, payouts=[paid, *account().payouts])
    assert rich is not None
    assert rich.title == "You were paid 12.00 USD"
    # Known already, or the first that is told of a long past.
    assert told({"strikes": [strike]}, strikes=[strike]) is None
    withdrawn = msgspec.structs.replace(strike, weight=0, withdrawn_at_us=TODAY_US + 1)
    assert told({"strikes": [strike]}, strikes=[withdrawn]) is None
    assert told(None, strikes=[strike], payouts=[paid]) is None
    # The oldest of a full list fell out of it.
    assert told({"payouts": [paid, *account().payouts]}, payouts=[paid]) is None
