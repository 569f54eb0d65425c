import datetime
import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from peerllm.overlay.answer_shape import (
    AnswerShape,
    Anything,
    Choice,
    Constants,
    Field,
    Items,
    Mapping,
    Number,
    Record,
    Text,
)
from peerllm.overlay.shape_faults import fault_of
from peerllm.peer.batching import BatchingEngine
from peerllm.peer.chat import ChatTemplate, ChatTurn, plain_tokens
from peerllm.peer.errors import PromptError
from peerllm.peer.grammar import grammar_of
from peerllm.peer.grammar_state import CANDIDATE, GrammarState
from peerllm.peer.llama import LlamaModel
from peerllm.peer.sampling import Sampling

NASTY = 'a"\\\n\x00\x7fé\u2028'
EVERYTHING = AnswerShape(
    nodes=[
        Record(
            fields=[
                Field(name="first", node=1, required=False),
                Field(name=NASTY, node=2, required=True),
                Field(name="when", node=3, required=False),
                Field(name="list", node=4, required=True),
                Field(name="", node=6, required=False),
                Field(name="again", node=8, required=False),
            ]
        ),
        Text(minimum=1, maximum=3),
        Constants(strings=[NASTY, "b"], others=["-1.5e+10", "null"]),
        Text(format="date-time"),
        Items(item=5, minimum=1, maximum=2),
        Choice(nodes=[7, 9, 10, 11]),
        Mapping(value=7),
        Number(whole=True),
        Choice(nodes=[0, 12]),
        Text(format="uuid"),
        Items(item=12),
        Record(fields=[]),
        Constants(others=["true"]),
    ]
)
CITY = AnswerShape(
    nodes=[
        Record(
            fields=[
                Field(name="city", node=1, required=True),
                Field(name="large", node=2, required=True),
            ]
        ),
        Text(maximum=8),
        Constants(others=["true", "false"]),
    ]
)
DRAWN = Sampling(temperature=1.5, seed=4, grammar=grammar_of(CITY))
QUESTION = "What is the capital of France?"


@pytest.fixture
def engine(model: LlamaModel) -> Iterator[BatchingEngine]:
    made = BatchingEngine(model, slots=2, context_tokens=256, threads=1)
    yield made
    made.close()


def walked(model: LlamaModel, shape: AnswerShape, draw: random.Random) -> str:
    """An answer of tokens drawn blindly from those that fit, like a very bad model's."""
    state = GrammarState(model, grammar_of(shape))
    answer = b""
    for step in range(400):
        # All short tokens and some others: cheap, and never stuck.
        ids = [*range(400), *draw.sample(range(model.vocabulary_size), 200)]
        candidates = np.zeros(len(ids), dtype=CANDIDATE)
        candidates["id"] = ids
        state.forbid_unfitting(candidates)
        fitting = candidates["id"][np.isfinite(candidates["logit"])]
        assert len(fitting), step
        closing = [token for token in fitting if model.piece(token) in (b'"', b"}", b"]", b"")]
        token = int(draw.choice(closing if closing and draw.random() < 0.4 else fitting))
        if model.is_end(token):
            state.close()
            return answer.decode()
        assert state.fits(token)
        state.accept(token)
        answer += model.piece(token)
    raise AssertionError("the answer never ended")


def satisfies(value: dict[str, object]) -> bool:
    """The checks of EVERYTHING, written down a second time."""
    assert [*value] == [f.name for f in EVERYTHING.nodes[0].fields if f.name in value]  # type: ignore[union-attr]
    assert 1 <= len(str(value.get("first", "x"))) <= 3
    assert value[NASTY] in (NASTY, "b", -1.5e10, None)
    if "when" in value:
        datetime.datetime.fromisoformat(str(value["when"]))
    items = value["list"]
    assert isinstance(items, list)
    assert 1 <= len(items) <= 2
    mapping = value.get("", {})
    assert isinstance(mapping, dict)
    assert all(isinstance(number, int) for number in mapping.values())
    again = value.get("again", True)
    return again is True or (isinstance(again, dict) and satisfies(again))


def test_whatever_fits_is_json_of_that_form(model: LlamaModel) -> None:
    assert fault_of(EVERYTHING) is None
    for seed in range(20):
        value = json.loads(walked(model, EVERYTHING, random.Random(seed)))
        assert isinstance(value, dict)
        assert satisfies(value)
    anything = AnswerShape(nodes=[Anything(object_only=True)])
    assert isinstance(json.loads(walked(model, anything, random.Random(1))), dict)


