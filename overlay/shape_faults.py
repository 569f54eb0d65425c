"""Whether a form of answers can be used: something satisfies it, and reading along stays cheap.

Every shape that `fault_of` lets pass can be written down in the end, and a reader that
follows an answer letter by letter never has to keep more than `MAXIMUM_READINGS` ways of
understanding it in mind. Both matter to the host: its grammars would otherwise run on
forever or grow with every letter.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
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


def are_exclusive(shape: AnswerShape, places: Sequence[int]) -> bool:
    """Whether the alternatives of each choice at these places exclude each other."""
    nodes = shape.nodes
    pairs = _Pairs(nodes)
    return not any(
        pairs.are_alike(one, other)
        for place in places
        for one, other in combinations(_parts(nodes[place]), 2)
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


def _parts_first(nodes: Sequence[Node]) -> list[int]:
    """All places, each after its parts as far as circles allow.

    Whoever goes through a shape again until nothing changes is through at the second time
    then; in the order of the places, references could make it one time for every node.
    """
    order: list[int] = []
    seen: set[int] = set()
    to_do = [(place, False) for place in range(len(nodes))]
    while to_do:
        place, parts_are_done = to_do.pop()
        if parts_are_done:
            order.append(place)
        elif place not in seen:
            seen.add(place)
            to_do.append((place, True))
            to_do.extend((part, False) for part in _parts(nodes[place]))
    return order


def _settled(nodes: Sequence[Node], settles: Callable[[Node, set[int]], bool]) -> set[int]:
    """The places that `settles` says yes to, given those that settled before."""
    settled: set[int] = set()
    order = _parts_first(nodes)
    while True:
        before = len(settled)
        for place in order:
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
    pairs = _Pairs(nodes)
    factors = [
        [sum(pairs.are_alike(one, other) for other in node.nodes) for one in node.nodes]
        if isinstance(node, Choice)
        else [1] * len(_parts(node))
        for node in nodes
    ]
    readings = [1] * len(nodes)
    order = _parts_first(nodes)
    while True:
        before = list(readings)
        for place in order:
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
    order = _parts_first(nodes)
    changed = True
    while changed:
        changed = False
        for place in order:
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


class _Pairs:
    """Which forms of a shape can begin alike.

    Remembered by their places: a schema of 25 KB can name one enum of 511 values a thousand
    times, which are 127,000 pairs of alternatives and one of places.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._openings = _openings(nodes)
        self._alike: dict[tuple[int, int], bool] = {}
        self._disjoint: dict[tuple[int, int], bool] = {}

    def are_alike(self, first: int, second: int) -> bool:
        """Whether two forms can begin alike for longer than a name or a constant."""
        pair = (first, second) if first <= second else (second, first)
        known = self._alike.get(pair)
        if known is None:
            known = self._alike[pair] = self._judge(*pair)
        return known

    def _judge(self, first: int, second: int) -> bool:
        one, other = self._nodes[first], self._nodes[second]
        if isinstance(one, Record) and isinstance(other, Record):
            return not self._differ_at_once(one, other)
        if isinstance(one, Constants) and isinstance(other, Constants):
            return not self._exclude(first, second)
        return bool(self._openings[first] & self._openings[second])

    def _differ_at_once(self, one: Record, other: Record) -> bool:
        if not one.fields or not other.fields:
            return False
        first, second = one.fields[0], other.fields[0]
        if not first.required or not second.required:
            return False
        return first.name != second.name or self._exclude(first.node, second.node)

    def _exclude(self, first: int, second: int) -> bool:
        """Whether both are constants without a common one."""
        pair = (first, second) if first <= second else (second, first)
        known = self._disjoint.get(pair)
        if known is None:
            one, other = self._nodes[first], self._nodes[second]
            known = self._disjoint[pair] = (
                isinstance(one, Constants) and isinstance(other, Constants) and disjoint(one, other)
            )
        return known


def disjoint(one: Constants, other: Constants) -> bool:
    """Whether no constant is in both."""
    return not {*one.strings} & {*other.strings} and not {*one.others} & {*other.others}
