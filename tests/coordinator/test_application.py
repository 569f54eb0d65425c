import json
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from simulated_host import Faults
from toy_house import ADA, ANSWER, PROMPT, Reply, states, toy_house, unpaid
from toy_safety import MARK, WordFinder
from trio.testing import MockClock

from peerllm.coordinator.application import REQUESTS_PER_KEY
from peerllm.coordinator.chat_schema import MAXIMUM_BODY_BYTES
from peerllm.safety.identifiers import Identifier


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


async def test_one_model_is_told_of_as_in_the_list(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        listed = (await toy.call("GET", "/v1/models")).json["data"]
        assert (await toy.call("GET", "/v1/models/toy")).json == listed[0]
        for name in ("gpt-9", "maker/gpt-9"):
            unknown = await toy.call("GET", f"/v1/models/{name}")
            assert (unknown.status, unknown.error["code"]) == (404, "model_not_found")
        assert (await toy.call("GET", "/v1/models/toy", key="")).status == 401


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/chat/completions/"), ("GET", "/healthz/")]
)
async def test_a_slash_too_many_sends_nobody_to_an_address_in_clear(
    tmp_path: Path, method: str, path: str
) -> None:
    async with toy_house(tmp_path) as toy:
        reply = await toy.call(method, path, b"{}")
        assert (reply.status, reply.error["code"]) == (404, "not_found")
        assert "location" not in reply.headers


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
