from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerllm.crypto.encoding import decode, encode
from peerllm.overlay import shape_faults
from peerllm.overlay.answer_shape import (
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


def shape(*nodes: Node) -> AnswerShape:
    return AnswerShape(nodes=list(nodes))


def record(**places: int) -> Record:
    return Record(fields=[Field(name=n, node=p, required=True) for n, p in places.items()])


def kind(name: str) -> Constants:
    return Constants(strings=[name])


USABLE = {
    "one of each": shape(
        record(a=1, b=2, c=3, d=4, e=5, f=6), kind("x"), Text(format="date"), Number(), Anything(),
        Items(item=3, minimum=1, maximum=9), Mapping(value=7), Choice(nodes=[3, 1]),
    ),
    "a tree": shape(record(value=1, children=2), Number(), Items(item=0)),
    "an expression": shape(
        Choice(nodes=[1, 2]), record(op=3, left=0, right=0), record(op=4, value=5),
        kind("add"), kind("number"), Number(),
    ),
    "alternatives that begin alike, six deep": shape(
        *(node for at in range(0, 18, 3) for node in
          (Choice(nodes=[at + 1, at + 2]), record(a=at + 3), record(a=at + 3))), Text(),
    ),
}  # fmt: skip

UNUSABLE = {
    "missing": shape(Items(item=1)),
    "items and characters": shape(*[Items(item=5, maximum=2000)] * 5, Text()),
    "properties and alternatives": shape(*[Choice(nodes=[1] * 128)] * 9),
    "constants": shape(*[Constants(others=["1"] * 512)] * 2),
    "characters": shape(*[Constants(strings=["x" * 40_000])] * 2),
    "below its minimum": shape(Text(minimum=3, maximum=2)),
    "no value is left": shape(Constants()),
    "nothing satisfies": shape(
        Record(fields=[Field(name="a", node=1, required=True)] * 2), Number()
    ),
    "leads back to itself": shape(Choice(nodes=[1, 2]), Choice(nodes=[2, 0]), Number()),
    "no answer could ever end": shape(Choice(nodes=[1, 2]), record(again=1), Number()),
    "begin alike": shape(
        Choice(nodes=[1, 2]), record(a=3), record(a=3), Items(item=0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", USABLE)
def test_what_can_be_written_has_no_fault(name: str) -> None:
    assert fault_of(USABLE[name]) is None
    again = decode(encode(USABLE[name]), AnswerShape, maximum_bytes=1 << 20)
    assert again == USABLE[name]


@pytest.mark.parametrize("said", UNUSABLE)
def test_what_cannot_be_written_is_said(said: str) -> None:
    fault = fault_of(UNUSABLE[said])
    assert fault is not None
    assert said in fault


def test_alternatives_that_both_hold_do_not_exclude_each_other() -> None:
    told = shape(Choice(nodes=[1, 2, 3]), kind("a"), kind("b"), Number())
    assert are_exclusive(told, [0])
    assert not are_exclusive(shape(Choice(nodes=[1, 2]), kind("a"), Text()), [0])
    nested = shape(Choice(nodes=[1, 2]), Choice(nodes=[3, 2]), Number(), Text())
    assert not are_exclusive(nested, [0])
    assert not are_exclusive(nested, [1, 0])
    assert are_exclusive(nested, [1])


def test_names_and_constants_are_changed_and_never_shown() -> None:
    secret = shape(record(SECRET=1), Constants(strings=["SECRET", "b"], others=["1"]))
    assert secret.texts() == ["SECRET", "b"]
    assert secret.with_texts(str.lower).texts() == ["secret", "b"]
    assert "SECRET" not in repr(secret) + "".join(map(repr, secret.nodes))


def calls_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    calls: list[object] = []
    original = getattr(shape_faults, name)

    def counted(*arguments: object) -> object:
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(shape_faults, name, counted)
    return calls


REPEATED = {
    "one enum named often": shape(
        *[Choice(nodes=[7] * 128)] * 7, Constants(strings=[str(n) for n in range(512)])
    ),
    "many records that begin with one enum": shape(
        *[Choice(nodes=list(range(7, 134)))] * 7,
        *[record(kind=134)] * 127,
        Constants(strings=[str(n) for n in range(512)]),
    ),
}


@pytest.mark.parametrize("name", REPEATED)
def test_a_pair_of_constants_is_judged_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = calls_counted("disjoint", monkeypatch)
    assert "begin alike" in str(fault_of(REPEATED[name]))
    assert len(judged) == 1
    assert not are_exclusive(REPEATED[name], range(7))
    assert len(judged) == 2


def test_many_exclusive_choices_are_looked_through_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each choice stands after its part: in the order of places, news travels one node a pass.
    chain = shape(Text(), *(Choice(nodes=[place]) for place in range(100)))
    looked_at = calls_counted("_own_openings", monkeypatch)
    assert fault_of(chain) is None
    assert are_exclusive(chain, range(1, 101))
    assert len(looked_at) == 2 * 101


def test_a_long_chain_of_references_is_gone_through_a_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = shape(Text(), *(Choice(nodes=[place]) for place in range(100)))
    original = shape_faults._settled
    asked: list[Node] = []

    def counted(nodes: list[Node], settles: Callable[[Node, set[int]], bool]) -> set[int]:
        return original(nodes, lambda node, done: asked.append(node) or settles(node, done))

    monkeypatch.setattr(shape_faults, "_settled", counted)
    assert fault_of(chain) is None
    # Whether a choice leads back to itself, and whether an answer can end.
    assert len(asked) == 2 * 101


PLACES = st.integers(0, 7)
NODES = st.one_of(
    st.builds(Constants, others=st.lists(st.sampled_from(["1", "null"]), max_size=2)),
    st.builds(Text, minimum=st.integers(0, 2)),
    st.builds(Items, item=PLACES, minimum=st.integers(0, 1)),
    st.builds(Choice, nodes=st.lists(PLACES, min_size=1, max_size=3)),
    st.lists(st.tuples(PLACES, st.booleans()), max_size=3).map(
        lambda fields: Record(
            fields=[Field(name=str(n), node=p, required=r) for n, (p, r) in enumerate(fields)]
        )
    ),
)


def least(nodes: list[Node], place: int, depth: int) -> bool:
    """Whether an answer of at most this depth exists."""
    match nodes[place]:
        case _ if depth == 0:
            return False
        case Items(item=item, minimum=minimum):
            return minimum == 0 or least(nodes, item, depth - 1)
        case Record(fields=fields):
            return all(least(nodes, f.node, depth - 1) for f in fields if f.required)
        case Choice(nodes=places):
            return any(least(nodes, one, depth - 1) for one in places)
        case Constants(strings=strings, others=others):
            return bool(strings or others)
        case _:
            return True


@given(st.lists(NODES, min_size=8, max_size=8))
def test_every_part_of_a_usable_shape_can_be_written(nodes: list[Node]) -> None:
    if fault_of(AnswerShape(nodes=nodes)) is None:
        assert all(least(nodes, place, 8) for place in range(8))
