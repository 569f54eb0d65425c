"""Limits, models, receipts, the first run's words: without a widget."""

import configparser
import plistlib
import shlex
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.crypto.identity import Identity
from peerllm.peer.catalogue import CatalogueModel
from peerllm.peer.desktop.activity_view import receipt_rows, verdict
from peerllm.peer.desktop.first_steps import coordinator_fault, limits_sentence, recommended
from peerllm.peer.desktop.limits_form import DayHours, form_of, limits_of
from peerllm.peer.desktop.login_start import login_file
from peerllm.peer.desktop.models_view import (
    disk_line,
    fetch_line,
    model_rows,
    needed_bytes,
    unload_warning,
)
from peerllm.peer.desktop.palette import DARK, LIGHT, Palette, contrast
from peerllm.peer.desktop.settings import DesktopSettings, SettingsFile, network_address
from peerllm.peer.limits import LARGEST_CAP_BYTES, UNATTENDED, Limits, ScheduleWindow
from peerllm.peer.model_fetch_api import FetchStatus
from peerllm.peer.receipt_book import Receipts
from tests.peer.desktop.samples import ADDRESS, COORDINATOR, DIGEST, HOST, engine, model, receipt

ENTRY = CatalogueModel(
    name="smollm2-135m-instruct",
    path="/models/a.gguf",
    file_bytes=98_000_000,
    architecture="llama",
    parameters=134_515_008,
    trained_context_tokens=8192,
    cache_bytes_per_token=23_040,
)

windows = st.builds(
    ScheduleWindow,
    days=st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True),
    start_minute=st.integers(0, 1439),
    end_minute=st.integers(0, 1440),
)
any_limits = st.builds(
    Limits,
    paused=st.booleans(),
    schedule=st.lists(windows, max_size=3),
    idle_minutes=st.integers(0, 1440),
    on_battery=st.booleans(),
    on_metered=st.booleans(),
    beside_full_screen=st.booleans(),
    threads=st.integers(0, 256),
    memory_cap_bytes=st.integers(0, LARGEST_CAP_BYTES),
    bandwidth_bytes_per_second=st.just(0) | st.integers(65_536, LARGEST_CAP_BYTES),
    share_models=st.booleans(),
)


@given(any_limits)
def test_a_form_that_nobody_touched_changes_no_limit(limits: Limits) -> None:
    found = limits_of(form_of(limits), limits)
    if isinstance(found, str):
        # A window of no length, as only a file written by hand has it.
        assert any(w.start_minute == w.end_minute for w in limits.schedule)
        return
    assert replace_schedule(found) == replace_schedule(limits)
    assert spans(found) == spans(limits) or any(w.end_minute == 0 for w in limits.schedule)


def replace_schedule(limits: Limits) -> Limits:
    return Limits(**{f: getattr(limits, f) for f in limits.__struct_fields__ if f != "schedule"})


def spans(limits: Limits) -> set[tuple[int, int, int]]:
    return {(d, w.start_minute, w.end_minute) for w in limits.schedule for d in w.days}


def test_a_schedule_by_weekday_becomes_few_windows() -> None:
    form = form_of(Limits())
    assert not form.scheduled
    days = (*[DayHours(True, 1080, 480)] * 5, DayHours(True, 0, 0), DayHours(False))
    assert isinstance(limits_of(replace(form, scheduled=True, days=days), Limits()), str)
    days = (*days[:5], DayHours(True, 600, 0), days[6])
    found = limits_of(replace(form, scheduled=True, days=days), Limits())
    assert isinstance(found, Limits)
    assert found.schedule == [
        ScheduleWindow(days=[0, 1, 2, 3, 4], start_minute=1080, end_minute=480),
        ScheduleWindow(days=[5], start_minute=600, end_minute=1440),
    ]
    none = tuple(replace(day, on=False) for day in days)
    assert "at least one day" in str(limits_of(replace(form, scheduled=True, days=none), found))
    assert limits_of(replace(form_of(found), scheduled=False), found) == Limits()
    assert "64 KiB" in str(limits_of(replace(form, bandwidth_kib=63), Limits()))


