"""The life of one request, from the reserved price to the settled one.

`answer` tells the whole story; each step is one call into a room. The prompt, the vault, the plan
and every answer live in its local variables and are gone when it returns.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import msgspec
import trio

from peerllm.coordinator import api_errors
from peerllm.coordinator.accounts import ApiKey
from peerllm.coordinator.api_errors import ApiError
from peerllm.coordinator.billing import (
    Bill,
    post,
    receipts_of,
    reserved,
    settlement_of,
    statement_of,
)
from peerllm.coordinator.chat_schema import ChatRequest
from peerllm.coordinator.computing import computed
from peerllm.coordinator.errors import CoordinatorError
from peerllm.coordinator.house import House
from peerllm.coordinator.judging import (
    ask_stronger,
    judge_answer,
    judge_prompt,
    refusal_error,
)
from peerllm.coordinator.orders import ChunkUnserved, ServedModel
from peerllm.coordinator.plan import Plan
from peerllm.coordinator.plan_work import ExposureCount, Work, run_plan
from peerllm.coordinator.planner import (
    Budget,
    NotDivisible,
    PromptTooLong,
    answer_bound,
    beyond_reach,
    make_plan,
    prompt_tokens,
)
from peerllm.coordinator.price_list import Offer
from peerllm.coordinator.quotes import QuoteRefused
from peerllm.coordinator.race import Finish
from peerllm.coordinator.release import ReleaseGate
from peerllm.coordinator.settlement import charge_of
from peerllm.coordinator.statement import Statement
from peerllm.overlay.answer_shape import Text
from peerllm.overlay.messages import MAXIMUM_STOP_CHARACTERS
from peerllm.safety.judge import Verdict
from peerllm.safety.judge_cascade import Undecided
from peerllm.safety.vault import Vault


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The whole answer has been released."""

    finish: Finish
    statement: Statement


Release = Callable[[str], Awaitable[None]]
Deliver = Callable[[Answered], Awaitable[None]]


async def answer(
    request: ChatRequest,
    key: ApiKey,
    request_id: str,
    house: House,
    release: Release,
    deliver: Deliver,
) -> Answered | ApiError:
    """Serve one admitted request.

    `release` is awaited with each piece the customer may see, `deliver` once all of them are known:
    when it returns, the connection has the last words. Only then is anything charged.
    """
    priced = _priced_model(request, key, house)
    if isinstance(priced, ApiError):
        return priced
    model, offer = priced
    stopwatch = _Stopwatch()
    # In a thread whatever its length: even 256 turns of two letters take 20 ms (measured).
    prompt = await computed(lambda: prompt_tokens(request.turns, model.vocabulary.count))
    offered = house.dispatcher.registry.largest_context(model.digest)
    budget = Budget(
        context_tokens=min(model.context_tokens, offered or model.context_tokens),
        answer_tokens=request.max_tokens,
        count=model.vocabulary.count,
    )
    too_long, longest = await computed(
        lambda: (
            beyond_reach(request.turns, prompt, budget, split=request.split),
            answer_bound(request.turns, prompt, request.max_tokens),
        )
    )
    if too_long is not None:
        return _refuse_length(too_long)
    bound = charge_of(offer.price, prompt_tokens=prompt, completion_tokens=longest)
    unknown_token = _unknown_token(request, model)
    if unknown_token is not None:
        return unknown_token
    async with reserved(house, key, request_id, bound) as hold:
        if hold.refusal is not None:
            return hold.refusal
        stopwatch.lap("admit")
        found = await judge_prompt(house, await _texts(request))
        stopwatch.lap("judge")
        if isinstance(found, Verdict):
            return refusal_error("prompt", found)
        vault = Vault(house.finder, own=request.own_terms)
        async with house.finder_turn:
            request = await _remove_identifiers(vault, request)
        stopwatch.lap("identifiers")
        # Only now: a stronger judge is given placeholders, not identifiers.
        refusal = _overlong_stop(request) or await ask_stronger(house, found, vault)
        stopwatch.lap("stronger_judge")
        free = house.dispatcher.registry.free_hosts(model.digest)
        at_once = free // house.terms.race_size
        plan = refusal or await _plan(budget, request, at_once)
        stopwatch.lap("plan")
        if isinstance(plan, ApiError):
            return plan
        log = ExposureCount(house, plan, model)
        work = Work(request, model, house, budget, plan, vault, log)
        finish = await _serve(work, release)
        stopwatch.lap("serve")
        if isinstance(finish, ApiError):
            return finish
        bill = Bill(key=key, request_id=request_id, prompt=prompt, bound=bound, offer=offer)
        settlement = settlement_of(work, bill)
        # Made before the money moves: should it fail, nothing has been charged.
        statement = statement_of(work, bill, settlement, stopwatch.laps)
        answered = Answered(finish=finish, statement=statement)
        await deliver(answered)
        stopwatch.lap("deliver")
        await post(house, bill, settlement, receipts_of(work))
        hold.posted = True
        stopwatch.lap("settle")
        house.statements.keep(key.account, statement)
        house.metrics.settled(statement)
        return answered


