import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.coordinator.api_errors import ApiError
from peerllm.coordinator.chat_schema import ChatRequest, parse_chat
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

CANARY = "canaryword"


def asked(schema: Any, **more: Any) -> ChatRequest | ApiError:
    body = {
        "model": "toy",
        "messages": [{"role": "user", "content": "hello"}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": schema, **more},
        },
    }
    return parse_chat(json.dumps(body).encode("utf-8", "surrogatepass"))


def shape(schema: Any, **more: Any) -> AnswerShape:
    found = asked(schema, **more)
    assert isinstance(found, ChatRequest), found
    assert found.answer_shape is not None
    assert found.split == "never"
    return found.answer_shape


def test_what_openais_documentation_shows() -> None:
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": "What it is called"},
            "year": {"type": ["integer", "null"]},
            "genre": {"type": "string", "enum": ["drama", "comedy"]},
            "cast": {"type": "array", "items": {"$ref": "#/$defs/person"}, "maxItems": 3},
            "lead": {"anyOf": [{"$ref": "#/$defs/person"}, {"type": "null"}]},
        },
        "required": ["title", "year", "genre", "cast"],
        "additionalProperties": False,
        "$defs": {
            "person": {"type": "object", "properties": {"name": {"type": "string"}},
                       "required": ["name"], "additionalProperties": False},
        },
    }  # fmt: skip
    expected = [
        Record(
            fields=[
                Field(name="title", node=1, required=True),
                Field(name="year", node=2, required=True),
                Field(name="genre", node=5, required=True),
                Field(name="cast", node=6, required=True),
                Field(name="lead", node=9, required=False),
            ]
        ),
        Text(),
        Choice(nodes=[3, 4]),
        Number(whole=True),
        Constants(others=["null"]),
        Constants(strings=["drama", "comedy"]),
        Items(item=7, maximum=3),
        Record(fields=[Field(name="name", node=8, required=True)]),
        Text(),
        Choice(nodes=[7, 10]),
        Constants(others=["null"]),
    ]
    assert shape(schema, strict=True).nodes == expected
    assert shape(schema, strict=False, description="d").nodes == expected


@pytest.mark.parametrize(
    ("schema", "first"),
    [
        ({}, Anything()),
        ({"type": "object"}, Anything(object_only=True)),
        ({"type": "object", "additionalProperties": False}, Record(fields=[])),
        ({"additionalProperties": {"type": "number"}}, Mapping(value=1)),
        ({"items": {"type": "null"}, "minItems": 2}, Items(item=1, minimum=2)),
        ({"type": "array"}, Items(item=1)),
        ({"maxLength": 5}, Text(maximum=5)),
        ({"type": "string", "format": "uuid"}, Text(format="uuid")),
        ({"const": 'say "x"'}, Constants(strings=['say "x"'])),
        ({"enum": [1, 1.5, True, None, "a"]}, Constants(
            strings=["a"], others=["1", "1.5", "true", "null"])),
        ({"type": ["integer", "null"], "enum": [1, 2.0, 2.5, "a", None, True]}, Constants(
            others=["1", "2.0", "null"])),
        ({"type": ["string", "array"], "maxLength": 1, "minItems": 1}, Choice(nodes=[1, 2])),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, Choice(nodes=[1, 2])),
        ({"properties": {"a/b~c": {"$ref": "#/properties/d"}, "d": {"$ref": "#/$defs/x~1y"}},
          "$defs": {"x/y": {"type": "boolean"}}}, Record(fields=[
              Field(name="a/b~c", node=1, required=False),
              Field(name="d", node=1, required=False)])),
    ],
)  # fmt: skip
def test_forms_that_are_understood(schema: Any, first: Any) -> None:
    assert shape(schema).nodes[0] == first


def test_a_schema_may_contain_itself() -> None:
    tree = {"properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    assert shape(tree).nodes == [
        Record(fields=[Field(name="children", node=1, required=False)]),
        Items(item=0),
    ]


def nested(levels: int, **around: Any) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema, **around}
    return schema


