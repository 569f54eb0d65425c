from typing import Any

import pytest
import trio
from trio.testing import MockClock

from peerllm.crypto.certificate import SealingKey
from peerllm.crypto.encoding import decode, encode
from peerllm.crypto.envelope import EnvelopeBinding, seal
from peerllm.crypto.identity import Identity
from peerllm.crypto.receipt import Receipt, verify_receipt
from peerllm.crypto.reply import ReplyOpener
from peerllm.overlay.answer_shape import AnswerShape, Constants
from peerllm.overlay.messages import (
    Accepted,
    ChatMessage,
    ChunkTask,
    Dispatch,
    Failed,
    HostMessage,
    LogitBias,
    Piece,
    ReceiptMessage,
    ReplyPiece,
)
from peerllm.peer.generation import (
    GeneratedPiece,
    GenerationFailed,
    GenerationRefused,
)
from peerllm.peer.work import Workplace, WorkReport, perform

HOST = Identity.from_seed(b"h" * 32)
COORDINATOR = Identity.from_seed(b"c" * 32).peer_id
KEY, OLD_KEY = SealingKey.generate(), SealingKey.generate()
REPLY_KEY = b"r" * 32
NONCE = b"n" * 16
NOW_US = 1_700_000_000_000_000
TASK = ChunkTask(
    messages=[ChatMessage(role="user", content="SECRET QUESTION")],
    max_tokens=9,
    temperature_milli=700,
    top_p_milli=900,
    stop=["END"],
    assistant_prefix="So",
    reply_key=REPLY_KEY,
    min_p_milli=50,
    frequency_penalty_milli=-100,
    presence_penalty_milli=200,
    repetition_penalty_milli=1100,
    logit_bias=[LogitBias(token=7, bias_milli=-1)],
    answer_shape=AnswerShape(nodes=[Constants(strings=["yes"])]),
)


def binding(**changes: Any) -> EnvelopeBinding:
    fields = {
        "dispatch_id": b"d" * 16,
        "host": HOST.peer_id,
        "model_digest": bytes(range(32)),
        "expires_at_us": NOW_US + 1_000_000,
        "seed": 42,
        **changes,
    }
    return EnvelopeBinding(**fields)


def dispatch(
    bound: EnvelopeBinding | None = None,
    key: SealingKey = KEY,
    plaintext: bytes = b"",
    **changes: Any,
) -> Dispatch:
    bound = bound or binding()
    fields = {
        "dispatch_id": bound.dispatch_id,
        "model_digest": bound.model_digest,
        "expires_at_us": bound.expires_at_us,
        "seed": bound.seed,
        "nonce": NONCE,
        "deadline_us": 30_000_000,
        "envelope": seal(bound, key.public_bytes, plaintext or encode(TASK)),
        **changes,
    }
    return Dispatch(**fields)


