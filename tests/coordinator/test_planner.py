import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_host import WordVocabulary

from peerllm.coordinator.document_task import Turn, recognise
from peerllm.coordinator.part_sizes import PART_TOKENS
from peerllm.coordinator.plan import Chunk, Plan
from peerllm.coordinator.planner import (
    MAXIMUM_LEVELS,
    MAXIMUM_PARTS,
    PART_ANSWER_TOKENS,
    TEMPLATE_MARGIN,
    Budget,
    NotDivisible,
    PromptTooLong,
    Split,
    answer_bound,
    beyond_reach,
    make_plan,
    prompt_tokens,
    reduce_turns,
)

count = WordVocabulary().count
SENTENCE = "The keeper of the lighthouse wrote down the number {} in his large book. "
DOCUMENT = "".join(SENTENCE.format(number) for number in range(215))  # 3,000 words


def budget(context: int = 8192, answer: int | None = None) -> Budget:
    return Budget(context_tokens=context, answer_tokens=answer, count=count)


def user(*texts: str) -> tuple[Turn, ...]:
    return tuple(Turn(role="user", content=text) for text in texts)


def test_a_long_document_to_summarise_becomes_parts_and_one_that_is_made_from_them() -> None:
    assert len(DOCUMENT.split()) == 3_010
    plan = make_plan(user(f"Summarize this text:\n\n{DOCUMENT}"), budget())
    assert isinstance(plan, Plan)
    *parts, final = plan.chunks
    assert len(parts) >= 3
    assert {part.kind for part in parts} == {"map"}
    assert final.kind == "reduce"
    assert final is plan.final
    assert final.needs == tuple(range(len(parts)))
    assert not plan.joined
    sent = "".join(part.turns[-1].content for part in parts)
    assert all(SENTENCE.format(number).strip() in sent for number in range(215))
    assert DOCUMENT[:50] not in final.turns[-1].content


def test_a_long_document_to_translate_becomes_parts_joined_in_order() -> None:
    system = Turn(role="system", content="Be formal.")
    plan = make_plan((system, *user(f"Translate to German: {DOCUMENT}")), budget())
    assert isinstance(plan, Plan)
    assert plan.joined
    assert {chunk.kind for chunk in plan.chunks} == {"map"}
    assert all(chunk.turns[0] == system for chunk in plan.chunks)
    assert all("Translate to German" in chunk.turns[-1].content for chunk in plan.chunks)
    assert "number 0 " in plan.chunks[0].turns[-1].content
    assert "number 214 " in plan.chunks[-1].turns[-1].content


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of Peru?",
        "Summarize: the cat sat on the mat.",
        f"Why does the keeper write? {DOCUMENT}",
        f"def f():\n    '''summarize'''\n{'    x = 1; ' * 400}",
    ],
)
def test_what_is_short_or_not_known_to_be_divisible_stays_whole(text: str) -> None:
    plan = make_plan(user(text), budget())
    assert isinstance(plan, Plan)
    assert [chunk.kind for chunk in plan.chunks] == ["single"]
    assert plan.final.turns == user(text)


def test_dialogue_stays_whole() -> None:
    talk = (
        *user(f"Summarize this text:\n\n{DOCUMENT}"),
        Turn(role="assistant", content="Gladly."),
        *user("Summarize it in five words."),
    )
    plan = make_plan(talk, budget())
    assert isinstance(plan, Plan)
    assert [chunk.turns for chunk in plan.chunks] == [talk]


def test_the_caller_may_forbid_or_demand_a_split() -> None:
    turns = user(f"Summarize this text:\n\n{DOCUMENT}")
    forbidden = make_plan(turns, budget(), split="never")
    assert isinstance(forbidden, Plan)
    assert len(forbidden.chunks) == 1
    short = user("Summarize this text:\n\n" + SENTENCE.format(1) * 60)
    demanded = make_plan(short, budget(), split="always")
    assert isinstance(demanded, Plan)
    assert len(demanded.chunks) == 3
    assert make_plan(user("Hello."), budget(), split="always") == NotDivisible()


@pytest.mark.parametrize(
    ("instruction", "at_once", "cut"),
    [
        ("Summarize this text:", 1, False),
        ("Summarize this text:", 2, False),  # the notes cost what reading side by side saves
        ("Summarize this text:", 4, True),
        ("Extract all names:", 1, False),
        ("Extract all names:", 2, True),
        ("What is the name of the book below?", 0, False),
        ("What is the name of the book below?", 4, True),
        # An answer of the usual length could not hold the translation.
        ("Translate to German:", 1, True),
    ],
)
def test_a_document_is_cut_where_hosts_beside_each_other_pay(
    instruction: str, at_once: int, cut: bool
) -> None:
    plan = make_plan(user(f"{instruction}\n\n{DOCUMENT}"), budget(), at_once=at_once)
    assert isinstance(plan, Plan)
    assert (len(plan.chunks) > 1) is cut


