import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from simulated_host import Faults
from toy_house import ADA, ANSWER, PROMPT, Reply, ToyHouse, toy_house
from toy_safety import MARK, NAME, WordFinder
from trio.testing import MockClock, wait_all_tasks_blocked

from peerllm.coordinator.application import REQUESTS_PER_KEY
from peerllm.coordinator.chat_schema import MAXIMUM_BODY_BYTES
from peerllm.coordinator.errors import StorageError
from peerllm.overlay.messages import ChunkTask
from peerllm.safety.identifiers import Identifier

QUOTED = r'Ida "the\\fox"\nLovegrove'


async def states(toy: ToyHouse) -> list[str]:
    return [state for state, _ in (await toy.reservations()).values()]


async def unpaid(toy: ToyHouse, reservations: list[str]) -> None:
    """The reservations are in these states and nothing was charged."""
    await toy.settle_down()
    assert await states(toy) == reservations
    assert (await toy.storage.balance(ADA)).balance == 10**9


async def test_a_plain_answer_in_openais_shape(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        toy.host("b")
        reply = await toy.chat()
        assert reply.status == 200
        assert reply.text == ANSWER
        body = reply.json
        assert body["object"] == "chat.completion"
        assert body["choices"][0]["finish_reason"] == "stop"
        prompt, completion = 8 + len(PROMPT.split()), len(ANSWER.split())
        assert body["usage"] == {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        charge = prompt * 10 + completion * 40
        assert await toy.reservations() == {body["id"]: ("posted", charge)}
        assert (await toy.storage.balance(ADA)).balance == 10**9 - charge
        paid = [(await toy.storage.earnings(host.peer_id)).total for host in toy.hosts]
        assert sum(paid) == -(-charge * 95 // 100)


async def test_a_streamed_answer_in_openais_shape(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        reply = await toy.chat(stream=True, stream_options={"include_usage": True})
        assert reply.status == 200
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.text == ANSWER
        *events, usage, done = reply.events
        assert done == "DONE"
        assert events[0]["choices"][0]["delta"]["role"] == "assistant"
        assert events[-1]["choices"][0]["finish_reason"] == "stop"
        assert usage["choices"] == []
        assert usage["usage"]["completion_tokens"] == len(ANSWER.split())
        assert len({event["id"] for event in (*events, usage)}) == 1
        assert await states(toy) == ["posted"]


async def test_the_answers_length_and_what_ends_it(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        reply = await toy.chat(max_tokens=3)
        assert reply.text == "once there were"
        assert reply.json["choices"][0]["finish_reason"] == "length"
        assert reply.json["usage"]["completion_tokens"] == 3


async def test_a_host_that_dies_is_not_noticed_and_not_paid(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path) as toy:
        dead = toy.host("dead", Faults(dies_after=4))
        toy.host("good", pace=0.2)
        reply = await toy.chat(stream=True)
        assert reply.text == ANSWER
        assert (await toy.storage.earnings(dead.peer_id)).total == 0


def without(name: str) -> dict[str, Any]:
    body = {"model": "toy", "messages": [{"role": "user", "content": PROMPT}]}
    return {key: value for key, value in body.items() if key != name}


BAD_BODIES = {
    "empty": (b"", 400, "invalid_json"),
    "cut": (b'{"model": "toy", "messages": [{"role": "user", "con', 400, "invalid_json"),
    "not text": (b"\xff\xfe\x00", 400, "invalid_json"),
    "deep": (b"[" * 200_000, 400, None),
    "array": (b"[]", 400, None),
    "no model": (json.dumps(without("model")).encode(), 400, None),
    "no messages": (json.dumps(without("messages")).encode(), 400, None),
    "large": (b" " * (10 * 1024 * 1024), 413, "request_too_large"),
    "just too large": (b" " * (MAXIMUM_BODY_BYTES + 1), 413, "request_too_large"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_bad_body_is_a_clear_error(tmp_path: Path, name: str) -> None:
    raw, status, code = BAD_BODIES[name]
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        reply = await toy.call("POST", "/v1/chat/completions", raw)
        assert (reply.status, reply.error["code"]) == (status, code)
        assert reply.error["type"] == "invalid_request_error"
        assert "canary" not in reply.body.decode()
        await unpaid(toy, [])


async def test_a_body_that_never_ends_is_given_up(tmp_path: Path, patient_clock: MockClock) -> None:
    async with toy_house(tmp_path) as toy:
        reply = await toy.call("POST", "/v1/chat/completions", b"{", unfinished=True)
        assert (reply.status, reply.error["code"]) == (408, "request_timeout")
        assert reply.headers["connection"] == "close"


async def test_leaving_before_the_body_is_whole_is_no_fault_of_ours(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        await toy.call(
            "POST", "/v1/chat/completions", b"{", unfinished=True, leaves=lambda _reply: True
        )
        assert "error" not in toy.log.getvalue()
        assert await toy.reservations() == {}


BAD_FIELDS: dict[str, tuple[dict[str, Any], int, str | None]] = {
    "messages empty": ({"messages": []}, 400, "messages"),
    "messages wrong": ({"messages": {"role": "user"}}, 400, "messages"),
    "message blank": ({"messages": [{"role": "user", "content": " \n"}]}, 400, "messages"),
    "max_tokens negative": ({"max_tokens": -1}, 400, "max_tokens"),
    "max_tokens text": ({"max_tokens": "many"}, 400, "max_tokens"),
    "max_tokens too many": ({"max_tokens": 5000}, 400, "messages"),
    "model unknown": ({"model": "gpt-9"}, 404, "model"),
    "tools": ({"tools": []}, 400, "tools"),
    "split": ({"peerllm": {"split": "always"}}, 400, "peerllm.split"),
    "too long": ({"messages": [{"role": "user", "content": "geese " * 5000}]}, 400, "messages"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", BAD_FIELDS)
async def test_a_bad_field_is_a_clear_error(tmp_path: Path, name: str, stream: bool) -> None:
    fields, status, param = BAD_FIELDS[name]
    async with toy_house(tmp_path) as toy:
        host = toy.host("a")
        reply = await toy.chat(stream=stream, **fields)
        assert (reply.status, reply.error["param"]) == (status, param)
        assert "canary" not in reply.body.decode()
        assert host.tasks == []
        await unpaid(toy, ["voided"] if name == "split" else [])


@pytest.mark.parametrize("kind", ["none", "unknown", "odd", "revoked", "expired"])
async def test_without_a_valid_key_nothing_is_served(tmp_path: Path, kind: str) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        key = {"none": "", "unknown": "pk-" + "x" * 43, "odd": "\xe9 \t"}.get(kind, toy.plain_key)
        if kind == "revoked":
            await toy.storage.revoke_api_key(toy.key_id)
        if kind == "expired":
            key = (await toy.storage.create_api_key(ADA, "old", expires_at_us=1)).plain
        for path in ("/v1/models", "/v1/statements/x"):
            assert (await toy.call("GET", path, key=key)).status == 401
        reply = await toy.chat(key=key)
        assert reply.status == 401
        assert reply.error["code"] == "invalid_api_key"
        assert reply.headers["www-authenticate"] == "Bearer"
        await unpaid(toy, [])


async def test_too_little_money_is_an_exhausted_quota(tmp_path: Path) -> None:
    async with toy_house(tmp_path, funds=100) as toy:
        host = toy.host("a")
        reply = await toy.chat(max_tokens=100)
        assert (reply.status, reply.error["code"]) == (429, "insufficient_quota")
        assert host.tasks == []
        assert await states(toy) == []


async def test_a_keys_budget_is_kept(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        issued = await toy.storage.create_api_key(ADA, "small", budget=1_000)
        assert (await toy.chat(max_tokens=5, key=issued.plain)).status == 200
        assert (await toy.chat(max_tokens=50, key=issued.plain)).status == 429


async def test_an_unsafe_prompt_reaches_no_host(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        host = toy.host("a")
        reply = await toy.chat(f"{PROMPT} {MARK}", stream=True)
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
        assert reply.error["stage"] == "prompt"
        assert (reply.error["category"], reply.error["standard_version"]) == ("violence", 3)
        assert host.tasks == []
        await unpaid(toy, ["voided"])


@pytest.mark.parametrize("words", [0, 20, 60])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_unsafe_answer_ends_with_a_refusal(
    tmp_path: Path, stream: bool, words: int
) -> None:
    async with toy_house(tmp_path) as toy:
        host = toy.host("a", text="geese " * words + f"{MARK} " + "ducks " * 60)
        reply = await toy.chat(stream=stream, max_tokens=200)
        assert MARK not in reply.body.decode()
        assert "ducks" not in reply.body.decode()
        if stream and words:
            assert reply.status == 200
            assert reply.events[-1] == "DONE"
            error = reply.events[-2]["error"]
            assert "geese" in reply.text
        else:
            assert reply.status == 400
            error = reply.error
        assert (error["code"], error["stage"]) == ("content_filter", "answer")
        await unpaid(toy, ["voided"])
        assert len(host.cancelled) + len(host.finished) >= 1


async def test_no_host_is_said_in_time(tmp_path: Path, patient_clock: MockClock) -> None:
    async with toy_house(tmp_path) as toy:
        reply = await toy.chat()
        assert (reply.status, reply.error["code"]) == (503, "no_capacity")
        assert reply.headers["retry-after"] == "5"
        assert (await toy.call("GET", "/healthz", key="")).status == 503
        await unpaid(toy, ["voided"])


async def test_all_hosts_failing_in_the_middle_of_a_stream(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a", Faults(dies_after=30), text="geese " * 60)
        reply = await toy.chat(stream=True)
        assert reply.status == 200
        assert reply.events[-2]["error"]["code"] == "no_capacity"
        await unpaid(toy, ["voided"])


@pytest.mark.parametrize("pieces", [0, 1, 2, 3])
async def test_a_customer_who_leaves_costs_nothing_and_frees_the_hosts(
    tmp_path: Path, pieces: int
) -> None:
    async with toy_house(tmp_path) as toy:
        hosts = [toy.host(name, text="geese " * 3000, pace=0.01) for name in ("a", "b")]
        reply = await toy.chat(
            stream=True, max_tokens=3000, leaves=lambda reply: len(reply.pieces) >= pieces
        )
        assert not reply.complete
        await unpaid(toy, ["voided"] if pieces or await states(toy) else [])
        for host in hosts:
            assert len(host.cancelled) == len(host.tasks)
        assert b'outcome="disconnected"' in toy.house.metrics.text()


async def test_a_customer_who_reads_nothing_is_let_go(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path) as toy:
        host = toy.host("a", text="geese " * 300)
        reply = await toy.chat(stream=True, max_tokens=300, reads=trio.sleep_forever)
        assert not reply.complete
        await unpaid(toy, ["voided"])
        assert host.cancelled or host.finished


async def test_leaving_while_the_answer_is_settled_pays_for_what_was_delivered(
    tmp_path: Path,
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        reply = await toy.chat(
            stream=True, leaves=lambda reply: ANSWER.split()[-1].encode() in reply.body
        )
        assert reply.text == ANSWER
        await toy.settle_down()
        assert (await states(toy)) in (["posted"], ["voided"])


async def test_a_plain_answer_is_handed_over_before_it_is_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        complete_when_read: list[bool] = []
        charged_after: list[list[bool]] = []
        post = toy.storage.post

        async def note_and_post(*arguments: Any) -> object:
            charged_after.append(list(complete_when_read))
            return await post(*arguments)

        def read(reply: Reply) -> bool:
            if reply.body:
                complete_when_read.append(reply.complete)
            return False

        monkeypatch.setattr(toy.storage, "post", note_and_post)
        reply = await toy.chat(leaves=read)
        assert reply.text == ANSWER
        assert charged_after == [[False]]
        assert reply.complete
        assert reply.headers["content-length"] == str(len(reply.body))
        assert await states(toy) == ["posted"]


async def test_leaving_before_a_plain_answer_is_handed_over_costs_nothing(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        reply = await toy.chat(leaves=lambda reply: reply.status == 200, reads=trio.sleep_forever)
        assert reply.body == b""
        await unpaid(toy, ["voided"])


async def test_leaving_with_a_plain_answer_in_hand_is_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        post, posting = toy.storage.post, trio.Event()

        async def leave_and_post(*arguments: Any) -> object:
            posting.set()
            await wait_all_tasks_blocked()
            return await post(*arguments)

        monkeypatch.setattr(toy.storage, "post", leave_and_post)
        reply = await toy.chat(left=posting)
        assert reply.text == ANSWER
        assert b'outcome="answered"' in toy.house.metrics.text()
        assert await states(toy) == ["posted"]


async def test_an_empty_stream_has_begun_before_it_is_charged(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a", text="")
        reply = await toy.chat(
            stream=True, leaves=lambda reply: reply.starts == 1, reads=trio.sleep_forever
        )
        assert reply.starts == 1
        await unpaid(toy, ["voided"])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_ledger_that_fails_after_delivery_charges_nothing_and_answers_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")

        async def fail(*_: Any) -> None:
            raise StorageError("locked")

        monkeypatch.setattr(toy.storage, "post", fail)
        reply = await toy.chat(stream=stream)
        assert (reply.status, reply.starts, reply.complete) == (200, 1, True)
        if stream:
            assert reply.events[-2]["error"]["code"] == "internal_error"
        else:
            assert reply.text == ANSWER
        assert "StorageError" in toy.log.getvalue()
        await unpaid(toy, ["voided"])


async def test_a_statement_is_its_own_accounts_alone(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        toy.host("b")
        name = (await toy.chat()).json["id"]
        path = f"/v1/statements/{name}"
        statement = (await toy.call("GET", path)).json
        assert statement["charge_nano_usd"] == (
            statement["host_share_nano_usd"] + statement["margin_nano_usd"]
        )
        assert (
            sum(statement["paid_nano_usd"].values()) + statement["unclaimed_nano_usd"]
            == (statement["host_share_nano_usd"])
        )
        assert "canary" not in json.dumps(statement)
        await toy.storage.create_customer("bob")
        bob = await toy.storage.create_api_key("customers/bob", "k")
        assert (await toy.call("GET", path, key=bob.plain)).status == 404
        assert (await toy.call("GET", "/v1/statements/other")).status == 404


async def test_the_small_pages(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        await toy.chat()
        assert [m["id"] for m in (await toy.call("GET", "/v1/models")).json["data"]] == ["toy"]
        assert (await toy.call("GET", "/healthz", key="")).json["hosts"] == 1
        metrics = (await toy.call("GET", "/metrics", key="")).body
        assert b'peerllm_requests_total{outcome="answered"} 1.0' in metrics
        assert b"canary" not in metrics
        assert (await toy.call("GET", "/nowhere")).error["code"] == "not_found"
        assert (await toy.call("GET", "/v1/chat/completions")).error["code"] == "method_not_allowed"


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


async def test_a_bug_behind_the_api_says_an_id_and_no_content(tmp_path: Path) -> None:
    class Broken(WordFinder):
        def find(self, text: str) -> tuple[Identifier, ...]:
            raise RuntimeError(text)

    async with toy_house(tmp_path, finder=Broken()) as toy:
        toy.host("a")
        reply = await toy.chat()
        assert (reply.status, reply.error["code"]) == (500, "internal_error")
        assert "canary" not in reply.body.decode()
        assert "RuntimeError" in toy.log.getvalue()
        await unpaid(toy, ["voided"])


async def test_the_finder_is_never_used_by_two_requests_at_once(tmp_path: Path) -> None:
    inside = threading.Semaphore(1)
    overlapped = threading.Event()

    class Jealous(WordFinder):
        def find(self, text: str) -> tuple[Identifier, ...]:
            if not inside.acquire(blocking=False):
                overlapped.set()
                return ()
            overlapped.wait(0.05)  # how long a second one has to come in
            inside.release()
            return super().find(text)

    async with toy_house(tmp_path, finder=Jealous()) as toy:
        toy.host("a", slots=8)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(toy.chat, f"{PROMPT} " * 20)
        assert not overlapped.is_set()


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_model_cannot_serve_is_refused_for_good(
    tmp_path: Path, stream: bool
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a", Faults(refuses="bad_task"))
        toy.host("b", Faults(refuses="bad_task"))
        reply = await toy.chat(stream=stream)
        assert (reply.status, reply.error["code"]) == (400, "task_refused")
        assert reply.error["type"] == "invalid_request_error"
        assert "retry-after" not in reply.headers
        await unpaid(toy, ["voided"])


async def test_one_key_has_a_bounded_number_of_requests(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path) as toy:
        replies: list[Reply] = []

        async def ask() -> None:
            replies.append(await toy.chat())

        async with trio.open_nursery() as nursery:
            for _ in range(REQUESTS_PER_KEY + 3):
                nursery.start_soon(ask)
        codes = [reply.error["code"] for reply in replies]
        assert codes.count("rate_limit_exceeded") == 3
        assert codes.count("no_capacity") == REQUESTS_PER_KEY


async def test_a_long_document_is_read_in_parts(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        for name in "abcdefgh":
            toy.host(name, text=f"Notes on canaryanswer {ANSWER}", slots=4)
        sentence = "The keeper of the canaryprompt wrote the number of geese in his large book. "
        reply = await toy.chat(f"Summarize this text:\n\n{sentence * 220}")
        assert reply.status == 200
        statement = (await toy.call("GET", f"/v1/statements/{reply.json['id']}")).json
        kinds = [chunk["kind"] for chunk in statement["chunks"]]
        assert kinds.count("map") >= 3
        assert kinds[-1] == "reduce"
        assert await states(toy) == ["posted"]
