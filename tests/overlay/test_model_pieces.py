import hashlib
import io
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerllm.overlay import model_pieces
from peerllm.overlay.model_pieces import (
    DOUBLE_AFTER_SECONDS,
    PIECES_ON_THE_WAY,
    Assembly,
    ModelFacts,
    PieceList,
    pieces_in,
    read_list,
    summarise,
)

SMALL = 8


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    # The rules do not depend on the size, the time of a thousand files does.
    monkeypatch.setattr(model_pieces, "PIECE_BYTES", SMALL)


def file_of(count: int, tail: int = SMALL) -> bytes:
    return Random(count).randbytes((count - 1) * SMALL + tail)


def facts_of(content: bytes) -> tuple[ModelFacts, PieceList]:
    return summarise(io.BytesIO(content).read)


def begun(count: int = 4, held: tuple[int, ...] = ()) -> Assembly:
    facts, pieces = facts_of(file_of(count))
    assembly = Assembly(facts)
    assembly.begin(pieces, held)
    return assembly


def right(assembly: Assembly, index: int) -> bytes:
    assert assembly.pieces is not None
    return assembly.pieces.hash_of(index)


@given(st.binary(min_size=1, max_size=5 * SMALL))
def test_a_file_is_summarised_in_one_pass(content: bytes) -> None:
    facts, pieces = facts_of(content)
    assert facts.digest == hashlib.sha256(content).digest()
    assert facts.file_bytes == len(content)
    assert pieces.count == pieces_in(len(content))
    start = 0
    for index in range(pieces.count):
        piece = content[start : start + pieces.bytes_of(index)]
        assert pieces.hash_of(index) == hashlib.sha256(piece).digest()
        start += len(piece)
    assert start == len(content)
    assert read_list(pieces.hashes, facts) == pieces


def test_what_no_host_could_fetch_is_not_vouched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="not empty"):
        facts_of(b"")
    monkeypatch.setattr(model_pieces, "MAXIMUM_MODEL_BYTES", 2 * SMALL)
    facts_of(file_of(2))
    with pytest.raises(ValueError, match="at most 16 bytes"):
        facts_of(file_of(3, tail=1))


@given(st.data())
def test_no_other_list_passes(data: st.DataObject) -> None:
    facts, pieces = facts_of(file_of(3))
    hashes = bytearray(pieces.hashes)
    kind = data.draw(st.sampled_from(["flip", "cut", "more"]))
    if kind == "flip":
        hashes[data.draw(st.integers(0, len(hashes) - 1))] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del hashes[data.draw(st.integers(0, len(hashes) - 1)) :]
    else:
        hashes += data.draw(st.binary(min_size=1, max_size=64))
    assert read_list(bytes(hashes), facts) is None
    assembly = Assembly(facts)
    assert assembly.offer_list("liar", bytes(hashes)) is None
    assert assembly.offer_list("honest", pieces.hashes) == pieces
    assert assembly.liars == {"liar"}


def test_a_holder_has_few_pieces_on_the_way_and_no_piece_is_asked_twice() -> None:
    assembly = begun(5)
    asked = [assembly.assign(holder, 0.0) for holder in "ab" * (PIECES_ON_THE_WAY + 1)]
    assert asked == [0, 1, 2, 3, None, None]
    assert assembly.receive("b", 1, right(assembly, 1)) == "store"
    # Only a piece that is on disk counts.
    assert assembly.stored_bytes == 0
    assembly.stored(1)
    assert assembly.stored_bytes == SMALL
    assert assembly.assign("b", 0.0) == 4


def test_what_a_lost_holder_leaves_goes_to_others() -> None:
    assembly = begun(3)
    assert [assembly.assign("a", 0.0) for _ in range(2)] == [0, 1]
    assert assembly.assign("b", 0.0) == 2
    assembly.leave("a")
    assert assembly.assign("b", 0.0) == 0
    assert assembly.receive("a", 0, right(assembly, 0)) == "unasked"


def test_a_liar_is_never_asked_again_and_its_piece_is_missing_as_before() -> None:
    assembly = begun(2)
    assert assembly.assign("a", 0.0) == 0
    assert assembly.receive("a", 0, bytes(32)) == "lie"
    assert assembly.liars == {"a"}
    assert assembly.assign("a", 0.0) is None
    assert assembly.assign("b", 0.0) == 0


def test_a_piece_that_could_not_be_written_is_asked_for_again() -> None:
    assembly = begun(1)
    assert assembly.assign("a", 0.0) == 0
    assert assembly.receive("a", 0, right(assembly, 0)) == "store"
    # While it is written nobody is asked for it.
    assert assembly.assign("b", 100.0) is None
    assembly.not_stored(0)
    assert assembly.assign("b", 100.0) == 0