def doubling(levels: int) -> Any:
    twice = {"anyOf": [{"$ref": "#/$defs/next"}] * 2}
    schema: Any = {"type": "null"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": {"anyOf": [schema, schema]}}}
    return {"anyOf": [schema, twice], "$defs": {"next": {"type": "null"}}}


REFUSED: list[tuple[Any, str]] = [
    *(({"type": "string", word: "^a$"}, f"'{word}'") for word in ("pattern", "contentEncoding")),
    *(({"type": "integer", word: 1}, f"'{word}'") for word in ("minimum", "multipleOf")),
    *(({"type": "array", word: True}, f"'{word}'") for word in ("uniqueItems", "prefixItems")),
    *(({"type": "object", word: {}}, f"'{word}'") for word in ("patternProperties", "allOf")),
    ({"not": {}}, "'not'"),
    ({"type": "string", "format": "email"}, "'format'"),
    ({"$ref": "https://example.org/schema"}, "'$ref' must lead"),
    ({"$ref": "file:///etc/passwd"}, "'$ref' must lead"),
    ({"$ref": "#/$defs/missing"}, "leads to nothing"),
    ({"$ref": "#"}, "back to itself"),
    ({"$ref": "#/$defs/a", "type": "string"}, "beside '$ref'"),
    ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "could ever end"),
    ({"required": ["a"]}, "does not have"),
    ({"type": "strnig"}, "JSON's seven"),
    ({"type": ["null", "null"]}, "each once"),
    ({"type": {"a": 1}}, "JSON's seven"),
    ({"type": "string", "minLength": -1}, "'minLength'"),
    ({"type": "string", "maxLength": True}, "'maxLength'"),
    ({"type": "array", "maxItems": 10**9}, "'maxItems'"),
    ({"type": "string", "minLength": 3, "maxLength": 1}, "below its minimum"),
    ({"type": "string", "enum": [1]}, "no value is left"),
    ({"enum": []}, "at least one value"),
    ({"enum": [{}]}, "no objects"),
    ({"const": 10**40}, ""),
    ({"enum": ["x" * 16_385]}, "16384 characters"),
    ({"enum": [f"x{n}" for n in range(513)]}, "513 constants"),
    ({"enum": [*range(513), {}]}, "514 constants"),
    ({"properties": {f"p{n}": {} for n in range(129)}}, "at most 128"),
    ({"properties": {str(n): {"properties": {str(m): {} for m in range(9)}}
                     for n in range(99)}}, "512 parts"),
    ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "'oneOf'"),
    ({"anyOf": [{"type": "string"}] * 129}, "'anyOf'"),
    (nested(200), "nested deeper"),
    (nested(100, type=["array", "null"]), "nested deeper"),
    (doubling(7), "begin alike"),
    ({"properties": {"a": 5}}, "neither an object nor true"),
    ({"properties": {"a": False}}, "neither an object nor true"),
    ({"items": []}, "neither an object nor true"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "said"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_guaranteed_is_refused_by_name(schema: Any, said: str) -> None:
    error = asked(schema)
    assert isinstance(error, ApiError)
    assert error.status == 400
    assert said in error.message
    assert str(error.param).startswith("response_format")


@pytest.mark.parametrize(
    "schema",
    [
        b'{"items":' * 5000 + b"true" + b"}" * 5000,
        b'{"const":NaN}',
        b'{"const":1e999}',
        b'{"const":"\\ud800"}',
        b'{"enum":["' + b'x","' * 100_000 + b'"]}',
    ],
    ids=["deep", "nan", "infinite", "surrogate", "long"],
)
def test_schemas_that_python_would_not_write_are_refused(schema: bytes) -> None:
    head = b'{"model":"toy","messages":[{"role":"user","content":"x"}],"response_format":'
    body = b'{"type":"json_schema","json_schema":{"name":"x","schema":%s}}}' % schema
    assert isinstance(parse_chat(head + body), ApiError)


@pytest.mark.parametrize(
    ("given_format", "param"),
    [
        ({"type": "json_schema"}, "response_format"),
        ({"type": "json_schema", "json_schema": {"schema": {}}}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "no spaces"}},
         "response_format.json_schema.name"),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": True}},
         "response_format.json_schema.schema"),
        ({"type": "grammar"}, "response_format.type"),
    ],
)  # fmt: skip
def test_a_format_in_another_form_is_refused(given_format: Any, param: str) -> None:
    body = {"model": "toy", "messages": [{"role": "user", "content": "x"}]}
    error = parse_chat(json.dumps(body | {"response_format": given_format}).encode())
    assert isinstance(error, ApiError)
    assert error.param == param


def test_any_object_and_splitting() -> None:
    body = {"model": "toy", "messages": [{"role": "user", "content": "x"}]}
    anything = body | {"response_format": {"type": "json_object"}}
    found = parse_chat(json.dumps(anything).encode())
    assert isinstance(found, ChatRequest)
    assert found.answer_shape == AnswerShape(nodes=[Anything(object_only=True)])
    assert found.split == "never"
    error = parse_chat(json.dumps(anything | {"peerllm": {"split": "always"}}).encode())
    assert isinstance(error, ApiError)
    assert error.param == "peerllm.split"


@pytest.mark.parametrize(
    "schema",
    [
        {CANARY: 1},
        {CANARY + " and more": 1},
        {"type": CANARY},
        {"$ref": "#/" + CANARY},
        {"enum": [CANARY, {}]},
        {"required": [CANARY]},
        {"format": CANARY},
        {"properties": {CANARY: 5}},
        {"properties": {CANARY: {"const": CANARY}}},
    ],
)
def test_no_message_quotes_a_schema(schema: Any) -> None:
    found = asked(schema, description=CANARY)
    # A keyword is named if it looks like one: that is what it must be.
    assert CANARY not in repr(found) or schema == {CANARY: 1}


SUBSCHEMAS = st.recursive(
    st.sampled_from(
        [True, {}, {"type": "string"}, {"const": "a"}, {"$ref": "#/$defs/d"}, {"x": 1}]
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", ["string", "null"], 1]),
            "properties": st.dictionaries(st.text(max_size=3), inner, max_size=3),
            "required": st.lists(st.text(max_size=3), max_size=1),
            "items": inner,
            "anyOf": st.lists(inner, max_size=3),
            "oneOf": st.lists(inner, max_size=2),
            "additionalProperties": inner,
            "minItems": st.integers(-1, 3) | st.none(),
            "$defs": st.fixed_dictionaries({"d": inner}),
        },
    ),
    max_leaves=8,
)


@given(SUBSCHEMAS)
def test_any_schema_is_a_usable_form_or_an_error(schema: Any) -> None:
    found = asked(schema)
    if isinstance(found, ApiError):
        msgspec.json.encode(found.body())
        return
    assert found.answer_shape is not None
    assert fault_of(found.answer_shape) is None
