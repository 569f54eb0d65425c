import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from peerllm.peer.batching import BatchingEngine
from peerllm.peer.chat import ChatTemplate, ChatTurn
from peerllm.peer.errors import ModelError, PromptError
from peerllm.peer.llama import LlamaModel
from peerllm.peer.sampling import Sampling
from peerllm.peer.sequences import PREFILL_TOKENS, Produced, Prompt, ScoredAnswer

DRAWN = Sampling(temperature=0.8, top_p=0.95, seed=7)


@pytest.fixture
def engine(model: LlamaModel) -> Iterator[BatchingEngine]:
    made = BatchingEngine(model, slots=3, context_tokens=256, threads=1)
    yield made
    made.close()


def prompt(model: LlamaModel, text: str, prefix: str = "") -> Prompt:
    return ChatTemplate(model.chat_template).prompt([ChatTurn("user", text)], prefix, model)


def plain(tokens: list[int]) -> Prompt:
    return Prompt(tuple(tokens))


def finish_all(engine: BatchingEngine) -> dict[int, list[Produced]]:
    answers: dict[int, list[Produced]] = {}
    while not engine.idle:
        for produced in engine.step():
            answers.setdefault(produced.identifier, []).append(produced)
    return answers


def tokens(answer: list[Produced]) -> list[int]:
    return [token for produced in answer for token in produced.tokens]


def text(answer: list[Produced]) -> str:
    return "".join(produced.text for produced in answer)


def test_an_answer_is_the_same_alone_and_beside_others(
    model: LlamaModel, engine: BatchingEngine
) -> None:
    questions = ["What is the capital of France?", "Count to ten. " * 9, "Name a colour."]
    alone = []
    for question in questions:
        engine.submit(1, prompt(model, question), max_tokens=8, sampling=DRAWN)
        alone.append(tokens(finish_all(engine)[1]))
    # They enter one after the other, so that prefill and answers meet in one step.
    together: dict[int, list[Produced]] = {}
    for number, question in enumerate(questions):
        engine.submit(number, prompt(model, question), max_tokens=8, sampling=DRAWN)
        for produced in engine.step() + engine.step():
            together.setdefault(produced.identifier, []).append(produced)
    for number, rest in finish_all(engine).items():
        together.setdefault(number, []).extend(rest)
    assert [tokens(together[number]) for number in range(3)] == alone


def test_the_model_answers_and_ends_by_itself(model: LlamaModel, engine: BatchingEngine) -> None:
    question = prompt(model, "Answer with one word: is fire hot or cold?")
    engine.submit(1, question, max_tokens=40, sampling=Sampling())
    answer = finish_all(engine)[1]
    assert text(answer)
    assert answer[-1].finish == "stop"
    assert not any(map(model.is_control, tokens(answer)))


def test_a_given_beginning_is_continued_and_not_repeated(
    model: LlamaModel, engine: BatchingEngine
) -> None:
    begun = prompt(model, "What is the capital of France?", "The capital of France is")
    engine.submit(1, begun, max_tokens=2, sampling=Sampling())
    answer = finish_all(engine)[1]
    assert text(answer).startswith(" Paris")


def test_seed_decides_a_drawn_answer(model: LlamaModel, engine: BatchingEngine) -> None:
    answers = []
    # The last is the library's own sign for "any seed": it must be as good as the others.
    for seed in (1, 1, 2, 0xFFFFFFFF, 0xFFFFFFFF):
        sampling = Sampling(temperature=1.5, seed=seed)
        engine.submit(1, prompt(model, "Invent a word."), max_tokens=4, sampling=sampling)
        answers.append(tokens(finish_all(engine)[1]))
    assert answers[0] == answers[1] != answers[2]
    assert answers[3] == answers[4]


def test_max_tokens_and_stop_strings_end_an_answer(
    model: LlamaModel, engine: BatchingEngine
) -> None:
    question = prompt(model, "What is the capital of France?")
    engine.submit(1, question, max_tokens=6, sampling=Sampling())
    whole = finish_all(engine)[1]
    assert len(tokens(whole)) == 6
    assert whole[-1].finish == "length"
    # A stop string that begins in one token and ends in the next.
    pieces = [model.piece(token).decode("utf-8", "replace") for token in tokens(whole)]
    border = next(at for at in range(3, 6) if pieces[at - 1].isascii() and pieces[at].isascii())
    stop = pieces[border - 1][-1] + pieces[border][0]
    engine.submit(2, question, max_tokens=40, sampling=Sampling(), stop=[stop])
    stopped = finish_all(engine)[2]
    assert text(stopped) == text(whole)[: text(whole).index(stop)]
    assert stopped[-1].finish == "stop"


def test_a_full_context_ends_an_answer(model: LlamaModel, engine: BatchingEngine) -> None:
    filler = model.tokenize("word ", control=False)[:1] * (engine.context_tokens - 2)
    engine.submit(1, plain(filler), max_tokens=100, sampling=Sampling())
    answer = finish_all(engine)[1]
    assert len(tokens(answer)) <= 2


