"""Which dispatches a host has already taken: an envelope must not be worked on twice."""

import heapq
from typing import Final, Literal

# The coordinator gives a dispatch minutes. An hour bounds how long an id must be kept, and
# still allows for clocks that differ by a few minutes.
LONGEST_LIFE_US: Final = 3600 * 1_000_000
# 16-byte ids with their expiry: some 20 MB at worst, and 28 dispatches a second for an hour.
MAXIMUM_REMEMBERED: Final = 100_000

ReplayFault = Literal["expired", "refused_envelope", "overloaded"]


class ReplayGuard:
    """Remembers every dispatch id until it expires; never more than a fixed number."""

    def __init__(self, maximum: int = MAXIMUM_REMEMBERED) -> None:
        self._maximum = maximum
        self._seen: set[bytes] = set()
        self._by_expiry: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._seen)

    def admit(self, dispatch_id: bytes, *, expires_at_us: int, now_us: int) -> ReplayFault | None:
        """Remember this dispatch, or say why it must not be worked on."""
        while self._by_expiry and self._by_expiry[0][0] <= now_us:
            self._seen.discard(heapq.heappop(self._by_expiry)[1])
        if expires_at_us <= now_us:
            return "expired"
        if dispatch_id in self._seen or expires_at_us - now_us > LONGEST_LIFE_US:
            return "refused_envelope"
        if len(self._seen) >= self._maximum:
            return "overloaded"
        self._seen.add(dispatch_id)
        heapq.heappush(self._by_expiry, (expires_at_us, dispatch_id))
        return None
