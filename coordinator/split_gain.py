"""Whether parts side by side are answered sooner than the whole, as far as that can be foretold.

Each part costs its own reading and writing, and what condenses them costs more on top: with one
host, or two, most documents are answered later in parts (`docs/chunking.md`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from peerllm.coordinator.document_task import TaskKind

# One core of a home machine reads and writes the embedded model at about these rates, in tokens a
# second. Larger models are slower in both; what counts here is how one compares with the other.
READ_PER_SECOND = 150.0
WRITE_PER_SECOND = 80.0
# What an answer is taken to hold: shares of the text, or tokens. Nobody knows beforehand.
WRITTEN_SHARE: dict[TaskKind, float] = {"rewrite": 1.0, "classify": 0.1, "extract": 0.1}
NOTE_TOKENS: dict[TaskKind, int] = {"summarise": 96, "question": 24}
ANSWER_TOKENS: dict[TaskKind, int] = {"summarise": 256, "question": 48}
# Cutting loses some of the facts that a whole reading keeps, and the foretelling is rough: a
# smaller gain than this is not worth it.
LEAST_GAIN = 1.2


@dataclass(frozen=True)
class Work:
    """Tokens that a host reads and writes for one chunk."""

    read: int
    written: int

    @property
    def seconds(self) -> float:
        """At the assumed rates."""
        return self.read / READ_PER_SECOND + self.written / WRITE_PER_SECOND


def written_for(kind: TaskKind, text_tokens: int, *, note: bool) -> int:
    """Tokens that are written for a text of so many: a note on it, or the answer."""
    if kind in WRITTEN_SHARE:
        return int(WRITTEN_SHARE[kind] * text_tokens)
    return (NOTE_TOKENS if note else ANSWER_TOKENS)[kind]


def pays(whole: Work, levels: Sequence[Sequence[Work]], at_once: int) -> bool:
    """Whether the levels, one after the other, take enough less time than the whole.

    Within a level `at_once` chunks are worked on side by side.
    """
    return whole.seconds >= LEAST_GAIN * sum(_level_seconds(level, at_once) for level in levels)


def _level_seconds(level: Sequence[Work], at_once: int) -> float:
    seconds = [work.seconds for work in level]
    rounds = -(-len(seconds) // max(1, at_once))
    return rounds * sum(seconds) / len(seconds)
