"""What the window says of the network's models and of a host's place: without a widget."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip(
    "PySide6.QtWidgets",
    reason="THE WINDOW IS NOT TESTED: run install.py --display-libraries as root",
    exc_type=ImportError,
)

from peerllm.overlay.catalogue_messages import Catalogue
from peerllm.overlay.invitation import Invitation, write_invitation
from peerllm.peer.catalogue_shown import catalogue_shown
from peerllm.peer.control_api import ModelRequest, RegionRequest
from peerllm.peer.desktop.catalogue_view import (
    NetworkRow,
    check_of,
    network_rows,
    standing,
    standing_of,
)
from peerllm.peer.desktop.desk import Desk
from peerllm.peer.desktop.first_steps import coordinator_fault
from peerllm.peer.desktop.host_link import HostLink
from peerllm.peer.desktop.network_models import StandingCard
from peerllm.peer.desktop.pages.models_page import ModelsPage
from peerllm.peer.desktop.presentation import Notice, headline, notice, shown_path
from peerllm.peer.desktop.price_list import ROOT_FILE, root_fault, signed_models
from peerllm.peer.desktop.state import Ending, HostSeen
from peerllm.peer.model_fetch_api import FetchRequest, FetchStatus
from peerllm.peer.model_fit import Machine
from tests.peer.desktop.samples import (
    ADDRESS,
    APPROVED,
    DIGEST,
    EMBEDDED,
    HUGE,
    MIDDLE,
    NOW_US,
    catalogue,
    model,
    place_in_line,
    seen,
)

MACHINE = Machine(memory_bytes=8_000_000_000, disk_bytes=90_000_000_000)


def rows_of(
    told: Catalogue, machine: Machine = MACHINE, altered: frozenset[str] = frozenset()
) -> dict[str, NetworkRow]:
    shown = catalogue_shown(told, machine, told_at_us=NOW_US, here=frozenset({DIGEST}), host="host")
    return {row.name: row for row in network_rows(shown, altered)}


def test_each_model_is_told_what_it_needs_and_whether_it_can_be_had() -> None:
    rows = rows_of(catalogue())
    assert list(rows) == [EMBEDDED.name, MIDDLE.name, HUGE.name, APPROVED.name]
    here = rows[EMBEDDED.name]
    assert (here.is_here, here.recommended, here.can_get) == (True, True, False)
    assert here.seats == "You hold a seat for it"
    middle = rows[MIDDLE.name]
    assert middle.facts.startswith("386 MB on disk · class small · Apache-2.0")
    assert (middle.fits, middle.can_get, middle.seats) == (True, True, "3 seats are free")
    huge = rows[HUGE.name]
    assert huge.fit == "Too large now: needs about 69.8 GB of memory, 8.0 GB are free"
    assert (huge.can_get, huge.seats) == (False, "No seat is free; 4 hosts wait")
    assert "no copy to hand out" in rows[APPROVED.name].fit
    assert "on disk" not in rows[APPROVED.name].facts


def test_what_stands_against_a_model_is_said() -> None:
    full = rows_of(catalogue(), replace(MACHINE, disk_bytes=1_100_000_000))
    assert full[MIDDLE.name].fit.startswith("No room: 386 MB to download, 1.1 GB of the disk")
    other = rows_of(catalogue(), replace(MACHINE, processor_fault="built for another one"))
    assert other[MIDDLE.name].fit == "Cannot run here: built for another one"
    assert not other[MIDDLE.name].can_get


def test_a_model_that_is_not_as_signed_cannot_be_fetched() -> None:
    signed = {
        one.name: (one.digest.hex(), one.model_class, one.context_tokens, one.license)
        for one in catalogue().models
    }
    assert check_of(catalogue(), signed).sentence.startswith("Compared with the signed charter")
    assert check_of(catalogue(), {}).sentence.startswith("As the network's coordinator tells it")
    for name, value in (
        ("digest", bytes(32)),
        ("model_class", "large"),
        ("context_tokens", 1),
        ("license", "MIT"),
    ):
        changes: dict[str, Any] = {name: value}
        other = msgspec.structs.replace(MIDDLE, **changes)
        check = check_of(catalogue(models=[EMBEDDED, other]), signed)
        assert (check.well, check.altered) == (False, {MIDDLE.name})
        assert MIDDLE.name in check.sentence
    unknown = check_of(catalogue(), {EMBEDDED.name: signed[EMBEDDED.name]})
    assert unknown.altered == {MIDDLE.name, HUGE.name, APPROVED.name}
    rows = rows_of(catalogue(), altered=frozenset({MIDDLE.name, EMBEDDED.name}))
    assert not rows[MIDDLE.name].can_get
    assert not any(row.recommended for row in rows.values())


def test_a_licence_that_no_terminal_shows_is_still_the_signed_one() -> None:
    model = {"sha256": "ab" * 32, "model_class": "s", "context_tokens": 16, "license": "Llama® 3"}
    printed = {"tariff": {"tiers": {}, "prices": {}}, "catalogue": {"models": {"one": model}}}
    signed = signed_models(msgspec.json.encode(printed))
    assert signed == {"one": ("ab" * 32, "s", 16, "Llama? 3")}
    assert signed_models(b"{}") == {}


def test_where_a_host_stands_is_said_with_what_comes_next() -> None:
    assert standing(catalogue()).title == "You hold a seat"
    waits = standing(catalogue(seat=None, places=[place_in_line(7)]))
    assert waits.title == "In line for a seat"
    assert f"{EMBEDDED.name} in north: place 7" in waits.text
    assert (waits.leave, waits.take) == ("north", "")
    offered = standing(catalogue(seat=None, places=[place_in_line(1, NOW_US)]))
    assert (offered.take, offered.leave) == ("north", "north")
    assert "22 November 2026" in offered.text
    # Somebody with a seat may be offered one for a further model.
    assert standing(catalogue(places=[place_in_line(1, NOW_US)])).take == "north"
    none = standing(catalogue(seat=None))
    assert none.send_id
    assert "north: north@example.org" in none.text
    assert "whoever invited you." in standing(catalogue(seat=None, regions=[])).text


def silent(**changes: Any) -> HostSeen:
    state = seen(connected=False, state="waiting", ending=Ending("unreachable"))
    return replace(state, **changes)


def test_a_host_that_nobody_answers_is_told_to_send_its_id() -> None:
    assert standing_of(seen()) is None
    unknown = standing_of(silent())
    assert unknown is not None
    assert unknown.send_id
    # What was told before its seat was taken is not believed for ever.
    assert standing_of(silent(catalogue=catalogue())) == unknown
    line = catalogue(seat=None, places=[place_in_line()])
    assert standing_of(silent(catalogue=line)) == standing(line)
    assert headline(silent(catalogue=line), NOW_US).detail.startswith("The network has this")


def test_an_offer_is_worth_a_notification_once() -> None:
    line = replace(seen(), catalogue=catalogue(seat=None, places=[place_in_line()]))
    offer = catalogue(seat=None, places=[place_in_line(1, NOW_US)])
    offered = replace(seen(), catalogue=offer)
    found = notice(line, offered, NOW_US)
    assert found == Notice(
        "A seat is offered to you", "Take it on the page Overview, until 22 November 2026."
    )
    assert notice(offered, offered, NOW_US) is None
    assert notice(offered, line, NOW_US) is None


def test_only_an_invitation_or_an_address_leads_on() -> None:
    text = write_invitation(Invitation(ADDRESS, "ab" * 32))
    assert coordinator_fault(text) == ""
    assert coordinator_fault(f" {ADDRESS}\n") == ""
    assert "Paste the address" in coordinator_fault("  ")
    assert "checksum does not fit" in coordinator_fault(text.replace("/1/", "/2/"))
    assert "not whole" in coordinator_fault(text[:-3])
    assert "no invitation" in coordinator_fault("https://example.org")


def test_the_charter_of_another_network_is_not_taken_for_the_invitation_s(tmp_path: Path) -> None:
    root = tmp_path / ROOT_FILE
    root.parent.mkdir()
    root.write_bytes(b"root")
    assert root_fault(tmp_path, "") == ""
    assert root_fault(tmp_path, hashlib.sha256(b"root").hexdigest()) == ""
    assert "another network" in root_fault(tmp_path, "ab" * 32)
    assert "No such file" in root_fault(tmp_path / "none", "ab" * 32)


def test_a_path_below_home_begins_with_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ada"))
    assert shown_path(Path("/home/ada/.local/share/peerllm")) == "~/.local/share/peerllm"
    assert shown_path(Path("/srv/peerllm")) == "/srv/peerllm"


class Asked:
    """What a page asks of the host, answered with nothing."""

    def __init__(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: list[tuple[str, object]] = []

        def ask(_method: str, path: str, _answer: Callable[..., None], value: Any = None) -> None:
            self.found.append((path, value))

        monkeypatch.setattr(desk.link, "ask", ask)


def test_one_click_fetches_and_then_loads(
    application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = HostLink(tmp_path)
    desk = Desk(tmp_path, link)
    page = ModelsPage(desk)
    asked = Asked(desk, monkeypatch)
    wanted = MIDDLE.digest.hex()
    # Chosen in the first run: not before the network has welcomed the host.
    desk.wanted_model = wanted
    page.show_state(seen(connected=False))
    assert asked.found == []
    page.show_state(seen())
    assert asked.found == [("/v1/fetch", FetchRequest(model=wanted))]
    half = FetchStatus(
        state="fetching", wanted=wanted, digest=wanted, file_bytes=100, done_bytes=50, holders=2
    )
    for state in (half, msgspec.structs.replace(half, state="stopped")):
        page.show_state(replace(seen(), fetch=state))
    assert not page.download.go_on_button.isHidden()
    assert page.download.stop_button.isHidden()
    link.state = replace(seen(), fetch=half)
    page.download.go_on_button.click()
    done = msgspec.structs.replace(half, state="complete", name=MIDDLE.name)
    for _ in range(2):
        page.show_state(replace(seen(), fetch=done))
    assert asked.found[1:] == [
        ("/v1/fetch", FetchRequest(model=wanted)),
        ("/v1/models/load", ModelRequest(model=wanted)),
    ]
    assert not page.download.isHidden()
    page.show_state(replace(seen(model(), model(name=MIDDLE.name, digest=wanted)), fetch=done))
    assert page.download.isHidden()
    page.deleteLater()


def test_what_is_not_as_signed_is_not_fetched_by_its_name_either(
    application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, HostLink(tmp_path))
    desk.link.state = replace(seen(), catalogue=catalogue())
    page = ModelsPage(desk)
    asked, said = Asked(desk, monkeypatch), []
    desk.said.connect(lambda sentence, _: said.append(sentence))
    page.network.signed = {EMBEDDED.name: (DIGEST, "small", 8192, "Apache-2.0")}
    for wanted in (MIDDLE.name, MIDDLE.digest.hex(), MIDDLE.digest.hex().upper()):
        page.wanted.setText(wanted)
        page.fetch_button.click()
        assert said.pop() == f"{wanted} is not what the stewards signed: it is not fetched."
    page.get(MIDDLE.digest.hex())
    assert asked.found == []
    page.wanted.setText(EMBEDDED.name)
    page.fetch_button.click()
    assert asked.found == [("/v1/fetch", FetchRequest(model=EMBEDDED.name))]
    page.deleteLater()


def test_the_card_takes_and_leaves_in_the_region_it_shows(
    application: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, HostLink(tmp_path))
    card = StandingCard(desk, also_with_seat=False)
    asked = Asked(desk, monkeypatch)
    card.show_state(replace(seen(), catalogue=catalogue()))
    assert card.isHidden()
    offer = catalogue(seat=None, places=[place_in_line(1, NOW_US)])
    card.show_state(replace(seen(), catalogue=offer))
    assert not card.isHidden()
    card.take_button.click()
    assert card.leave_button.text() == "Decline it"
    card.leave_button.click()
    card.look_button.click()
    assert asked.found == [
        ("/v1/seat/take", RegionRequest(region="north")),
        ("/v1/line/leave", RegionRequest(region="north")),
        ("/v1/catalogue/look", None),
    ]
    card.show_state(silent())
    assert not card.copy_button.isHidden()
    assert card.take_button.isHidden()
    card.copy_button.click()
    clipboard = application.clipboard().text()
    assert clipboard == silent().status.peer_id
    card.deleteLater()
