"""The life of one dispatch: open the envelope, generate, seal the answer, sign the receipt."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import trio

from peerllm.crypto.certificate import SealingKey
from peerllm.crypto.encoding import decode, encode
from peerllm.crypto.envelope import EnvelopeBinding, EnvelopeRefused, open_envelope
from peerllm.crypto.errors import DecodingError
from peerllm.crypto.identity import Identity
from peerllm.crypto.receipt import Receipt, sign_receipt
from peerllm.crypto.reply import ReplySealer
from peerllm.overlay.messages import (
    MAXIMUM_TASK_BYTES,
    Accepted,
    ChunkTask,
    Dispatch,
    Failed,
    FailureReason,
    HostMessage,
    Piece,
    ReceiptMessage,
    ReplyPiece,
)
from peerllm.peer.engine_protocol import GenerationTask, TaskTurn
from peerllm.peer.generation import (
    Engine,
    GeneratedPiece,
    Generation,
    GenerationFailed,
    GenerationRefused,
)

Outcome = Literal["complete", "cancelled", "failed", "refused"]

# A coordinator settles within minutes of the end; an hour forgives a clock that is wrong.
RECEIPT_LIFE_US: Final = 3600 * 1_000_000
# For the receipt of a chunk that was just cancelled.
_FAREWELL_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Workplace:
    """What a host works with: who it is, for whom, with which engine and which clock."""

    identity: Identity
    coordinator: str
    engine: Engine
    # The key of the certificate in force, then the one before it: an envelope may have
    # been sealed just before a renewal.
    sealing_keys: Callable[[], Sequence[SealingKey]]
    now_us: Callable[[], int]
    send: Callable[[HostMessage], Awaitable[None]]
    # Told of every receipt when it is signed.
    # Told of a receipt, and of it as it was signed.
    signed: Callable[[Receipt, bytes], None] = lambda _receipt, _signed: None


@dataclass(frozen=True)
class WorkReport:
    """What came of a dispatch, in numbers and fixed words only. Durations in microseconds."""

    outcome: Outcome
    reason: FailureReason | Literal[""] = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_us: int = 0
    duration_us: int = 0


@dataclass(frozen=True)
class OpenedChunk:
    """A chunk out of its envelope, with the binding that also seals the way back."""

    binding: EnvelopeBinding
    task: ChunkTask = field(repr=False)


@dataclass
class _Progress:
    started_at: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_us: int = 0
    finished: bool = False

    def elapsed_us(self) -> int:
        return int((trio.current_time() - self.started_at) * 1_000_000)


def open_chunk(
    dispatch: Dispatch,
    *,
    host: str,
    model_digest: bytes,
    sealing_keys: Sequence[SealingKey],
    now_us: int,
) -> OpenedChunk | FailureReason:
    """Open a dispatch's envelope and read the task in it, or say why it is refused."""
    if dispatch.model_digest != model_digest:
        return "unknown_model"
    binding = EnvelopeBinding(
        dispatch_id=dispatch.dispatch_id,
        host=host,
        model_digest=dispatch.model_digest,
        expires_at_us=dispatch.expires_at_us,
        seed=dispatch.seed,
    )
    plaintext: bytes | EnvelopeRefused = EnvelopeRefused("not_for_us_or_altered")
    for key in sealing_keys:
        plaintext = open_envelope(binding, key, dispatch.envelope, now_us=now_us)
        if isinstance(plaintext, bytes):
            break
    if isinstance(plaintext, EnvelopeRefused):
        return "expired" if plaintext.reason == "expired" else "refused_envelope"
    try:
        task = decode(plaintext, ChunkTask, maximum_bytes=MAXIMUM_TASK_BYTES)
    except DecodingError:
        return "bad_task"
    return OpenedChunk(binding, task)


