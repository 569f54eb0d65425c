"""What a message between a coordinator and a host costs, over real sockets.

    python benchmarks/overlay_round_trip.py [--messages 2000]

Both nodes live in this process, so that CPU per message is the sum of both ends.
"""

import argparse
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio

from peerllm.crypto.identity import Identity
from peerllm.overlay.framing import FrameDecoder, to_frame
from peerllm.overlay.messages import (
    SESSION_PROTOCOL,
    CoordinatorMessage,
    Dispatch,
    HostMessage,
    Piece,
    coordinator_message,
    host_message,
)
from peerllm.overlay.node import Node, Stream, open_node
from peerllm.overlay.session import Session

PAYLOAD = bytes(1024)
ECHO = "/peerllm/benchmark-echo/1"


@dataclass(frozen=True)
class Row:
    """One line of the table; latencies in seconds, `cpu` for all messages together."""

    name: str
    latencies: list[float]
    elapsed: float
    cpu: float
    messages: int

    def __str__(self) -> str:
        def at(share: float) -> str:
            if not self.latencies:
                return "-"
            ordered = sorted(self.latencies)
            return f"{ordered[int(share * (len(ordered) - 1))] * 1e3:.2f}"

        rate = self.messages / self.elapsed
        return (
            f"{self.name:<44}{at(0.5):>9}{at(0.99):>9}{rate:>10.0f}"
            f"{self.cpu / self.messages * 1e3:>12.3f}"
        )


async def measured(name: str, messages: int, work: Callable[[], Awaitable[list[float]]]) -> Row:
    cpu, start = time.process_time(), time.perf_counter()
    latencies = await work()
    elapsed = time.perf_counter() - start
    return Row(name, latencies, elapsed, time.process_time() - cpu, messages)


async def echo(stream: Stream) -> None:
    while data := await stream.read(65536):
        await stream.write(data)


async def bare_frames(stream: Stream, messages: int) -> list[float]:
    """One framed message there and back at a time, without a session."""
    frames = FrameDecoder(maximum_bytes=len(PAYLOAD))
    latencies = []
    for _ in range(messages):
        start = time.perf_counter()
        await stream.write(to_frame(PAYLOAD))
        while frames.pop() is None:
            frames.push(await stream.read(65536))
        latencies.append(time.perf_counter() - start)
    return latencies


async def new_streams(client: Node, address: str, messages: int) -> list[float]:
    """A stream for every message, over one connection held open by another stream."""
    holder = await client.dial(address, ECHO)
    latencies = []
    for _ in range(messages):
        start = time.perf_counter()
        stream = await client.dial(address, ECHO)
        await stream.write(PAYLOAD)
        await stream.read(65536)
        latencies.append(time.perf_counter() - start)
        await stream.close()
    await holder.close()
    return latencies


async def connections(client: Node, address: str, count: int) -> list[float]:
    """A whole connection for every message: TCP, Noise, yamux and protocol."""
    latencies = []
    for _ in range(count):
        start = time.perf_counter()
        stream = await client.dial(address, ECHO)
        latencies.append(time.perf_counter() - start)
        await stream.close()
    return latencies


class Pair:
    """A coordinator that dispatches and a host that answers each with one piece."""

    def __init__(self) -> None:
        self.coordinator: Session[HostMessage] | None = None
        self.answered: dict[bytes, trio.Event] = {}
        self.pieces = 0
        self.all_arrived = trio.Event()
        self.expected = 0

    async def coordinate(self, stream: Stream) -> None:
        self.coordinator = Session(stream, host_message, self._on_piece)
        await self.coordinator.run()

    def _on_piece(self, message: HostMessage) -> None:
        if isinstance(message, Piece):
            if message.dispatch_id in self.answered:
                self.answered.pop(message.dispatch_id).set()
            self.pieces += 1
            if self.pieces == self.expected:
                self.all_arrived.set()

    def host(self, stream: Stream) -> Session[CoordinatorMessage]:
        def answer(message: CoordinatorMessage) -> None:
            if isinstance(message, Dispatch):
                session.post(Piece(dispatch_id=message.dispatch_id, sealed=PAYLOAD, final=True))

        session: Session[CoordinatorMessage] = Session(stream, coordinator_message, answer)
        return session

    async def round_trips(self, messages: int, in_flight: int) -> list[float]:
        assert self.coordinator is not None
        coordinator = self.coordinator
        latencies: list[float] = []

        async def lane(number: int) -> None:
            for turn in range(messages // in_flight):
                dispatch_id = number.to_bytes(8, "big") + turn.to_bytes(8, "big")
                answered = self.answered[dispatch_id] = trio.Event()
                start = time.perf_counter()
                await coordinator.send(
                    Dispatch(
                        dispatch_id=dispatch_id,
                        model_digest=bytes(32),
                        expires_at_us=0,
                        seed=0,
                        nonce=bytes(16),
                        deadline_us=0,
                        envelope=PAYLOAD,
                    )
                )
                await answered.wait()
                latencies.append(time.perf_counter() - start)

        async with trio.open_nursery() as nursery:
            for number in range(in_flight):
                nursery.start_soon(lane, number)
        return latencies

    async def stream_pieces(self, host: Session[CoordinatorMessage], messages: int) -> list[float]:
        """Many small pieces one way, as from a host that serves sixteen chunks."""
        self.pieces, self.expected, self.all_arrived = 0, messages, trio.Event()
        piece = Piece(dispatch_id=bytes(16), sealed=bytes(128), final=False)

        async def lane() -> None:
            for _ in range(messages // 16):
                await host.send(piece)

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(lane)
        await self.all_arrived.wait()
        return []


async def main(messages: int) -> None:
    messages -= messages % 16
    pair = Pair()
    rows = []
    async with (
        open_node(
            Identity.generate(), listen="/ip4/127.0.0.1/tcp/0", admits=lambda _peer: True
        ) as node,
        open_node(Identity.generate(), listen=None, admits=lambda _peer: True) as client,
    ):
        node.serve(ECHO, echo)
        node.serve(SESSION_PROTOCOL, pair.coordinate)
        address = node.addresses[0]
        few = max(1, messages // 20)
        rows.append(
            await measured("new connection", few, lambda: connections(client, address, few))
        )
        rows.append(
            await measured("new stream per message", few, lambda: new_streams(client, address, few))
        )
        bare = await client.dial(address, ECHO)
        await bare_frames(bare, 50)
        rows.append(
            await measured(
                "framed stream, echo of 1 KiB", messages, lambda: bare_frames(bare, messages)
            )
        )
        stream = await client.dial(address, SESSION_PROTOCOL)
        host = pair.host(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.run)
            while pair.coordinator is None:
                await trio.sleep(0.01)
            for in_flight in (1, 16):
                rows.append(  # noqa: PERF401 - each is awaited
                    await measured(
                        f"session, dispatch and piece, {in_flight} in flight",
                        messages,
                        partial(pair.round_trips, messages, in_flight),
                    )
                )
            rows.append(
                await measured(
                    "session, pieces of 128 B one way, 16 senders",
                    messages * 5,
                    lambda: pair.stream_pieces(host, messages * 5),
                )
            )
            host.close()
        await bare.close()
    print(f"{'':<44}{'p50 ms':>9}{'p99 ms':>9}{'per s':>10}{'CPU ms each':>12}")
    for row in rows:
        print(row)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--messages", type=int, default=2000)
    trio.run(main, arguments.parse_args().messages)
