"""Ending an answer at the customer's stop sequences, whatever its host does with them.

The answer still holds placeholders. A sequence that is found within one, such as "2" in
`PERSON_12`, is not in what the customer reads: it ends nothing, and what is left of the number
would name somebody else.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from peerllm.safety.placeholders import placeholder_pattern, recognised, unfinished_pattern

# Twice the longest placeholder: what was let out is looked at again for one that goes on.
_LOOKED_BACK: Final = 64


class StopSequences:
    """The stop sequences of one request, and the placeholders its answer may hold."""

    def __init__(self, sequences: Sequence[str], placeholders: Iterable[str] = ()) -> None:
        self.sequences = tuple(sequences)
        self.longest = max(map(len, self.sequences), default=0)
        self._given = frozenset(placeholders if self.sequences else ())
        self._prefixes = {placeholder.rpartition("_")[0] for placeholder in self._given}
        self._placeholder = placeholder_pattern(self._prefixes) if self._prefixes else None
        self._unfinished = unfinished_pattern(self._prefixes) if self._prefixes else None
        # Hosts, who know nothing of placeholders, may end an answer at these.
        self.for_hosts = tuple(one for one in self.sequences if not self._may_tear(one))

    def __repr__(self) -> str:
        return f"<StopSequences: {len(self.sequences)}>"

    def _may_tear(self, sequence: str) -> bool:
        """Whether the sequence may begin or end within a placeholder."""
        if not self._prefixes:
            return False
        tails = {prefix[at:] for prefix in self._prefixes for at in range(1, len(prefix))}
        within = rf"(?:{'|'.join(sorted(tails))})?_|[0-9]|[A-Z](?![A-Za-z0-9])"
        return (
            re.match(within, sequence) is not None
            or any(sequence in prefix for prefix in self._prefixes)
            or self._may_go_on(sequence)
        )

    def _may_go_on(self, sequence: str) -> bool:
        """Whether a placeholder that was given out may begin in the sequence and end behind it."""
        end = sequence[self.growing(sequence) :]
        whole = self._placeholder.search(end) if self._placeholder else None
        if whole is None or whole.end() < len(end):
            return bool(end)
        known = recognised(whole)
        return any(one.startswith(known) and one != known for one in self._given)

    def first_in(self, text: str, start: int, certain: int) -> tuple[int, int] | None:
        """The one in `text` that ends first behind `start` and tears no placeholder.

        By its end, as it is found while the answer comes; of two that end together the longer. Only
        the placeholders that end by `certain` are ones for sure.
        """
        found = [(at, at + len(one)) for one in self.sequences for at in _places(text, one, start)]
        if not found:
            return None
        within = {
            place
            for match in (self._placeholder.finditer(text) if self._placeholder else ())
            if match.end("form") <= certain
            for place in range(match.start("prefix") + 1, match.end("form"))
        }
        whole = (one for one in found if within.isdisjoint(one))
        return min(whole, key=lambda place: (place[1], place[0]), default=None)

    def undecided(self, text: str, start: int) -> int:
        """Where in `text`, from `start` on, more text may still make a stop sequence."""
        for at in range(max(start, len(text) - self.longest + 1), len(text)):
            if any(one.startswith(text[at:]) for one in self.sequences):
                return at
        return len(text)

    def growing(self, text: str) -> int:
        """Where in `text` a placeholder begins that more text may change."""
        unfinished = self._unfinished.search(text) if self._unfinished else None
        return len(text) if unfinished is None else unfinished.start()


class StopCut:
    """One host's answer as it comes, let out as far as no stop sequence can claim it.

    `before` is what the answer goes on from; it has been let out already.
    """

    def __init__(self, stops: StopSequences, before: str = "") -> None:
        self._stops = stops
        self._looked_back = max(_LOOKED_BACK, stops.longest)
        self._before = before[-self._looked_back :]
        self._held = ""
        self.stopped = False

    def __repr__(self) -> str:
        return f"StopCut(stopped={self.stopped})"

    def push(self, piece: str, *, last: bool = False) -> str:
        """What may be let out once `piece` has come; nothing after a stop sequence.

        `last`: no further piece comes.
        """
        if self.stopped:
            return ""
        if not self._stops.sequences:
            return piece
        self._held += piece
        text, start = self._before + self._held, len(self._before)
        certain = len(text) if last else self._stops.growing(text)
        end = len(text) if last else self._stops.undecided(text, start)
        found = self._stops.first_in(text, start, certain)
        if found is not None:
            self.stopped = found[1] <= certain
            # Found for sure, it leaves nothing undecided before it.
            end = found[0] if self.stopped else min(end, found[0])
        return self._let_out(max(start, end))

    def _let_out(self, end: int) -> str:
        start = len(self._before)
        out, self._held = self._held[: end - start], self._held[end - start :]
        self._before = (self._before + out)[-self._looked_back :]
        return out


def _places(text: str, sequence: str, start: int) -> Iterable[int]:
    """Where `sequence` is in `text` with its end behind `start`."""
    at = text.find(sequence, max(0, start - len(sequence) + 1))
    while at >= 0:
        yield at
        at = text.find(sequence, at + 1)