def test_near_the_end_a_slow_holder_is_not_waited_for() -> None:
    assembly = begun(1)
    assert assembly.assign("slow", 0.0) == 0
    assert assembly.assign("quick", DOUBLE_AFTER_SECONDS - 1) is None
    assert assembly.assign("quick", DOUBLE_AFTER_SECONDS) == 0
    # Two at most.
    assert assembly.assign("third", 1000.0) is None
    assert assembly.receive("quick", 0, right(assembly, 0)) == "store"
    assembly.stored(0)
    assert assembly.is_complete
    assert assembly.receive("slow", 0, right(assembly, 0)) == "surplus"
    assert assembly.assign("third", 1000.0) is None


def test_a_late_lie_is_a_lie() -> None:
    assembly = begun(1)
    assembly.assign("slow", 0.0)
    assembly.assign("quick", DOUBLE_AFTER_SECONDS)
    assembly.receive("quick", 0, right(assembly, 0))
    assembly.stored(0)
    assert assembly.receive("slow", 0, bytes(32)) == "lie"
    assert assembly.is_complete


def test_only_what_is_not_held_is_asked_for() -> None:
    assembly = begun(4, held=(0, 2))
    assert assembly.stored_bytes == 2 * SMALL
    assert [assembly.assign("a", 0.0) for _ in range(3)] == [1, 3, None]
    assert begun(2, held=(0, 1)).is_complete


@dataclass
class Simulated:
    """A holder with its ways; `asked` are the pieces it owes."""

    name: str
    ways: str  # honest, liar, false_list, deaf, vanishing
    life: int
    asked: list[int] = field(default_factory=list)
    gone: bool = False


class Simulation:
    """A fetch in which everything happens in an order that the seed decides."""

    def __init__(self, content: bytes, ways: list[str], held: set[int], seed: int) -> None:
        self.content, self.random, self.now = content, Random(seed), 0.0
        self.facts, self.pieces = facts_of(content)
        self.assembly = Assembly(self.facts)
        self.disk = {index: self.piece(index) for index in held if index < self.pieces.count}
        self.holders = [
            Simulated(str(number), way, self.random.randrange(8)) for number, way in enumerate(ways)
        ]
        self.lied: set[str] = set()

    def piece(self, index: int) -> bytes:
        return self.content[index * SMALL :][:SMALL]

    def step(self) -> bool:
        self.now += self.random.random()
        present = [
            holder
            for holder in self.holders
            if not holder.gone and holder.name not in self.assembly.liars
        ]
        if self.assembly.is_complete or not present:
            return False
        holder = self.random.choice(present)
        if self.assembly.pieces is None:
            self.give_list(holder)
        else:
            self.ask(holder)
        return True

    def give_list(self, holder: Simulated) -> None:
        hashes = self.pieces.hashes
        if holder.ways == "false_list":
            hashes = bytes(len(hashes))
            self.lied.add(holder.name)
        if (found := self.assembly.offer_list(holder.name, hashes)) is not None:
            self.assembly.begin(found, self.disk)

    def ask(self, holder: Simulated) -> None:
        if (index := self.assembly.assign(holder.name, self.now)) is not None:
            holder.asked.append(index)
        # A deaf one is given up, sooner or later.
        patience_ends = holder.ways == "deaf" and self.random.random() < 0.1
        if patience_ends or (holder.ways == "vanishing" and holder.life == 0):
            self.assembly.leave(holder.name)
            holder.gone = True
        elif holder.asked and holder.ways != "deaf" and self.random.random() < 0.7:
            self.give_piece(holder)

    def give_piece(self, holder: Simulated) -> None:
        holder.life -= 1
        index = holder.asked.pop(self.random.randrange(len(holder.asked)))
        piece = self.piece(index)
        if holder.ways == "liar" and self.random.random() < 0.5:
            self.lied.add(holder.name)
            piece += b"!"
        match self.assembly.receive(holder.name, index, hashlib.sha256(piece).digest()):
            case "store" if self.random.random() < 0.1:
                self.assembly.not_stored(index)
            case "store":
                self.disk[index] = piece
                self.assembly.stored(index)
            case "lie":
                self.assembly.leave(holder.name)


WAYS = st.sampled_from(["honest", "liar", "false_list", "deaf", "vanishing"])


@settings(max_examples=200, deadline=None)
@given(
    content=st.builds(file_of, st.integers(1, 12), st.integers(1, SMALL)),
    ways=st.lists(WAYS, min_size=1, max_size=6),
    held=st.sets(st.integers(0, 11)),
    seed=st.integers(0, 2**32),
)
def test_one_honest_holder_is_enough_and_every_lie_is_known_by_its_liar(
    content: bytes, ways: list[str], held: set[int], seed: int
) -> None:
    fetch = Simulation(content, ways, held, seed)
    while fetch.step():
        pass
    # Nobody is blamed who did not lie, and nobody who lied goes unnoticed.
    assert fetch.assembly.liars == fetch.lied
    if fetch.assembly.is_complete:
        assert b"".join(fetch.disk[index] for index in sorted(fetch.disk)) == content
    else:
        assert "honest" not in ways
