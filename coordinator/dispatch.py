"""The shell around a race: chooses hosts, seals for them, opens what comes back, cancels losers.

Cancelling `Dispatcher.run` cancels every host that still runs and frees its slots before the
cancellation goes on.
"""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, Protocol

import trio

from peerllm.coordinator.dispatch_run import DispatchEvent, DispatchRun, all_refused_the_task
from peerllm.coordinator.orders import ChunkServed, ChunkUnserved, HostRun, Order
from peerllm.coordinator.race import Failure, Finish, Race, Standing, Step
from peerllm.coordinator.registry import LiveHost, Registry
from peerllm.coordinator.selection import Candidate, Exposure, RaceRule, choose
from peerllm.crypto.encoding import decode, encode
from peerllm.crypto.envelope import EnvelopeBinding, seal
from peerllm.crypto.errors import DecodingError, ReplyForged
from peerllm.crypto.reply import REPLY_KEY_BYTES, ReplyOpener
from peerllm.overlay.messages import (
    MAXIMUM_PIECE_BYTES,
    Cancel,
    ChatMessage,
    ChunkTask,
    Dispatch,
    Failed,
    LogitBias,
    Piece,
    ReceiptMessage,
    ReplyPiece,
)
from peerllm.safety.stop_sequences import StopCut

# Waiting for a free slot longer than this, a customer is better served by an honest refusal.
QUEUE_SECONDS = 20.0
# A cancelled host answers within one decode step; two seconds cover a slow home line.
RECEIPT_SECONDS = 2.0
CANCEL_SECONDS = 1.0
# A chunk is tried at most this often; beyond it the fault is in the chunk, not in the hosts.
MAXIMUM_DISPATCHES = 6
# Vocabularies hold runs of 128 spaces and nothing longer: more text than this per token is made up,
# and every character is compared with what was released again and again.
LONGEST_TOKEN_CHARACTERS = 128
# Messages about a dispatch besides one a token: acceptance, receipt, failure, the last piece.
MESSAGES_BESIDE_TOKENS = 8

Release = Callable[[str], Awaitable[None]]


class ExposureLog(Protocol):
    """Which operators have been shown how much of one request."""

    def exposure(self) -> Exposure:
        """The state before the next choice."""

    def show(self, operator: str) -> None:
        """One more chunk goes to the operator."""


class Dispatcher:
    """Runs chunks at the hosts of one registry.

    `on_leader` is told of each dispatch, and its host, that takes the lead of a race.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        rule: RaceRule,
        coordinator: str,
        draw: random.Random,
        random_bytes: Callable[[int], bytes],
        now_us: Callable[[], int],
        on_leader: Callable[[bytes, str], None] = lambda _dispatch, _host: None,
    ) -> None:
        self.registry = registry
        self.rule = rule
        self.coordinator = coordinator
        self.draw = draw
        self.random_bytes = random_bytes
        self.now_us = now_us
        self.on_leader = on_leader

    async def run(
        self, order: Order, log: ExposureLog, release: Release
    ) -> ChunkServed | ChunkUnserved:
        """Race the chunk; `release` is awaited with the leader's text as it comes."""
        return await _ChunkRace(self, order, log, release).run()