async def perform(dispatch: Dispatch, place: Workplace, cancelled: trio.CancelScope) -> WorkReport:
    """Work on a dispatch until it is complete, failed, late or `cancelled` is cancelled.

    Sends `Accepted`, the pieces and the receipt, or `Failed` with a reason. A receipt is
    signed for whatever was generated, also when the coordinator cancelled. Raises what
    `place.send` raises when the session has ended.
    """
    progress = _Progress(started_at=trio.current_time())
    chunk = open_chunk(
        dispatch,
        host=place.identity.peer_id,
        model_digest=place.engine.digest,
        sealing_keys=place.sealing_keys(),
        now_us=place.now_us(),
    )
    if not isinstance(chunk, OpenedChunk):
        await place.send(Failed(dispatch_id=dispatch.dispatch_id, reason=chunk))
        return WorkReport("refused", chunk)
    await place.send(Accepted(dispatch_id=dispatch.dispatch_id))
    failure: FailureReason | None = None
    with (
        cancelled,
        trio.move_on_after(dispatch.deadline_us / 1_000_000) as deadline,
        place.engine.generate(_generation_task(chunk)) as generation,
    ):
        failure = await _send_answer(chunk, generation, progress, place)
    if deadline.cancelled_caught:
        failure = "expired"
    outcome: Literal["complete", "cancelled", "failed"] = "failed"
    if progress.finished:
        outcome = "complete"
    elif cancelled.cancelled_caught:
        outcome = "cancelled"
    return await _close(dispatch, place, progress, outcome, failure)


async def _send_answer(
    chunk: OpenedChunk, generation: Generation, progress: _Progress, place: Workplace
) -> FailureReason | None:
    """Seal and send pieces as they come; gives why the answer stopped short, if it did."""
    sealer = ReplySealer(chunk.task.reply_key, chunk.binding)
    while True:
        step = await generation.next()
        progress.prompt_tokens = generation.prompt_tokens
        match step:
            case GenerationRefused():
                return step.reason
            case GenerationFailed():
                return "engine_failed"
            case GeneratedPiece():
                final = step.finish != ""
                reply = ReplyPiece(tokens=list(step.tokens), text=step.text, finish=step.finish)
                if step.tokens and not progress.completion_tokens:
                    progress.first_token_us = progress.elapsed_us()
                # Counted before sending: the work is done, whether or not it arrives.
                progress.completion_tokens += len(step.tokens)
                await place.send(
                    Piece(
                        dispatch_id=chunk.binding.dispatch_id,
                        sealed=sealer.seal(encode(reply), final=final),
                        final=final,
                    )
                )
                if final:
                    progress.finished = True
                    return None


async def _close(
    dispatch: Dispatch,
    place: Workplace,
    progress: _Progress,
    outcome: Literal["complete", "cancelled", "failed"],
    failure: FailureReason | None,
) -> WorkReport:
    """Say how it ended, and sign for the work if the prompt was worked on at all."""
    duration_us = progress.elapsed_us()
    report = WorkReport(
        outcome=outcome,
        reason=failure or "",
        prompt_tokens=progress.prompt_tokens,
        completion_tokens=progress.completion_tokens,
        first_token_us=progress.first_token_us,
        duration_us=duration_us,
    )
    with trio.move_on_after(_FAREWELL_SECONDS):
        if failure is not None:
            await place.send(Failed(dispatch_id=dispatch.dispatch_id, reason=failure))
        if outcome != "failed" or progress.prompt_tokens:
            receipt = _receipt(dispatch, place, report, outcome)
            signed = sign_receipt(place.identity, receipt)
            place.signed(receipt, signed)
            await place.send(ReceiptMessage(dispatch_id=dispatch.dispatch_id, receipt=signed))
    return report


def _receipt(
    dispatch: Dispatch,
    place: Workplace,
    report: WorkReport,
    outcome: Literal["complete", "cancelled", "failed"],
) -> Receipt:
    now_us = place.now_us()
    return Receipt(
        dispatch_id=dispatch.dispatch_id,
        host=place.identity.peer_id,
        coordinator=place.coordinator,
        nonce=dispatch.nonce,
        model_digest=dispatch.model_digest,
        prompt_tokens=report.prompt_tokens,
        completion_tokens=report.completion_tokens,
        first_token_us=report.first_token_us,
        duration_us=report.duration_us,
        outcome=outcome,
        issued_at_us=now_us,
        expires_at_us=now_us + RECEIPT_LIFE_US,
    )


def _generation_task(chunk: OpenedChunk) -> GenerationTask:
    task = chunk.task
    return GenerationTask(
        turns=[TaskTurn(role=turn.role, content=turn.content) for turn in task.messages],
        assistant_prefix=task.assistant_prefix,
        max_tokens=task.max_tokens,
        temperature_milli=task.temperature_milli,
        top_p_milli=task.top_p_milli,
        min_p_milli=task.min_p_milli,
        frequency_penalty_milli=task.frequency_penalty_milli,
        presence_penalty_milli=task.presence_penalty_milli,
        repetition_penalty_milli=task.repetition_penalty_milli,
        logit_bias=task.logit_bias,
        seed=chunk.binding.seed,
        stop=task.stop,
        answer_shape=task.answer_shape,
    )
