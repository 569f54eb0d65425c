"""What of a text is looked at for itself, beside the whole of it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from peerllm.safety.embedded_parts import embedded_parts
from peerllm.safety.normalisation import unspaced
from peerllm.safety.suspect_sentences import suspect_sentences


@dataclass(frozen=True, slots=True)
class Aside:
    """A stretch of a text; `hidden` if a reader hardly sees it.

    `suspicion` is that of its own words; where there is none, that of the whole text holds.
    """

    text: str = field(repr=False)
    hidden: bool
    suspicion: float | None = None


def asides(text: str, readings: Iterable[str]) -> Iterator[Aside]:
    """The last line of a text, what it holds out of sight, and its other readings.

    The last line is where a request follows the text that it is about.
    """
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
