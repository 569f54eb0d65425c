import re
from pathlib import Path

import pytest
from simulated_host import Faults
from toy_house import ANSWER, Reply, toy_house
from toy_safety import FAMILY, MARK, NAME, FamilyFinder
from trio.testing import MockClock

from peerllm.coordinator.plan_work import exposure_bound
from peerllm.overlay.messages import ChunkTask

SENTENCE = "The keeper of the canaryprompt wrote the number of geese in his large book. "
DOCUMENT = f"Summarize this text:\n\n{SENTENCE * 220}"
TRANSLATION = f"Translate to German: {SENTENCE * 220}"
# So few hosts would not be worth cutting for.
CUT = {"peerllm": {"split": "always"}}


def kinds(reply: Reply, statement: Reply) -> list[str]:
    assert reply.status == 200
    return [chunk["kind"] for chunk in statement.json["chunks"]]


async def test_more_parts_than_slots_wait_for_each_other_however_long(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path) as toy:
        for name in "ab":
            toy.host(name, text="geese", slots=1, pace=6)  # 12 seconds a part, one at a time
        reply = await toy.chat(DOCUMENT, **CUT)
        assert reply.status == 200
        statement = (await toy.call("GET", f"/v1/statements/{reply.json['id']}")).json
        assert len(statement["chunks"]) > 4


@pytest.mark.parametrize(("hosts", "cut"), [("ab", False), ("abcdefgh", True)])
async def test_a_document_is_cut_where_enough_hosts_are_free(
    hosts: str, cut: bool, tmp_path: Path
) -> None:
    async with toy_house(tmp_path) as toy:
        for name in hosts:
            toy.host(name, text="geese", slots=8)
        reply = await toy.chat(DOCUMENT)
        statement = await toy.call("GET", f"/v1/statements/{reply.json['id']}")
        assert ("map" in kinds(reply, statement)) is cut


async def test_translated_parts_are_joined_in_order(tmp_path: Path) -> None:
    def number(task: ChunkTask) -> str:
        return f"part of {len(task.messages[-1].content)} letters"

    async with toy_house(tmp_path) as toy:
        for name in "abc":
            toy.host(name, answer=number, slots=8)
        reply = await toy.chat(TRANSLATION)
        # As in the text, whose sentences are parted by spaces.
        assert re.fullmatch(r"part of \d+ letters( part of \d+ letters){2,}", reply.text)
        statement = await toy.call("GET", f"/v1/statements/{reply.json['id']}")
        assert set(kinds(reply, statement)) == {"map"}
        assert reply.json["usage"]["completion_tokens"] == 4 * reply.text.count("part of")


@pytest.mark.parametrize(
    ("document", "between"),
    [
        ("\n".join(f"{number}. {SENTENCE}" for number in range(200)), "\n"),
        ("\n\n".join([SENTENCE * 7] * 30), "\n\n"),
        ("| goose | wrote the number of geese |\n" * 300, "\n"),
    ],
)
async def test_parts_of_a_rewriting_are_parted_as_in_the_text(
    document: str, between: str, tmp_path: Path
) -> None:
    async with toy_house(tmp_path) as toy:
        for name in "abc":
            toy.host(name, text="geese", slots=8)
        reply = await toy.chat(f"Proofread this:\n\n{document}")
        assert reply.text.count("geese") > 2
        assert reply.text == between.join(["geese"] * reply.text.count("geese"))


async def test_a_part_that_lacks_its_end_or_is_empty_is_marked(tmp_path: Path) -> None:
    def uneven(task: ChunkTask) -> str:
        content = task.messages[-1].content
        return "" if "Second" in content else "geese " * (1_500 if "First" in content else 2)

    async with toy_house(tmp_path) as toy:
        for name in "abc":
            toy.host(name, answer=uneven, slots=8)
        document = f"First. {SENTENCE * 100}Second. {SENTENCE * 100}"
        reply = await toy.chat(f"Proofread this:\n\n{document}", **CUT)
        *_, cut = reply.text.partition("geese [\u2026] ")
        assert re.fullmatch(r"(geese geese )*\[\u2026\]( geese geese)*", cut)
        assert reply.json["choices"][0]["finish_reason"] == "length"
        assert not reply.text.endswith("]")
        reply = await toy.chat(f"Extract all names:\n\n{SENTENCE * 100}Second.", **CUT)
        assert reply.text == "geese geese"


async def test_a_part_that_ends_within_a_number_names_nobody_else(tmp_path: Path) -> None:
    def torn(task: ChunkTask) -> str:
        # The room ends behind the 1.
        return "geese " * (task.max_tokens - 2) + "Person 1 geese"

    async with toy_house(tmp_path, finder=FamilyFinder()) as toy:
        for name in "abc":
            toy.host(name, answer=torn, slots=8)
        reply = await toy.chat(f"Proofread this:\n\n{', '.join(FAMILY)}. {SENTENCE * 200}", **CUT)
        assert reply.json["choices"][0]["finish_reason"] == "length"
        assert "Lovegrove" not in reply.text.partition("[\u2026]")[0]
        # Nor does the host that makes one of several summaries read of somebody else.
        reply = await toy.chat(f"Summarize:\n\n{', '.join(FAMILY)}. {SENTENCE * 220}", **CUT)
        assert reply.status == 200
        read = [task.messages[-1].content for host in toy.hosts for task in host.tasks]
        assert any("geese geese" in content for content in read)
        assert not any("Person 1" in content for content in read)


