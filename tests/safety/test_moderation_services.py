"""Azure and OpenAI as judges: their answers, right and wrong, over a real connection."""

import json
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from peerllm.safety.judge_http import MAXIMUM_REPLY_BYTES, JudgeEndpoint, Secret, failure_of
from peerllm.safety.moderation_services import (
    AZURE_CATEGORIES,
    AZURE_CHARACTERS,
    OPENAI_CATEGORIES,
    AzureJudge,
    OpenAiJudge,
    read_azure,
    read_openai,
)
from peerllm.safety.stronger_judges import JudgeFailure
from tests.safety.judge_stage import Answer, Asked, azure_reply, judge_server, replying, response

CANARY = "canary of a prompt \ud800 with half a sign"
KEY = "canary-key-4711"


def openai_reply(flagged: tuple[str, ...] = (), **scores: float) -> bytes:
    named = dict.fromkeys(OPENAI_CATEGORIES, 0.001) | scores
    result = {
        "flagged": bool(flagged),
        "categories": {name: name in flagged for name in OPENAI_CATEGORIES},
        "category_scores": named,
        "category_applied_input_types": {},
    }
    return json.dumps({"id": "modr-1", "model": "omni", "results": [result]}).encode()


@pytest.mark.parametrize(("severity", "score"), [(0, 0.0), (2, 0.4), (3, 0.8), (4, 0.8), (6, 1.0)])
def test_azure_severities_are_scores(severity: int, score: float) -> None:
    assert read_azure(azure_reply(SelfHarm=severity)) == {
        "hate": 0.0,
        "self_harm": score,
        "sexual": 0.0,
        "violence": 0.0,
        "overall": score,
    }


def test_a_category_that_azure_names_twice_counts_as_its_worst() -> None:
    both = [
        *({"category": name, "severity": 6} for name in AZURE_CATEGORIES),
        *({"category": name, "severity": 0} for name in AZURE_CATEGORIES),
    ]
    scores = read_azure(json.dumps({"categoriesAnalysis": both}).encode())
    assert isinstance(scores, dict)
    assert set(scores.values()) == {1.0}


def test_openai_scores_are_mapped_and_flags_count() -> None:
    scores = read_openai(
        openai_reply(("sexual/minors",), **{"illicit/violent": 0.7, "self-harm/intent": 0.6})
    )
    assert isinstance(scores, dict)
    assert (scores["weapons"], scores["self_harm"]) == (0.7, 0.6)
    assert scores["minors"] == scores["overall"] == 0.8
    assert scores["illicit"] == 0.001


MALFORMED = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b'{"results": []}',
    b'{"categoriesAnalysis": []}',
    azure_reply(Hate=-1),
    azure_reply(Hate=8),
    azure_reply().replace(b"Violence", b"Peace"),
    azure_reply().replace(b"0}]", b'"0"}]'),
    openai_reply(hate=1.5),
    openai_reply().replace(b'"hate": 0.001', b'"hate": NaN'),
    openai_reply().replace(b'"hate": 0.001', b'"hate": null'),
    openai_reply().replace(b'"hate": 0.001, ', b""),
    b"[" * 100_000,
    b'{"results": [{"new": ' + b"[" * 100_000,
    b'{"categoriesAnalysis": [{"new": ' + b"[" * 100_000,
]


@pytest.mark.parametrize("raw", MALFORMED)
def test_what_is_no_whole_answer_is_no_opinion(raw: bytes) -> None:
    assert read_azure(raw) == JudgeFailure(kind="malformed")
    assert read_openai(raw) == JudgeFailure(kind="malformed")


@settings(max_examples=30)
@given(st.one_of(st.binary(), st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from([*OPENAI_CATEGORIES]),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["results", "categories", "category_scores", "categoriesAnalysis",
                         "category", "severity"]) | st.text(), inner),
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
def test_anything_is_read_or_refused(raw: bytes) -> None:
    for found in (read_azure(raw), read_openai(raw)):
        assert isinstance(found, JudgeFailure) or all(0 <= one <= 1 for one in found.values())


@settings(max_examples=50)
@given(st.integers(100, 999), st.none() | st.text())
def test_any_status_is_a_failure_with_a_finite_pause(status: int, retry_after: str | None) -> None:
    failure = failure_of(status, retry_after)
    assert failure.is_passing == (status == 429 or status >= 500)
    assert 0 <= (failure.retry_after_seconds or 0) < 10**9


