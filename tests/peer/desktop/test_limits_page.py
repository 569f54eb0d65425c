from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE PAGE OF LIMITS IS NOT TESTED: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from PySide6.QtCore import QTime

from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.limits_form import limits_of
from peerllm.peer.desktop.pages.limits_page import LimitsPage
from peerllm.peer.limits import LARGEST_CAP_BYTES, UNATTENDED, Limits, ScheduleWindow
from peerllm.peer.senses import Senses
from tests.peer.desktop.samples import seen

ALL = Senses(metered="", full_screen="", sleep="")


@pytest.fixture
def page(application: Any, tmp_path: Path) -> LimitsPage:
    return LimitsPage(Desk(tmp_path, HostLink(tmp_path)))


def test_what_the_computer_tells_is_offered(page: LimitsPage) -> None:
    page.show_state(seen(limits=UNATTENDED, senses=ALL))
    for switch, note in (
        (page.on_metered, page.metered_note),
        (page.beside_full_screen, page.full_screen_note),
    ):
        assert switch.isEnabled()
        assert not switch.isChecked()
        assert note.text() == ""
    assert "running answers are finished" in page.sleep_note.text()
    page.on_metered.click()
    page.beside_full_screen.click()
    form = page.form()
    assert (form.on_metered, form.beside_full_screen) == (True, True)
    assert page.apply_button.isEnabled()


@pytest.mark.parametrize(
    ("senses", "metered", "full_screen", "sleep"),
    [
        (
            Senses(metered="platform", full_screen="platform", sleep="platform"),
            "macOS and Windows",
            "macOS and Windows",
            "answers are cut",
        ),
        (
            Senses(metered="no_network_manager", full_screen="wayland", sleep=""),
            "NetworkManager does not run",
            "Wayland",
            "are finished",
        ),
        (
            Senses(metered="no_system_bus", full_screen="no_display", sleep="no_login_manager"),
            "message bus",
            "start it from this window",
            "systemd-logind",
        ),
        (
            Senses(metered="", full_screen="no_window_manager", sleep="no_system_bus"),
            "",
            "window manager",
            "answers are cut",
        ),
    ],
)
def test_what_it_does_not_tell_is_said_instead(
    page: LimitsPage, senses: Senses, metered: str, full_screen: str, sleep: str
) -> None:
    limits = Limits(on_metered=False)
    page.show_state(seen(limits=limits, senses=senses))
    for switch, note, words in (
        (page.on_metered, page.metered_note, metered),
        (page.beside_full_screen, page.full_screen_note, full_screen),
    ):
        assert switch.isEnabled() == (not words)
        assert words in note.text()
        assert bool(note.text()) == bool(words)
    assert sleep in page.sleep_note.text()
    # What cannot be kept here stays as it was set, and nothing waits to be applied.
    assert page.form().on_metered is False
    assert page.form().beside_full_screen is True
    assert not page.apply_button.isEnabled()


def test_without_a_host_or_with_an_older_one_everything_is_offered(page: LimitsPage) -> None:
    page.show_state(seen(limits=UNATTENDED, senses=None))
    assert page.on_metered.isEnabled()
    assert page.sleep_note.text() == page.metered_note.text() == ""


def test_caps_beyond_a_field_are_kept_while_others_are_set(page: LimitsPage) -> None:
    limits = Limits(
        memory_cap_bytes=LARGEST_CAP_BYTES, bandwidth_bytes_per_second=LARGEST_CAP_BYTES
    )
    page.show_state(seen(limits=limits, senses=ALL))
    assert not page.undo_button.isEnabled()
    page.nice.setValue(7)
    assert limits_of(page.form(), limits) == msgspec.structs.replace(limits, nice=7)


@pytest.mark.parametrize(("start", "end"), [(0, 1440), (1080, 1440), (1080, 0), (0, 480)])
def test_hours_until_midnight_are_shown_as_they_are(page: LimitsPage, start: int, end: int) -> None:
    window = ScheduleWindow(days=[5, 6], start_minute=start, end_minute=end)
    limits = Limits(schedule=[window])
    page.show_state(seen(limits=limits, senses=ALL))
    assert not page.undo_button.isEnabled()
    page.nice.setValue(7)
    assert page.apply_button.isEnabled()
    until = msgspec.structs.replace(window, end_minute=end or 1440)
    assert limits_of(page.form(), limits) == Limits(schedule=[until], nice=7)


def test_a_whole_day_can_be_chosen(page: LimitsPage) -> None:
    page.show_state(seen(limits=Limits(), senses=ALL))
    page.scheduled.setChecked(True)
    on, begins, ends = page.days[6]
    on.setChecked(True)
    begins.setTime(QTime(0, 0))
    ends.setTime(QTime(0, 0))
    whole = ScheduleWindow(days=[6], start_minute=0, end_minute=1440)
    assert limits_of(page.form(), Limits()) == Limits(schedule=[whole])
