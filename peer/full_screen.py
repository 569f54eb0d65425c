"""Whether the program in front fills the screen, as the X server tells it.

Window managers say so by properties that every client may read (Extended Window Manager
Hints 1.5). A few questions of a protocol that has stood still since 1987 are asked here:
libraries for it either wait for a hung server for ever or want to be compiled.
"""

import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import trio

from peerllm.peer.senses import Blindness

_SOCKETS: Final = "/tmp/.X11-unix"  # noqa: S108 - where X servers listen
# A server answers within a millisecond; one that does not is stuck.
_ANSWER_SECONDS: Final = 0.4
_AGAIN_SECONDS: Final = 5.0
# A setup tells every screen's colours: 10 to 30 KB.
_LONGEST_ANSWER: Final = 1024 * 1024
_LONGEST_COOKIE_FILE: Final = 256 * 1024
_COOKIE: Final = b"MIT-MAGIC-COOKIE-1"
_INTERN_ATOM: Final = 16
_GET_PROPERTY: Final = 20
_GENERIC_EVENT: Final = 35
# A window has a handful of states.
_MOST_STATES: Final = 64
_NAMES: Final = (
    b"_NET_SUPPORTING_WM_CHECK",
    b"_NET_ACTIVE_WINDOW",
    b"_NET_WM_STATE",
    b"_NET_WM_STATE_FULLSCREEN",
)


