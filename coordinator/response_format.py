"""From OpenAI's `response_format` to the form that hosts hold an answer to.

A JSON schema is read as far as a host can guarantee it. A keyword that constrains an answer and
that is not guaranteed is refused by name, never ignored; what only describes is dropped here, so
that no host sees it. References stay inside the schema: nothing is ever fetched.
"""

import json
import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from peerllm.overlay.answer_shape import (
    LONGEST_NUMBER,
    MAXIMUM_CONSTANTS,
    MAXIMUM_FIELDS,
    MAXIMUM_NODES,
    MAXIMUM_REPEATS,
    AnswerShape,
    Anything,
    Choice,
    Constants,
    Field,
    Items,
    Mapping,
    Node,
    Number,
    Record,
    Text,
)
from peerllm.overlay.shape_faults import are_exclusive, fault_of

# As many levels as can be read without counting brackets; Python's own stack holds ten times this.
MAXIMUM_DEPTH: Final = 64
# Names and constants. Placeholders are longer than what they stand for: a host takes four times
# as much.
MAXIMUM_CHARACTERS: Final = 16_384
# References that lead to references, before something must stand there.
_LONGEST_CHAIN: Final = 32


class JsonSchema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OpenAI's `json_schema`. Hosts keep to the schema whether `strict` is set or not."""

    name: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{1,64}\Z")]
    description: Annotated[str, Meta(max_length=4096)] | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None

    def __repr__(self) -> str:
        return "JsonSchema(<hidden>)"


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Plain text, any JSON object, or JSON of a given schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class UnsupportedSchema(Exception):  # noqa: N818 - an outcome of parsing that never leaves here
    """A schema cannot be guaranteed; the message names the keyword and quotes nothing else."""


_DESCRIBING: Final = frozenset(
    {"$schema", "$id", "$comment", "$defs", "definitions", "title", "description"}
    | {"default", "examples", "deprecated", "readOnly", "writeOnly"}
)
_OF_STRINGS: Final = frozenset({"minLength", "maxLength", "format"})
_OF_LISTS: Final = frozenset({"items", "minItems", "maxItems"})
_OF_OBJECTS: Final = frozenset({"properties", "required", "additionalProperties"})
_FORMATS: Final[tuple[Literal["date", "time", "date-time", "uuid"], ...]] = (
    "date",
    "time",
    "date-time",
    "uuid",
)
_KEYWORD: Final = re.compile(r"\$?[A-Za-z]{1,32}\Z")
_TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")


def shape_of(wanted: ResponseFormat) -> AnswerShape | str | None:
    """The form asked for; None for plain text; a sentence that says what is not supported."""
    if wanted.type != "json_schema" and wanted.json_schema is not None:
        return "The field 'json_schema' needs the 'type' 'json_schema'."
    if wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return AnswerShape(nodes=[Anything(object_only=True)])
    if wanted.json_schema is None:
        return "The field 'json_schema' is missing."
    schema = wanted.json_schema.schema
    if schema is None:
        return AnswerShape(nodes=[Anything(object_only=True)])
    try:
        return _Reading(schema).shape()
    except UnsupportedSchema as refusal:
        return f"{refusal}."


