"""The system's message bus (D-Bus): who is followed on it, for as long as there is one."""

from collections.abc import Sequence
from typing import Final, Protocol

import trio
from jeepney import (
    AuthenticationError,
    DBusAddress,
    DBusErrorResponse,
    HeaderFields,
    MatchRule,
    Message,
    Properties,
    message_bus,
)
from jeepney.io.common import RouterClosed
from jeepney.io.trio import DBusConnection, DBusRouter, open_dbus_connection
from jeepney.low_level import SizeLimitError
from jeepney.wrappers import unwrap_msg

from peerllm.peer.senses import Blindness

# A bus that went away comes back with the next start of the system, as a rule.
_AGAIN_SECONDS: Final = 60.0
_ANSWER_SECONDS: Final = 5.0
# Whoever is told more than that at once needs only the last of it.
_BACKLOG_SIGNALS: Final = 64
_GONE: Final = (
    OSError,
    AuthenticationError,
    RouterClosed,
    DBusErrorResponse,
    SizeLimitError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.EndOfChannel,
    trio.TooSlowError,
)


class Follower(Protocol):
    """Somebody who follows one service of the bus."""

    async def follow(self, router: DBusRouter) -> None:
        """Until the connection ends."""

    def lose(self, why: Blindness) -> None:
        """There is nobody to ask any more."""


async def follow_system_bus(followers: Sequence[Follower], *, address: str = "SYSTEM") -> None:
    """Connect, and again when the connection is lost. `address` as D-Bus writes it."""
    while True:
        try:
            connection = await _connect(address)
            async with (
                connection,
                connection.router() as router,
                trio.open_nursery() as nursery,
            ):
                for follower in followers:
                    nursery.start_soon(follower.follow, router)
        except* _GONE:
            pass
        for follower in followers:
            follower.lose("no_system_bus")
        await trio.sleep(_AGAIN_SECONDS)


async def _connect(address: str) -> DBusConnection:
    try:
        with trio.fail_after(_ANSWER_SECONDS):
            return await open_dbus_connection(address, enable_fds=True)
    except (RuntimeError, ValueError) as error:
        # What jeepney says of an address it cannot use.
        raise OSError(str(error)) from None


class Service:
    """One service of the bus, and who stands for it now."""

    def __init__(self, router: DBusRouter, address: DBusAddress) -> None:
        self._router = router
        self._address = address
        self._owner = ""

    async def find(self) -> bool:
        """See who stands for it; False when nobody does."""
        try:
            owner = await self._ask(message_bus.GetNameOwner(self._address.bus_name))
            self._owner = str(owner[0])
        except DBusErrorResponse:
            self._owner = ""
        return bool(self._owner)

    async def call(self, message: Message) -> Sequence[object] | None:
        """A method's answer; None when it is refused, or does not come."""
        try:
            return await self._ask(message)
        except (DBusErrorResponse, trio.TooSlowError):
            # One service that hangs is no reason to leave the others.
            return None

    async def property(self, name: str) -> object:
        """A property's value; None when it is not told."""
        answer = await self.call(Properties(self._address).get(name))
        # A variant: its signature and its value.
        match answer:
            case ((str(), value),):
                return value
        return None

    async def changes(self, *rules: MatchRule) -> "trio.MemoryReceiveChannel[Message]":
        """Signals by these rules, and every change of who stands for the service.

        They come until the connection ends, and then the channel does.
        """
        sender, receiver = trio.open_memory_channel[Message](_BACKLOG_SIGNALS)
        owner = MatchRule(
            type="signal",
            interface="org.freedesktop.DBus",
            member="NameOwnerChanged",
            path="/org/freedesktop/DBus",
        )
        owner.add_arg_condition(0, self._address.bus_name)
        for rule in (owner, *rules):
            # Never taken back: jeepney 0.9 breaks when that happens while the connection ends.
            self._router.filter(rule, channel=sender.clone())
            await self._ask(message_bus.AddMatch(rule))
        sender.close()
        return receiver

    def is_from(self, message: Message) -> bool:
        """Whether the service said it: anybody on the bus may send anything."""
        sender: object = message.header.fields.get(HeaderFields.sender)
        return bool(self._owner) and sender == self._owner

    async def _ask(self, message: Message) -> Sequence[object]:
        with trio.fail_after(_ANSWER_SECONDS):
            reply = await self._router.send_and_get_reply(message)
        body: Sequence[object] = unwrap_msg(reply)
        return body


def is_change_of_owner(message: Message) -> bool:
    """Whether it is the bus saying who stands for a service now."""
    fields = message.header.fields
    member, sender = fields.get(HeaderFields.member), fields.get(HeaderFields.sender)
    return (member, sender) == ("NameOwnerChanged", "org.freedesktop.DBus")
