"""Peers that misbehave towards a running coordinator and its hosts."""

import json
import secrets
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from peerllm.charter.defaults import FIRST_MODEL_SHA256
from peerllm.coordinator.storage_file import StorageFile
from peerllm.coordinator.storage_schema import DATABASE_FILE
from peerllm.crypto.identity import Identity
from peerllm.overlay.catalogue_exchange import ask_catalogue
from peerllm.overlay.catalogue_messages import CATALOGUE_PROTOCOL, Catalogue, CatalogueAsked
from peerllm.overlay.errors import DialError, StreamClosed
from peerllm.overlay.framing import to_frame
from peerllm.overlay.messages import SESSION_PROTOCOL
from peerllm.overlay.node import Node, open_node
from tests.network.harness import MODEL, UpNetwork, run_peerllm

# One more than libp2p's default would ever serve, and some.
CONNECTIONS = 300


def address_of(network: UpNetwork) -> str:
    coordinator = network.up["coordinator"]
    return f"/ip4/127.0.0.1/tcp/{coordinator['port']}/p2p/{coordinator['peer_id']}"


def database_of(network: UpNetwork) -> Path:
    return network.data / "coordinator" / DATABASE_FILE


def overlay_ports(network: UpNetwork) -> list[int]:
    return [network.up["coordinator"]["port"], *(host["port"] for host in network.up["hosts"])]


def events(network: UpNetwork, name: str) -> list[dict[str, object]]:
    lines = (network.data / "logs" / "coordinator.log").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


def answers(network: UpNetwork) -> bool:
    answer = network.client().chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Name a colour."}],
        max_tokens=6,
        temperature=0,
    )
    return bool(answer.choices[0].message.content)


@pytest.fixture
def seated(network: UpNetwork) -> Iterator[Identity]:
    """An identity that the coordinator admits, as a host turned hostile would have."""
    identity = Identity.generate()
    folder = f"--data-directory={network.data / 'coordinator'}"
    given = run_peerllm(
        "coordinator",
        "seat",
        identity.peer_id,
        folder,
        "--operator=mallory",
        f"--model-digest={FIRST_MODEL_SHA256}",
    )
    assert given.returncode == 0, given.stderr
    yield identity
    assert run_peerllm("coordinator", "unseat", identity.peer_id, folder).returncode == 0


async def dial_when_seated(network: UpNetwork, identity: Identity) -> None:
    """Seats take effect within two seconds."""
    async with open_node(identity, listen=None, admits=lambda _: False) as node:
        with trio.fail_after(20):
            while True:
                try:
                    stream = await node.dial(address_of(network), SESSION_PROTOCOL)
                except DialError:
                    await trio.sleep(0.2)
                else:
                    await stream.close()
                    return


def test_garbage_on_every_port_changes_nothing(network: UpNetwork) -> None:
    for port in overlay_ports(network):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
                caller.sendall(secrets.token_bytes(4096))
    assert network.is_alive()
    assert answers(network)


def test_plaintext_is_not_spoken(network: UpNetwork) -> None:
    for port in overlay_ports(network):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
            for line in (b"/multistream/1.0.0\n", b"/plaintext/2.0.0\n"):
                caller.sendall(bytes([len(line)]) + line)
            heard = b""
            while b"na\n" not in heard:
                piece = caller.recv(1024)
                assert piece, "closed without refusing"
                heard += piece
            assert b"plaintext" not in heard


@pytest.mark.parametrize("protocol", [SESSION_PROTOCOL, CATALOGUE_PROTOCOL])
async def test_a_stranger_is_refused_by_its_proven_identity(
    network: UpNetwork, protocol: str
) -> None:
    async with open_node(Identity.generate(), listen=None, admits=lambda _: False) as node:
        with pytest.raises(DialError):
            await node.dial(address_of(network), protocol)


async def test_who_is_in_line_is_told_its_place_and_given_no_work(network: UpNetwork) -> None:
    identity = Identity.generate()
    with StorageFile(database_of(network)) as storage:
        storage.join_line(
            identity.peer_id, "mallory", "default", [bytes.fromhex(FIRST_MODEL_SHA256)]
        )
    try:
        async with open_node(identity, listen=None, admits=lambda _: False) as node:
            told = await _told_when_known(node, network)
            (place,) = told.places
            assert (place.place, told.seat) == (1, None)
            stream = await node.dial(address_of(network), SESSION_PROTOCOL)
            await stream.write(to_frame(b"garbage"))
            with trio.fail_after(20), suppress(StreamClosed):
                while await stream.read(4096):
                    pass
    finally:
        with StorageFile(database_of(network)) as storage:
            storage.leave_line(identity.peer_id, "default")
    assert all(event["host"] != identity.peer_id for event in events(network, "host_joined"))


async def _told_when_known(node: Node, network: UpNetwork) -> Catalogue:
    """Places in line take effect within two seconds."""
    with trio.fail_after(20):
        while True:
            try:
                stream = await node.dial(address_of(network), CATALOGUE_PROTOCOL)
            except DialError:
                await trio.sleep(0.2)
                continue
            told = await ask_catalogue(stream, CatalogueAsked())
            assert isinstance(told, Catalogue)
            return told


async def test_garbage_frames_end_the_session_with_a_content_free_reason(
    network: UpNetwork, seated: Identity
) -> None:
    await dial_when_seated(network, seated)
    planted = f"canary{secrets.token_hex(8)}".encode()
    async with open_node(seated, listen=None, admits=lambda _: False) as node:
        stream = await node.dial(address_of(network), SESSION_PROTOCOL)
        with trio.fail_after(10):
            try:
                await stream.write(to_frame(b"\xc1" + planted))
                while await stream.read(65536):
                    pass
            except StreamClosed:
                pass
    with trio.fail_after(10):
        while "malformed" not in [
            event["reason"]
            for event in events(network, "host_gone")
            if event["host"] == seated.peer_id
        ]:
            await trio.sleep(0.1)
    assert planted.decode() not in (network.data / "logs" / "coordinator.log").read_text()
    assert network.is_alive()


async def test_the_three_hundredth_connection_is_served_like_the_first(
    network: UpNetwork, seated: Identity
) -> None:
    await dial_when_seated(network, seated)
    async with open_node(seated, listen=None, admits=lambda _: False) as node:
        for _ in range(CONNECTIONS):
            # A connection goes with its last stream.
            stream = await node.dial(address_of(network), SESSION_PROTOCOL)
            await stream.close()
    assert network.is_alive()
    assert answers(network)
