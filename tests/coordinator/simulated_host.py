"""Hosts in memory: real envelopes, replies and receipts, and faults to order."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import trio

from benchmarks.synthetic_engine import Pace, SyntheticGeneration, split
from peerllm.coordinator.accounts import Seat, Tier
from peerllm.coordinator.dispatch import Dispatcher
from peerllm.coordinator.document_task import Turn
from peerllm.coordinator.orders import Order, ServedModel
from peerllm.coordinator.registry import ChunkMessage, LiveHost, Registry
from peerllm.coordinator.selection import Exposure, RaceRule
from peerllm.coordinator.vocabulary import Vocabulary
from peerllm.crypto.certificate import SealingKey
from peerllm.crypto.encoding import decode, encode
from peerllm.crypto.envelope import EnvelopeBinding, open_envelope
from peerllm.crypto.identity import Identity
from peerllm.crypto.receipt import Receipt, sign_receipt
from peerllm.crypto.reply import ReplySealer
from peerllm.overlay.errors import SessionClosed, SessionViolation
from peerllm.overlay.messages import (
    MAXIMUM_TASK_BYTES,
    Accepted,
    Cancel,
    ChunkTask,
    CoordinatorMessage,
    Dispatch,
    Failed,
    ModelOffer,
    Piece,
    ReceiptMessage,
    ReplyPiece,
    Slots,
)
from peerllm.overlay.model_pieces import PIECE_BYTES, ModelFacts
from peerllm.peer.generation import GeneratedPiece
from peerllm.safety.stop_sequences import StopSequences

DIGEST = bytes(range(32))
NOW_US = 1_800_000_000_000_000
COORDINATOR = Identity.from_seed(b"c" * 32)


class WordVocabulary:
    """A token is a word with the white space before it."""

    size = 50_000

    def count(self, text: str) -> int:
        return len(split(text))


def served_model(context_tokens: int = 4096) -> ServedModel:
    return ServedModel(
        name="toy",
        digest=DIGEST,
        context_tokens=context_tokens,
        vocabulary=cast("Vocabulary", WordVocabulary()),
        facts=ModelFacts(digest=DIGEST, file_bytes=3 * PIECE_BYTES, list_digest=bytes(32)),
    )


@dataclass
class Faults:
    """What goes wrong, counted in tokens sent; None means never."""

    dies_after: int | None = None
    stalls_after: int | None = None
    garbage_after: int | None = None
    diverges_after: int | None = None
    silent: bool = False
    refuses: str | None = None
    talkative: bool = False  # more tokens than asked for
    floods: bool = False  # more messages than tokens
    verbose: bool = False  # more text than its tokens can hold
    deaf: bool = False  # never reacts to a cancel
    receipt: str = "honest"  # or none, forged, replayed, inflated
    slots_say: int | None = None


FAULT_KINDS: tuple[Callable[[random.Random], Faults], ...] = (
    lambda _: Faults(),
    lambda draw: Faults(dies_after=draw.randrange(8)),
    lambda draw: Faults(stalls_after=draw.randrange(8)),
    lambda draw: Faults(garbage_after=draw.randrange(8)),
    lambda draw: Faults(diverges_after=draw.randrange(8)),
    lambda _: Faults(silent=True),
    lambda _: Faults(refuses="overloaded"),
    lambda _: Faults(refuses="engine_failed"),
    lambda _: Faults(talkative=True),
    lambda _: Faults(floods=True),
    lambda _: Faults(verbose=True),
    lambda _: Faults(deaf=True, receipt="none"),
    lambda _: Faults(receipt="none"),
    lambda _: Faults(receipt="forged"),
    lambda _: Faults(receipt="replayed"),
    lambda _: Faults(receipt="inflated"),
)


@dataclass(eq=False)
class SimulatedHost:
    """One host; `answer` gives its whole answer to a task, `pace` the seconds between tokens."""

    name: str
    registry: Registry
    nursery: trio.Nursery
    answer: Callable[[ChunkTask], str]
    faults: Faults = field(default_factory=Faults)
    pace: float = 0.05
    slots: int = 2
    operator: str = ""
    tier: Tier = "community"
    network: str | None = None
    context_tokens: int = 4096
    draw: random.Random = field(default_factory=lambda: random.Random(1))

    def __post_init__(self) -> None:
        seed = self.name.encode().ljust(32, b"\0")
        self.identity = Identity.from_seed(seed)
        self.key = SealingKey.generate()
        self.tasks: list[ChunkTask] = []
        self.cancelled: list[bytes] = []
        self.finished: list[bytes] = []
        self.last_receipt = b""
        self.receipts_sent: list[bytes] = []
        self._cancels: dict[bytes, trio.Event] = {}
        self.live: LiveHost | None = None
        self.join()

    @property
    def peer_id(self) -> str:
        return self.identity.peer_id

    def join(self) -> None:
        live = LiveHost(
            seat=Seat(
                peer_id=self.peer_id,
                operator=self.operator or f"operator-{self.name}",
                tier=self.tier,
                digests=frozenset({DIGEST}),
                region="default",
                seated_at_us=NOW_US,
            ),
            network=self.network,
            sealing_key=self.key.public_bytes,
            sealing_key_expires_at_us=NOW_US + 10**12,
            offers={
                DIGEST: ModelOffer(
                    digest=DIGEST,
                    name="toy",
                    context_tokens=self.context_tokens,
                    slots=self.slots,
                    tokens_per_second_milli=20_000,
                )
            },
            send=self.send,
            record=self.registry.record_of(self.peer_id),
        )
        self.live = live
        self.registry.join(live)

    def die(self) -> None:
        """The session ends and every dispatch in flight with it."""
        live, self.live = self.live, None
        if live is not None:
            self.registry.leave(live)
        for event in self._cancels.values():
            event.set()

    async def send(self, message: CoordinatorMessage) -> None:
        if self.live is None:
            raise SessionClosed("the simulated session has ended")
        if isinstance(message, Dispatch):
            self._cancels[message.dispatch_id] = trio.Event()
            self.nursery.start_soon(self._work, message, self.live)
        elif isinstance(message, Cancel):
            self.cancelled.append(message.dispatch_id)
            if not self.faults.deaf and message.dispatch_id in self._cancels:
                self._cancels[message.dispatch_id].set()
        await trio.lowlevel.checkpoint()

    def _say(self, live: LiveHost, message: ChunkMessage | Slots) -> bool:
        if self.live is not live:
            return False
        try:
            self.registry.on_message(live, message)
        except SessionViolation:
            self.die()
            return False
        return True

    async def _work(self, dispatch: Dispatch, live: LiveHost) -> None:
        binding = EnvelopeBinding(
            dispatch_id=dispatch.dispatch_id,
            host=self.peer_id,
            model_digest=dispatch.model_digest,
            expires_at_us=dispatch.expires_at_us,
            seed=dispatch.seed,
        )
        opened = open_envelope(binding, self.key, dispatch.envelope, now_us=NOW_US)
        assert isinstance(opened, bytes), opened
        task = decode(opened, ChunkTask, maximum_bytes=MAXIMUM_TASK_BYTES)
        self.tasks.append(task)
        if self.faults.slots_say is not None:
            self._say(live, Slots(digest=DIGEST, free=self.faults.slots_say))
        if self.faults.refuses is not None:
            self._say(
                live,
                Failed(dispatch_id=dispatch.dispatch_id, reason=self.faults.refuses),  # type: ignore[arg-type]
            )
            return
        self._say(live, Accepted(dispatch_id=dispatch.dispatch_id))
        stopped = self._cancels[dispatch.dispatch_id]
        if self.faults.silent:
            await stopped.wait()
            return
        sent = 0
        with trio.CancelScope() as scope:
            self.nursery.start_soon(_cancel_when, stopped, scope)
            sent = await self._generate(task, ReplySealer(task.reply_key, binding), dispatch, live)
            self.finished.append(dispatch.dispatch_id)
        stopped.set()
        self._hand_in(dispatch, live, sent, complete=not scope.cancelled_caught)

    async def _generate(
        self, task: ChunkTask, sealer: ReplySealer, dispatch: Dispatch, live: LiveHost
    ) -> int:
        tokens, limit = self._tokens(task), task.max_tokens
        if self.faults.talkative:
            tokens, limit = tokens * limit, limit + 4
        rate = 1 / self.pace if self.pace else math.inf
        generation = SyntheticGeneration(
            tokens, Pace(self.pace, rate), max_tokens=limit, piece_tokens=1
        )
        number = 0
        while True:
            step = await generation.next()
            assert isinstance(step, GeneratedPiece)
            if number == self.faults.dies_after:
                self.die()
            if number == self.faults.stalls_after:
                await trio.sleep_forever()
            final = step.finish != ""
            piece = ReplyPiece(
                tokens=list(step.tokens),
                text=step.text + "y" * (9_000 * self.faults.verbose * (not final)),
                finish=step.finish,
            )
            sealed = sealer.seal(encode(piece), final=final)
            if number == self.faults.garbage_after:
                sealed = bytes(len(sealed))
            message = Piece(dispatch_id=dispatch.dispatch_id, sealed=sealed, final=final)
            if not self._say(live, message) or final:
                return number
            while self.faults.floods and self._say(live, Accepted(dispatch_id=message.dispatch_id)):
                await trio.lowlevel.checkpoint()
            number += 1

    def _tokens(self, task: ChunkTask) -> list[str]:
        whole = self.answer(task)
        if self.faults.diverges_after is not None:
            kept = split(whole)[: self.faults.diverges_after]
            whole = "".join(kept) + f" {self.name} goes its own way for some words"
        prefix = task.assistant_prefix
        rest = whole[len(prefix) :] if whole.startswith(prefix) else f" {self.name} went on"
        return split(rest)

    def _hand_in(self, dispatch: Dispatch, live: LiveHost, sent: int, *, complete: bool) -> None:
        kind = self.faults.receipt
        if kind == "none":
            return
        claimed = sent + 1_000 if kind == "inflated" else sent
        receipt = Receipt(
            dispatch_id=dispatch.dispatch_id,
            host=self.peer_id,
            coordinator=COORDINATOR.peer_id,
            nonce=dispatch.nonce,
            model_digest=dispatch.model_digest,
            prompt_tokens=10,
            completion_tokens=claimed if complete else 10_000,
            first_token_us=1,
            duration_us=10,
            outcome="complete" if complete else "cancelled",
            issued_at_us=NOW_US,
            expires_at_us=NOW_US + 10**10,
        )
        signer = Identity.from_seed(b"f" * 32) if kind == "forged" else self.identity
        raw = sign_receipt(signer, receipt)
        if kind == "replayed":
            raw, self.last_receipt = self.last_receipt or b"nothing yet", raw
        self.receipts_sent.append(raw)
        self._say(live, ReceiptMessage(dispatch_id=dispatch.dispatch_id, receipt=raw))


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def echo(text: str) -> Callable[[ChunkTask], str]:
    return lambda _task: text


class OpenLog:
    """No exposure bound; remembers who was shown what."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def exposure(self) -> Exposure:
        return Exposure(chunks=100)

    def show(self, operator: str) -> None:
        self.shown.append(operator)


def order(
    *,
    max_tokens: int = 40,
    race_size: int = 2,
    prompt_tokens: int = 20,
    stop: tuple[str, ...] = (),
) -> Order:
    return Order(
        model=served_model(),
        turns=(Turn(role="user", content="Say something."),),
        prompt_tokens=prompt_tokens,
        max_tokens=max_tokens,
        temperature_milli=0,
        top_p_milli=1000,
        stop=StopSequences(stop),
        seed=7,
        race_size=race_size,
    )


def dispatcher(registry: Registry, seed: int = 0, rule: RaceRule | None = None) -> Dispatcher:
    draw = random.Random(seed)
    return Dispatcher(
        registry,
        rule=rule or RaceRule(),
        coordinator=COORDINATOR.peer_id,
        draw=draw,
        random_bytes=draw.randbytes,
        now_us=lambda: NOW_US,
    )


def new_registry() -> Registry:
    return Registry(trio.current_time, lambda: NOW_US)


def all_slots_free(*hosts: SimulatedHost) -> bool:
    return all(
        not host.live.routes
        and not any(host.live.in_flight.values())
        and host.live.free_slots(DIGEST) == host.slots
        for host in hosts
        if host.live is not None
    )
