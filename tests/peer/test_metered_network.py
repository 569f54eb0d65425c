"""NetworkManager's word, over a real message bus."""

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from peerllm.peer.metered_network import MeteredNetwork
from peerllm.peer.system_bus import follow_system_bus
from tests.peer.message_bus import on_bus, private_bus, until

NAME = "org.freedesktop.NetworkManager"
PATH = "/org/freedesktop/NetworkManager"
PROPERTIES = "org.freedesktop.DBus.Properties"


class Manager:
    """What NetworkManager says of the network now."""

    def __init__(self) -> None:
        self.metered: Any = ("u", 2)

    def __call__(self, member: str, body: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]] | None:
        if member != "Get" or body != (NAME, "Metered") or self.metered is None:
            return None
        return "v", (self.metered,)


@pytest.mark.parametrize(
    ("value", "is_metered"),
    [
        (("u", 0), None),
        (("u", 1), True),
        (("u", 2), False),
        (("u", 3), True),
        (("u", 4), False),
        # What no NetworkManager says.
        (("u", 77), None),
        (("s", "yes"), None),
        (None, None),
    ],
)
async def test_what_it_says_is_followed(
    tmp_path: Path, value: Any, is_metered: bool | None
) -> None:
    manager, network = Manager(), MeteredNetwork()
    manager.metered = value
    with private_bus(tmp_path) as address:
        async with on_bus(address, NAME, manager) as service, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: follow_system_bus([network], address=address))
            await until(lambda: service.calls, "the question")
            await until(lambda: network.blindness == "", "the answer")
            assert network.is_metered is is_metered
            nursery.cancel_scope.cancel()


async def test_changes_are_heard_at_once_and_only_from_it(tmp_path: Path) -> None:
    changes: list[bool | None] = []
    manager, network = Manager(), MeteredNetwork(lambda: changes.append(network.is_metered))
    changed = (PATH, PROPERTIES, "PropertiesChanged", "sa{sv}as")
    content = (NAME, {"Metered": ("u", 1)}, [])
    with private_bus(tmp_path) as address:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: follow_system_bus([network], address=address))
            # No NetworkManager yet: it may come up after the host.
            await until(lambda: network.blindness == "no_network_manager", "nobody")
            async with on_bus(address, NAME, manager) as service:
                await until(lambda: network.is_metered is False, "not metered")
                manager.metered = ("u", 1)
                async with on_bus(address, "", manager) as stranger:
                    asked = len(service.calls)
                    await stranger.say(*changed, content)
                await service.say(*changed, content)
                await until(lambda: network.is_metered, "metered")
                assert len(service.calls) == asked + 1
            await until(lambda: network.blindness == "no_network_manager", "gone")
            assert network.is_metered is None
            nursery.cancel_scope.cancel()
    assert changes == [None, False, True, None]


async def test_without_a_bus_nothing_is_known_and_it_is_looked_for_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    network = MeteredNetwork()
    for address in (f"unix:path={tmp_path}/none", "tcp:host=127.0.0.1,port=1", "nonsense"):
        network.blindness = "starting"
        with trio.move_on_after(200) as scope:
            await follow_system_bus([network], address=address)
        assert scope.cancelled_caught
        assert network.blindness == "no_system_bus"


async def test_a_service_that_hangs_takes_nobody_along(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    network, other = MeteredNetwork(), MeteredNetwork()
    with private_bus(tmp_path) as address:
        async with on_bus(address, NAME, Manager()) as service, trio.open_nursery() as nursery:
            service.is_mute = True
            nursery.start_soon(lambda: follow_system_bus([network, other], address=address))
            await until(lambda: len(service.calls) == 2, "the questions")
            mock_clock.jump(6)
            await until(lambda: network.blindness == other.blindness == "", "no answer")
            assert network.is_metered is None
            nursery.cancel_scope.cancel()


async def test_a_bus_that_ends_is_told(tmp_path: Path) -> None:
    network = MeteredNetwork()
    async with trio.open_nursery() as nursery:
        with private_bus(tmp_path) as address:
            async with on_bus(address, NAME, Manager()):
                nursery.start_soon(lambda: follow_system_bus([network], address=address))
                await until(lambda: network.is_metered is False, "not metered")
        await until(lambda: network.blindness == "no_system_bus", "the end")
        assert network.is_metered is None
        nursery.cancel_scope.cancel()