def test_a_prompt_beyond_the_context_is_refused_with_the_numbers(engine: BatchingEngine) -> None:
    with pytest.raises(PromptError, match="256 tokens") as caught:
        engine.submit(1, plain([5] * 256), max_tokens=1, sampling=Sampling())
    assert caught.value.reason == "context_exceeded"
    with pytest.raises(PromptError):
        engine.submit(1, plain([]), max_tokens=1, sampling=Sampling())
    assert engine.idle


def test_a_long_prompt_does_not_freeze_a_running_answer(model: LlamaModel) -> None:
    # A clock by which every pass takes a second: longer than answers wait for prompts.
    engine = BatchingEngine(
        model, slots=2, context_tokens=256, threads=1, now=itertools.count().__next__
    )
    engine.submit(1, prompt(model, "Tell a story."), max_tokens=30, sampling=Sampling())
    while not engine.step():
        pass
    engine.submit(2, plain([5] * (2 * PREFILL_TOKENS + 1)), max_tokens=1, sampling=Sampling())
    passes = [[produced.identifier for produced in engine.step()] for _ in range(6)]
    # Two whole pieces and the rest, a token of the running answer between any two.
    assert [one for one in passes if one] == [[1], [1], [1], [2]]
    assert passes.index([2]) == max(i for i, one in enumerate(passes))
    finish_all(engine)
    engine.close()


def test_a_cancelled_sequence_leaves_at_once_and_its_slot_is_clean(
    model: LlamaModel, engine: BatchingEngine
) -> None:
    question = prompt(model, "What is the capital of France?")
    engine.submit(1, question, max_tokens=6, sampling=Sampling())
    undisturbed = tokens(finish_all(engine)[1])
    for number in (1, 2, 3, 4):
        engine.submit(number, question, max_tokens=6, sampling=Sampling())
    first = engine.step()
    engine.cancel(2)
    engine.cancel(99)
    answers = finish_all(engine)
    answers[1] = [one for one in first if isinstance(one, Produced)] + answers[1]
    assert set(answers) == {1, 3, 4}
    # 4 waited for a slot and took over the one that 2 left.
    assert all(tokens(answers[number]) == undisturbed for number in (1, 3, 4))
    engine.submit(5, question, max_tokens=6, sampling=Sampling())
    engine.cancel(5)
    assert engine.idle


def test_the_models_own_words_are_read_once_and_change_no_answer(
    model: LlamaModel, engine: BatchingEngine
) -> None:
    question = prompt(model, "What is the capital of France?")
    assert 8 <= question.public_tokens < len(question)
    passes, answers = [], []
    for public_tokens in (0, question.public_tokens, question.public_tokens):
        asked = Prompt(question.tokens, public_tokens)
        engine.submit(1, asked, max_tokens=1, sampling=Sampling())
        took = 1
        while not (outcomes := engine.step()):
            took += 1
        passes.append(took)
        (answer,) = outcomes
        assert isinstance(answer, Produced)
        answers.append(answer.tokens)
    # Read with the rest, then as a piece of its own that is kept, then not at all.
    assert passes == [1, 2, 1]
    assert answers[0] == answers[1] == answers[2]
    scored = score(engine, question, list(answers[0]), sampling=Sampling())
    assert scored.margins == (0.0,)


def test_scrubbing_changes_no_answer(model: LlamaModel, engine: BatchingEngine) -> None:
    question = prompt(model, "Name a colour.")
    answers = []
    for _ in range(2):
        engine.submit(1, question, max_tokens=4, sampling=Sampling())
        answers.append(tokens(finish_all(engine)[1]))
        engine.scrub()
    assert answers[0] == answers[1]


def test_too_little_memory_is_one_sentence(model: LlamaModel) -> None:
    with pytest.raises(ModelError, match="not enough memory") as caught:
        BatchingEngine(model, slots=64, context_tokens=16_000_000, threads=1)
    assert caught.value.reason == "no_memory"


def score(
    engine: BatchingEngine, question: Prompt, claim: list[int], **details: Any
) -> ScoredAnswer:
    engine.score(9, question, claim, **details)
    outcomes = []
    while not engine.idle:
        outcomes += [outcome for outcome in engine.step() if outcome.identifier == 9]
    (scored,) = outcomes
    assert isinstance(scored, ScoredAnswer)
    return scored


