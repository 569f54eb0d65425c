"""What of a text is looked at for itself, beside the whole of it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from peerllm.safety.embedded_parts import embedded_parts
from peerllm.safety.normalisation import undisguised, unspaced
from peerllm.safety.other_readings import other_readings
from peerllm.safety.suspect_sentences import suspect_sentences


@dataclass(frozen=True)
class Aside:
    """A stretch of a text; `hidden` if a reader hardly sees it.

    `suspicion` is that of its own words; where there is none, that of the whole text holds.
    """

    text: str = field(repr=False)
    hidden: bool
    suspicion: float | None = None

    @cached_property
    def undisguised(self) -> str:
        """The stretch as the multilingual encoder reads it."""
        return undisguised(self.text)


@dataclass(frozen=True)
class Opened:
    """A text, its other readings, and what of both is looked at beside it.

    Found once for all gates: looking for it takes as long as some gates do.
    """

    text: str = field(repr=False)
    readings: tuple[str, ...] = field(repr=False)
    asides: tuple[Aside, ...]

    @cached_property
    def undisguised(self) -> str:
        """The text as the multilingual encoder reads it."""
        return undisguised(self.text)


def opened(text: str) -> Opened:
    """The text with its readings, its last line and what it holds out of sight."""
    readings = tuple(other_readings(text))
    return Opened(text, readings, tuple(_asides(text, readings)))


def _asides(text: str, readings: Iterable[str]) -> Iterator[Aside]:
    # Where a request follows the text that it is about.
    before, line_break, last_line = text.rstrip().rpartition("\n")
    if line_break and before.strip():
        yield Aside(last_line, hidden=False)
    for part in embedded_parts(text):
        yield Aside(part, hidden=True)
    for part in readings:
        yield Aside(part, hidden=False)


def suspects(text: str, suspicion: Callable[[str], float]) -> Iterator[Aside]:
    """The suspicious sentences of a text, which count for what they ask, not for their tone."""
    for sentence, found in suspect_sentences(unspaced(text), suspicion):
        yield Aside(sentence, hidden=True, suspicion=found)