class _ChunkRace:
    def __init__(self, tools: Dispatcher, order: Order, log: ExposureLog, release: Release) -> None:
        self._tools = tools
        self._order = order
        self._log = log
        self._release = release
        self._race = Race(order.deadlines(), started_at=trio.current_time())
        self._runs: dict[bytes, DispatchRun] = {}
        self._nobody_at: tuple[int, int] | None = None
        self._queue_until = trio.current_time() + QUEUE_SECONDS
        self._last_leader: bytes | None = None
        self._message_bound = order.max_tokens + MESSAGES_BESIDE_TOKENS
        self._events, self._arrivals = trio.open_memory_channel[DispatchEvent](
            (self._message_bound + 1) * MAXIMUM_DISPATCHES
        )

    async def run(self) -> ChunkServed | ChunkUnserved:
        try:
            if not await self._start():
                return ChunkUnserved(reason="no_host", runs=())
            outcome = await self._follow()
            if not isinstance(outcome, Finish):
                return ChunkUnserved(reason=outcome, runs=self._host_runs())
            await self._collect_receipts()
            return ChunkServed(finish=outcome, text=self._race.released, runs=self._host_runs())
        finally:
            await self._close()

    async def _start(self) -> bool:
        """Enter the first hosts: wait for one, take the others if they are free now."""
        with trio.move_on_at(self._queue_until):
            while not await self._enter():
                if not self._community_serves() and await self._enter(dedicated=True):
                    return True
                await self._tools.registry.changed()
        if not self._runs:
            return await self._enter(dedicated=True)
        await self._fill()
        return True

    def _community_serves(self) -> bool:
        """Whether waiting can bring a host of the community: one that is busy or paused now."""
        order = self._order
        known = self._tools.registry.candidates(order.model.digest, order.context_tokens)
        return any(not candidate.dedicated for candidate in known)

    async def _fill(self) -> None:
        """Enter hosts until the race has its size, as far as hosts are free now.

        Called after every token: it looks at all hosts only when something changed since the last
        look found nobody, or a full network would spend its time looking.
        """
        while (running := self._running()) + self._departed() < self._order.race_size:
            looked = (self._tools.registry.changes, running)
            if looked == self._nobody_at:
                return
            if not await self._enter():
                self._nobody_at = looked

    def _running(self) -> int:
        return sum(c.standing is Standing.RUNNING for c in self._race.contestants)

    def _departed(self) -> int:
        """Hosts whose answer departed from a leader's that still runs.

        They count as entered: on other processors sampled answers always depart, and a further
        host, started from the released text, would depart as well and be paid for nothing.
        """
        if not self._running():
            return 0
        return sum(c.failure is Failure.DIVERGED for c in self._race.contestants)

    async def _enter(self, *, dedicated: bool = False, departed: bool = False) -> bool:
        """Dispatch to one more host, continuing from what is released. False when none is free.

        `departed` admits hosts whose own answer departed from the released one, though they work.
        """
        if len(self._runs) >= MAXIMUM_DISPATCHES:
            return False
        registry = self._tools.registry
        # Whoever waits with an empty text counts: one operator's hosts must not agree on silence.
        racing = {c.dispatch for c in self._race.contestants if c.standing is not Standing.OUT}
        candidate = choose(
            registry.candidates(self._order.model.digest, self._order.context_tokens),
            racing=[run.candidate for key, run in self._runs.items() if key in racing],
            rule=self._tools.rule,
            exposure=self._log.exposure(),
            sample=self._tools.draw,
            excluded={
                contestant.host
                for contestant in self._race.contestants
                if not (departed and contestant.failure is Failure.DIVERGED)
            },
            dedicated=dedicated,
        )
        live = registry.find(candidate.host) if candidate else None
        if candidate is None or live is None:
            return False
        self._log.show(candidate.operator)
        await self._send_chunk(candidate, live)
        return True

    async def _send_chunk(self, candidate: Candidate, live: LiveHost) -> None:
        tools, order = self._tools, self._order
        lifetime_us = int(order.deadlines().total * 1_000_000)
        binding = EnvelopeBinding(
            dispatch_id=tools.random_bytes(16),
            host=candidate.host,
            model_digest=order.model.digest,
            expires_at_us=tools.now_us() + lifetime_us,
            seed=order.seed,
        )
        reply_key = tools.random_bytes(REPLY_KEY_BYTES)
        run = DispatchRun(
            live=live,
            candidate=candidate,
            binding=binding,
            nonce=tools.random_bytes(16),
            opener=ReplyOpener(reply_key, binding),
            cut=StopCut(order.stop, self._race.released),
            events=self._events,
            message_bound=self._message_bound,
            started_at=trio.current_time(),
        )
        self._runs[binding.dispatch_id] = run
        self._race.enter(binding.dispatch_id, candidate.host, now=run.started_at)
        tools.registry.open_route(live, binding.dispatch_id, order.model.digest, run)
        sent = await run.tell(
            Dispatch(
                dispatch_id=binding.dispatch_id,
                model_digest=order.model.digest,
                expires_at_us=binding.expires_at_us,
                seed=order.seed,
                nonce=run.nonce,
                deadline_us=lifetime_us,
                envelope=seal(binding, live.sealing_key, encode(self._task(reply_key))),
            ),
        )
        if not sent:
            run.lost()

    def _task(self, reply_key: bytes) -> ChunkTask:
        order, prefix = self._order, self._race.released
        return ChunkTask(
            messages=[ChatMessage(role=t.role, content=t.content) for t in order.turns],
            max_tokens=max(1, order.max_tokens - order.model.vocabulary.count(prefix)),
            temperature_milli=order.temperature_milli,
            top_p_milli=order.top_p_milli,
            stop=list(order.stop.for_hosts),
            assistant_prefix=prefix,
            reply_key=reply_key,
            min_p_milli=order.min_p_milli,
            frequency_penalty_milli=order.frequency_penalty_milli,
            presence_penalty_milli=order.presence_penalty_milli,
            repetition_penalty_milli=order.repetition_penalty_milli,
            logit_bias=[
                LogitBias(token=token, bias_milli=bias) for token, bias in order.logit_bias_milli
            ],
            answer_shape=order.answer_shape,
        )

    async def _follow(self) -> Finish | Literal["all_failed", "bad_task", "out_of_time"]:
        """Feed the race until somebody wins or nobody can."""
        while True:
            step = await self._next_step()
            await self._perform(step)
            if step.outcome is not None:
                return step.outcome.finish
            if self._race.expired(trio.current_time()):
                # What has arrived may be the whole answer, however long its reader takes. It ends:
                # nobody is entered any more, and what hosts send is bounded.
                if self._running() == 0 or not self._arrivals.statistics().current_buffer_used:
                    return "out_of_time"
                continue
            await self._fill()
            if self._running() == 0 and not await self._enter_anyone():
                step = self._race.on_nobody_left()
                await self._perform(step)
                if step.outcome is not None:
                    return step.outcome.finish
                return "bad_task" if all_refused_the_task(self._runs.values()) else "all_failed"

    async def _enter_anyone(self) -> bool:
        """Nobody is left: one whose answer had only departed may continue, else our own hosts."""
        return (
            await self._enter(departed=True)
            or await self._enter(dedicated=True)
            or await self._enter_when_free()
        )

    async def _enter_when_free(self) -> bool:
        """All that came is empty: wait for a host that works. An idle one is always free first."""
        if not any(c.standing is Standing.FINISHED for c in self._race.contestants):
            return False
        until = min(self._queue_until, self._race.next_deadline())
        while len(self._runs) < MAXIMUM_DISPATCHES and self._others_are_busy():
            with trio.move_on_at(until) as patience:
                await self._tools.registry.changed()
            if await self._enter():
                return True
            if patience.cancelled_caught:
                break
        return False

    def _others_are_busy(self) -> bool:
        """Whether a sound host of the community, of an operator not asked yet, has no slot free."""
        order = self._order
        asked = {run.candidate.operator for run in self._runs.values()}
        known = self._tools.registry.candidates(order.model.digest, order.context_tokens)
        return any(
            not (c.dedicated or c.suspended or c.free_slots or c.operator in asked) for c in known
        )

    async def _next_step(self) -> Step:
        # What has arrived counts before the clock does: while a customer read slowly or the
        # answer was judged, no host was late.
        with suppress(trio.WouldBlock):
            return self._apply(self._arrivals.receive_nowait())
        event: DispatchEvent | None = None
        with trio.move_on_at(self._race.next_deadline()):
            event = await self._arrivals.receive()
        return self._race.on_time(trio.current_time()) if event is None else self._apply(event)

    async def _perform(self, step: Step) -> None:
        """Release and cancel side by side: a loser does not work on while a customer reads."""
        leader = self._race.leader
        if leader not in (None, self._last_leader):
            self._last_leader = leader
            self._tools.on_leader(leader, self._runs[leader].candidate.host)
        if not step.cancel:
            await self._release_text(step)
            return
        async with trio.open_nursery() as nursery:
            for dispatch in step.cancel:
                nursery.start_soon(self._cancel, self._runs[dispatch])
            await self._release_text(step)

    async def _release_text(self, step: Step) -> None:
        if step.release:
            await self._release(step.release)

    def _apply(self, event: DispatchEvent) -> Step:
        run = self._runs[event.dispatch]
        match event.message:
            case Piece() as piece:
                return self._apply_piece(run, piece, event.at)
            case ReceiptMessage() as message:
                run.keep_receipt(message, self._tools.coordinator, self._tools.now_us())
                return Step()
            case Failed(reason=reason):
                run.refusal = reason
                return self._end(run, Failure.REFUSED, event.at)
            case None:
                return self._end(run, Failure.HOST_LOST, event.at)
            case _:
                return Step()

    def _end(self, run: DispatchRun, failure: Failure, at: float) -> Step:
        if run.ended_at is None:
            run.ended_at = at
        return self._race.on_failure(run.binding.dispatch_id, failure)

    def _apply_piece(self, run: DispatchRun, piece: Piece, at: float) -> Step:
        dispatch = run.binding.dispatch_id
        if run.cut.stopped:
            return Step()
        try:
            opened = run.opener.open(piece.sealed, final=piece.final)
            reply = decode(opened, ReplyPiece, maximum_bytes=MAXIMUM_PIECE_BYTES)
        except (ReplyForged, DecodingError):
            return _and_cancel(self._end(run, Failure.GARBAGE, at), dispatch)
        run.tokens += len(reply.tokens)
        run.characters += len(reply.text)
        if (
            run.tokens > self._order.max_tokens
            or run.characters > LONGEST_TOKEN_CHARACTERS * self._order.max_tokens
        ):
            return _and_cancel(self._end(run, Failure.GARBAGE, at), dispatch)
        step = self._race.on_text(dispatch, run.cut.push(reply.text, last=piece.final), now=at)
        if not (piece.final or run.cut.stopped):
            return step
        run.ended_at = at
        length = reply.finish == "length" and not run.cut.stopped
        last = self._race.on_finish(dispatch, Finish.LENGTH if length else Finish.STOP)
        works_on = () if piece.final else (dispatch,)
        return Step(
            release=step.release + last.release,
            cancel=(*step.cancel, *last.cancel, *works_on),
            outcome=last.outcome,
        )

    async def _cancel(self, run: DispatchRun) -> None:
        if run.ended_at is None:
            run.ended_at = trio.current_time()
        # Shielded: the customer's leaving must not leave a host at work.
        with trio.move_on_after(CANCEL_SECONDS, shield=True):
            await run.tell(Cancel(dispatch_id=run.binding.dispatch_id))

    async def _collect_receipts(self) -> None:
        """Wait for the receipts of the hosts that are still there; the money waits no longer."""
        with trio.move_on_after(RECEIPT_SECONDS):
            while any(run.owes_receipt for run in self._runs.values()):
                self._apply(await self._arrivals.receive())

    async def _close(self) -> None:
        with trio.CancelScope(shield=True):
            for contestant in self._race.contestants:
                run = self._runs[contestant.dispatch]
                if contestant.standing is Standing.RUNNING and run.ended_at is None:
                    await self._cancel(run)
                run.remember(contestant, served=self._race.won)
                self._tools.registry.close_route(
                    run.live, contestant.dispatch, run.binding.model_digest
                )

    def _host_runs(self) -> tuple[HostRun, ...]:
        return tuple(
            self._runs[contestant.dispatch].summary(
                contestant,
                released=self._race.released_by(contestant.dispatch),
                won=contestant.dispatch == self._race.leader,
                count=self._order.model.vocabulary.count,
            )
            for contestant in self._race.contestants
        )


def _and_cancel(step: Step, dispatch: bytes) -> Step:
    return Step(release=step.release, cancel=(*step.cancel, dispatch), outcome=step.outcome)
