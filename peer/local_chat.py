"""The owner's own conversation with a model of this host, over the control API.

POST /v1/chat takes a ChatRequest and answers with server-sent events: "piece" as text comes,
then one "end", or one "fault" that says why there is no more. Nothing of it is kept, counted or
logged, and no coordinator hears of it; for as long as it runs, the model has a slot less.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Literal

import msgspec
import trio
from msgspec import Meta

from peerllm.peer.control_api import Fault
from peerllm.peer.control_server import Event
from peerllm.peer.engine_protocol import GenerationTask, TaskTurn
from peerllm.peer.generation import (
    GeneratedPiece,
    Generation,
    GenerationFailed,
    GenerationRefused,
)
from peerllm.peer.served_models import Lease

# The slowest host worth having writes a thousand tokens in this time.
_LONGEST_SECONDS: Final = 1000.0
_REFUSALS: Final = {
    "context_exceeded": "the conversation is longer than the model can hold: begin a new one",
    "bad_task": "the model cannot take this order of messages: begin a new conversation",
}


class ChatTurnGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Meta(max_length=32_768)]

    def __repr__(self) -> str:
        return "ChatTurnGiven(...)"


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to answer, and with which of the host's models."""

    model: Annotated[str, Meta(min_length=1, max_length=128)]
    messages: Annotated[list[ChatTurnGiven], Meta(min_length=1, max_length=256)]
    max_tokens: Annotated[int, Meta(ge=1, le=8192)] = 512
    temperature_milli: Annotated[int, Meta(ge=0, le=2000)] = 700
    seed: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0

    def __repr__(self) -> str:
        return f"ChatRequest(messages={len(self.messages)})"


class ChatPiece(msgspec.Struct, frozen=True, kw_only=True):
    """Text to show at once."""

    text: str

    def __repr__(self) -> str:
        return "ChatPiece(...)"


class ChatEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The answer is over."""

    finish: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


async def converse(
    lease: Lease, request: ChatRequest, tell: Callable[[Event], Awaitable[None]]
) -> None:
    """Answer with the model that is held, and let go of it whatever happens."""
    task = GenerationTask(
        turns=[TaskTurn(role=turn.role, content=turn.content) for turn in request.messages],
        max_tokens=request.max_tokens,
        temperature_milli=request.temperature_milli,
        seed=request.seed,
    )
    try:
        with trio.move_on_after(_LONGEST_SECONDS) as late, lease.engine.generate(task) as answer:
            await tell(await _told(answer, tell))
        if late.cancelled_caught:
            await tell(_fault("the answer took too long and was ended"))
    finally:
        lease.release()


async def _told(answer: Generation, tell: Callable[[Event], Awaitable[None]]) -> Event:
    """Tell every piece as it comes; gives the last word."""
    tokens = 0
    while True:
        match await answer.next():
            case GeneratedPiece() as piece:
                tokens += len(piece.tokens)
                await tell(Event("piece", ChatPiece(text=piece.text)))
                if piece.finish:
                    end = ChatEnd(
                        finish=piece.finish,
                        prompt_tokens=answer.prompt_tokens,
                        completion_tokens=tokens,
                    )
                    return Event("end", end)
            case GenerationRefused(reason=reason):
                return _fault(_REFUSALS[reason])
            case GenerationFailed():
                return _fault("the model's engine ended in the middle: ask again")


def _fault(sentence: str) -> Event:
    return Event("fault", Fault(error=sentence))
