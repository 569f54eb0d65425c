from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from toy_safety import MARK, NAME, WordFinder, toy_judge
from trio.testing import MockClock

from peerllm.coordinator.release import ReleaseGate
from peerllm.safety.judge import Verdict
from peerllm.safety.vault import Vault

PROSE = "the quick brown fox jumps over the lazy dog and then it rests for a while "


@dataclass
class Customer:
    """Receives what the gate releases."""

    names: str = ""
    pieces: list[str] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)
    refusals: int = 0

    def __post_init__(self) -> None:
        self.vault = Vault(WordFinder())
        self.vault.prepare([self.names])
        self.hidden = self.vault.remove(self.names)
        self.gate = ReleaseGate(
            judging=self.judge,
            vault=self.vault,
            release=self.take,
            on_refusal=self.refuse,
        )

    @property
    def seen(self) -> str:
        return "".join(self.pieces)

    async def judge(self, text: str) -> Verdict:
        self.judged.append(text)
        return toy_judge().judge(text)

    async def take(self, text: str) -> None:
        assert text
        self.pieces.append(text)

    def refuse(self) -> None:
        self.refusals += 1


async def test_safe_text_is_released_in_windows_and_whole_in_the_end() -> None:
    customer = Customer()
    text = PROSE * 12
    for word in text.split(" "):
        await customer.gate.push(word + " ")
    before_the_end = len(customer.pieces)
    await customer.gate.finish()
    assert before_the_end > 2
    assert customer.seen.strip() == text.strip()
    assert customer.judged[-1].strip() == text.strip()


@pytest.mark.parametrize("before", [0, 5, 50, 100])
async def test_nothing_unsafe_leaves(before: int) -> None:
    customer = Customer()
    await customer.gate.push("word " * before)
    await customer.gate.push(f"now {MARK} and more ")
    await customer.gate.push("word " * 100)
    await customer.gate.finish()
    assert customer.gate.refusal is not None
    assert customer.refusals == 1
    assert MARK not in customer.seen
    assert set(customer.seen.split()) <= {"word"}


async def test_after_a_refusal_everything_is_dropped_unjudged() -> None:
    customer = Customer()
    await customer.gate.push(f"{MARK} " + "word " * 40)
    count = len(customer.judged)
    await customer.gate.push(PROSE * 10)
    await customer.gate.finish()
    assert len(customer.judged) == count
    assert customer.seen == ""
    assert customer.refusals == 1


async def test_what_is_unsafe_only_as_a_whole_keeps_its_end() -> None:
    customer = Customer()
    first, second = MARK[:4], MARK[4:]

    async def judge_whole(text: str) -> Verdict:
        unsafe = first in text and second in text
        return Verdict(not unsafe, "violence", 900, 1)

    gate = ReleaseGate(
        judging=judge_whole,
        vault=customer.vault,
        release=customer.take,
        on_refusal=customer.refuse,
    )
    await gate.push(first + " " + PROSE * 20)
    await gate.push(second)
    await gate.finish()
    assert gate.refusal is not None
    assert second not in customer.seen


@pytest.mark.parametrize(("words_per_second", "most"), [(5, 20), (400, 120)])
async def test_a_fast_stream_is_judged_in_larger_windows(
    words_per_second: int, most: int, autojump_clock: MockClock
) -> None:
    customer = Customer()
    judging_seconds = 0.05

    async def judge(text: str) -> Verdict:
        await trio.sleep(judging_seconds)
        return await customer.judge(text)

    gate = ReleaseGate(
        judging=judge, vault=customer.vault, release=customer.take, on_refusal=customer.refuse
    )
    for _ in range(500):
        await trio.sleep(1 / words_per_second)
        await gate.push("word ")
    sizes = [len(piece.split()) for piece in customer.pieces]
    assert sizes[0] == 12
    assert sizes[-1] == most


async def test_identifiers_are_restored_though_a_piece_tears_the_placeholder() -> None:
    customer = Customer(names=f"Dear {NAME}, hello.")
    assert NAME not in customer.hidden
    for character in customer.hidden:
        await customer.gate.push(character)
    await customer.gate.finish()
    assert customer.seen == f"Dear {NAME}, hello."
    # Judged is what the host said, not whom it was about.
    assert all(NAME not in text for text in customer.judged)


async def test_an_empty_answer_releases_nothing() -> None:
    customer = Customer()
    await customer.gate.finish()
    assert customer.pieces == []
    assert customer.gate.refusal is None


@given(
    st.lists(st.sampled_from(["a ", MARK, " b", "\n", MARK[:4], MARK[4:], "c" * 90]), max_size=30)
)
async def test_in_any_stream_the_released_part_is_safe_and_a_beginning(pieces: list[str]) -> None:
    customer = Customer()
    for piece in pieces:
        await customer.gate.push(piece)
    await customer.gate.finish()
    assert "".join(pieces).startswith(customer.seen)
    assert MARK not in customer.seen
    if MARK not in "".join(pieces):
        assert customer.seen == "".join(pieces)
