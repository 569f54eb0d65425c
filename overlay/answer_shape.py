"""The form that an answer must have: what a customer's JSON schema comes to on the wire.

A flat list of nodes that name each other by their place in it, the first being the whole
answer. So nothing nests, whatever the schema did, and what refers to itself is a plain cycle.

Types and bounds only; whether an answer can have such a form says
`peerllm.overlay.shape_faults`.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

MAXIMUM_NODES: Final = 512
MAXIMUM_FIELDS: Final = 128
MAXIMUM_CONSTANTS: Final = 512
# A bounded repetition is unrolled: the grammar grows with its bound. The library allows 2000.
MAXIMUM_REPEATS: Final = 2000
# Of all names and constants: they stand in the grammar, which is read letter by letter.
MAXIMUM_CHARACTERS: Final = 65_536

# More digits than a 64-bit number has.
LONGEST_NUMBER: Final = 32

_Place = Annotated[int, Meta(ge=0, lt=MAXIMUM_NODES)]
_Bound = Annotated[int, Meta(ge=0, le=MAXIMUM_REPEATS)]
_String = Annotated[str, Meta(max_length=MAXIMUM_CHARACTERS)]
# A number, true, false or null as JSON writes it.
_Plain = Annotated[
    str,
    Meta(
        max_length=LONGEST_NUMBER,
        pattern=r"\A(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null)\Z",
    ),
]

TextFormat = Literal["", "date", "time", "date-time", "uuid"]


class _Confidential(msgspec.Struct, frozen=True, kw_only=True):
    """Names and constants are a customer's words: no repr shows them."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<hidden>)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Constants(_Confidential, frozen=True, kw_only=True, tag="constants"):
    """One of these: strings by what they say, everything else as JSON writes it."""

    strings: Annotated[list[_String], Meta(max_length=MAXIMUM_CONSTANTS)] = []
    others: Annotated[list[_Plain], Meta(max_length=MAXIMUM_CONSTANTS)] = []


class Text(_Confidential, frozen=True, kw_only=True, tag="text"):
    """A string of so many characters; a `format` fixes its length and ignores the bounds."""

    minimum: _Bound = 0
    maximum: _Bound | None = None
    format: TextFormat = ""


class Number(_Confidential, frozen=True, kw_only=True, tag="number"):
    """A number, perhaps a whole one."""

    whole: bool = False


class Anything(_Confidential, frozen=True, kw_only=True, tag="anything"):
    """Any JSON value, or any object."""

    object_only: bool = False


class Items(_Confidential, frozen=True, kw_only=True, tag="items"):
    """A list of so many items of one form."""

    item: _Place
    minimum: _Bound = 0
    maximum: _Bound | None = None


class Field(_Confidential, frozen=True, kw_only=True):
    """A property of an object."""

    name: _String
    node: _Place
    required: bool


class Record(_Confidential, frozen=True, kw_only=True, tag="record"):
    """An object with these properties, in this order, and no others."""

    fields: Annotated[list[Field], Meta(max_length=MAXIMUM_FIELDS)]


class Mapping(_Confidential, frozen=True, kw_only=True, tag="mapping"):
    """An object whose properties have any name and values of one form."""

    value: _Place


class Choice(_Confidential, frozen=True, kw_only=True, tag="choice"):
    """One of these forms."""

    nodes: Annotated[list[_Place], Meta(min_length=1, max_length=MAXIMUM_FIELDS)]


Node = Constants | Text | Number | Anything | Items | Record | Mapping | Choice


class AnswerShape(_Confidential, frozen=True, kw_only=True):
    """The form of a whole answer. Only one that `fault_of` finds nothing against is used."""

    nodes: Annotated[list[Node], Meta(min_length=1, max_length=MAXIMUM_NODES)]

    def texts(self) -> list[str]:
        """Every name and string constant in it: a customer's words."""
        return list(dict.fromkeys(chain.from_iterable(map(texts_of, self.nodes))))

    def with_texts(self, change: Callable[[str], str]) -> "AnswerShape":
        """The same with every name and string constant changed."""
        return AnswerShape(nodes=[_changed(node, change) for node in self.nodes])


def texts_of(node: Node) -> Iterator[str]:
    """Names and string constants of one node."""
    match node:
        case Constants(strings=strings):
            yield from strings
        case Record(fields=fields):
            yield from (field.name for field in fields)


def _changed(node: Node, change: Callable[[str], str]) -> Node:
    match node:
        case Constants(strings=strings, others=others):
            return Constants(strings=[change(text) for text in strings], others=others)
        case Record(fields=fields):
            return Record(
                fields=[
                    Field(name=change(field.name), node=field.node, required=field.required)
                    for field in fields
                ]
            )
        case _:
            return node