def test_what_ends_at_a_stop_sequence_is_not_made_of_parts_that_do() -> None:
    for instruction, cut in (("Proofread this:", False), ("Summarize this:", True)):
        turns = user(f"{instruction}\n\n{DOCUMENT}")
        plan = make_plan(turns, budget(), stops=True)
        assert isinstance(plan, Plan)
        assert (len(plan.chunks) > 1) is cut


@pytest.mark.parametrize("rule", ["Answer in German.", "Please keep all names.", "Use 3 bullets."])
def test_a_text_with_a_rule_at_one_end_is_read_whole_where_it_fits(rule: str) -> None:
    for text in (f"{DOCUMENT}\n\n{rule}", f"{rule}\n\n{DOCUMENT}"):
        turns = user(f"Summarize this text:\n\n{text}")
        for context, cut in ((8192, False), (2048, True)):
            plan = make_plan(turns, budget(context))
            assert isinstance(plan, Plan)
            assert (len(plan.chunks) > 1) is cut


def test_what_must_be_cut_is_cut_for_one_host_too() -> None:
    turns = user(f"Summarize this text:\n\n{DOCUMENT}")
    for plan in (
        make_plan(turns, budget(2048), at_once=0),
        make_plan(turns, budget(), split="always", at_once=0),
    ):
        assert isinstance(plan, Plan)
        assert len(plan.chunks) > 1


def test_questions_of_a_list_are_parted_for_two_hosts() -> None:
    turns = user("1. Who wrote Emma?\n2. What is a tide?\n3. Where is Peru?")
    for at_once, chunks in ((1, 1), (2, 3)):
        plan = make_plan(turns, budget(), at_once=at_once)
        assert isinstance(plan, Plan)
        assert len(plan.chunks) == chunks


def test_what_cannot_fit_is_refused_with_its_numbers() -> None:
    turns = user("word " * 5_000)
    total = prompt_tokens(turns, count)
    assert make_plan(turns, budget(4096)) == PromptTooLong(
        prompt_tokens=total, answer_tokens=1, context_tokens=4096
    )
    assert beyond_reach(turns, total, budget(4096)) is not None
    assert beyond_reach(turns, total, budget(8192)) is None
    assert beyond_reach(user("hi"), 9, budget(8192, answer=8_150)) is not None


def test_a_document_beyond_one_context_is_within_reach_when_it_divides() -> None:
    turns = user(f"Summarize this text:\n\n{DOCUMENT}")
    total = prompt_tokens(turns, count)
    assert beyond_reach(turns, total, budget(2048)) is None
    assert beyond_reach(turns, total, budget(2048), split="never") is not None
    assert isinstance(make_plan(turns, budget(2048)), Plan)
    told = (Turn(role="system", content="word " * 2_000), *turns)
    assert beyond_reach(told, prompt_tokens(told, count), budget(2048)) is not None
    assert not isinstance(make_plan(told, budget(2048)), Plan)
    assert beyond_reach(told, prompt_tokens(told, count), budget(4096)) is None
    endless = user("Summarize this text:\n\n" + "word " * (MAXIMUM_PARTS * PART_TOKENS))
    assert beyond_reach(endless, prompt_tokens(endless, count), budget(2048)) is not None


def test_a_translation_of_more_parts_than_are_made_is_beyond_reach() -> None:
    # Parts of 300 tokens leave a translation room in a context of 2,048.
    turns = user("Translate to German:\n\n" + "".join(map(SENTENCE.format, range(2_500))))
    total = prompt_tokens(turns, count)
    assert total < MAXIMUM_PARTS * PART_TOKENS
    assert beyond_reach(turns, total, budget(2048)) is not None
    assert beyond_reach(turns, total, budget(8192)) is None
    assert isinstance(make_plan(turns, budget(8192)), Plan)


def test_no_room_for_the_notes_is_refused_before_any_part_is_read() -> None:
    turns = user(f"Summarize this text:\n\n{DOCUMENT}")
    assert isinstance(make_plan(turns, budget(2048, answer=100_000)), PromptTooLong)
    assert isinstance(make_plan(turns, budget(2048, answer=2_000)), PromptTooLong)


def test_instructions_that_fill_every_part_are_refused() -> None:
    system = Turn(role="system", content="rule " * 1_900)
    turns = (system, *user(f"Translate to German: {DOCUMENT}"))
    assert isinstance(make_plan(turns, budget(2048)), PromptTooLong)


