import pytest
import trio

from peerllm.peer.control_api import Fault
from peerllm.peer.control_server import Event
from peerllm.peer.generation import (
    GeneratedPiece,
    GenerationFailed,
    GenerationRefused,
    GenerationStep,
)
from peerllm.peer.local_chat import ChatEnd, ChatPiece, ChatRequest, ChatTurnGiven, converse
from peerllm.peer.served_models import Lease
from tests.peer.conftest import OneModel, ScriptedEngine

ASKED = ChatRequest(
    model="scripted", messages=[ChatTurnGiven(role="user", content="SECRET")], max_tokens=9, seed=4
)


async def told(engine: ScriptedEngine, *steps: GenerationStep) -> list[object]:
    events: list[Event] = []

    async def tell(event: Event) -> None:
        events.append(event)
        await trio.lowlevel.checkpoint()

    models = OneModel(engine)
    lease = models.take(engine.digest)
    assert isinstance(lease, Lease)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(converse, lease, ASKED, tell)
        (await engine.generation(0)).feed(*steps)
    assert models.leases == 0
    return [event.value for event in events]


async def test_an_answer_is_told_piece_by_piece(engine: ScriptedEngine) -> None:
    first = GeneratedPiece((1, 2), "Hel")
    assert await told(engine, first, GeneratedPiece((3,), "lo", "stop")) == [
        ChatPiece(text="Hel"),
        ChatPiece(text="lo"),
        ChatEnd(finish="stop", prompt_tokens=11, completion_tokens=3),
    ]
    task = engine.generations[0].task
    assert (task.turns[0].content, task.max_tokens, task.seed) == ("SECRET", 9, 4)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (GenerationRefused("context_exceeded"), "begin a new one"),
        (GenerationRefused("bad_task"), "order of messages"),
        (GenerationFailed("engine_died"), "ask again"),
    ],
)
async def test_why_there_is_no_more(
    engine: ScriptedEngine, step: GenerationStep, words: str
) -> None:
    (only,) = await told(engine, step)
    assert isinstance(only, Fault)
    assert words in only.error


async def test_whoever_hangs_up_frees_the_slot(engine: ScriptedEngine) -> None:
    async def tell(event: Event) -> None:
        raise trio.BrokenResourceError

    async def feed() -> None:
        (await engine.generation(0)).feed(GeneratedPiece((1,), "Hel"))

    models = OneModel(engine)
    lease = models.take(engine.digest)
    assert lease is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        with pytest.raises(trio.BrokenResourceError):
            await converse(lease, ASKED, tell)
    assert models.leases == 0
    assert engine.generations[0].left


def test_no_repr_shows_the_conversation() -> None:
    for shown in (ASKED, ASKED.messages, ChatPiece(text="SECRET")):
        assert "SECRET" not in repr(shown)
