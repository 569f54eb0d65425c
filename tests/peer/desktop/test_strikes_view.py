from typing import Any

import msgspec
import pytest

from peerllm.overlay.account_messages import StrikeTold
from peerllm.peer.desktop.strikes_view import StrikeRow, appeal_question, strike_rows
from tests.peer.desktop.samples import DAY_US, NOW_US, REGION, TODAY_US, account

STRIKE = StrikeTold(
    rule="false_receipt",
    at_us=TODAY_US,
    appeal_until_us=TODAY_US + 14 * DAY_US,
    weight=2,
    number=7,
)


def shown(now_us: int = NOW_US, region: Any = REGION, **changes: Any) -> StrikeRow:
    strike = msgspec.structs.replace(STRIKE, **changes)
    (row,) = strike_rows(account(strikes=[strike], region=region), now_us)
    return row


def test_a_strike_names_its_rule_its_weight_and_the_way_to_appeal() -> None:
    assert shown() == StrikeRow(
        number=7,
        name="false receipt on 2026-11-22",
        text="weighs 2; appeal until 2026-12-06: north@example.org",
        can_appeal=True,
    )
    nobody = msgspec.structs.replace(REGION, contact="")
    assert shown(region=nobody).text.endswith("2026-12-06: to whoever invited you")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"appeal_until_us": NOW_US, "weight": 0},
            "counts no longer; the time to appeal ended on 2026-11-22",
        ),
        (
            {"decide_by_us": TODAY_US + 20 * DAY_US},
            "weighs 2; appealed: withdrawn by itself on 2026-12-12 if nobody decides",
        ),
        (
            {"decide_by_us": TODAY_US, "dismissed_at_us": TODAY_US + DAY_US},
            "weighs 2; the appeal was dismissed on 2026-11-23",
        ),
        # Without the appeal's own time, which a coordinator of another release may not tell.
        ({"dismissed_at_us": TODAY_US}, "weighs 2; the appeal was dismissed on 2026-11-22"),
        ({"weight": 0, "withdrawn_at_us": TODAY_US}, "counts no longer; withdrawn on 2026-11-22"),
        # A coordinator that takes no appeals from hosts.
        ({"number": 0}, "weighs 2; appeal until 2026-12-06: north@example.org"),
    ],
)
def test_where_no_appeal_can_be_sent_none_is_offered(changes: dict[str, Any], said: str) -> None:
    assert (shown(**changes).can_appeal, shown(**changes).text) == (False, said)


def test_the_time_to_appeal_ends_by_this_computer_s_clock_as_it_does_for_the_host() -> None:
    assert shown(STRIKE.appeal_until_us - 1).can_appeal
    assert not shown(STRIKE.appeal_until_us).can_appeal


def test_what_an_appeal_means_is_said_before_it_is_sent() -> None:
    asked = appeal_question(shown(), "north@example.org")
    assert asked.title == "Appeal against strike 7"
    assert asked.text == "Appeal against this strike: false receipt on 2026-11-22?"
    assert "people who did not record the strike decide" in asked.detail
    assert "withdrawn by itself" in asked.detail
    assert "cannot be taken back" in asked.detail
    assert asked.detail.endswith("give your reasons to north@example.org.")
    assert appeal_question(shown(), "").detail.endswith("reasons to whoever invited you.")
