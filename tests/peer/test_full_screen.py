"""The X server's word, from a real one with a real window manager and a real program."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from peerllm.peer.full_screen import FullScreenWatch, cookie_of
from tests.peer.x_server import NoXServerError, x_server

# Fills the screen until a line comes, and ends with the next.
FILM = """
import sys
from PySide6.QtCore import QSocketNotifier
from PySide6.QtWidgets import QApplication, QWidget
application = QApplication([])
film = QWidget()
film.showFullScreen()
orders = iter([film.showNormal, application.quit])
def take(*_):
    sys.stdin.readline()
    next(orders)()
notifier = QSocketNotifier(0, QSocketNotifier.Type.Read)
notifier.activated.connect(take)
application.exec()
"""


@contextmanager
def display(*arguments: str) -> Iterator[tuple[dict[str, str], "subprocess.Popen[bytes]"]]:
    try:
        with x_server(*arguments) as found:
            yield found
    except NoXServerError as missing:
        pytest.skip(f"FULL-SCREEN PROGRAMS ARE NOT TESTED: {missing}")


async def says(watch: FullScreenWatch, blindness: str) -> None:
    """After a while: a machine that is busy may be as slow as one that hangs."""
    with trio.fail_after(60):
        while watch.blindness != blindness:
            await watch.look()
            await trio.sleep(0.02)


async def is_now(watch: FullScreenWatch, wanted: bool | None) -> None:
    found: list[bool | None] = []
    with trio.fail_after(60):
        while not found or found[-1] is not wanted:
            found.append(await watch.look())
            await trio.sleep(0.02)


async def test_a_program_that_fills_the_screen_is_seen() -> None:
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)
    manager = shutil.which("openbox")
    if manager is None:
        pytest.skip("FULL-SCREEN PROGRAMS ARE NOT TESTED: there is no openbox on this machine")
    with display() as (here, _):
        watch = FullScreenWatch(here, platform="linux")
        await says(watch, "no_window_manager")
        environment = os.environ | here | {"QT_QPA_PLATFORM": "xcb"}
        openbox = subprocess.Popen([manager], env=environment, stderr=subprocess.DEVNULL)
        try:
            await is_now(watch, False)
            await says(watch, "")
            command = [sys.executable, "-c", FILM]
            with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as film:
                assert film.stdin is not None
                await is_now(watch, True)
                film.stdin.write(b"normal\n")
                film.stdin.flush()
                await is_now(watch, False)
                film.stdin.write(b"end\n")
                film.stdin.flush()
            assert film.returncode == 0
            await is_now(watch, False)
        finally:
            openbox.terminate()
            openbox.wait()
            watch.close()


async def test_the_server_s_cookie_is_shown(tmp_path: Path) -> None:
    cookie = secrets.token_bytes(16)
    file = tmp_path / "cookies"
    file.write_bytes(entry(b"another", b"99", b"x" * 16) + entry(b"here", b"", cookie))
    with display("-auth", str(file)) as (here, _):
        stranger = FullScreenWatch(here | {"HOME": str(tmp_path)}, platform="linux")
        assert await stranger.look() is None
        assert stranger.blindness == "no_display"
        owner = FullScreenWatch(here | {"XAUTHORITY": str(file)}, platform="linux")
        await says(owner, "no_window_manager")
        owner.close()


async def test_a_server_that_hangs_or_ends_costs_a_moment(
    mock_clock: MockClock,
) -> None:
    mock_clock.rate = 1
    with display() as (here, server):
        watch = FullScreenWatch(here, platform="linux")
        await says(watch, "no_window_manager")
        server.send_signal(19)
        assert await watch.look() is None
        assert watch.blindness == "no_display"
        server.send_signal(18)
        mock_clock.jump(5)
        await says(watch, "no_window_manager")
        server.terminate()
        server.wait()
        await watch.look()
        assert watch.blindness == "no_display"


@pytest.mark.parametrize(
    ("environment", "platform", "blindness"),
    [
        ({"DISPLAY": ":0"}, "darwin", "platform"),
        ({"DISPLAY": ":0"}, "win32", "platform"),
        ({}, "linux", "no_display"),
        ({"DISPLAY": ":0", "WAYLAND_DISPLAY": "wayland-0"}, "linux", "wayland"),
        ({"DISPLAY": ":0", "XDG_SESSION_TYPE": "wayland"}, "linux", "wayland"),
        # Another machine's, another screen's, and what is none.
        ({"DISPLAY": "there:0"}, "linux", "no_display"),
        ({"DISPLAY": ":0.1"}, "linux", "no_display"),
        ({"DISPLAY": ":x"}, "linux", "no_display"),
        ({"DISPLAY": ":65000"}, "linux", "no_display"),
    ],
)
async def test_where_nobody_can_tell_it_says_why(
    environment: dict[str, str], platform: str, blindness: str
) -> None:
    watch = FullScreenWatch(environment, platform=platform)
    assert await watch.look() is None
    assert watch.blindness == blindness


LYING_SETUP = b"\1" + bytes(5) + b"\x08\0" + b"\xff" * 32


@pytest.mark.parametrize("answer", [b"", bytes(8), b"\1" + b"\xff" * 7, LYING_SETUP])
async def test_whatever_answers_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr("peerllm.peer.full_screen._SOCKETS", str(tmp_path))
    watch = FullScreenWatch({"DISPLAY": ":1"}, platform="linux")
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(str(tmp_path / "X1"))
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_once, listener, answer)
            assert await watch.look() is None
            nursery.cancel_scope.cancel()
    assert watch.blindness == "no_display"


async def answer_once(listener: trio.socket.SocketType, answer: bytes) -> None:
    connection, _ = await listener.accept()
    with connection:
        await connection.send(answer)
        await trio.sleep(0.05)


def entry(address: bytes, number: bytes, cookie: bytes) -> bytes:
    fields = (address, number, b"MIT-MAGIC-COOKIE-1", cookie)
    return b"\1\0" + b"".join(len(field).to_bytes(2, "big") + field for field in fields)


def test_a_cookie_is_found_by_its_display() -> None:
    raw = entry(b"here", b"0", b"a" * 16) + entry(b"here", b"12", b"b" * 16)
    assert cookie_of(raw, 12) == b"b" * 16
    assert cookie_of(raw, 0) == b"a" * 16
    assert cookie_of(raw, 1) == b""


@given(st.binary(max_size=200), st.integers(0, 9))
def test_a_damaged_file_of_cookies_is_survived(raw: bytes, display: int) -> None:
    assert len(cookie_of(raw, display)) <= len(raw)