async def test_no_operator_is_shown_more_than_its_bound_of_a_document(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        hosts = [toy.host(name, slots=16) for name in "abcdef"]
        reply = await toy.chat(DOCUMENT)
        assert reply.status == 200
        statement = (await toy.call("GET", f"/v1/statements/{reply.json['id']}")).json
        chunks = len(statement["chunks"])
        assert all(len(host.tasks) * 2 <= chunks + 1 for host in hosts)


async def test_one_unsafe_part_refuses_the_whole_and_stops_the_others(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("bad", text=f"these geese {MARK}", slots=1, operator="x")
        slow = toy.host("slow", text=ANSWER, slots=16, pace=30, operator="x")
        reply = await toy.chat(DOCUMENT)
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
        assert MARK not in reply.body.decode()
        await toy.settle_down()
        assert len(slow.cancelled) == len(slow.tasks)
        assert {state for state, _ in (await toy.reservations()).values()} == {"voided"}


async def test_a_part_nobody_can_serve_fails_the_whole_without_a_charge(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a", Faults(refuses="engine_failed"), slots=16)
        reply = await toy.chat(DOCUMENT)
        assert (reply.status, reply.error["code"]) == (503, "no_capacity")
        assert {state for state, _ in (await toy.reservations()).values()} == {"voided"}


async def test_a_placeholder_stands_for_the_same_in_every_part(tmp_path: Path) -> None:
    def mentions(task: ChunkTask) -> str:
        found = {word.strip(".") for word in task.messages[-1].content.split() if "_" in word}
        return "\n".join(sorted(found)) or "NONE"

    async with toy_house(tmp_path) as toy:
        hosts = [toy.host(name, answer=mentions, slots=8) for name in "abc"]
        document = f"{SENTENCE * 70}{NAME} left. " * 3
        reply = await toy.chat(f"Extract all names:\n\n{document}", **CUT)
        sent = [task.messages[-1].content for host in hosts for task in host.tasks]
        assert sum("PERSON_1 left." in content for content in sent) >= 6
        assert not any(NAME in content or "PERSON_2" in content for content in sent)
        assert reply.text == NAME


async def test_extracted_items_are_merged_their_conflicts_shown_and_billed_as_delivered(
    tmp_path: Path,
) -> None:
    def total(task: ChunkTask) -> str:
        return f"City: Bonn\nTotal: {1 + ('Second' in task.messages[-1].content)} euros"

    async with toy_house(tmp_path) as toy:
        for name in "abc":
            toy.host(name, answer=total, slots=8)
        document = f"{SENTENCE * 80}Second. {SENTENCE * 80}"
        reply = await toy.chat(f"Extract all numbers:\n\n{document}", **CUT)
        assert reply.text == (
            "City: Bonn\nTotal: 2 euros\nTotal: 1 euros\n\n"
            "Note: parts of the text give different values for Total: "
            "2 euros (part 1); 1 euros (part 2)"
        ) or reply.text.startswith("City: Bonn\nTotal: 1 euros\nTotal: 2 euros\n\nNote:")
        assert reply.json["usage"]["completion_tokens"] == 8


async def test_answers_to_a_question_that_cannot_both_hold_are_shown(tmp_path: Path) -> None:
    def year(task: ChunkTask) -> str:
        content = task.messages[-1].content
        if "Notes on each part" in content:
            return "It was built in 1890."
        return next((f"In {year}." for year in ("1890", "1891") if year in content), "NONE")

    async with toy_house(tmp_path) as toy:
        for name in "abc":
            toy.host(name, answer=year, slots=8)
        document = f"Built in 1890. {SENTENCE * 150}Built in 1891. {SENTENCE * 20}"
        reply = await toy.chat(f"In the text below, when was it built?\n\n{document}", **CUT)
        answer, note = reply.text.split("\n\n")
        assert answer == "It was built in 1890."
        assert "In 1890. (part 1); In 1891. (part" in note
        assert reply.json["usage"]["completion_tokens"] == 5


async def test_a_tree_is_carried_out_level_by_level(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        for name in "abc":
            toy.host(name, text="geese", slots=16)
        reply = await toy.chat(f"Summarize this text:\n\n{SENTENCE * 1_500}")
        assert reply.status == 200
        statement = (await toy.call("GET", f"/v1/statements/{reply.json['id']}")).json
        assert [chunk["kind"] for chunk in statement["chunks"]].count("reduce") > 1
        assert reply.json["usage"]["completion_tokens"] == 1


@pytest.mark.parametrize(
    ("chunks", "operators", "promised", "bound"),
    [(10, 6, 5_000, 5_000), (10, 6, 1, 4_000), (10, 3, 5_000, 7_000), (1, 6, 5_000, 10_000),
     (10, 1, 1, 10_000), (10, 0, 1, 1)],
)  # fmt: skip
def test_a_bound_that_cannot_be_kept_becomes_an_equal_share(
    chunks: int, operators: int, promised: int, bound: int
) -> None:
    assert exposure_bound(chunks, race_size=2, operators=operators, promised=promised) == bound
