"""Whether a form of answers can be used: something satisfies it, and reading along stays cheap.

Every shape that `fault_of` lets pass can be written down in the end, and a reader that
follows an answer letter by letter never has to keep more than `MAXIMUM_READINGS` ways of
understanding it in mind. Both matter to the host: its grammars would otherwise run on
forever or grow with every letter.
"""

from collections.abc import Callable, Sequence
from typing import Final

from peerllm.overlay.answer_shape import (
    MAXIMUM_CHARACTERS,
    MAXIMUM_CONSTANTS,
    AnswerShape,
    Anything,
    Choice,
    Constants,
    Items,
    Mapping,
    Node,
    Number,
    Record,
    Text,
    texts_of,
)

# Of all nodes together.
MAXIMUM_PARTS: Final = 1024
MAXIMUM_TOTAL_REPEATS: Final = 8000
# Readings multiply where alternatives cannot be told apart at their beginning. With 64 of
# them a token was checked in 0.2 ms and accepted in at most 8; a second look at 512 tokens took
# at most 23 ms, as long as decoding one or two of a small model.
MAXIMUM_READINGS: Final = 64


def fault_of(shape: AnswerShape) -> str | None:
    """Why no answer can be written in this form, in words that quote nothing; None if it can."""
    nodes = shape.nodes
    parts = [_parts(node) for node in nodes]
    if any(place >= len(nodes) for places in parts for place in places):
        return "a part of it is missing"
    for amount, bound, what in (
        (sum(map(len, parts)), MAXIMUM_PARTS, "properties and alternatives"),
        (sum(map(_constants, nodes)), MAXIMUM_CONSTANTS, "constants"),
        (sum(len(text) for node in nodes for text in texts_of(node)), MAXIMUM_CHARACTERS,
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