def prompt(model: LlamaModel, prefix: str = "") -> Any:
    return ChatTemplate(model.chat_template).prompt([ChatTurn("user", QUESTION)], prefix, model)


def answered(
    engine: BatchingEngine, given: Any, sampling: Sampling, max_tokens: int = 40
) -> list[Any]:
    engine.submit(1, given, max_tokens=max_tokens, sampling=sampling)
    steps: list[Any] = []
    while not engine.idle:
        steps += engine.step()
    return steps


def scored(engine: BatchingEngine, model: LlamaModel, claim: list[int], sampling: Sampling) -> Any:
    engine.score(2, prompt(model), claim, sampling=sampling, ended=True)
    outcomes: list[Any] = []
    while not engine.idle:
        outcomes += engine.step()
    (outcome,) = outcomes
    return outcome


@pytest.mark.parametrize("sampling", [DRAWN, Sampling(grammar=DRAWN.grammar)])
def test_an_answer_keeps_its_form_and_can_be_checked(
    model: LlamaModel, engine: BatchingEngine, sampling: Sampling
) -> None:
    answer = answered(engine, prompt(model), sampling)
    assert answer[-1].finish == "stop"
    value = json.loads("".join(step.text for step in answer))
    assert [*value] == ["city", "large"]
    assert len(value["city"]) <= 8
    claim = [token for step in answer for token in step.tokens]
    honest = scored(engine, model, claim, sampling)
    assert honest.would_draw == (True,) * (len(claim) + 1)
    assert sampling == DRAWN or max(honest.margins) == 0
    # Without the grammar the same tokens are no answer of this model's.
    free = Sampling(temperature=sampling.temperature, seed=4)
    assert not all(scored(engine, model, claim, free).would_draw)


def test_a_claim_that_leaves_the_grammar_is_nobodys_answer(
    model: LlamaModel, engine: BatchingEngine
) -> None:
    free = answered(engine, prompt(model), Sampling(), 6)
    claim = [token for step in free for token in step.tokens]
    foreign = scored(engine, model, claim, Sampling(grammar=DRAWN.grammar))
    # A host that ignored the form would otherwise be right from its second token on.
    assert not any(foreign.would_draw)
    assert foreign.margins[0] > 50


def test_an_answer_goes_on_within_its_form(model: LlamaModel, engine: BatchingEngine) -> None:
    begun = '{"city": "Par'
    sampling = Sampling(grammar=DRAWN.grammar, begun=tuple(plain_tokens(begun, model)))
    rest = answered(engine, prompt(model, begun), sampling)
    assert json.loads(begun + "".join(step.text for step in rest))["city"].startswith("Par")
    whole = plain_tokens('{"city": "Paris", "large": true}', model)
    over = Sampling(grammar=DRAWN.grammar, begun=tuple(whole))
    assert [step.finish for step in answered(engine, prompt(model), over)] == ["stop"]
    for wrong in ("The capital", '{"town"', '{"city": "Paris", "large": true} and', "}"):
        unfit = Sampling(grammar=DRAWN.grammar, begun=tuple(plain_tokens(wrong, model)))
        with pytest.raises(PromptError, match="does not fit") as caught:
            engine.submit(1, prompt(model), max_tokens=5, sampling=unfit)
        assert caught.value.reason == "bad_task"
    assert engine.idle


def test_what_was_begun_counts_for_penalties(model: LlamaModel, engine: BatchingEngine) -> None:
    plain = answered(engine, prompt(model), Sampling(), 1)[0].tokens
    penalized = Sampling(presence_penalty=2.0, frequency_penalty=2.0, begun=plain * 20)
    assert answered(engine, prompt(model), penalized, 1)[0].tokens != plain


def test_where_no_token_fits_the_answer_ends(model: LlamaModel, engine: BatchingEngine) -> None:
    # The library takes no token that begins with NUL.
    stuck = Sampling(temperature=1.0, grammar=r'root ::= "{" [\x00]')
    answer = answered(engine, prompt(model), stuck)
    assert "".join(step.text for step in answer) == "{"
    assert answer[-1].finish == "stop"


def test_text_that_is_no_grammar_is_refused(model: LlamaModel, engine: BatchingEngine) -> None:
    for wrong in ("root ::= (", "root ::= root", "root ::= missing", "no grammar"):
        with pytest.raises(PromptError, match="cannot be compiled"):
            engine.submit(1, prompt(model), max_tokens=5, sampling=Sampling(grammar=wrong))
    assert engine.idle
    assert "SECRET" not in repr(Sampling(grammar="SECRET", begun=(1,)))