def test_models_say_what_they_need_and_what_can_be_done() -> None:
    (row,) = model_rows({DIGEST: ENTRY}, [model()], lambda _: None, 10**9, is_running=True)
    assert (row.can_load, row.can_unload, row.fits) == (False, True, True)
    assert "One answer" in unload_warning(row)
    assert unload_warning(replace(row, running=0)) == ""
    (off,) = model_rows({DIGEST: ENTRY}, [], lambda _: None, 10**8, is_running=False)
    assert (off.can_load, off.can_unload, off.fits, off.state) == (False, False, False, "On disk")
    assert "100 MB are free" in off.fit
    broken = model(engine=engine("unavailable", "the file is damaged"), digest="")
    first, second = model_rows({DIGEST: ENTRY}, [broken], lambda _: None, 10**9, is_running=True)
    assert {first.is_in_catalogue, second.is_in_catalogue} == {True, False}
    assert disk_line([ENTRY], 5_000_000) == "One model takes 98 MB of disk. 5 MB are free."
    assert disk_line([], 1) == ""


@pytest.mark.parametrize(
    ("fetch", "words", "percent"),
    [
        (FetchStatus(state="none"), "", -1),
        (FetchStatus(state="finding", wanted="m"), "Looking for hosts that have m", 0),
        (
            FetchStatus(state="fetching", name="m", file_bytes=400, done_bytes=100, holders=2),
            "from 2 hosts",
            25,
        ),
        (FetchStatus(state="checking", name="m", file_bytes=4, done_bytes=4), "checking", 100),
        (FetchStatus(state="failed", sentence="the disk is full"), "The disk is full.", -1),
        (FetchStatus(state="stopped", file_bytes=4, done_bytes=1), "goes on from there", -1),
        (FetchStatus(state="complete", name="m"), "checked", -1),
    ],
)
def test_a_fetch_is_told_in_words(fetch: FetchStatus, words: str, percent: int) -> None:
    line, found = fetch_line(fetch)
    assert words in line
    assert found == percent


def test_receipts_are_shown_only_if_this_host_signed_them() -> None:
    stranger = Identity.from_seed(b"s" * 32).peer_id
    kept = Receipts(receipts=[receipt(1), "not base64!", receipt(3), "AAAA"])
    rows = receipt_rows(kept, HOST.peer_id, {DIGEST: "smol"})
    assert [row.signed for row in rows] == [receipt(1), receipt(3)]
    assert rows[0].model == "smol"
    assert receipt_rows(kept, stranger, {}) == []
    good = verdict(receipt(1), HOST.peer_id)
    assert good.tone == "good"
    assert COORDINATOR[-8:] in good.sentence
    for text, host in ((receipt(1), stranger), ("AAAA", HOST.peer_id), ("!", HOST.peer_id)):
        assert verdict(text, host).tone == "problem"


def test_a_network_address_is_checked_before_anything_starts() -> None:
    assert coordinator_fault(f" {ADDRESS}\n") == ""
    assert "waiting list" in coordinator_fault("  ")
    for text in ("hello", ADDRESS[:-3], "--help", "/ip4/1.2.3.4/tcp/1/p2p/x"):
        assert "no network's address" in coordinator_fault(text)


def test_the_largest_model_that_leaves_room_is_recommended() -> None:
    large = replace_entry(name="large", file_bytes=4 * 10**9, parameters=7 * 10**9)
    both = {"a": ENTRY, "b": large}
    assert recommended(both, 64 * 10**9) == ("b", large)
    assert recommended(both, 2 * needed_bytes(ENTRY)) == ("a", ENTRY)
    # Something must be first, even on a machine that is full just now.
    assert recommended(both, 0) == ("a", ENTRY)
    assert recommended({}, 10**9) is None
    assert "Never on battery" in limits_sentence(Limits(on_battery=False, idle_minutes=10))
    assert "paid for by the byte" in limits_sentence(UNATTENDED)
    assert "paid for by the byte" not in limits_sentence(Limits())
    assert "At most 900 MB" in limits_sentence(Limits(memory_cap_bytes=900_000_000))


def replace_entry(**changes: object) -> CatalogueModel:
    return msgspec.structs.replace(ENTRY, **changes)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://api.example.org/v1/", "https://api.example.org/v1"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
        ("http://api.example.org/v1", None),
        ("https://user:secret@example.org", None),
        ("https://", None),
        ("ftp://127.0.0.1", None),
        ("https://a:99999/", None),
        ("javascript:alert(1)", None),
        ("", None),
    ],
)
def test_a_key_goes_only_where_it_is_safe(text: str, address: str | None) -> None:
    assert network_address(text) == address