def needed(turns: tuple[Turn, ...], chunk: Chunk) -> int:
    return prompt_tokens(turns, count) + chunk.max_tokens + TEMPLATE_MARGIN


INSTRUCTIONS = (
    "Summarize this text:\n\n",
    "Translate to French: ",
    "Extract all numbers:\n",
    "What is the name of the book below?\n\n",
    "",
)


@given(
    instruction=st.sampled_from(INSTRUCTIONS),
    sentences=st.integers(0, 700),
    system=st.integers(0, 2_000),
    context=st.sampled_from((512, 1024, 2048, 4096, 8192, 32_768)),
    answer=st.one_of(st.none(), st.integers(1, 9_000)),
    split=st.sampled_from(("auto", "never", "always")),
    note=st.sampled_from(("", "short", "note " * 128)),
)
def test_whatever_is_planned_fits_the_model(
    instruction: str,
    sentences: int,
    system: int,
    context: int,
    answer: int | None,
    split: Split,
    note: str,
) -> None:
    text = instruction + "".join(SENTENCE.format(number) for number in range(sentences))
    turns = (Turn(role="system", content="rule " * system), *user(text or "x"))
    limits = budget(context, answer)
    plan = make_plan(turns, limits, split=split)
    if not isinstance(plan, Plan):
        assert split == "always" or isinstance(plan, PromptTooLong)
        return
    assert beyond_reach(turns, prompt_tokens(turns, count), limits, split=split) is None
    assert [chunk.index for chunk in plan.chunks] == list(range(len(plan.chunks)))
    for chunk in plan.chunks:
        answers = [note] * len(chunk.needs)
        sent = reduce_turns(chunk, answers, limits) if chunk.needs else chunk.turns
        assert chunk.max_tokens >= 1
        assert needed(sent, chunk) <= context
        assert all(need < chunk.index for need in chunk.needs)


def test_more_notes_than_a_chunk_can_read_are_reduced_in_a_tree() -> None:
    long = "".join(SENTENCE.format(number) for number in range(4_000))
    turns = user(f"Summarize this text:\n\n{long}")
    plan = make_plan(turns, budget(2048))
    assert isinstance(plan, Plan)
    parts, between, (final,) = plan.levels()
    assert len(parts) > 80
    assert [need for chunk in between for need in chunk.needs] == [part.index for part in parts]
    assert final.needs == tuple(chunk.index for chunk in between)
    # No part's note is cut: every chunk has room for all of them at their full length.
    note = " ".join(["word"] * PART_ANSWER_TOKENS)
    for chunk in (*between, final):
        sent = reduce_turns(chunk, [note] * len(chunk.needs), budget(2048))
        assert sent[-1].content.count("word") == PART_ANSWER_TOKENS * len(chunk.needs)
    three = make_plan(turns, budget(1100))
    assert isinstance(three, Plan)
    assert len(three.levels()) <= MAXIMUM_LEVELS + 1


def test_parts_of_a_question_and_of_an_extraction_overlap_and_others_do_not() -> None:
    def repeated(instruction: str) -> int:
        plan = make_plan(user(f"{instruction}\n\n{DOCUMENT}"), budget())
        assert isinstance(plan, Plan)
        sent = " ".join(chunk.turns[-1].content for chunk in plan.levels()[0])
        return sum(sent.count(f" {number} in ") > 1 for number in range(215))

    assert repeated("Extract all numbers:") > 5
    assert repeated("What is the name of the book below?") > 5
    assert repeated("Translate to French:") == repeated("Summarize this:") == 0


def test_independent_questions_are_asked_one_by_one() -> None:
    system = Turn(role="system", content="Be brief.")
    plan = make_plan(
        (system, *user("1. Who wrote Emma?\n2. What is a tide?\n3. Where is Peru?")), budget()
    )
    assert isinstance(plan, Plan)
    assert (plan.kind, plan.joined) == ("list", True)
    assert [chunk.turns[0] for chunk in plan.chunks] == [system] * 3
    assert plan.chunks[1].turns[-1].content == "What is a tide?"
    led = "Answer these chess questions in one sentence each:"
    asked = f"{led}\n- What is a fork?\n- What is a pin?\n- In which year did Tal die?"
    of_chess = make_plan(user(asked), budget())
    assert isinstance(of_chess, Plan)
    assert of_chess.chunks[0].turns[-1].content == f"{led}\nWhat is a fork?"
    together = "1. Who wrote Emma?\n2. What is a tide?\n3. Where is Peru?"
    whole = make_plan(user(together), budget(8192, answer=100))
    assert isinstance(whole, Plan)
    assert len(whole.chunks) == 1


