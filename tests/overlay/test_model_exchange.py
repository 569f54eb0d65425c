import contextlib
from collections.abc import Callable

import msgpack
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from peerllm.overlay.errors import FrameError, StreamClosed
from peerllm.overlay.framing import to_frame
from peerllm.overlay.model_exchange import HolderStream, deny, serve_model
from peerllm.overlay.model_messages import (
    AskList,
    AskPiece,
    Denied,
    ListAnswer,
    PieceAnswer,
    answer,
    question,
    to_body,
)
from peerllm.overlay.model_pieces import MAXIMUM_PIECES, PIECE_BYTES
from tests.overlay.conftest import MemoryPair, MemoryStream

DIGEST = bytes(range(32))
PIECE = PieceAnswer(index=3, data=b"p" * PIECE_BYTES)
LIST = ListAnswer(hashes=b"h" * 96)


class Library:
    def __init__(self) -> None:
        self.asked: list[int] = []

    async def hashes(self, _digest: bytes) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return LIST.hashes

    async def piece(self, _digest: bytes, index: int) -> bytes | None:
        await trio.lowlevel.checkpoint()
        self.asked.append(index)
        return PIECE.data if index == 3 else None


@pytest.mark.parametrize("message", [AskList(digest=DIGEST), AskPiece(digest=DIGEST, index=3)])
def test_questions_survive_the_wire_and_are_no_answers(message: AskList | AskPiece) -> None:
    assert question(to_body(message)) == message
    with pytest.raises(FrameError):
        answer(to_body(message))


@pytest.mark.parametrize(
    "message", [PIECE, LIST, Denied(reason="busy")], ids=["piece", "list", "denied"]
)
def test_answers_survive_the_wire_and_are_no_questions(
    message: PieceAnswer | ListAnswer | Denied,
) -> None:
    assert answer(to_body(message)) == message
    with pytest.raises(FrameError):
        question(to_body(message))


@pytest.mark.parametrize(
    "message",
    [
        AskPiece(digest=DIGEST[:-1], index=0),
        AskPiece(digest=DIGEST, index=-1),
        AskPiece(digest=DIGEST, index=MAXIMUM_PIECES),
        AskPiece(digest=DIGEST * 8, index=0),
    ],
)
def test_questions_out_of_bounds_are_refused(message: AskPiece) -> None:
    with pytest.raises(FrameError):
        question(to_body(message))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_message_or_a_frame_error(raw: bytes) -> None:
    for parse in (question, answer):
        with contextlib.suppress(FrameError):  # anything else escapes and fails the test
            parse(raw)


async def test_questions_are_answered_in_order_until_one_is_denied(
    autojump_clock: MockClock, memory_pair: MemoryPair
) -> None:
    here, there = memory_pair(capacity=50_000)
    library = Library()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve_model(there, library, admits=lambda _: True))
        link = HolderStream(here, DIGEST)
        assert await link.pieces() == LIST.hashes
        await link.ask(3)
        await link.ask(3)
        assert [await link.piece(), await link.piece()] == [PIECE, PIECE]
        await link.ask(4)
        assert await link.piece() == Denied(reason="not_here")
    assert library.asked == [3, 3, 4]


async def test_an_admission_that_ends_ends_the_answers(
    autojump_clock: MockClock, memory_pair: MemoryPair
) -> None:
    here, there = memory_pair(capacity=50_000)
    admitted = [True, False]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve_model(there, Library(), admits=lambda _: admitted.pop(0)))
        link = HolderStream(here, DIGEST)
        await link.ask(3)
        await link.ask(3)
        assert [await link.piece(), await link.piece()] == [PIECE, Denied(reason="not_introduced")]


async def test_who_is_turned_away_is_told_why(
    autojump_clock: MockClock, memory_pair: MemoryPair
) -> None:
    here, there = memory_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deny, there)
        assert await HolderStream(here, DIGEST).pieces() == Denied(reason="busy")
    began = trio.current_time()
    with pytest.raises(StreamClosed):
        await deny(memory_pair()[0])
    assert trio.current_time() - began <= 5


async def trickle(stream: MemoryStream) -> None:
    for byte in to_frame(to_body(PIECE)):
        await stream.write(bytes([byte]))
        await trio.sleep(19)


async def say(stream: MemoryStream, *raw: bytes) -> None:
    for piece in raw:
        await stream.write(piece)
    await stream.close()


HUGE = b"\xff\xff\xff\xff"
DEEP = to_frame(msgpack.packb({"type": "piece", "index": 0, "data": [[[[[]]]]]}))


@pytest.mark.parametrize(
    ("act", "fault", "within"),
    [
        (lambda stream: say(stream, to_frame(to_body(LIST))), StreamClosed, 0),
        (lambda stream: say(stream, HUGE), FrameError, 0),
        (lambda stream: say(stream, DEEP), FrameError, 0),
        (lambda stream: say(stream, to_frame(to_body(PIECE))[:-1]), StreamClosed, 0),
        (say, StreamClosed, 0),
        (lambda _: trio.sleep_forever(), StreamClosed, 20),
        (trickle, StreamClosed, 120),
    ],
    ids=["list", "huge", "deep", "cut", "end", "silent", "trickle"],
)
async def test_a_holder_that_sends_no_piece_is_given_up_in_time(
    autojump_clock: MockClock,
    memory_pair: MemoryPair,
    act: Callable[[MemoryStream], object],
    fault: type[Exception],
    within: float,
) -> None:
    here, there = memory_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(act, there)  # type: ignore[arg-type]
        link = HolderStream(here, DIGEST)
        began = trio.current_time()
        with pytest.raises(fault):
            await link.piece()
        assert trio.current_time() - began <= within
        nursery.cancel_scope.cancel()


async def test_a_piece_instead_of_the_list_is_not_taken_for_one(
    autojump_clock: MockClock, memory_pair: MemoryPair
) -> None:
    here, there = memory_pair(capacity=2 * PIECE_BYTES)
    await there.write(to_frame(to_body(PIECE)))
    with pytest.raises(StreamClosed, match="instead of the list"):
        await HolderStream(here, DIGEST).pieces()


async def test_a_guest_that_does_not_read_is_given_up_in_time(
    autojump_clock: MockClock, memory_pair: MemoryPair
) -> None:
    here, there = memory_pair(capacity=50_000)
    await HolderStream(here, DIGEST).ask(3)
    began = trio.current_time()
    with pytest.raises(StreamClosed, match="did not take"):
        await serve_model(there, Library(), admits=lambda _: True)
    assert trio.current_time() - began <= 120
