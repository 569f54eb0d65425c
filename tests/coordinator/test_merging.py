import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.coordinator.merging import (
    canonical,
    conflict_of,
    merge_items,
    renumbered,
    says_nothing,
)


def test_items_are_kept_once_in_the_order_of_their_first_mention() -> None:
    merged = merge_items(["- Anna Lee\n- Ben", "NONE", "Ben.\n* anna lee\nCarl", "\u2018Ben\u2019"])
    assert merged.items == ("Anna Lee", "Ben", "Carl")
    assert merged.text == "Anna Lee\nBen\nCarl"
    assert merged.notes == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Invoice 1017", "Invoice 1071"),
        ("Anna Lee", "Anna Leigh"),
        ("list", "List"),
        ("PERSON_1", "PERSON_11"),
        ("5.0", "50"),
        ("12. March", "13. March"),
        ("-5 degrees", "5 degrees"),
        ("caf\u00e9", "cafe"),
        ("x\u00b2", "x2"),
    ],
)
def test_what_only_looks_alike_is_not_merged(one: str, other: str) -> None:
    assert merge_items([one, other]).items == (one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna  Lee", "anna lee."),
        ('"Anna"', "Anna"),
        ("1999\u20132001", "1999-2001"),
        ("cafe\u0301", "caf\u00e9"),
        ("- `os.path`", "os.path;"),
    ],
)
def test_what_differs_in_form_alone_is_merged(one: str, other: str) -> None:
    assert len(merge_items([one, other]).items) == 1


def test_numbers_of_a_list_go_and_numbers_of_dates_stay() -> None:
    assert merge_items(["1. Anna\n2. Ben", "1. Carl\n2. Anna"]).items == ("Anna", "Ben", "Carl")
    assert merge_items(["12. March\n14. March"]).items == ("12. March", "14. March")


def test_two_parts_with_different_values_for_one_key_are_both_shown_with_a_note() -> None:
    merged = merge_items(["Total: 40 euros\nCity: Bonn", "City: Bonn.", "total: 45 euros"])
    assert merged.items == ("Total: 40 euros", "City: Bonn", "total: 45 euros")
    (conflict,) = merged.conflicts
    assert (conflict.subject, conflict.parts) == ("Total", (0, 2))
    assert merged.notes.endswith("for Total: 40 euros (part 1); 45 euros (part 3)")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["2024-03-01", "1 March 2024", "March 1st"], False),
        (["1,000", "1000"], False),
        (["5%", "five percent"], False),
        (["1 March", "1 March 2024", "1 March 2025"], True),
        (["1,000", "1000", "1001"], True),
    ],
)
def test_a_value_written_in_two_ways_is_no_conflict(values: list[str], told: bool) -> None:
    merged = merge_items([f"Value: {value}\nCity: Bonn" for value in values])
    assert bool(merged.conflicts) == told
    assert all(f"Value: {value}" in merged.items for value in values)


def test_records_are_not_torn_and_their_repeated_keys_are_no_conflict() -> None:
    answers = ["Name: Ann\nRole: cook\nName: Ben\nRole: cook", "Name: Cy\nRole: cook"]
    merged = merge_items(answers)
    assert merged.text == "\n".join(answers)
    assert merged.conflicts == ()


def test_one_record_in_each_part_is_not_torn() -> None:
    answers = ["Name: Ann\nRole: cook", "Name: Ben\nRole: cook", "NONE", "Name: Ben\nRole: cook"]
    merged = merge_items(answers)
    assert merged.text == "Name: Ann\nRole: cook\nName: Ben\nRole: cook"


@pytest.mark.parametrize(
    "answers",
    [
        ["- Ann\n  - born 1980\n- Ben\n  - born 1980", "- Cy\n  - born 1980"],
        ["Food:\n- tea\nTravel:\n- train", "Food:\n- rice\nTravel:\n- train"],
        ["Food:\n- tea", "Travel:\n- train", "Food:\n- rice"],
        ["## Food\ntea\n## Travel\ntrain", "## Food\ntea"],
        ["```\nls\n```\n```\ncd\n```", "```\npwd\n```\n```\nls\n```"],
    ],
)
def test_what_stands_below_a_line_stays_there(answers: list[str]) -> None:
    assert merge_items([*answers, "NONE"]).text == "\n".join(answers)


