import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from peerllm.overlay.errors import SessionClosed, SessionViolation
from peerllm.overlay.framing import FrameDecoder, to_frame
from peerllm.overlay.messages import (
    Cancel,
    CoordinatorMessage,
    Dispatch,
    Goodbye,
    Heartbeat,
    HeartbeatReply,
    HostMessage,
    Piece,
    Slots,
    coordinator_message,
    host_message,
    to_bytes,
)
from peerllm.overlay.session import Session, SessionEnd

ID = bytes(16)
DIGEST = bytes(32)


class Talk:
    """A host's and a coordinator's session over one pair of streams."""

    def __init__(self, pair: tuple[Any, Any], **options: Any) -> None:
        self.host_stream, self.coordinator_stream = pair
        self.host_heard: list[CoordinatorMessage] = []
        self.coordinator_heard: list[HostMessage] = []
        self.host = Session(pair[0], coordinator_message, self.host_heard.append, **options)
        self.coordinator = Session(pair[1], host_message, self.coordinator_heard.append, **options)
        self.host_end: SessionEnd | None = None
        self.coordinator_end: SessionEnd | None = None

    async def run_host(self) -> None:
        self.host_end = await self.host.run()

    async def run_coordinator(self) -> None:
        self.coordinator_end = await self.coordinator.run()

    async def run(self, script: Callable[[], Any]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run_host)
            nursery.start_soon(self.run_coordinator)
            await script()


async def run_against(
    pair: tuple[Any, Any], peer: Callable[[Any], Any], **options: Any
) -> tuple[SessionEnd, list[HostMessage]]:
    """Run a coordinator's session against a peer that writes bytes as it pleases."""
    heard: list[HostMessage] = []
    session = Session(pair[1], host_message, heard.append, **options)
    ends = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer, pair[0])
        ends.append(await session.run())
        nursery.cancel_scope.cancel()
    return ends[0], heard


@pytest.mark.parametrize("seed", range(20))
async def test_messages_arrive_in_order_however_the_stream_is_cut(
    memory_pair: Any, seed: int
) -> None:
    talk = Talk(memory_pair(seed, capacity=100))
    pieces = [
        Piece(dispatch_id=ID, sealed=bytes(size % 97), final=size == 199) for size in range(200)
    ]

    async def script() -> None:
        for piece in pieces:
            await talk.host.send(piece)
            await talk.coordinator.send(Cancel(dispatch_id=ID))
        talk.host.close("done")

    with trio.fail_after(5):
        await talk.run(script)
    assert talk.coordinator_heard == [*pieces, Goodbye(reason="done")]
    assert talk.host_heard.count(Cancel(dispatch_id=ID)) > 0
    assert talk.host_end == SessionEnd("closed_here", "done")
    assert talk.coordinator_end == SessionEnd("goodbye")
    assert talk.host_stream.is_closed
    assert talk.coordinator_stream.is_closed


async def test_heartbeats_keep_an_idle_session_open(
    memory_pair: Any, autojump_clock: object
) -> None:
    talk = Talk(memory_pair())

    async def script() -> None:
        await trio.sleep(3600)
        assert not talk.host.is_closed
        assert not talk.coordinator.is_closed
        talk.coordinator.close()

    await talk.run(script)
    assert talk.host_heard == [Goodbye(reason="closed_here")]
    assert talk.coordinator_heard == []


async def test_a_peer_that_vanished_is_noticed_by_both_ends(
    memory_pair: Any, autojump_clock: object
) -> None:
    talk = Talk(memory_pair())
    noticed_after: list[float] = []

    async def script() -> None:
        await trio.sleep(15)
        talk.host_stream.vanish()
        start = trio.current_time()
        for session in (talk.host, talk.coordinator):
            while not session.is_closed:
                await trio.sleep(1)
            noticed_after.append(trio.current_time() - start)

    await talk.run(script)
    assert talk.host_end == talk.coordinator_end == SessionEnd("silent")
    # Two heartbeats of ten seconds each, and the rest of the one that was running.
    assert all(20 <= seconds <= 31 for seconds in noticed_after)


@pytest.mark.parametrize("flood", [Heartbeat(sequence=1), HeartbeatReply(sequence=0)])
async def test_a_flood_of_heartbeats_ends_the_session(
    memory_pair: Any, flood: Heartbeat | HeartbeatReply
) -> None:
    async def peer(stream: Any) -> None:
        with contextlib.suppress(Exception):
            await stream.write(to_frame(to_bytes(flood)) * 1001)
            while await stream.read(65536):
                pass

    end, _ = await run_against(memory_pair(0), peer)
    assert end == SessionEnd("violation", "too many heartbeats")


async def test_a_peer_that_talks_but_answers_no_heartbeat_is_closed(
    memory_pair: Any, autojump_clock: object
) -> None:
    async def one_way(stream: Any) -> None:
        while True:
            await stream.write(to_frame(to_bytes(Slots(digest=DIGEST, free=1))))
            await trio.sleep(1)

    end, heard = await run_against(memory_pair(), one_way)
    assert end == SessionEnd("silent")
    assert len(heard) > 20


