"""What a stronger judge is: one interface, how it fails, and when asking again is worth it.

Pure, but for the protocol. Texts given to a stronger judge hold placeholders in the place of
identifiers.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

Role = Literal["prompt", "answer"]
FailureKind = Literal[
    "timeout", "unreachable", "busy", "server_error", "refused", "malformed", "too_long"
]

# The same text may well be judged a second later; what was refused or not understood may not.
_WORTH_ASKING_AGAIN: Final = frozenset({"timeout", "unreachable", "busy", "server_error"})
# Two or three attempts fit the seconds that a customer waits.
FIRST_PAUSE_SECONDS: Final = 0.25
# A piece begins with the end of the one before, so that nothing unsafe hides in a cut.
OVERLAP_CHARACTERS: Final = 400
MAXIMUM_PIECES: Final = 16


@dataclass(frozen=True, kw_only=True)
class JudgeFailure:
    """A stronger judge gave no opinion. Never holds what was sent or what came back."""

    kind: FailureKind
    retry_after_seconds: float | None = None

    @property
    def is_passing(self) -> bool:
        """Whether the judge, not the text, is the reason."""
        return self.kind in _WORTH_ASKING_AGAIN


class StrongerJudge(Protocol):
    """A judge that is asked about uncertain texts; one call is one attempt."""

    @property
    def name(self) -> str:
        """A single word for logs and metrics."""
        ...

    @property
    def categories(self) -> frozenset[str]:
        """What it can tell; it is not asked about a text that is near anything else."""
        ...

    async def scores(self, text: str, role: Role, /) -> Mapping[str, float] | JudgeFailure:
        """By category of the safety standard, `overall` among them, 0 to 1."""
        ...


def pieces_of(text: str, characters: int) -> list[str] | JudgeFailure:
    """`text` in overlapping pieces of at most `characters`; too many of them are a failure."""
    if len(text) <= characters:
        return [text]
    step = characters - OVERLAP_CHARACTERS
    starts = range(0, len(text) - OVERLAP_CHARACTERS, step)
    if len(starts) > MAXIMUM_PIECES:
        return JudgeFailure(kind="too_long")
    return [text[start : start + characters] for start in starts]


def strictest(scores: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The highest score of each category."""
    worst: dict[str, float] = {}
    for one in scores:
        for category, score in one.items():
            worst[category] = max(worst.get(category, 0.0), score)
    return worst


def pauses(attempts: int, jitter: Iterator[float]) -> Iterator[float]:
    """Seconds before each further attempt: doubling, and between half and all of it by `jitter`.

    `jitter` gives numbers from 0 to 1; without it coordinators that failed together would come
    back together.
    """
    for number in range(attempts - 1):
        yield FIRST_PAUSE_SECONDS * 2**number * (0.5 + next(jitter) / 2)