def test_a_fence_around_an_answer_goes_and_an_introduction_is_no_heading() -> None:
    assert merge_items(["```\nAnn\nBen\n```", "```text\nBen\nCy\n```"]).text == "Ann\nBen\nCy"
    merged = merge_items(["Here are the names:\n- Ann", "These are the names:\n- Ann\n- Ben"])
    assert merged.items == ("Here are the names:", "Ann", "These are the names:", "Ben")


@pytest.mark.parametrize(
    ("question", "answers", "values"),
    [
        ("When was it built?", ["In 1890.", "NONE", "It was built in 1891."],
         ("In 1890.", "It was built in 1891.")),
        ("When was it built?", ["In 1890.", "The keeper says that it was 1890."], ()),
        ("What is the price?", ["40,000 euros", "It costs 40000 euros"], ()),
        ("Who signed it?", ["PERSON_1 did.", "PERSON_2 signed it."],
         ("PERSON_1 did.", "PERSON_2 signed it.")),
        ("Who signed it?", ["PERSON_1 did.", "PERSON_1B signed it."], ()),
        ("When was it built?", ["In 1890.", "NONE. It says only that 12 people came."], ()),
        ("Which cities have over 10 schools?", ["CITY_1", "CITY_2"], ()),
        ("What is the number of PERSON_1?", ["PERSON_1 has 4.", "PERSON_1 has 5."],
         ("PERSON_1 has 4.", "PERSON_1 has 5.")),
        ("Who signed it?", ["the cook", "a baker"], ()),
        ("When was it signed?", ["On 2024-03-01.", "On 1 March 2024.", "On March 1st."], ()),
        ("When was it signed?", ["In 2024.", "On 1 March 2024, at noon."], ()),
        ("When was it signed?", ["On 1 March 2024.", "On 1 April 2024."],
         ("On 1 March 2024.", "On 1 April 2024.")),
        ("When does it begin?", ["At 3 pm.", "At 15:00."], ()),
    ],
)  # fmt: skip
def test_a_question_for_one_thing_shows_answers_that_cannot_both_hold(
    question: str, answers: list[str], values: tuple[str, ...]
) -> None:
    conflict = conflict_of(question, answers)
    assert (conflict.values if conflict else ()) == values


@pytest.mark.parametrize(
    ("answers", "joined"),
    [
        (["1. good\n2. bad 1", "1. bad\n\n2. good"], "1. good\n2. bad 1\n3. bad\n4. good"),
        (["(1) good", "(1) bad"], "(1) good\n(2) bad"),
        (["1. good\n2. bad", "3. bad"], "1. good\n2. bad\n3. bad"),
        (["1. good\n2. bad", "bad"], "1. good\n2. bad\nbad"),
        (["1. good", "", "1. bad"], "1. good\n\n1. bad"),
    ],
)
def test_lists_that_are_joined_are_numbered_through(answers: list[str], joined: str) -> None:
    assert "\n".join(renumbered(answers)) == joined


def test_nothing_found_is_said_in_many_forms() -> None:
    assert all(map(says_nothing, ["NONE", "None.", " none ", "- NONE", '"None"', "**NONE**", ""]))
    assert not says_nothing("None of them was home.")
    assert not says_nothing("NONE-1 is the name.")
    why = ["Ann", "NONE. The text names nobody.", "**NONE** (no names)"]
    assert merge_items(why).items == ("Ann",)
    assert merge_items(["NONE", "none."]).text == "NONE"
    assert merge_items(["None.", "True\nNone", "NONE\nFalse"]).items == ("True", "None", "False")


@given(st.lists(st.text(max_size=60), max_size=6))
def test_merging_loses_no_item_and_repeats_none(answers: list[str]) -> None:
    merged = merge_items(answers)
    assert merge_items([merged.text]).items == merged.items or merged.items == ()
    again = merge_items([*answers, *answers])
    if not set("".join(answers)) & set(":-*#`~\u2022\u2013"):
        assert again.items == merged.items
        assert len({canonical(item) for item in merged.items}) == len(merged.items)


def test_hostile_answers_are_merged_in_proportion_to_their_length() -> None:
    for text in (
        "a: " * 20_000,
        "- " * 20_000,
        '"' * 20_000,
        "\n" * 20_000,
        "1. \n" * 10_000,
        "A" * 20_000,
    ):
        merge_items([text, text])
        conflict_of("When?", [text, text])
    assert "canary" not in repr(merge_items(["canary: 1", "canary: 2"]))
