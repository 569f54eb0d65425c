import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from peerllm.coordinator.api_errors import ApiError
from peerllm.coordinator.chat_schema import MAXIMUM_TURNS, ChatBody, ChatRequest, parse_chat
from peerllm.coordinator.document_task import Turn

CANARY = "canarytext"
VALID: dict[str, Any] = {"model": "toy", "messages": [{"role": "user", "content": "hello"}]}


def parsed(**fields: Any) -> ChatRequest | ApiError:
    return parse_chat(json.dumps(VALID | fields).encode())


def accepted(**fields: Any) -> ChatRequest:
    found = parsed(**fields)
    assert isinstance(found, ChatRequest), found
    return found


def refused(**fields: Any) -> ApiError:
    found = parsed(**fields)
    assert isinstance(found, ApiError), found
    assert found.status == 400
    return found


def test_a_plain_request() -> None:
    request = accepted()
    assert request.turns == (Turn(role="user", content="hello"),)
    assert (request.temperature_milli, request.top_p_milli) == (1000, 1000)
    assert (request.max_tokens, request.seed, request.stream) == (None, None, False)
    assert request.split == "auto"


def test_everything_openais_clients_may_send() -> None:
    request = accepted(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": t} for t in "ab"]},
            {"role": "assistant", "content": "c", "name": "bot"},
        ],
        max_tokens=5,
        max_completion_tokens=7,
        temperature=0.25,
        top_p=0.0001,
        stop="END",
        stream=True,
        stream_options={"include_usage": True},
        seed=-1,
        n=1,
        user="u",
        store=False,
        response_format={"type": "text"},
        frequency_penalty=-0.5,
        presence_penalty=2,
        logit_bias={"50256": -100, "7": 0.25},
        logprobs=False,
        safety_identifier="s",
        peerllm={"split": "never", "min_p": 0.05, "repetition_penalty": 1.1},
    )  # fmt: skip
    assert [turn.role for turn in request.turns] == ["system", "user", "assistant"]
    assert request.turns[1].content == "ab"
    assert request.max_tokens == 7
    assert request.temperature_milli == 250
    assert request.top_p_milli == 1
    assert request.stop == ("END",)
    assert request.seed is not None
    assert 0 <= request.seed < 2**63
    assert request.include_usage
    assert request.split == "never"
    assert (request.frequency_penalty_milli, request.presence_penalty_milli) == (-500, 2000)
    assert (request.min_p_milli, request.repetition_penalty_milli) == (50, 1100)
    assert request.logit_bias_milli == ((50256, -100_000), (7, 250))
    assert request.answer_shape is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [VALID["messages"][0]] * (MAXIMUM_TURNS + 1)}, "messages"),
        ({"stop": ["x"] * 5}, "stop"),
        ({"stop": ""}, "stop"),
        ({"model": 5}, "model"),
        ({"model": ""}, "model"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": []}, "tools"),
        ({"response_format": {"type": "json"}}, "response_format.type"),
        ({"frequency_penalty": 2.01}, "frequency_penalty"),
        ({"presence_penalty": -2.01}, "presence_penalty"),
        ({"logit_bias": {"5": 100.5}}, "logit_bias[...]"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"12345678": 1}}, "logit_bias"),
        ({"logit_bias": {str(n): 1 for n in range(301)}}, "logit_bias"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"peerllm": {"min_p": 1.1}}, "peerllm.min_p"),
        ({"peerllm": {"repetition_penalty": 0}}, "peerllm.repetition_penalty"),
        ({"peerllm": {"split": "maybe"}}, "peerllm.split"),
        ({"peerllm": {"always_mask": {"project": ["x"]}}}, "peerllm.always_mask"),
        (
            {"peerllm": {"always_mask": {f"K{c}": [] for c in "ABCDEFGHI"}}},
            "peerllm.always_mask",
        ),
        ({"peerllm": {"always_mask": {"PROJECT": ["x" * 101]}}}, "peerllm.always_mask[...][0]"),
        ({"peerllm": {"never_mask": ["x"] * 129}}, "peerllm.never_mask"),
        ({"peerllm": {"always_mask": {"PERSON": ["x"]}}}, "peerllm"),
        ({"peerllm": {"always_mask": {"PROJECT": ["x"]}, "never_mask": ["X"]}}, "peerllm"),
        ({"seed": 2**64}, "seed"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)
    assert error.param == param
    assert error.message.endswith(".")


@pytest.mark.parametrize("name", ["tools", "functions", "audio", "top_k"])
def test_a_field_this_network_cannot_honour_is_refused_as_unsupported(name: str) -> None:
    error = refused(**{name: 1})
    assert (error.code, error.param) == ("unsupported_parameter", name)