def test_settings_survive_and_a_damaged_file_is_kept_aside(tmp_path: Path) -> None:
    file = SettingsFile(tmp_path)
    wanted = DesktopSettings(theme="dark", network_key="sk-secret")
    assert file.keep(wanted) == ""
    path = tmp_path / "desktop.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert SettingsFile(tmp_path).settings == wanted
    assert "secret" not in repr(wanted)
    path.write_text('{"power": {"price_per_kwh": -1}}')
    damaged = SettingsFile(tmp_path)
    assert "price_per_kwh" in damaged.fault
    assert damaged.settings == DesktopSettings()
    assert damaged.keep(wanted) == ""
    assert (tmp_path / "desktop.damaged").exists()
    assert SettingsFile(tmp_path).fault == ""
    blocked = SettingsFile(tmp_path / "desktop.json")
    assert blocked.keep(wanted) != ""


def test_two_windows_of_one_folder_do_not_undo_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = SettingsFile(tmp_path), SettingsFile(tmp_path)
    one.keep(msgspec.structs.replace(one.settings, network_key="sk-secret"))
    other.keep(msgspec.structs.replace(other.settings, theme="dark"))
    assert other.settings == DesktopSettings(theme="dark", network_key="sk-secret")
    assert SettingsFile(tmp_path).settings == other.settings
    # What a full disk did not take is in force all the same, and kept with the next change.
    with monkeypatch.context() as full:
        full.setattr("peerllm.peer.desktop.settings.write_state", no_space)
        assert (
            one.keep(msgspec.structs.replace(one.settings, notifications=False)) == "No space left"
        )
    one.keep(msgspec.structs.replace(one.settings, theme="light"))
    assert not SettingsFile(tmp_path).settings.notifications


def no_space(_path: Path, _value: msgspec.Struct) -> None:
    raise OSError(28, "No space left")


COMMAND = ['/opt/a b/peer"llm', "desktop", "--hidden", "--data-directory=/home/ö/%d $x"]


def test_login_files_start_exactly_this_command(tmp_path: Path) -> None:
    entry = login_file(COMMAND, home=tmp_path, platform="linux")
    assert entry.path == tmp_path / ".config/autostart/network.peerllm.desktop.desktop"
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(entry.content.decode())
    line = parser["Desktop Entry"]["Exec"].replace("\\\\", "\\").replace("%%", "%")
    # As a shell's double quotes, but that shlex leaves an escaped dollar as it is.
    assert shlex.split(line.replace("\\$", "$")) == COMMAND
    mac = login_file(COMMAND, home=tmp_path, platform="darwin")
    assert plistlib.loads(mac.content)["ProgramArguments"] == COMMAND


def test_a_login_file_of_windows_says_how_it_is_encoded(tmp_path: Path) -> None:
    command = ["C:\\R&D\\peerllm.exe", "desktop", "--data-directory=C:\\Jörg\\50%\\"]
    windows = login_file(command, home=tmp_path, platform="win32")
    assert windows.path.name == "PeerLLM.cmd"
    # Read in the console's encoding, Jörg would be somebody else; & would end the command.
    assert windows.content.decode().split("\r\n") == [
        "@chcp 65001 >nul",
        '@start "" "C:\\R&D\\peerllm.exe" "desktop" "--data-directory=C:\\Jörg\\50%%\\\\"',
        "",
    ]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_all_text_has_the_contrast_that_wcag_asks_for(palette: Palette) -> None:
    for ground in (palette.background, palette.card, palette.sidebar, palette.field):
        for ink in (palette.text, palette.muted, palette.good, palette.waiting, palette.problem):
            assert contrast(ink, ground) >= 4.5, (ink, ground)
    assert contrast(palette.on_accent, palette.accent) >= 4.5
    assert contrast(palette.on_accent, palette.accent_hover) >= 4.5
    assert contrast(palette.text, palette.accent_soft) >= 4.5
    assert contrast(palette.accent, palette.card) >= 3
