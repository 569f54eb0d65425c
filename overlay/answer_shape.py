"""The form that an answer must have: what a customer's JSON schema comes to on the wire.

A flat list of nodes that name each other by their place in it, the first being the whole
answer. So nothing nests, whatever the schema did, and what refers to itself is a plain cycle.

Every shape that `fault_of` lets pass can be written down in the end, and a reader that
follows an answer letter by letter never has to keep more than `MAXIMUM_READINGS` ways of
understanding it in mind. Both matter to the host: its grammars would otherwise run on
forever or grow with every letter.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

MAXIMUM_NODES: Final = 512
MAXIMUM_FIELDS: Final = 128
# Of all nodes together.
MAXIMUM_PARTS: Final = 1024
MAXIMUM_CONSTANTS: Final = 512
# A repetition is unrolled where it is bounded: the grammar grows with the bound, 60 bytes each.
MAXIMUM_REPEATS: Final = 2000
MAXIMUM_TOTAL_REPEATS: Final = 8000
# Of all names and constants: what a grammar of a few hundred kilobytes still holds.
MAXIMUM_CHARACTERS: Final = 16_384
# Readings multiply where alternatives cannot be told apart at their beginning. With 64 of
# them a token still costs less than decoding it.
MAXIMUM_READINGS: Final = 64

_Place = Annotated[int, Meta(ge=0, lt=MAXIMUM_NODES)]
_Bound = Annotated[int, Meta(ge=0, le=MAXIMUM_REPEATS)]
_String = Annotated[str, Meta(max_length=MAXIMUM_CHARACTERS)]
# A number, true, false or null as JSON writes it.
_Plain = Annotated[
    str,
    Meta(
        max_length=330,
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
        return list(dict.fromkeys(chain.from_iterable(map(_texts, self.nodes))))

    def with_texts(self, change: Callable[[str], str]) -> "AnswerShape":
        """The same with every name and string constant changed."""
        return AnswerShape(nodes=[_changed(node, change) for node in self.nodes])


def fault_of(shape: AnswerShape) -> str | None:
    """Why no answer can be written in this form, in words that quote nothing; None if it can."""
    nodes = shape.nodes
    parts = [_parts(node) for node in nodes]
    if any(place >= len(nodes) for places in parts for place in places):
        return "a part of it is missing"
    for amount, bound, what in (
        (sum(map(len, parts)), MAXIMUM_PARTS, "properties and alternatives"),
        (sum(map(_constants, nodes)), MAXIMUM_CONSTANTS, "constants"),
        (sum(len(text) for node in nodes for text in _texts(node)), MAXIMUM_CHARACTERS,
         "characters in names and constants"),
        (sum(map(_repeats, nodes)), MAXIMUM_TOTAL_REPEATS, "items and characters asked for"),
    ):  # fmt: skip
        if amount > bound:
            return f"it has {amount} {what}, at most {bound} are allowed"
    if any(map(_is_empty, nodes)):
        return "nothing satisfies a part of it: a maximum is below its minimum, or no value is left"
    if _chooses_itself(nodes):
        return "a choice in it leads back to itself"
    if not _can_end(nodes):
        return "it needs itself as a part, so that no answer could ever end"
    if _readings(nodes) > MAXIMUM_READINGS:
        return (
            "too many alternatives in it begin alike: let each object of a choice begin with "
            "a required property that has a constant of its own"
        )
    return None


def is_exclusive(shape: AnswerShape, place: int) -> bool:
    """Whether the alternatives of the choice at `place` exclude each other."""
    nodes = shape.nodes
    openings = _openings(nodes)
    alternatives = _parts(nodes[place])
    return not any(
        _alike(nodes, openings, one, other)
        for number, one in enumerate(alternatives)
        for other in alternatives[:number]
    )


def _texts(node: Node) -> Iterator[str]:
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


def _parts(node: Node) -> list[int]:
    match node:
        case Items(item=place) | Mapping(value=place):
            return [place]
        case Record(fields=fields):
            return [field.node for field in fields]
        case Choice(nodes=nodes):
            return nodes
        case _:
            return []


def _constants(node: Node) -> int:
    return len(node.strings) + len(node.others) if isinstance(node, Constants) else 0


def _repeats(node: Node) -> int:
    match node:
        case Text(minimum=minimum, maximum=maximum) | Items(minimum=minimum, maximum=maximum):
            return minimum if maximum is None else maximum
        case _:
            return 0


def _is_empty(node: Node) -> bool:
    match node:
        case Text(minimum=minimum, maximum=maximum) | Items(minimum=minimum, maximum=maximum):
            return maximum is not None and maximum < minimum
        case Constants(strings=strings, others=others):
            return not strings and not others
        case Record(fields=fields):
            return len({field.name for field in fields}) < len(fields)
        case _:
            return False


def _settled(nodes: Sequence[Node], settles: Callable[[Node, set[int]], bool]) -> set[int]:
    """The places that `settles` says yes to, given those that settled before."""
    settled: set[int] = set()
    while True:
        before = len(settled)
        # Backwards: parts mostly stand after what they are parts of.
        for place in range(len(nodes) - 1, -1, -1):
            if place not in settled and settles(nodes[place], settled):
                settled.add(place)
        if len(settled) == before:
            return settled


def _chooses_itself(nodes: Sequence[Node]) -> bool:
    """Whether some choice is among its own alternatives, directly or through other choices."""

    def leads_out(node: Node, settled: set[int]) -> bool:
        return not isinstance(node, Choice) or all(place in settled for place in node.nodes)

    return len(_settled(nodes, leads_out)) < len(nodes)


def _can_end(nodes: Sequence[Node]) -> bool:
    """Whether every form is satisfied by something finite.

    Every one, not only the first: a choice of something endless would lure a model in.
    """

    def ends(node: Node, ending: set[int]) -> bool:
        match node:
            case Items(item=item, minimum=minimum):
                return minimum == 0 or item in ending
            case Record(fields=fields):
                return all(field.node in ending for field in fields if field.required)
            case Choice(nodes=alternatives):
                return any(place in ending for place in alternatives)
            case _:
                return True

    return len(_settled(nodes, ends)) == len(nodes)


def _readings(nodes: Sequence[Node]) -> int:
    """The most ways of understanding an answer's beginning at once, or one beyond the bound."""
    openings = _openings(nodes)
    factors = [
        [sum(_alike(nodes, openings, one, other) for other in node.nodes) for one in node.nodes]
        if isinstance(node, Choice)
        else [1] * len(_parts(node))
        for node in nodes
    ]
    readings = [1] * len(nodes)
    while True:
        before = list(readings)
        for place in range(len(nodes) - 1, -1, -1):
            for factor, part in zip(factors[place], _parts(nodes[place]), strict=True):
                readings[place] = max(readings[place], factor * readings[part])
            # A circle with a factor above 1 grows beyond every bound.
            if readings[place] > MAXIMUM_READINGS:
                return readings[place]
        if readings == before:
            return max(readings)


