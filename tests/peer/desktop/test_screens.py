"""Every page drawn, light and dark, at one and two pixels a point: nothing may be cut off.

With PEERLLM_SCREENS set to a folder, the pictures are written there.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from peerllm.peer.catalogue import LocalCatalogue
from peerllm.peer.catalogue_shown import CatalogueShown, catalogue_shown
from peerllm.peer.measurements import Measurement, Measurements
from peerllm.peer.model_fit import Machine
from peerllm.peer.models import EMBEDDED_MODEL

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE WINDOW IS NOT DRAWN: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QFont, QFontInfo, QPixmap
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QTableWidget,
    QWidget,
)

from peerllm.overlay.account_messages import StrikeTold
from peerllm.overlay.invitation import Invitation, write_invitation
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.money import PowerSettings, Price
from peerllm.peer.desktop.settings import DesktopSettings, Theme
from peerllm.peer.desktop.style import choose_font
from peerllm.peer.desktop.widgets import Page
from peerllm.peer.desktop.window import Window
from peerllm.peer.network_catalogue import UNREACHABLE
from peerllm.peer.receipt_book import Receipts
from peerllm.peer.senses import Senses
from tests.peer.desktop.samples import (
    ADDRESS,
    DAY_US,
    DIGEST,
    HOST,
    NOW_US,
    REGION,
    account,
    catalogue,
    earnings,
    place_in_line,
    receipt,
    seen,
)

PAGES = ("overview", "models", "limits", "activity", "chat", "settings")
# So high that the longest page needs no scroll bar.
LONG_PAGE = 1_340
YEAR_2099_US = 4_070_908_800_000_000
UNTOLD = Senses(metered="no_network_manager", full_screen="no_display", sleep="no_login_manager")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    # In a home of its own, so that pictures show where a host's state lies, and no test's folder.
    home = tmp_path_factory.mktemp("home")
    found = home / ".local" / "share" / "peerllm"
    found.mkdir(parents=True)
    LocalCatalogue(found).add_embedded()
    figures = Measurement(
        threads=1,
        slots=4,
        prefill_milli=150_000,
        decode_milli=62_000,
        decode_all_milli=88_000,
        build="b",
        hardware="h",
    )
    Measurements(found).remember(EMBEDDED_MODEL.digest, figures)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "home", lambda: home)
        yield found


@pytest.fixture(params=["light", "dark"])
def window(application: Any, folder: Path, request: pytest.FixtureRequest) -> Iterator[Window]:
    theme: Theme = request.param
    if not QFontInfo(QFont()).family():
        pytest.skip("THE WINDOW IS NOT DRAWN: there is no font on this machine")
    choose_font(application)
    link = HostLink(folder)
    desk = Desk(folder, link)
    desk.file.settings = DesktopSettings(
        theme=theme, power=PowerSettings(price_per_kwh=0.32, extra_watts=25)
    )
    found = Window(desk)
    found.keeps_running = True
    found.show()
    link.state = replace(
        seen(),
        earnings=earnings(datetime.now(UTC)),
        receipts=Receipts(receipts=[receipt(number) for number in range(7)]),
        account=account(),
        catalogue=catalogue(),
    )
    found.overview.prices = {DIGEST: Price(10_000_000, 40_000_000, 9_500)}
    found.show_state(link.state)
    found.overview._chart.prepare()
    yield found
    found.close()
    found.deleteLater()
    application.sendPostedEvents(found, QEvent.Type.DeferredDelete)


def test_every_page_is_drawn_whole(window: Window, until: Callable[..., None]) -> None:
    theme = window._desk.settings.theme
    for place, name in enumerate(PAGES):
        window.show_page(place)
        settle(until)
        if name == "chat":
            window.chat._bubble("Why is the sky blue?", "bubbleUser")
            answer = "Air scatters short waves of light more than long ones, and blue is short."
            window.chat._bubble(answer, "bubbleModel")
            settle(until)
        check_whole(window)
        draw(window, f"{name}-{theme}")
    check_named(window)
    window.resize(window.width(), LONG_PAGE)
    for name in ("overview", "models", "limits", "activity", "settings"):
        window.show_page(PAGES.index(name))
        settle(until)
        draw(window, f"{name}-long-{theme}")
    window.resize(window.minimumSize())
    for place, name in enumerate(PAGES):
        window.show_page(place)
        settle(until)
        check_whole(window)
        if name == "overview":
            draw(window, f"{name}-small-{theme}")
    # Where the computer tells nothing, which takes the most words.
    window.show_state(seen(senses=UNTOLD))
    window.show_page(PAGES.index("limits"))
    settle(until)
    check_whole(window)
    draw(window, f"limits-untold-{theme}")


def test_strikes_and_what_an_appeal_means_are_drawn_whole(
    window: Window, until: Callable[..., None]
) -> None:
    theme = window._desk.settings.theme
    struck = replace(seen(), account=account(strikes=strikes()), catalogue=catalogue())
    window.show_state(struck)
    card = window.overview.strikes
    # The coordinator's answer is awaited.
    window._desk.link.ask = lambda *_: None  # type: ignore[method-assign]
    card.findChildren(QPushButton)[1].click()
    card.send_button.click()
    for size, name in ((window.size(), ""), (window.minimumSize(), "-small")):
        window.resize(size)
        settle(until)
        check_whole(window)
        foot = window.overview.verticalScrollBar()
        foot.setValue(foot.maximum())
        settle(until)
        draw(window, f"overview-strikes{name}-{theme}")
    # An address without a place to break it at, of the widest letters.
    unbroken = msgspec.structs.replace(REGION, contact="W" * 200)
    window.show_state(replace(struck, account=account(strikes=strikes(), region=unbroken)))
    settle(until)
    check_whole(window)
    # The other one's question, though its button waits a few seconds after the first.
    window.show_state(struck)
    card._rest.stop()
    card._build()
    card.findChildren(QPushButton)[0].click()
    question = card.question
    assert question is not None
    settle(until)
    check_whole(question)
    draw(question, f"appeal-{theme}")
    question.reject()


def strikes() -> list[StrikeTold]:
    """Of every kind, newest first."""
    newest = StrikeTold(
        rule="false_receipt",
        at_us=NOW_US - 2 * DAY_US,
        appeal_until_us=YEAR_2099_US,
        weight=1,
        number=9,
    )
    older: tuple[dict[str, Any], ...] = (
        {"rule": "wrong_model", "at_us": NOW_US - 9 * DAY_US, "number": 8},
        {"at_us": NOW_US - 11 * DAY_US, "number": 7, "decide_by_us": NOW_US + 9 * DAY_US},
        {
            "at_us": NOW_US - 40 * DAY_US,
            "number": 6,
            "decide_by_us": NOW_US - 12 * DAY_US,
            "dismissed_at_us": NOW_US - 14 * DAY_US,
        },
        {
            "rule": "wrong_model",
            "at_us": NOW_US - 61 * DAY_US,
            "number": 5,
            "withdrawn_at_us": NOW_US - 44 * DAY_US,
            "weight": 0,
        },
    )
    return [newest, *(msgspec.structs.replace(newest, **one) for one in older)]


def test_every_step_of_the_first_run_is_drawn_whole(
    window: Window, until: Callable[..., None]
) -> None:
    theme = window._desk.settings.theme
    window.set_up()
    steps = window.first_run
    assert steps is not None
    check_named(steps)
    steps.invitation.coordinator.setText(write_invitation(Invitation(ADDRESS, "5e" * 32)))
    steps.choice._ask = lambda _address: None  # type: ignore[method-assign]
    for number in range(6):
        until(lambda number=number: steps.step == number, "the step")
        # As whoever pastes it sees it after a look at its beginning.
        steps.invitation.coordinator.setCursorPosition(0)
        # The command that tells it takes a second.
        if number == 1:
            until(steps.invitation.copy_button.isEnabled, "the host's id")
        if number == 2:
            # As a stranger and as a computer in line: nobody is at that address to be asked.
            steps.choice.take(None, UNREACHABLE)
            settle(until)
            check_whole(steps)
            steps.choice.take(shown_at_first())
        settle(until)
        check_whole(steps)
        draw(window, f"first-run-{number + 1}-{theme}")
        if number < 5:
            steps.forward()


def shown_at_first() -> CatalogueShown:
    """What a computer in line is told, on one with eight gigabytes free."""
    told = catalogue(seat=None, places=[place_in_line()])
    machine = Machine(memory_bytes=8_000_000_000, disk_bytes=90_000_000_000)
    return catalogue_shown(
        told, machine, told_at_us=NOW_US, here=frozenset({DIGEST}), host=HOST.peer_id
    )


def settle(until: Callable[..., None]) -> None:
    """Layouts need a few turns."""
    turns = iter(range(5))
    until(lambda: next(turns) == 4)


def check_whole(root: QWidget) -> None:
    """No text is wider or higher than its place, and no page than its window is wide."""
    for page in root.findChildren(Page):
        if page.isVisible():
            assert page.widget().width() <= page.viewport().width(), f"cut off: {page}"
    for found in root.findChildren(QLabel):
        if not found.isVisible() or not found.text():
            continue
        needed = found.heightForWidth(found.width()) if found.wordWrap() else 0
        assert found.height() >= needed - 1, f"cut off: {found.text()!r}"
        if not found.wordWrap():
            assert found.width() >= found.sizeHint().width() - 1, f"cut off: {found.text()!r}"
    for button in root.findChildren(QAbstractButton):
        if button.isVisible() and button.text():
            wide = button.fontMetrics().horizontalAdvance(button.text())
            assert button.width() >= wide, f"cut off: {button.text()!r}"
            # The sidebar is one stop of Tab; arrow keys go on from there.
            is_reached = button.focusPolicy() & Qt.FocusPolicy.TabFocus
            assert is_reached or button.objectName() == "nav", button.text()


def check_named(root: QWidget) -> None:
    """A screen reader has a name for every input."""
    inputs = (QLineEdit, QAbstractSpinBox, QComboBox, QPlainTextEdit, QTableWidget, QProgressBar)
    for found in (one for kind in inputs for one in root.findChildren(kind)):
        # The part of a number field that is typed in belongs to the field.
        if not isinstance(found.parent(), QAbstractSpinBox):
            assert found.accessibleName(), found


def draw(window: QWidget, name: str) -> None:
    """At both densities, if they are wanted: text and lines are drawn anew, not stretched."""
    folder = os.environ.get("PEERLLM_SCREENS")
    for density in (1, 2) if folder else (1,):
        picture = QPixmap(window.size() * density)
        picture.setDevicePixelRatio(density)
        window.render(picture)
        assert not picture.isNull()
        if folder:
            assert picture.save(str(Path(folder) / f"{name}-{density}x.png"))