def beside(field: str, value: Any) -> dict[str, Any]:
    """A request with a field beside an assistant's words."""
    return {"messages": [{"role": "assistant", "content": "hi", field: value}]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tool_calls", [{"id": "c", "type": "function", "function": {"name": "f"}}]),
        ("tool_calls", {}),
        ("function_call", {"name": "f", "arguments": "{}"}),
        ("audio", {"id": "a"}),
        ("refusal", "I cannot."),
        ("annotations", [{"type": "url_citation"}]),
        ("images", ["x"]),
        ("prefix", True),
        ("reasoning_content", "x"),
    ],
)
def test_a_field_of_a_message_that_nobody_would_read_is_refused(field: str, value: Any) -> None:
    error = refused(**beside(field, value))
    assert (error.code, error.param) == ("unsupported_parameter", f"messages[0].{field}")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(name, None) for name in ("refusal", "tool_calls", "function_call", "audio")],
        *[("annotations", None), ("annotations", []), ("tool_calls", [])],
    ],
)
def test_an_earlier_answer_is_taken_as_openais_clients_send_it_back(field: str, value: Any) -> None:
    assert accepted(**beside(field, value)).turns == (Turn(role="assistant", content="hi"),)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (
            {"messages": [{"role": "user", "content": [
                {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}]},
            "messages[0].content[0].cache_control",
        ),
        ({"stream_options": {"include_useage": True}}, "stream_options.include_useage"),
        (
            {"stream_options": {"include_obfuscation": True}},
            "stream_options.include_obfuscation",
        ),
        ({"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "y": 1}}},
            "response_format.json_schema.y",
        ),
        (
            {"response_format": {"type": "json_object", "json_schema": {"name": "x"}}},
            "response_format",
        ),
        ({"peerllm": {"splt": "never"}}, "peerllm.splt"),
    ],
)  # fmt: skip
def test_a_field_within_a_field_that_nobody_would_read_is_refused(
    fields: dict[str, Any], param: str
) -> None:
    assert refused(**fields).param == param


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_a_missing_field_is_named(missing: str) -> None:
    body = {name: value for name, value in VALID.items() if name != missing}
    error = parse_chat(json.dumps(body).encode())
    assert isinstance(error, ApiError)
    assert missing in error.message


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"nope", b"\xff\xfe{}", b'{"model": "\xc3"}', b"[" * 100_000, b"[]", b"5"]
)
def test_what_is_not_a_json_object_is_refused(raw: bytes) -> None:
    error = parse_chat(raw)
    assert isinstance(error, ApiError)
    assert error.status == 400
    assert "JSON" in error.message


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"toy","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"\\udfff","messages":[{"role":"user","content":"x"}]}',
        b'{"model":"toy","stop":"\\ud800","messages":[{"role":"user","content":"x"}]}',
        b'{"\\ud800":1}',
        b'{"model":"toy","messages":[{"role":"\\ud800","content":"x"}]}',
    ],
)
def test_lone_surrogates_are_refused_in_words_that_can_be_sent(raw: bytes) -> None:
    error = parse_chat(raw)
    assert isinstance(error, ApiError)
    assert msgspec.json.encode(error.body())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
FIELDS = st.sampled_from([*ChatBody.__struct_fields__, "tools", "x", "messages", "model"])
NEARLY = st.dictionaries(FIELDS, JSON).map(lambda fields: VALID | fields)


@given(st.one_of(JSON, NEARLY))
def test_any_json_is_a_request_or_an_error(value: Any) -> None:
    found = parse_chat(json.dumps(value).encode("utf-8", "surrogatepass"))
    assert isinstance(found, ChatRequest | ApiError)
    if isinstance(found, ApiError):
        assert len(found.message) < 500
        msgspec.json.encode(found.body())


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_a_request_or_an_error(raw: bytes) -> None:
    assert isinstance(parse_chat(raw), ChatRequest | ApiError)


def planted(place: str) -> Any:
    """A request with the canary as, or in, everything that may hold a customer's words."""
    message: dict[str, Any] = {"role": "user", "content": CANARY}
    places: dict[str, Any] = {
        "content": {},
        "wrong type beside it": {"max_tokens": "x"},
        "unknown field": {"tools": [CANARY]},
        "role": {"messages": [{"role": CANARY, "content": "x"}]},
        "part type": {"messages": [{"role": "user", "content": [{"type": CANARY, "text": "x"}]}]},
        "part text": {"messages": [{"role": "user", "content": [{"type": "x", "text": CANARY}]}]},
        "content object": {"messages": [{"role": "user", "content": {CANARY: CANARY}}]},
        "long name": {"messages": [message | {"name": CANARY * 10}]},
        "message as text": {"messages": [CANARY]},
        "messages as text": {"messages": CANARY},
        "stop": {"stop": [CANARY * 50]},
        "split": {"peerllm": {"split": CANARY}},
        "own terms": {"peerllm": {"always_mask": {"PROJECT": [CANARY]}, "never_mask": [CANARY]}},
        "kind": {"peerllm": {"always_mask": {CANARY: ["x"]}}},
        "unknown field's name": {CANARY + " and more": 1},
        "extension": {"peerllm": {"other": CANARY}},
        "format": {"response_format": {"type": CANARY}},
        "surrogate": {"messages": [{"role": "user", "content": CANARY + "\ud800"}]},
    }
    return {**VALID, "messages": [message], **places[place]}


PLACES = (
    "content wrong_type_beside_it unknown_field role part_type part_text content_object long_name "
    "message_as_text messages_as_text stop split own_terms kind "
    "unknown_field's_name extension format surrogate"
)


@pytest.mark.parametrize("place", PLACES.split())
def test_no_message_quotes_what_was_sent(place: str) -> None:
    raw = json.dumps(planted(place.replace("_", " "))).encode()
    found = parse_chat(raw)
    assert CANARY not in repr(found)
    if isinstance(found, ApiError):
        assert CANARY not in json.dumps(found.body())
    cut = parse_chat(raw[:-1])
    assert isinstance(cut, ApiError)
    assert CANARY not in json.dumps(cut.body())


def test_repr_hides_content() -> None:
    request = accepted(messages=[{"role": "user", "content": CANARY}], stop=CANARY)
    assert CANARY not in repr(request)
