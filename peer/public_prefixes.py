"""What a model has made of the words its own template puts before every conversation.

Nothing of a customer is in it: a prefix ends before the first turn's content.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

# A prefix of fewer tokens is read faster than it is worth keeping.
_FEWEST_TOKENS: Final = 8
# A template begins in a handful of ways; more would be a template that writes the date.
_MOST_PREFIXES: Final = 4
# 30 tokens of the embedded model take 0.7 MB, of a large one some 10 MB.
_MOST_BYTES: Final = 64_000_000


class PublicPrefixes:
    """Keeps the state of the prefixes used last, within a fixed number of bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, ...], bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, prefix: tuple[int, ...]) -> bytes | None:
        """The state after this prefix, if it is kept."""
        state = self._kept.get(prefix)
        if state is not None:
            self._kept.move_to_end(prefix)
        return state

    def keep(self, prefix: tuple[int, ...], read_state: Callable[[], bytes]) -> None:
        """Keep the state after this prefix if that is worth it."""
        if len(prefix) < _FEWEST_TOKENS or prefix in self._kept:
            return
        state = read_state()
        if len(state) > _MOST_BYTES:
            return
        self._kept[prefix] = state
        while len(self._kept) > _MOST_PREFIXES or sum(map(len, self._kept.values())) > _MOST_BYTES:
            self._kept.popitem(last=False)