class _Reading:
    """One schema being read. Every place of it becomes one node, however often it is named."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._nodes: list[Node | None] = []
        # By the identity of the place; the schema keeps every place alive.
        self._places: dict[int, int] = {}
        self._exclusive: list[int] = []

    def shape(self) -> AnswerShape:
        self._read(self._schema, 0)
        shape = AnswerShape(nodes=[node for node in self._nodes if node is not None])
        fault = fault_of(shape)
        if fault is not None:
            raise UnsupportedSchema(f"The schema cannot be used: {fault}")
        if sum(map(len, shape.texts())) > MAXIMUM_CHARACTERS:
            raise UnsupportedSchema(
                f"Names and constants of the schema have more than {MAXIMUM_CHARACTERS} characters"
            )
        if not are_exclusive(shape, self._exclusive):
            raise UnsupportedSchema(
                "The alternatives of a 'oneOf' must begin differently, since exactly one may hold; "
                "use 'anyOf' where several may"
            )
        return shape

    def _read(self, schema: Any, depth: int) -> int:
        """The node of a sub-schema."""
        if depth > MAXIMUM_DEPTH:
            raise UnsupportedSchema(f"The schema is nested deeper than {MAXIMUM_DEPTH} levels")
        schema = self._resolved(schema)
        if schema is True:
            return self._add(Anything())
        if not isinstance(schema, dict):
            raise UnsupportedSchema("A part of the schema is neither an object nor true")
        known = self._places.get(id(schema))
        if known is not None:
            return known
        place = self._places[id(schema)] = self._add(None)
        self._nodes[place] = self._node(schema, place, depth)
        return place

    def _add(self, node: Node | None) -> int:
        if len(self._nodes) >= MAXIMUM_NODES:
            raise UnsupportedSchema(f"The schema has more than {MAXIMUM_NODES} parts")
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _resolved(self, schema: Any) -> Any:
        for _ in range(_LONGEST_CHAIN):
            if not isinstance(schema, dict) or "$ref" not in schema:
                return schema
            _only(schema, {"$ref"}, "beside '$ref'")
            schema = self._target(schema["$ref"])
        raise UnsupportedSchema("A '$ref' leads back to itself")

    def _target(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not re.match(r"#(/|\Z)", reference):
            raise UnsupportedSchema("A '$ref' must lead to a place in this schema, as '#/$defs/x'")
        found: Any = self._schema
        for escaped in reference.split("/")[1:]:
            name = escaped.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or name not in found:
                raise UnsupportedSchema("A '$ref' leads to nothing in this schema")
            found = found[name]
        return found

    def _node(self, schema: dict[str, Any], place: int, depth: int) -> Node:
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                _only(schema, {keyword}, f"beside '{keyword}'")
                if keyword == "oneOf":
                    self._exclusive.append(place)
                return self._choice(schema[keyword], keyword, depth)
        if "const" in schema or "enum" in schema:
            return _constants(schema)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self._several(schema, kind, depth)
        return self._typed(schema, _implied(schema) if kind is None else kind, depth)

    def _typed(self, schema: dict[str, Any], kind: Any, depth: int) -> Node:
        match kind:
            case None:
                _only(schema, set(), "without 'type'")
                return Anything()
            case "object":
                return self._object(schema, depth)
            case "array":
                _only(schema, {"type", *_OF_LISTS}, "in an array")
                minimum, maximum = _bounds(schema, "minItems", "maxItems")
                item = self._read(schema.get("items", True), depth + 1)
                return Items(item=item, minimum=minimum, maximum=maximum)
            case "string":
                return _string(schema)
            case _ if kind in _TYPES:
                _only(schema, {"type"}, f"of type '{kind}'")
                return _scalar(kind)
            case _:
                raise UnsupportedSchema("A 'type' is none of JSON's seven")

    def _choice(self, alternatives: Any, keyword: str, depth: int) -> Choice:
        if not isinstance(alternatives, list) or not 1 <= len(alternatives) <= MAXIMUM_FIELDS:
            raise UnsupportedSchema(f"'{keyword}' must list 1 to {MAXIMUM_FIELDS} alternatives")
        return Choice(nodes=[self._read(one, depth + 1) for one in alternatives])

    def _several(self, schema: dict[str, Any], kinds: list[Any], depth: int) -> Choice:
        """A list of types: each takes the keywords that are about it."""
        if not kinds or any(kind not in _TYPES for kind in kinds) or len({*kinds}) < len(kinds):
            raise UnsupportedSchema("A 'type' must list some of JSON's seven, each once")
        about = {"string": _OF_STRINGS, "array": _OF_LISTS, "object": _OF_OBJECTS}
        understood = set().union(*(about.get(kind, frozenset()) for kind in kinds))
        _only(schema, {"type", *understood}, "beside a list of types")
        nodes = []
        for kind in kinds:
            own = {name: schema[name] for name in about.get(kind, ()) if name in schema}
            place = self._add(None)
            self._nodes[place] = self._typed({"type": kind, **own}, kind, depth)
            nodes.append(place)
        return Choice(nodes=nodes)

    def _object(self, schema: dict[str, Any], depth: int) -> Node:
        _only(schema, {"type", *_OF_OBJECTS}, "in an object")
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        others = schema.get("additionalProperties", True)
        if not isinstance(properties, dict) or len(properties) > MAXIMUM_FIELDS:
            raise UnsupportedSchema(f"'properties' must be an object of at most {MAXIMUM_FIELDS}")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise UnsupportedSchema("'required' must be a list of names")
        if not {*required} <= properties.keys():
            raise UnsupportedSchema("'required' names a property that 'properties' does not have")
        if not properties and others is not False:
            return (
                Anything(object_only=True)
                if others is True
                else Mapping(value=self._read(others, depth + 1))
            )
        # Other properties may be allowed; none are written, which satisfies every schema.
        if not isinstance(others, bool | dict):
            raise UnsupportedSchema("'additionalProperties' must be a schema, true or false")
        return Record(
            fields=[
                Field(name=name, node=self._read(value, depth + 1), required=name in {*required})
                for name, value in properties.items()
            ]
        )


def _only(schema: dict[str, Any], allowed: set[str], where: str) -> None:
    for keyword in schema.keys() - allowed - _DESCRIBING:
        named = f"The keyword '{keyword}'" if _KEYWORD.match(keyword) else "A keyword"
        raise UnsupportedSchema(f"{named} is not supported {where}")


def _implied(schema: dict[str, Any]) -> str | None:
    """The type that is meant where only its keywords are given."""
    for kind, keywords in (("object", _OF_OBJECTS), ("array", _OF_LISTS), ("string", _OF_STRINGS)):
        if schema.keys() & keywords:
            return kind
    return None


def _bounds(schema: dict[str, Any], least: str, most: str) -> tuple[int, int | None]:
    minimum, maximum = schema.get(least, 0), schema.get(most)
    for name, bound in ((least, minimum), (most, maximum)):
        if bound is None and name == most and most not in schema:
            continue
        if type(bound) is not int or not 0 <= bound <= MAXIMUM_REPEATS:
            raise UnsupportedSchema(f"'{name}' must be a whole number from 0 to {MAXIMUM_REPEATS}")
    return minimum, maximum


def _string(schema: dict[str, Any]) -> Text:
    _only(schema, {"type", *_OF_STRINGS}, "in a string")
    form = schema.get("format")
    if form is None:
        minimum, maximum = _bounds(schema, "minLength", "maxLength")
        return Text(minimum=minimum, maximum=maximum)
    if form not in _FORMATS:
        raise UnsupportedSchema(f"A 'format' can be one of {', '.join(_FORMATS)} only")
    if schema.keys() & {"minLength", "maxLength"}:
        raise UnsupportedSchema("A string with a 'format' cannot have bounds of its length")
    return Text(format=form)


def _scalar(kind: str) -> Node:
    match kind:
        case "boolean":
            return Constants(others=["true", "false"])
        case "null":
            return Constants(others=["null"])
        case _:
            return Number(whole=kind == "integer")


def _constants(schema: dict[str, Any]) -> Constants:
    _only(schema, {"type", "const", "enum"}, "beside 'const' or 'enum'")
    values = schema.get("enum", [schema.get("const")])
    if "const" in schema and "enum" in schema:
        raise UnsupportedSchema("'const' and 'enum' cannot stand together")
    if not isinstance(values, list) or not values:
        raise UnsupportedSchema("'enum' must be a list of at least one value")
    # Before any is written: 150,000 numbers fit a body and take a second.
    if len(values) > MAXIMUM_CONSTANTS:
        raise UnsupportedSchema(
            f"An 'enum' has {len(values)} constants, at most {MAXIMUM_CONSTANTS} are allowed"
        )
    kinds = schema.get("type", _TYPES)
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not isinstance(kinds, list | tuple) or any(kind not in _TYPES for kind in kinds):
        raise UnsupportedSchema("A 'type' is none of JSON's seven")
    strings: list[str] = []
    others: list[str] = []
    for value in values:
        if isinstance(value, dict | list):
            raise UnsupportedSchema("'const' and 'enum' may hold no objects and no lists")
        if not _is_of(value, kinds):
            continue
        if isinstance(value, str):
            strings.append(value)
            continue
        written = json.dumps(value)
        if len(written) > LONGEST_NUMBER:
            raise UnsupportedSchema(f"A number has more than {LONGEST_NUMBER} characters")
        others.append(written)
    return Constants(strings=strings, others=others)


def _is_of(value: Any, kinds: list[str] | tuple[str, ...]) -> bool:
    match value:
        case None:
            return "null" in kinds
        case bool():
            return "boolean" in kinds
        case str():
            return "string" in kinds
        case _:
            whole = isinstance(value, int) or value.is_integer()
            return "number" in kinds or (whole and "integer" in kinds)
