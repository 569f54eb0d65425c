from typing import get_args

import pytest

from peerllm.peer.limits import Conditions
from peerllm.peer.senses import Blindness, Senses
from peerllm.peer.untold_limits import told_limits

ALL = Senses(metered="", full_screen="", sleep="")
LAPTOP = Conditions(weekday=0, minute=0, now_us=0, on_battery=False, celsius=47.4)
SERVER = Conditions(weekday=0, minute=0, now_us=0)


def test_a_computer_that_tells_everything_has_no_limit_without_effect() -> None:
    found = told_limits(ALL, LAPTOP)
    assert found.untold == {}
    assert found.told == (
        "idle",
        "battery",
        "temperature (47 °C)",
        "metered network",
        "full screen",
        "sleep",
    )


def test_what_a_server_does_not_tell_is_said_limit_by_limit() -> None:
    senses = Senses(metered="no_network_manager", full_screen="no_display", sleep="")
    found = told_limits(senses, SERVER)
    assert found.told == ("idle", "sleep")
    assert found.untold == {
        "battery": "none is told of; its limit has no effect",
        "temperature": "none can be read; its limit has no effect",
        "metered network": "NetworkManager does not run; its limit has no effect",
        "full screen": "no display is to be seen (start the host from the desktop); its limit has "
        "no effect",
    }


@pytest.mark.parametrize("blindness", [one for one in get_args(Blindness) if one])
def test_every_reason_has_its_words(blindness: Blindness) -> None:
    blind = Senses(metered=blindness, full_screen=blindness, sleep=blindness)
    untold = told_limits(blind, LAPTOP).untold
    assert set(untold) == {"metered network", "full screen", "sleep"}
    assert untold["sleep"].endswith("other hosts take them over")
