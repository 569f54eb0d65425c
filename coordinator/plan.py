"""What a request is made of: chunks, and in which order they are worked on."""

from dataclasses import dataclass, field
from typing import Literal

from peerllm.coordinator.document_task import TaskKind, Turn


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A self-contained sub-task. `needs` are indices of chunks whose answers it is made from.

    `before` parts its answer from the one before where a plan's answers are joined.
    """

    index: int
    kind: Literal["single", "map", "reduce"]
    turns: tuple[Turn, ...] = field(repr=False)
    max_tokens: int
    needs: tuple[int, ...] = ()
    before: str = "\n\n"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The chunks of a request, in an order in which each comes after those it needs.

    `kind` is None for a single chunk.
    """

    chunks: tuple[Chunk, ...]
    kind: TaskKind | None = None
    instruction: str = field(repr=False, default="")

    @property
    def joined(self) -> bool:
        """Whether the parts' answers in order are the answer."""
        return self.kind in ("rewrite", "classify", "extract", "list")

    def levels(self) -> list[list[Chunk]]:
        """Chunks that can be worked on side by side, level after level."""
        level_of: dict[int, int] = {}
        levels: list[list[Chunk]] = []
        for chunk in self.chunks:
            level = 1 + max((level_of[need] for need in chunk.needs), default=-1)
            level_of[chunk.index] = level
            levels += [[]] * (level == len(levels))
            levels[level] = [*levels[level], chunk]
        return levels

    @property
    def final(self) -> Chunk:
        """The chunk whose answer is the request's (the last part where answers are joined)."""
        return self.chunks[-1]