async def asked_of_azure(answer: Answer, text: str = "a text", patience: float = 5) -> Any:
    async with judge_server(answer) as server:
        headers = {"ocp-apim-subscription-key": Secret(KEY)}
        async with JudgeEndpoint(server.url, secret_headers=headers) as endpoint:
            with trio.move_on_after(patience):
                return await AzureJudge(endpoint).scores(text, "prompt")
            return "late"


async def test_azure_is_asked_as_it_is_documented() -> None:
    asked: list[Asked] = []

    async def answer(one: Asked, stream: trio.SocketStream) -> None:
        asked.append(one)
        await stream.send_all(response(200, azure_reply(Hate=4)))

    text = "x" * (AZURE_CHARACTERS + 1)
    scores = await asked_of_azure(answer, text)
    assert scores["hate"] == scores["overall"] == 0.8
    assert [one.path for one in asked] == ["/contentsafety/text:analyze?api-version=2024-09-01"] * 2
    sent = json.loads(asked[0].body)
    assert sent["text"] == text[:AZURE_CHARACTERS]
    assert sent["outputType"] == "FourSeverityLevels"
    assert f"ocp-apim-subscription-key: {KEY}" in asked[0].head


async def test_openai_is_asked_as_it_is_documented() -> None:
    async with judge_server(replying(response(200, openai_reply(violence=0.9)))) as server:
        async with JudgeEndpoint(
            server.url, secret_headers={"authorization": Secret(f"Bearer {KEY}")}
        ) as endpoint:
            scores = await OpenAiJudge(endpoint, "omni-moderation-latest").scores(CANARY, "answer")
        assert isinstance(scores, dict)
        assert scores["violence"] == 0.9
        (asked,) = server.asked
    assert asked.path == "/v1/moderations"
    assert json.loads(asked.body) == {
        "model": "omni-moderation-latest",
        "input": CANARY.replace("\ud800", "?"),
    }
    assert f"authorization: Bearer {KEY}" in asked.head


BIG = response(200, b" " * (MAXIMUM_REPLY_BYTES + 1))


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (response(429, b"", "retry-after: 7"), "busy"),
        (response(503, CANARY.encode("utf-8", "replace")), "busy"),
        (response(500, b"{}"), "server_error"),
        (response(401, b'{"error": "bad key"}'), "refused"),
        (response(400, b""), "refused"),
        (response(302, b"", "location: http://192.0.2.1/"), "refused"),
        (response(200, b"<html>"), "malformed"),
        (response(200, azure_reply(), "content-encoding: gzip"), "malformed"),
        (BIG, "malformed"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "late"),
    ],
)
async def test_what_a_service_may_answer_instead(
    reply: bytes, kind: str, patient_clock: MockClock
) -> None:
    outcome = await asked_of_azure(replying(reply))
    if kind == "late":
        assert outcome == "late"
    else:
        assert outcome.kind == kind
    if reply.startswith(b"HTTP/1.1 429"):
        assert outcome.retry_after_seconds == 7


async def test_a_body_that_never_ends_and_one_that_trickles(patient_clock: MockClock) -> None:
    async def flood(_asked: Asked, stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"10000\r\n" + b" " * 0x10000 + b"\r\n")

    async def trickle(_asked: Asked, stream: trio.SocketStream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
        while True:
            await stream.send_all(b" ")
            await trio.sleep(1)

    assert (await asked_of_azure(flood)).kind == "malformed"
    assert await asked_of_azure(trickle) == "late"


async def test_nobody_there_is_a_failure_that_names_nothing() -> None:
    async with judge_server(replying(b"")) as server:
        url = server.url
    headers = {"authorization": Secret(f"Bearer {KEY}")}
    for where in (url, "https://no..name"):
        async with JudgeEndpoint(where, secret_headers=headers) as endpoint:
            judge = OpenAiJudge(endpoint, "model")
            failure = await judge.scores(CANARY, "prompt")
            assert failure == JudgeFailure(kind="unreachable")
            for shown in (failure, judge, endpoint, headers):
                assert "canary" not in repr(shown)
