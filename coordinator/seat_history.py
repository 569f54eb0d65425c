"""Where hosts were seated when: past months are told from here, not from the seats of today."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

# What is no region's; no region's name has brackets.
DEDICATED: Final = "(dedicated)"
UNSEATED: Final = "(no seat)"


class SeatHistory:
    """Which region a host belonged to when, and who ran it; rows as seat_history has them."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._since: dict[str, list[int]] = defaultdict(list)
        self._region: dict[str, list[str]] = defaultdict(list)
        self._operator: dict[str, list[str]] = defaultdict(list)
        for _, peer_id, since_us, operator, tier, region in rows:
            self._since[peer_id].append(since_us)
            self._operator[peer_id].append(operator or "")
            # What the network runs itself is nobody's own strength.
            self._region[peer_id].append(DEDICATED if tier == "dedicated" else region or UNSEATED)

    @property
    def regions(self) -> tuple[str, ...]:
        """Every region that a host was ever seated in, by name."""
        named = {region for regions in self._region.values() for region in regions}
        return tuple(sorted(named - {DEDICATED, UNSEATED}))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host that was ever seated."""
        return tuple(self._since)

    def region_of(self, peer_id: str, at_us: int) -> str:
        """The region, or DEDICATED or UNSEATED."""
        position = bisect_right(self._since.get(peer_id, []), at_us)
        return self._region[peer_id][position - 1] if position else UNSEATED

    def operator_of(self, peer_id: str, at_us: int) -> str:
        """Who ran the host; "" while it held no seat."""
        position = bisect_right(self._since.get(peer_id, []), at_us)
        return self._operator[peer_id][position - 1] if position else ""