class FullScreenWatch:
    """Asks the display named in `environment`; `blindness` says why it cannot."""

    def __init__(self, environment: Mapping[str, str], *, platform: str = sys.platform) -> None:
        self._environment = environment
        self._connection: _Connection | None = None
        self._lock = trio.Lock()
        # After a failure, not at once again: the owner's other limits wait meanwhile.
        self._not_before = 0.0
        self._display = _display_number(environment.get("DISPLAY", ""))
        self._never = self._why_never(platform)
        self.blindness: Blindness = self._never or "starting"

    async def look(self) -> bool | None:
        """Whether it does now; None where nobody can tell."""
        if self._never or trio.current_time() < self._not_before:
            return None
        async with self._lock:
            try:
                with trio.fail_after(_ANSWER_SECONDS):
                    return await self._ask()
            except trio.Cancelled:
                # The answer is still on its way, and would be taken for the next one's.
                self.close()
                raise
            except (OSError, trio.BrokenResourceError, trio.TooSlowError, _NotX11Error):
                self.close()
                self.blindness = "no_display"
                self._not_before = trio.current_time() + _AGAIN_SECONDS
                return None

    def close(self) -> None:
        """Let go of the display."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _why_never(self, platform: str) -> Blindness:
        if platform != "linux":
            return "platform"
        # Programs for X are shown there as well, and they alone would be seen.
        if (
            self._environment.get("WAYLAND_DISPLAY")
            or self._environment.get("XDG_SESSION_TYPE") == "wayland"
        ):
            return "wayland"
        return "no_display" if self._display is None else ""

    async def _ask(self) -> bool | None:
        if self._connection is None:
            self._connection = await _connect(self._display or 0, self._environment)
        here = self._connection
        check, active, state, full_screen = here.atoms
        if not await here.values(here.root, check, 1):
            self.blindness = "no_window_manager"
            return None
        self.blindness = ""
        # 0: no program is in front.
        window = (*await here.values(here.root, active, 1), 0)[0]
        return bool(window) and full_screen in await here.values(window, state, _MOST_STATES)


class _NotX11Error(Exception):
    """The other end does not speak the protocol, or does not let us in."""


class _Connection:
    """Questions and answers, one after the other."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._unread = bytearray()
        self.root = 0
        self.atoms: tuple[int, ...] = ()

    async def open(self, cookie: bytes) -> None:
        """Introduce ourselves, learn the first screen's root window and the names' numbers."""
        name = _COOKIE if cookie else b""
        lengths = struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(cookie))
        await self._stream.send_all(lengths + _padded(name) + _padded(cookie))
        admitted, units = struct.unpack("<BxxxxxH", await self._read(8))
        setup = await self._read(4 * units)
        if admitted != 1 or len(setup) < 32:
            raise _NotX11Error
        vendor, formats = struct.unpack_from("<HxxxB", setup, 16)
        first_screen = 32 + _padded_length(vendor) + 8 * formats
        if len(setup) < first_screen + 4:
            raise _NotX11Error
        (self.root,) = struct.unpack_from("<I", setup, first_screen)
        self.atoms = tuple([await self._atom(name) for name in _NAMES])

    async def values(self, window: int, name: int, most: int) -> tuple[int, ...]:
        """A property's numbers; empty when it or the window is not there."""
        question = struct.pack("<BxHIIIII", _GET_PROPERTY, 6, window, name, 0, 0, most)
        head, rest = await self._answer(question)
        if head[0] != 1 or head[1] != 32:
            return ()
        count = min(struct.unpack_from("<I", head, 16)[0], len(rest) // 4)
        return struct.unpack_from(f"<{count}I", rest)

    async def _atom(self, name: bytes) -> int:
        units = 2 + _padded_length(len(name)) // 4
        question = struct.pack("<BxHHxx", _INTERN_ATOM, units, len(name)) + _padded(name)
        head, _ = await self._answer(question)
        if head[0] != 1:
            raise _NotX11Error
        found: int = struct.unpack_from("<I", head, 8)[0]
        return found

    async def _answer(self, question: bytes) -> tuple[bytes, bytes]:
        await self._stream.send_all(question)
        while True:
            head = await self._read(32)
            kind = head[0]
            units = struct.unpack_from("<I", head, 4)[0]
            rest = await self._read(4 * units) if kind in {1, _GENERIC_EVENT} else b""
            # An event that nobody asked for; every client gets some.
            if kind in {0, 1}:
                return head, rest

    async def _read(self, count: int) -> bytes:
        if count > _LONGEST_ANSWER:
            raise _NotX11Error
        while len(self._unread) < count:
            more = await self._stream.receive_some()
            if not more:
                raise _NotX11Error
            self._unread += more
        found = bytes(self._unread[:count])
        del self._unread[:count]
        return found

    def close(self) -> None:
        self._stream.socket.close()


async def _connect(display: int, environment: Mapping[str, str]) -> _Connection:
    cookie = await trio.to_thread.run_sync(_cookie, display, environment, abandon_on_cancel=True)
    connection = _Connection(await trio.open_unix_socket(f"{_SOCKETS}/X{display}"))
    try:
        await connection.open(cookie)
    except BaseException:
        connection.close()
        raise
    return connection


def _cookie(display: int, environment: Mapping[str, str]) -> bytes:
    """What the display's owner shows it, out of the file that xauth(1) keeps; may be empty."""
    home = Path(environment.get("HOME") or Path.home())
    path = Path(environment.get("XAUTHORITY") or home / ".Xauthority")
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST_COOKIE_FILE)
    except OSError:
        return b""
    return cookie_of(raw, display)


def cookie_of(raw: bytes, display: int) -> bytes:
    """The first cookie for a display of this machine; empty without one."""
    place = 0
    while place < len(raw):
        # A family, and then address, display, name and cookie, each after its length.
        place += 2
        fields: list[bytes] = []
        for _ in range(4):
            end = place + 2 + int.from_bytes(raw[place : place + 2], "big")
            fields.append(raw[place + 2 : end])
            place = end
        if fields[2] == _COOKIE and fields[1] in {b"", str(display).encode()}:
            return fields[3]
    return b""


def _display_number(text: str) -> int | None:
    """Of this machine's display `:1` or `:1.0`; None for another machine's, and for nonsense."""
    host, _, rest = text.rpartition(":")
    number, _, screen = rest.partition(".")
    is_here = host in {"", "unix"} and screen in {"", "0"}
    return int(number) if is_here and number.isascii() and number.isdigit() else None


def _padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % 4)


def _padded_length(length: int) -> int:
    return length + -length % 4