def test_notes_of_parts_that_found_nothing_take_no_room() -> None:
    plan = make_plan(user(f"What is the name of the book below?\n\n{DOCUMENT}"), budget())
    assert isinstance(plan, Plan)
    answers = ["NONE"] * len(plan.final.needs)
    answers[2] = "It is named 17."
    content = reduce_turns(plan.final, answers, budget())[-1].content
    assert content.endswith("in order:\n\n1. It is named 17.")
    nothing = reduce_turns(plan.final, ["NONE"] * len(answers), budget())[-1].content
    assert nothing.endswith("in order:\n\n1. NONE")


def test_every_part_keeps_its_share_of_the_notes() -> None:
    plan = make_plan(user(f"Summarize this text:\n\n{DOCUMENT}"), budget(2048))
    assert isinstance(plan, Plan)
    answers = [f"Note {number}. " + "word " * 200 for number in range(len(plan.final.needs))]
    content = reduce_turns(plan.final, answers, budget(2048))[-1].content
    assert content.startswith("Summarize this text")
    for number in range(len(answers)):
        assert f"{number + 1}. Note {number}." in content


@given(st.text(max_size=300))
def test_any_text_is_planned_or_refused(text: str) -> None:
    assert make_plan(user(text), budget()) is not None


@pytest.mark.parametrize(
    ("text", "instruction", "reduce"),
    [
        ("Summarize: a b c", "Summarize", True),
        ("a b c\nTL;DR?", "TL;DR?", True),
        ("Translate this into Dutch.\nHello there", "Translate this into Dutch.", False),
        ("Please summarise the text below. It was a cold day.", "Please summarise the text below.",
         True),
    ],
)  # fmt: skip
def test_an_instruction_is_told_from_its_document(
    text: str, instruction: str, reduce: bool
) -> None:
    task = recognise(user(text))
    assert task is not None
    assert task.instruction == instruction
    assert (task.kind == "summarise") is reduce


def test_a_document_that_speaks_of_summaries_is_not_an_instruction() -> None:
    assert recognise(user("Who wrote this?\n" + "The summary was long. " * 50)) is None


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "\n" * 100_000, ": " * 200_000, "[(" * 200_000, ". " * 200_000]
)
def test_hostile_texts_are_recognised_or_not_without_counting_a_token(text: str) -> None:
    def never(_text: str) -> int:
        raise AssertionError

    limits = Budget(context_tokens=8192, answer_tokens=None, count=never)
    assert beyond_reach(user(text), 10**6, limits) is not None


def test_the_bound_of_an_answer_covers_what_a_plan_may_bill() -> None:
    for answer in (None, 5, 700):
        turns = user(f"Translate to German: {DOCUMENT}")
        plan = make_plan(turns, budget(8192, answer))
        assert isinstance(plan, Plan)
        billed = sum(chunk.max_tokens for chunk in plan.chunks)
        assert billed <= answer_bound(turns, prompt_tokens(turns, count), answer)


@pytest.mark.parametrize("instruction", ["Translate to German:", "Extract all numbers:"])
def test_an_answer_too_short_for_all_parts_is_not_cut_into_beginnings(instruction: str) -> None:
    turns = user(f"{instruction}\n\n{DOCUMENT}")
    splits: tuple[Split, ...] = ("auto", "always")
    for split in splits:
        plan = make_plan(turns, budget(8192, 100), split=split)
        assert plan == NotDivisible() or (isinstance(plan, Plan) and len(plan.chunks) == 1)
    assert isinstance(make_plan(turns, budget(2048, 100)), PromptTooLong)
    plan = make_plan(turns, budget(16_384, 3_010 * 5))
    assert isinstance(plan, Plan)
    assert len(plan.chunks) > 3


def test_a_part_has_room_for_a_language_that_takes_more_tokens() -> None:
    # A contract takes 2.3 times its tokens in German in the embedded model's vocabulary.
    for instruction, least in (("Translate to German:", 5), ("Proofread this:", 1.5)):
        for context in (2048, 8192):
            plan = make_plan(user(f"{instruction}\n\n{DOCUMENT}"), budget(context))
            assert isinstance(plan, Plan)
            assert len(plan.chunks) > 3
            for chunk in plan.chunks:
                text = count(chunk.turns[-1].content) - count(instruction)
                assert chunk.max_tokens >= int(least * text)


def test_repr_hides_content() -> None:
    turns = user(f"Summarize: canary {DOCUMENT}")
    plan = make_plan(turns, budget())
    assert "canary" not in repr(turns) + repr(plan) + repr(recognise(turns))