def _priced_model(
    request: ChatRequest, key: ApiKey, house: House
) -> tuple[ServedModel, Offer] | ApiError:
    """The model, at the price in force or the one that the request's quote has locked."""
    if request.quote is None:
        offer = house.price_list.offer(request.model, key.price_tier)
    else:
        quote = house.quotes.read(request.quote, account=key.account, model=request.model)
        if isinstance(quote, QuoteRefused):
            return api_errors.quote_refused(quote.fault, quote.sentence)
        offer = house.price_list.quoted_offer(quote)
    model = house.models.get(request.model)
    if model is None or offer is None:
        return api_errors.unknown_model(request.model)
    return model, offer


async def _texts(request: ChatRequest) -> list[str]:
    """What a model may read or write of a customer's words: turns, and names and constants.

    Not stop sequences: no model reads them and no answer holds them, and by itself the harmless
    "### Instruction:" would be refused as an injection.
    """
    shape, own = request.answer_shape, request.own_terms
    named = [] if shape is None else shape.texts()
    # Judged together: each alone is a word or two.
    texts = [*(turn.content for turn in request.turns), *(["\n".join(named)] if named else [])]
    # A kind's name may say what the term behind it does not.
    if not own.kinds:
        return texts
    return [*texts, *await computed(lambda: list(map(own.as_kinds, texts)))]


async def _remove_identifiers(vault: Vault, request: ChatRequest) -> ChatRequest:
    """Replace identifiers in all that hosts see; all are known before the first is replaced."""
    turns, shape = request.turns, request.answer_shape
    contents = [turn.content for turn in turns]
    named = [] if shape is None else shape.texts()

    def remove() -> ChatRequest:
        vault.prepare([*contents, *named])
        # Apart: without a sentence around it a name is easily taken for another kind, and what it
        # is called in the prompt counts.
        vault.prepare(request.stop)
        return msgspec.structs.replace(
            request,
            turns=tuple(replace(turn, content=vault.remove(turn.content)) for turn in turns),
            answer_shape=None if shape is None else shape.with_texts(vault.remove),
            stop=tuple(map(vault.remove, request.stop)),
        )

    return await computed(remove)


def _overlong_stop(request: ChatRequest) -> ApiError | None:
    """A placeholder may be longer than what it stands for."""
    if all(len(stop) <= MAXIMUM_STOP_CHARACTERS for stop in request.stop):
        return None
    return api_errors.invalid_request(
        f"With placeholders for its identifiers a 'stop' is longer than {MAXIMUM_STOP_CHARACTERS} "
        "characters; send a shorter one.",
        param="stop",
    )


def _unknown_token(request: ChatRequest, model: ServedModel) -> ApiError | None:
    known = model.vocabulary.size
    if all(token < known for token, _ in request.logit_bias_milli):
        return None
    return api_errors.invalid_request(
        f"A token in 'logit_bias' is none of this model's, which are numbered from 0 to "
        f"{known - 1}.",
        param="logit_bias",
    )


def _refuse_length(found: PromptTooLong) -> ApiError:
    return api_errors.context_exceeded(
        found.prompt_tokens, found.answer_tokens, found.context_tokens
    )


async def _plan(budget: Budget, request: ChatRequest, at_once: int) -> Plan | ApiError:
    plan = await computed(
        lambda: make_plan(
            request.turns, budget, split=request.split, at_once=at_once, stops=bool(request.stop)
        )
    )
    if isinstance(plan, PromptTooLong):
        return _refuse_length(plan)
    if isinstance(plan, NotDivisible):
        return api_errors.invalid_request(
            "This request cannot be split into self-contained parts, or not for so small a "
            "'max_tokens'; leave 'split' at 'auto'.",
            param="peerllm.split",
        )
    return plan


async def _serve(work: Work, release: Release) -> Finish | ApiError:
    """Carry the plan out behind the release gate."""
    shape = work.request.answer_shape
    texts = [] if shape is None else [node for node in shape.nodes if isinstance(node, Text)]
    with trio.CancelScope() as scope:
        gate = ReleaseGate(
            judging=lambda text: judge_answer(work.house, text),
            vault=work.vault,
            release=release,
            on_refusal=scope.cancel,
            json=shape is not None,
            longest=frozenset(text.maximum for text in texts if text.maximum is not None),
        )
        served = await run_plan(work, gate)
        if isinstance(served, ChunkUnserved):
            refused = served.reason == "bad_task"
            return api_errors.task_refused() if refused else api_errors.no_capacity()
        if isinstance(served, Verdict | Undecided):
            return refusal_error("answer", served)
        # Parts that are joined say themselves where they were cut.
        await gate.finish(cut=served.finish is Finish.LENGTH and not work.plan.joined)
        if gate.refusal is None:
            return served.finish
    if gate.refusal is None:
        raise CoordinatorError("an answer was stopped without a refusal")
    return refusal_error("answer", gate.refusal)


class _Stopwatch:
    """Milliseconds of each step, for the statement."""

    def __init__(self) -> None:
        self._last = trio.current_time()
        self.laps: dict[str, int] = {}

    def lap(self, name: str) -> None:
        now = trio.current_time()
        self.laps[name] = round((now - self._last) * 1000)
        self._last = now
