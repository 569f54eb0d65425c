"""A private message bus, and services on it that say what a test has them say."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    MessageType,
    message_bus,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney.io.trio import DBusConnection, open_dbus_connection

CONFIGURATION = """
<busconfig>
  <type>session</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


@contextmanager
def private_bus(folder: Path) -> Iterator[str]:
    """The address of a bus of its own; skipped where there is no bus to be had."""
    program = shutil.which("dbus-daemon")
    if program is None:
        pytest.skip("THE MESSAGE BUS IS NOT TESTED: there is no dbus-daemon on this machine")
    configuration = folder / "bus.conf"
    path = folder / "bus"
    configuration.write_text(CONFIGURATION.format(path=path))
    command = [program, f"--config-file={configuration}", "--nofork", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bus:
        assert bus.stdout is not None
        # Printed once it listens.
        bus.stdout.readline()
        try:
            yield f"unix:path={path}"
        finally:
            bus.terminate()


class MockService:
    """One name on the bus. `answer` is given a call's member and body, gives signature and body."""

    def __init__(self, connection: DBusConnection, name: str, answer: Callable[..., Any]) -> None:
        self._connection = connection
        self._name = name
        self._answer = answer
        self.calls: list[str] = []
        self.is_mute = False

    async def serve(self) -> None:
        while True:
            try:
                call = await self._connection.receive()
            except trio.ClosedResourceError:
                return
            if call.header.message_type is not MessageType.method_call:
                continue
            member = call.header.fields[HeaderFields.member]
            self.calls.append(member)
            if self.is_mute:
                continue
            found = self._answer(member, call.body)
            if found is None:
                await self._connection.send(new_error(call, "org.example.Refused"))
            else:
                await self._connection.send(new_method_return(call, *found))

    async def say(self, path: str, interface: str, member: str, *content: Any) -> None:
        await self._connection.send(
            new_signal(DBusAddress(path, None, interface), member, *content)
        )


@asynccontextmanager
async def on_bus(address: str, name: str, answer: Callable[..., Any]) -> AsyncIterator[MockService]:
    """A service under this name, until the block is left."""
    connection = await open_dbus_connection(address, enable_fds=True)
    async with connection:
        if name:
            async with connection.router() as router:
                reply: Message = await router.send_and_get_reply(message_bus.RequestName(name))
                assert reply.body == (1,)
        service = MockService(connection, name, answer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.serve)
            yield service
            nursery.cancel_scope.cancel()


async def until(is_so: Callable[[], object], what: str) -> None:
    """Wait for what another process brings about."""
    with trio.move_on_after(20):
        while not is_so():
            await trio.sleep(0.01)
        return
    pytest.fail(f"never came: {what}")