def _openings(nodes: Sequence[Node]) -> list[set[str]]:
    """For every node the kinds of first character, in a shape without circles of choices."""
    found = [_own_openings(node) for node in nodes]
    changed = True
    while changed:
        changed = False
        for place in range(len(nodes) - 1, -1, -1):
            node = nodes[place]
            if isinstance(node, Choice):
                united = set().union(*(found[one] for one in node.nodes))
                changed = changed or united != found[place]
                found[place] = united
    return found


def _own_openings(node: Node) -> set[str]:
    match node:
        case Constants(strings=strings, others=others):
            quote = {'"'} if strings else set()
            return quote | {"0" if text[0] in "-0123456789" else text[0] for text in others}
        case Text():
            return {'"'}
        case Number():
            return {"0"}
        case Items():
            return {"["}
        case Record() | Mapping() | Anything(object_only=True):
            return {"{"}
        case Choice():
            return set()
        case Anything():
            return {'"', "0", "[", "{", "t", "f", "n"}


def _alike(nodes: Sequence[Node], openings: list[set[str]], first: int, second: int) -> bool:
    """Whether two forms can begin alike for longer than a name or a constant."""
    one, other = nodes[first], nodes[second]
    if isinstance(one, Record) and isinstance(other, Record):
        return not _differ_at_once(nodes, one, other)
    if isinstance(one, Constants) and isinstance(other, Constants):
        return not _disjoint(one, other)
    return bool(openings[first] & openings[second])


def _differ_at_once(nodes: Sequence[Node], one: Record, other: Record) -> bool:
    if not one.fields or not other.fields:
        return False
    first, second = one.fields[0], other.fields[0]
    if not first.required or not second.required:
        return False
    if first.name != second.name:
        return True
    marks = nodes[first.node], nodes[second.node]
    return (
        isinstance(marks[0], Constants)
        and isinstance(marks[1], Constants)
        and _disjoint(marks[0], marks[1])
    )


def _disjoint(one: Constants, other: Constants) -> bool:
    return not {*one.strings} & {*other.strings} and not {*one.others} & {*other.others}
