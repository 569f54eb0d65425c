"""The two ends of a stream on which the catalogue is asked for: one question, one answer."""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from peerllm.overlay.catalogue_messages import (
    MAXIMUM_ANSWER_BYTES,
    MAXIMUM_QUESTION_BYTES,
    CatalogueAnswer,
    CatalogueQuestion,
    catalogue_answer,
    catalogue_question,
    to_body,
)
from peerllm.overlay.errors import StreamClosed
from peerllm.overlay.framing import READ_BYTES, ByteStream, FrameDecoder, to_frame

# Who opens a stream has a question.
QUESTION_SECONDS: Final = 5.0
# For a coordinator to read its seats while its disk is busy, and for a slow line.
ANSWER_SECONDS: Final = 20.0


async def answer_catalogue(
    stream: ByteStream, answer: Callable[[CatalogueQuestion], Awaitable[CatalogueAnswer]]
) -> None:
    """Answer the one question of a stream. Raises `StreamClosed` and `FrameError`."""
    asked = catalogue_question(await _receive(stream, MAXIMUM_QUESTION_BYTES, QUESTION_SECONDS))
    told = await answer(asked)
    with trio.move_on_after(ANSWER_SECONDS) as late:
        await stream.write(to_frame(to_body(told)))
    if late.cancelled_caught:
        raise StreamClosed("the peer does not take the answer")


async def ask_catalogue(stream: ByteStream, question: CatalogueQuestion) -> CatalogueAnswer:
    """Ask one question, and close the stream. Raises `StreamClosed` and `FrameError`."""
    try:
        with trio.move_on_after(ANSWER_SECONDS):
            await stream.write(to_frame(to_body(question)))
            return catalogue_answer(await _receive(stream, MAXIMUM_ANSWER_BYTES, ANSWER_SECONDS))
        raise StreamClosed("the coordinator has fallen silent")
    finally:
        await stream.close()


async def _receive(stream: ByteStream, maximum_bytes: int, seconds: float) -> bytes:
    frames = FrameDecoder(maximum_bytes=maximum_bytes)
    with trio.move_on_after(seconds):
        while (body := frames.pop()) is None:
            data = await stream.read(READ_BYTES)
            if not data:
                raise StreamClosed("the peer ended the stream")
            frames.push(data)
        return body
    raise StreamClosed("the peer has fallen silent")