@pytest.mark.parametrize("sampling", [Sampling(), DRAWN])
def test_a_score_draws_every_token_again_even_beside_others(
    model: LlamaModel, engine: BatchingEngine, sampling: Sampling
) -> None:
    question = prompt(model, "Answer with one word: is fire hot or cold?")
    engine.submit(1, question, max_tokens=40, sampling=sampling)
    answer = finish_all(engine)[1]
    assert answer[-1].finish == "stop"
    engine.submit(2, prompt(model, "Count to ten."), max_tokens=6, sampling=DRAWN)
    claim = tokens(answer)
    scored = score(engine, question, claim, sampling=sampling, ended=True)
    # One more than tokens: the answer's end is part of the claim.
    assert scored.would_draw == (True,) * (len(claim) + 1)
    if sampling != Sampling():
        return
    assert scored.margins == (0.0,) * (len(claim) + 1)
    cut = score(engine, question, claim[:-1], sampling=sampling, ended=True)
    assert not cut.would_draw[-1]
    assert cut.margins[-1] > 1


def test_an_altered_token_stands_out_and_those_before_it_do_not(
    model: LlamaModel, engine: BatchingEngine
) -> None:
    # Longer than one piece of a prompt, so that the cuts of prompt and answer both matter.
    question = prompt(model, "Tell a story about a fox who goes to the sea. " * 2)
    engine.submit(1, question, max_tokens=20, sampling=Sampling())
    claim = tokens(finish_all(engine)[1])
    honest = score(engine, question, claim, sampling=Sampling())
    assert honest.margins == (0.0,) * len(claim)
    altered = [*claim[:10], claim[3], *claim[11:]]
    dishonest = score(engine, question, altered, sampling=Sampling())
    assert max(dishonest.margins) == dishonest.margins[10] > 5
    assert not dishonest.would_draw[10]
    assert dishonest.margins[:10] == honest.margins[:10]


def test_claims_that_cannot_be_scored_are_refused_with_the_numbers(
    model: LlamaModel, engine: BatchingEngine
) -> None:
    for claim, said in [([-1], "to 49151"), ([5, 49152], "got 49152"), ([], "needs tokens")]:
        with pytest.raises(PromptError, match=said):
            engine.score(1, plain([5]), claim, sampling=Sampling())
    with pytest.raises(PromptError, match="holds 256 tokens"):
        engine.score(1, plain([5] * 200), [5] * 57, sampling=Sampling())
    with pytest.raises(PromptError):
        engine.score(1, plain([]), [5], sampling=Sampling())
    assert engine.idle


def greedy_answer(engine: BatchingEngine, question: Prompt, sampling: Sampling) -> list[int]:
    engine.submit(1, question, max_tokens=10, sampling=sampling)
    return tokens(finish_all(engine)[1])


def test_bias_and_penalties_change_an_answer_and_can_be_checked(
    model: LlamaModel, engine: BatchingEngine
) -> None:
    question = prompt(model, "Say the word yes again and again.")
    plain = greedy_answer(engine, question, Sampling())
    unwanted = max(plain, key=plain.count)
    biased = Sampling(logit_bias=((unwanted, -100.0),))
    penalized = Sampling(frequency_penalty=2.0, presence_penalty=2.0, repetition_penalty=1.3)
    for sampling in (biased, penalized):
        answer = greedy_answer(engine, question, sampling)
        assert answer.count(unwanted) < plain.count(unwanted)
        scored = score(engine, question, answer, sampling=sampling)
        assert all(scored.would_draw)
        # Margins are those of the logits as adjusted: honest answers keep a margin of 0.
        assert max(scored.margins) == 0
        assert not all(score(engine, question, answer, sampling=Sampling()).would_draw)


def test_min_p_leaves_the_likeliest(model: LlamaModel, engine: BatchingEngine) -> None:
    question = prompt(model, "Name a colour.")
    narrow = Sampling(temperature=2.0, min_p=1.0, seed=3)
    assert greedy_answer(engine, question, narrow) == greedy_answer(engine, question, Sampling())
    wide = Sampling(temperature=2.0, min_p=0.05, seed=3)
    answer = greedy_answer(engine, question, wide)
    assert answer != greedy_answer(engine, question, narrow)
    assert all(score(engine, question, answer, sampling=wide).would_draw)


def test_a_bias_for_a_token_that_is_none_is_refused(engine: BatchingEngine) -> None:
    for token in (-1, 49152):
        sampling = Sampling(logit_bias=((token, 1.0),))
        with pytest.raises(PromptError, match=f"got {token}"):
            engine.submit(1, plain([5]), max_tokens=1, sampling=sampling)
        with pytest.raises(PromptError, match=f"got {token}"):
            engine.score(1, plain([5]), [5], sampling=sampling)
    assert engine.idle


def test_a_score_can_be_cancelled(model: LlamaModel, engine: BatchingEngine) -> None:
    for number in range(5):
        engine.score(number, plain([5] * 100), [5] * 50, sampling=Sampling())
    engine.step()
    for number in range(5):
        engine.cancel(number)
    assert engine.idle
    assert engine.step() == []


def test_representations_hide_content() -> None:
    produced = Produced(1, (4242,), "SECRET", "")
    assert "SECRET" not in repr(produced)
    assert "4242" not in repr(produced)
