"""Whether the network is paid for by the byte, as NetworkManager tells."""

from collections.abc import Callable
from typing import Final

from jeepney import DBusAddress, MatchRule
from jeepney.io.trio import DBusRouter

from peerllm.peer.senses import Blindness
from peerllm.peer.system_bus import Service, is_change_of_owner

_NETWORK_MANAGER: Final = DBusAddress(
    "/org/freedesktop/NetworkManager",
    bus_name="org.freedesktop.NetworkManager",
    interface="org.freedesktop.NetworkManager",
)
_CHANGED: Final = MatchRule(
    type="signal",
    interface="org.freedesktop.DBus.Properties",
    member="PropertiesChanged",
    path="/org/freedesktop/NetworkManager",
)
# NMMetered: set by the owner, and guessed, as for a telephone's hotspot. 0 is not known.
_METERED: Final = {1: True, 2: False, 3: True, 4: False}


class MeteredNetwork:
    """Follows NetworkManager; `is_metered` is None while it does not know."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._on_change = on_change
        self.is_metered: bool | None = None
        self.blindness: Blindness = "starting"

    async def follow(self, router: DBusRouter) -> None:
        """Until the connection ends."""
        service = Service(router, _NETWORK_MANAGER)
        changes = await service.changes(_CHANGED)
        await self._look(service)
        async for message in changes:
            # Which property changed is not worth telling apart: they change seldom.
            if is_change_of_owner(message) or service.is_from(message):
                await self._look(service)

    def lose(self, why: Blindness) -> None:
        """There is nobody to ask any more."""
        self._show(None, why)

    async def _look(self, service: Service) -> None:
        if not await service.find():
            self._show(None, "no_network_manager")
            return
        value = await service.property("Metered")
        self._show(_METERED.get(value) if isinstance(value, int) else None, "")

    def _show(self, is_metered: bool | None, blindness: Blindness) -> None:
        if (is_metered, blindness) != (self.is_metered, self.blindness):
            self.is_metered, self.blindness = is_metered, blindness
            self._on_change()