class Desk:
    """Runs `perform` against a scripted engine and keeps what it sent."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.sent: list[HostMessage] = []
        self.cancelled = trio.CancelScope()
        self.report: WorkReport | None = None

    async def send(self, message: HostMessage) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(message)

    async def run(self, given: Dispatch) -> None:
        place = Workplace(
            identity=HOST,
            coordinator=COORDINATOR,
            engine=self.engine,
            sealing_keys=lambda: [KEY, OLD_KEY],
            now_us=lambda: NOW_US,
            send=self.send,
        )
        self.report = await perform(given, place, self.cancelled)

    def replies(self) -> list[ReplyPiece]:
        opener = ReplyOpener(REPLY_KEY, binding())
        return [
            decode(opener.open(m.sealed, final=m.final), ReplyPiece, maximum_bytes=1 << 20)
            for m in self.sent
            if isinstance(m, Piece)
        ]

    def receipt(self) -> Receipt:
        (message,) = [m for m in self.sent if isinstance(m, ReceiptMessage)]
        receipt = verify_receipt(
            message.receipt,
            host=HOST.peer_id,
            coordinator=COORDINATOR,
            dispatch_id=b"d" * 16,
            nonce=NONCE,
            model_digest=bytes(range(32)),
            now_us=NOW_US,
        )
        assert isinstance(receipt, Receipt)
        return receipt


@pytest.fixture
def desk(engine: Any) -> Desk:
    return Desk(engine)


async def test_an_answer_is_sealed_piece_by_piece_and_signed_for(
    desk: Desk, mock_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run, dispatch())
        generation = await desk.engine.generation(0)
        mock_clock.jump(2)
        generation.feed(GeneratedPiece((5,), "SECRET"))
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(3)
        generation.feed(GeneratedPiece((6, 7), " ANSWER"), GeneratedPiece((), "", "stop"))
    assert isinstance(desk.sent[0], Accepted)
    assert [(r.tokens, r.text, r.finish) for r in desk.replies()] == [
        ([5], "SECRET", ""),
        ([6, 7], " ANSWER", ""),
        ([], "", "stop"),
    ]
    receipt = desk.receipt()
    assert isinstance(desk.sent[-1], ReceiptMessage)
    assert receipt.outcome == "complete"
    assert (receipt.prompt_tokens, receipt.completion_tokens) == (11, 3)
    assert (receipt.first_token_us, receipt.duration_us) == (2_000_000, 5_000_000)
    assert desk.report == WorkReport("complete", "", 11, 3, 2_000_000, 5_000_000)


async def test_the_engine_gets_the_task_with_the_bound_seed(desk: Desk) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run, dispatch(key=OLD_KEY))
        generation = await desk.engine.generation(0)
        generation.feed(GeneratedPiece((), "", "stop"))
    task = generation.task
    assert [(turn.role, turn.content) for turn in task.turns] == [("user", "SECRET QUESTION")]
    assert (task.max_tokens, task.seed, task.stop) == (9, 42, ["END"])
    assert (task.temperature_milli, task.top_p_milli, task.assistant_prefix) == (700, 900, "So")
    for name in ("min_p_milli", "frequency_penalty_milli", "presence_penalty_milli"):
        assert getattr(task, name) == getattr(TASK, name)
    for name in ("repetition_penalty_milli", "logit_bias", "answer_shape"):
        assert getattr(task, name) == getattr(TASK, name)
    assert desk.receipt().outcome == "complete"


async def test_a_cancelled_dispatch_is_signed_for_as_far_as_it_went(desk: Desk) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run, dispatch())
        generation = await desk.engine.generation(0)
        generation.feed(GeneratedPiece((5, 6), "ab"))
        await trio.testing.wait_all_tasks_blocked()
        desk.cancelled.cancel()
    assert generation.left
    assert not any(isinstance(message, Failed) for message in desk.sent)
    receipt = desk.receipt()
    assert (receipt.outcome, receipt.completion_tokens) == ("cancelled", 2)


async def test_a_late_dispatch_fails_as_expired(desk: Desk, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run, dispatch())
        generation = await desk.engine.generation(0)
        generation.feed(GeneratedPiece((5,), "a"))
    assert generation.left
    assert Failed(dispatch_id=b"d" * 16, reason="expired") in desk.sent
    receipt = desk.receipt()
    assert (receipt.outcome, receipt.completion_tokens) == ("failed", 1)
    assert receipt.duration_us == 30_000_000


@pytest.mark.parametrize("reason", ["engine_died", "engine_unavailable"])
async def test_an_engine_that_dies_fails_the_chunk(desk: Desk, reason: Any) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run, dispatch())
        generation = await desk.engine.generation(0)
        generation.feed(GeneratedPiece((5,), "a"), GenerationFailed(reason))
    assert Failed(dispatch_id=b"d" * 16, reason="engine_failed") in desk.sent
    assert desk.receipt().outcome == "failed"


async def test_a_prompt_the_model_cannot_take_is_refused_without_a_receipt(desk: Desk) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run, dispatch())
        generation = await desk.engine.generation(0)
        generation.feed(GenerationRefused("context_exceeded"), prompt_tokens=0)
    assert desk.sent[1:] == [Failed(dispatch_id=b"d" * 16, reason="context_exceeded")]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (dispatch(model_digest=bytes(32)), "unknown_model"),
        (dispatch(seed=43), "refused_envelope"),
        (dispatch(dispatch_id=b"e" * 16), "refused_envelope"),
        (dispatch(key=SealingKey.generate()), "refused_envelope"),
        (dispatch(binding(host=COORDINATOR)), "refused_envelope"),
        (dispatch(envelope=b"SECRET"), "refused_envelope"),
        (dispatch(binding(expires_at_us=NOW_US)), "expired"),
        (dispatch(plaintext=b"SECRET"), "bad_task"),
    ],
)
async def test_what_is_not_for_this_host_never_reaches_the_engine(
    desk: Desk, given: Dispatch, reason: Any
) -> None:
    await desk.run(given)
    assert desk.sent == [Failed(dispatch_id=given.dispatch_id, reason=reason)]
    assert desk.report == WorkReport("refused", reason)
    assert desk.engine.generations == []
