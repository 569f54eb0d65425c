import json
import re
from pathlib import Path

from toy_house import toy_house
from toy_safety import FAMILY, MARK, NAME, FamilyFinder, WordFinder

from peerllm.overlay.messages import ChunkTask
from peerllm.safety.identifiers import Identifier

QUOTED = r'Ida "the\\fox"\nLovegrove'


async def test_identifiers_never_reach_a_host_and_come_back(tmp_path: Path) -> None:
    def greet(task: ChunkTask) -> str:
        return f"Dear {task.messages[-1].content.split()[-1]}, hello."

    async with toy_house(tmp_path) as toy:
        host = toy.host("a", answer=greet)
        reply = await toy.chat(f"Greet {NAME}", stream=True)
        assert reply.text == f"Dear {NAME}, hello."
        assert NAME.split()[0] not in host.tasks[0].messages[-1].content


async def test_own_terms_never_reach_a_host_and_listed_names_stay(tmp_path: Path) -> None:
    own = {"always_mask": {"PROJECT": ["Blue Heron"]}, "never_mask": [NAME]}
    async with toy_house(tmp_path) as toy:
        host = toy.host("a", answer=lambda task: task.messages[-1].content)
        reply = await toy.chat(f"{NAME} leads BLUE heron", stream=True, peerllm=own)
        assert reply.text == f"{NAME} leads BLUE heron"
        assert host.tasks[0].messages[-1].content == f"{NAME} leads PROJECT_1"


async def test_an_identifier_in_a_stop_sequence_leaves_as_in_the_prompt(tmp_path: Path) -> None:
    own = {"always_mask": {"PROJECT": ["Blue Heron"]}}
    async with toy_house(tmp_path) as toy:
        host = toy.host("a")
        reply = await toy.chat(
            f"what {NAME} says", stop=["END", f"\n{NAME}:", "blue heron"], peerllm=own
        )
        assert reply.status == 200
        (task,) = host.tasks
        assert task.messages[-1].content == "what PERSON_1 says"
        assert task.stop == ["END", "\nPERSON_1:", "PROJECT_1"]


async def test_a_stop_sequence_that_placeholders_make_too_long_is_refused(tmp_path: Path) -> None:
    own = {"always_mask": {"PROJECT": ["BH"]}}
    async with toy_house(tmp_path) as toy:
        host = toy.host("a")
        reply = await toy.chat("tell of BH", stop="BH, " * 64, peerllm=own)
        assert (reply.status, reply.error["param"]) == (400, "stop")
        assert "BH" not in reply.error["message"]
        assert not host.tasks
        assert [state for state, _ in (await toy.reservations()).values()] == ["voided"]


async def test_the_names_of_own_kinds_are_judged(tmp_path: Path) -> None:
    own = {"always_mask": {MARK.upper(): ["geese"]}}
    async with toy_house(tmp_path) as toy:
        host = toy.host("a")
        reply = await toy.chat("tell of geese", peerllm=own)
        assert reply.error["code"] == "content_filter"
        assert not host.tasks


async def test_an_answers_form_and_sampling_reach_the_host_without_identifiers(
    tmp_path: Path,
) -> None:
    class QuotingFinder(WordFinder):
        """Finds a name with everything that JSON must escape."""

        def find(self, text: str) -> tuple[Identifier, ...]:
            return tuple(
                Identifier(*found.span(), "PERSON", 1.0) for found in re.finditer(QUOTED, text)
            )

    name = 'Ida "the\\fox"\nLovegrove'
    schema = {
        "type": "object",
        "properties": {"to": {"enum": [name, "nobody"], "description": f"like {name}"}},
        "required": ["to"],
    }
    sampling = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        "frequency_penalty": 0.5,
        "logit_bias": {"7": -1},
        "peerllm": {"min_p": 0.1},
    }
    async with toy_house(tmp_path, finder=QuotingFinder()) as toy:
        host = toy.host("a", text='{"to": "PERSON_1", "note": "Dear\\nPERSON_1"}')
        for stream in (True, False):
            reply = await toy.chat(f"Greet {name}", stream=stream, **sampling)
            assert json.loads(reply.text) == {"to": name, "note": f"Dear\n{name}"}
        task = host.tasks[0]
        assert task.answer_shape is not None
        assert task.answer_shape.texts() == ["to", "PERSON_1", "nobody"]
        assert (task.frequency_penalty_milli, task.min_p_milli) == (500, 100)
        assert [(bias.token, bias.bias_milli) for bias in task.logit_bias] == [(7, -1000)]
        unsafe = {"enum": [MARK]}
        for refused, code in (
            ({"logit_bias": {"999999": 1}}, None),
            ({"response_format": {"type": "json_schema", "json_schema": {
                "name": "x", "schema": {"type": "string", "pattern": "a"}}}}, "unsupported_schema"),
            ({"response_format": {"type": "json_schema", "json_schema": {
                "name": "x", "schema": unsafe}}}, "content_filter"),
        ):  # fmt: skip
            error = (await toy.chat("Greet", **refused)).error
            assert error["code"] == code
        assert len(host.tasks) == 2


async def test_a_bounded_string_that_ends_within_a_number_names_nobody_else(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"to": {"type": "string", "maxLength": 8}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    async with toy_house(tmp_path, finder=FamilyFinder()) as toy:
        for name in "ab":
            toy.host(name, text='{"to": "PERSON_1"}')
        reply = await toy.chat(f"Who of {', '.join(FAMILY)} is it?", response_format=form)
        assert reply.text == '{"to": "PERSON_1"}'