async def test_answers_to_heartbeats_never_sent_prove_nothing(
    memory_pair: Any, autojump_clock: object
) -> None:
    async def eager(stream: Any) -> None:
        await stream.write(to_frame(to_bytes(HeartbeatReply(sequence=1_000_000))))
        await trio.sleep_forever()

    end, _ = await run_against(memory_pair(), eager)
    assert end == SessionEnd("silent")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff\xff\xff\xff", "too_large"),
        (to_frame(b""), "malformed"),
        (to_frame(os.urandom(300)), "malformed"),
        (to_frame(to_bytes(Cancel(dispatch_id=ID))), "malformed"),
        (b"", "stream_ended"),
        (to_frame(b"cut short")[:-2], "truncated"),
        (b"GET / HTTP/1.1\r\n\r\n", "too_large"),
    ],
    ids=["length", "empty", "random", "wrong_way", "end", "truncated", "http"],
)
async def test_garbage_ends_the_session_with_a_reason_only(
    memory_pair: Any, autojump_clock: object, raw: bytes, reason: str
) -> None:
    async def peer(stream: Any) -> None:
        await stream.write(raw)
        await stream.close()

    pair = memory_pair()
    end, heard = await run_against(pair, peer)
    assert end == SessionEnd(reason)  # type: ignore[arg-type]  # parametrised
    assert heard == []
    assert pair[1].is_closed


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_make_a_session_raise(raw: bytes) -> None:
    class OneRead:
        def __init__(self) -> None:
            self.pieces = [raw, b""]

        async def read(self, _maximum: int) -> bytes:
            await trio.lowlevel.checkpoint()
            return self.pieces.pop(0) if self.pieces else b""

        async def write(self, _data: bytes) -> None:
            await trio.lowlevel.checkpoint()

        async def close(self) -> None:
            await trio.lowlevel.checkpoint()

    session = Session(OneRead(), host_message, lambda _message: None)
    assert trio.run(session.run).reason in {
        "stream_ended",
        "truncated",
        "too_large",
        "malformed",
        "unsupported_version",
        "goodbye",
    }


async def test_a_broken_connection_ends_both_sessions(memory_pair: Any) -> None:
    talk = Talk(memory_pair())

    async def script() -> None:
        await trio.testing.wait_all_tasks_blocked()
        await talk.host_stream.snap()

    with trio.fail_after(5):
        await talk.run(script)
    assert talk.host_end == talk.coordinator_end == SessionEnd("stream_lost")


async def test_a_violation_closes_the_session_and_tells_the_peer(memory_pair: Any) -> None:
    host, coordinator = memory_pair()
    heard: list[CoordinatorMessage] = []

    def refuse(_message: HostMessage) -> None:
        raise SessionViolation("slots for a model not offered")

    host_session = Session(host, coordinator_message, heard.append)
    session = Session(coordinator, host_message, refuse)
    ends = []
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host_session.run)
            await host_session.send(Slots(digest=DIGEST, free=1))
            ends.append(await session.run())
    assert ends == [SessionEnd("violation", "slots for a model not offered")]
    assert heard == [Goodbye(reason="slots for a model not offered")]


async def test_nothing_is_handed_over_after_the_session_was_closed(memory_pair: Any) -> None:
    host, coordinator = memory_pair()
    heard: list[HostMessage] = []

    def once(message: HostMessage) -> None:
        heard.append(message)
        session.close("enough")

    session = Session(coordinator, host_message, once)
    await host.write(to_frame(to_bytes(Slots(digest=DIGEST, free=1))) * 10)
    with trio.fail_after(5):
        assert await session.run() == SessionEnd("closed_here", "enough")
    assert len(heard) == 1


async def test_a_bug_in_the_owner_is_not_hidden(memory_pair: Any) -> None:
    host, coordinator = memory_pair()

    def broken(_message: HostMessage) -> None:
        raise ZeroDivisionError

    session = Session(coordinator, host_message, broken)
    await host.write(to_frame(to_bytes(Slots(digest=DIGEST, free=1))))
    with pytest.raises(ExceptionGroup) as caught:
        await session.run()
    assert caught.value.subgroup(ZeroDivisionError)
    assert coordinator.is_closed
    assert session.is_closed


ENVELOPE = Dispatch(
    dispatch_id=ID,
    model_digest=DIGEST,
    expires_at_us=0,
    seed=0,
    nonce=ID,
    deadline_us=0,
    envelope=bytes(1024 * 1024),
)


