"""All senses of a host together, over a real message bus."""

import socket
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from peerllm.peer.limits import UNATTENDED, Limits, holds
from peerllm.peer.senses import Senses
from peerllm.peer.surroundings import Surroundings, senses_here
from tests.peer.message_bus import on_bus, private_bus, until


def answer(member: str, body: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]] | None:
    return ("v", (("u", 1),)) if (member, body[-1]) == ("Get", "Metered") else None


async def test_what_the_desktop_tells_reaches_the_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        monkeypatch.delenv(name, raising=False)
    told: list[Senses] = []

    async def rest(seconds: float) -> None:
        raise AssertionError(seconds)

    with private_bus(tmp_path) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        found = Surroundings(
            list,
            rest=rest,
            wake=lambda: None,
            on_change=lambda: told.append(found.senses()),
        )
        assert found.senses() == Senses(full_screen="no_display")
        async with (
            on_bus(address, "org.freedesktop.NetworkManager", answer),
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(found.run)
            known = Senses(metered="", full_screen="no_display", sleep="no_login_manager")
            await until(lambda: found.senses() == known, "the senses")
            assert told[-1] == known
            now = await found.look(UNATTENDED)
            assert now.on_metered
            assert now.full_screen is None
            assert "metered" in holds(UNATTENDED, now)
            # What no limit asks for is not looked at.
            assert (await found.look(Limits())).on_metered is None
            nursery.cancel_scope.cancel()


async def test_elsewhere_than_on_linux_it_is_said_plainly() -> None:
    found = Surroundings(
        list, rest=trio.sleep, wake=lambda: None, on_change=lambda: None, platform="darwin"
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run)
        everywhere = Senses(metered="platform", full_screen="platform", sleep="platform")
        await until(lambda: found.senses() == everywhere, "the senses")
        nursery.cancel_scope.cancel()


async def test_what_can_be_told_is_found_out_without_a_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with private_bus(tmp_path) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        async with on_bus(address, "org.freedesktop.NetworkManager", answer):
            found = await senses_here()
    assert found == Senses(metered="", full_screen="wayland", sleep="no_login_manager")


async def test_a_bus_that_hangs_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(tmp_path / "bus"))
        bus.listen()
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'bus'}")
        found = await senses_here()
    assert (found.metered, found.sleep) == ("no_system_bus", "no_system_bus")
    assert trio.current_time() < 10