async def test_a_peer_that_does_not_read_is_closed(
    memory_pair: Any, autojump_clock: object
) -> None:
    _deaf, coordinator = memory_pair(capacity=1000)
    session = Session(coordinator, host_message, lambda _message: None)
    ends = []

    async def carry() -> None:
        ends.append(await session.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry)
        start = trio.current_time()
        await session.send(ENVELOPE)
        await trio.sleep(6)
        with pytest.raises(SessionClosed):
            await session.send(Cancel(dispatch_id=ID))
    assert ends == [SessionEnd("slow_reader")]
    assert trio.current_time() - start < 10


async def test_what_waits_for_a_slow_peer_is_bounded(
    memory_pair: Any, autojump_clock: object
) -> None:
    _deaf, coordinator = memory_pair(capacity=1000)
    session = Session(coordinator, host_message, lambda _message: None, send_deadline=1000)
    queued = 0
    ends = []

    async def carry() -> None:
        ends.append(await session.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry)
        with contextlib.suppress(SessionClosed):
            while queued < 100:
                session.post(ENVELOPE)
                queued += 1
    assert ends == [SessionEnd("slow_reader")]
    assert queued <= 4


async def test_senders_wait_for_a_peer_that_is_merely_slow(
    memory_pair: Any, autojump_clock: object
) -> None:
    slow, coordinator = memory_pair()
    session = Session(coordinator, host_message, lambda _message: None, heartbeat_seconds=3600)
    frames = FrameDecoder(maximum_bytes=2**21)
    received = 0

    async def read_slowly() -> None:
        nonlocal received
        while received < 12:
            frames.push(await slow.read(2**20))
            while frames.pop() is not None:
                received += 1
            await trio.sleep(0.1)
        session.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_slowly)
        nursery.start_soon(session.run)
        for _ in range(12):
            nursery.start_soon(session.send, ENVELOPE)
    assert received >= 12


async def test_a_heartbeat_does_not_wait_behind_a_long_backlog(
    memory_pair: Any, autojump_clock: object
) -> None:
    slow, coordinator = memory_pair(capacity=64 * 1024)
    session = Session(coordinator, host_message, lambda _message: None)
    tags: list[str] = []
    frames = FrameDecoder(maximum_bytes=2**21)

    async def read_slowly() -> None:
        while "Heartbeat" not in tags:
            frames.push(await slow.read(2**20))
            while (body := frames.pop()) is not None:
                tags.append(type(coordinator_message(body)).__name__)
            await trio.sleep(0.5)
        await slow.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        for _ in range(3):
            session.post(ENVELOPE)
        nursery.start_soon(read_slowly)
    assert tags.index("Heartbeat") < 3


async def test_a_cancelled_send_leaves_the_stream_whole(
    memory_pair: Any, autojump_clock: object
) -> None:
    talk = Talk(memory_pair(capacity=10))
    piece = Piece(dispatch_id=ID, sealed=bytes(100), final=False)

    async def script() -> None:
        for hundredths in range(50):
            with trio.move_on_after(hundredths / 100):
                await talk.host.send(piece)
        talk.host.close("done")

    await talk.run(script)
    assert talk.coordinator_end == SessionEnd("goodbye")
    assert talk.coordinator_heard[-1] == Goodbye(reason="done")
    assert set(map(repr, talk.coordinator_heard[:-1])) == {repr(piece)}


async def test_cancelling_a_session_closes_its_stream(
    memory_pair: Any, autojump_clock: object
) -> None:
    talk = Talk(memory_pair())
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.run_host)
            nursery.start_soon(talk.run_coordinator)
            await trio.sleep(5)
            scope.cancel()
    assert talk.host_stream.is_closed
    assert talk.coordinator_stream.is_closed
    with pytest.raises(SessionClosed, match="cancelled"):
        await talk.host.send(Slots(digest=DIGEST, free=1))


async def test_a_waiting_sender_is_told_when_the_session_ends(
    memory_pair: Any, autojump_clock: object
) -> None:
    _deaf, coordinator = memory_pair(capacity=1000)
    session = Session(coordinator, host_message, lambda _message: None, send_deadline=1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        for _ in range(3):
            await session.send(ENVELOPE)
        nursery.start_soon(lambda: _close_after(session, 2.0))
        with pytest.raises(SessionClosed, match="closed_here"):
            await session.send(ENVELOPE)
        assert trio.current_time() < 1000


async def _close_after(session: Session[HostMessage], seconds: float) -> None:
    await trio.sleep(seconds)
    session.close()


async def test_small_messages_of_one_moment_share_a_write(memory_pair: Any) -> None:
    host, coordinator = memory_pair()
    writes: list[int] = []
    write = coordinator.write

    async def counted(data: bytes) -> None:
        writes.append(len(data))
        await write(data)

    coordinator.write = counted
    session = Session(coordinator, host_message, lambda _message: None)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.run)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(100):
                nursery.start_soon(session.send, Cancel(dispatch_id=ID))
            await trio.testing.wait_all_tasks_blocked()
            sent = len(writes)
            await host.close()
    assert sent <= 2
