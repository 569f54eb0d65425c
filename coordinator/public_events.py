"""What a coordinator takes down in the public log for a period: strikes, tiers, fallback windows.

Everything is computed from what the database never forgets, so that the same period makes the same
entries to the byte whenever it is asked for.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from peerllm.charter.log_entries import Entry, EntryBody, FallbackWindow, HostId, TierChange
from peerllm.charter.strike_record import strike_entry
from peerllm.coordinator.accounts import Strike
from peerllm.coordinator.strike_rules import opening, withdrawal_opening

# Answers of dedicated hosts less than this apart are one window: who looks at the log learns when
# the community did not suffice, not when a single question was asked.
WINDOW_GAP_US: Final = 5 * 60 * 1_000_000
# What began before the end of a period is entered by then: the longest request is let go long
# before, and its window cannot grow any more.
SETTLED_US: Final = 3_600 * 1_000_000


@dataclass(frozen=True, slots=True)
class SeatStep:
    """From `since_us` on a host held a seat of this tier and region; None for no seat."""

    host: str
    since_us: int
    tier: str | None
    region: str | None


@dataclass(frozen=True, slots=True)
class PaidSpan:
    """From when to when a host worked on a request that it was paid for."""

    host: str
    request: str
    from_us: int
    until_us: int


def strike_entries(strikes: Iterable[Strike]) -> Iterator[Entry]:
    """Each strike as a commitment, and each withdrawal as another one."""
    for strike in strikes:
        yield strike_entry(opening(strike))
        withdrawn = withdrawal_opening(strike)
        if withdrawn is not None:
            yield strike_entry(withdrawn)


def tier_entries(steps: Iterable[SeatStep]) -> Iterator[Entry]:
    """Each change from the tier a host had last to another one; `steps` in their order."""
    latest: dict[str, str] = {}
    for step in steps:
        if step.tier is None or step.region is None or not _is_host_id(step.host):
            continue
        before = latest.get(step.host, step.tier)
        latest[step.host] = step.tier
        if before != step.tier:
            change = TierChange(region=step.region, host=step.host, before=before, after=step.tier)
            yield Entry(at_us=step.since_us, body=change)


def window_entries(spans: Iterable[PaidSpan], steps: Sequence[SeatStep]) -> Iterator[Entry]:
    """The windows in which dedicated hosts of a region were paid, dated by their ends.

    Where a host was seated when its answer was entered decides.
    """
    seats = _SeatsThen(steps)
    by_region: dict[str, list[PaidSpan]] = {}
    for span in spans:
        step = seats.at(span.host, span.until_us)
        if step is not None and step.tier == "dedicated" and step.region is not None:
            by_region.setdefault(step.region, []).append(span)
    for region, its in sorted(by_region.items()):
        for from_us, until_us, requests in _merged(its):
            body: EntryBody = FallbackWindow(
                region=region, from_us=from_us, until_us=until_us, requests=requests
            )
            yield Entry(at_us=until_us, body=body)


def within(entries: Iterable[Entry], since_us: int, until_us: int) -> list[Entry]:
    """The entries dated from `since_us` up to, not including, `until_us`, the oldest first."""
    found = [entry for entry in entries if since_us <= entry.at_us < until_us]
    return sorted(found, key=lambda entry: entry.at_us)


def seat_steps(rows: Iterable[tuple[Any, ...]]) -> list[SeatStep]:
    """The steps in rows of peer_id, since_us, tier and region."""
    return [SeatStep(*row) for row in rows]


class _SeatsThen:
    def __init__(self, steps: Iterable[SeatStep]) -> None:
        self._steps: dict[str, list[SeatStep]] = {}
        for step in steps:
            self._steps.setdefault(step.host, []).append(step)

    def at(self, host: str, at_us: int) -> SeatStep | None:
        latest = None
        for step in self._steps.get(host, ()):
            if step.since_us > at_us:
                break
            latest = step
        return latest


def _merged(spans: Iterable[PaidSpan]) -> Iterator[tuple[int, int, int]]:
    """Beginning, end and number of requests of each window."""
    from_us = until_us = 0
    requests: set[str] = set()
    for span in sorted(spans, key=lambda span: span.from_us):
        if requests and span.from_us >= until_us + WINDOW_GAP_US:
            yield from_us, until_us, len(requests)
            requests = set()
        if not requests:
            from_us, until_us = span.from_us, span.until_us
        requests.add(span.request)
        until_us = max(until_us, span.until_us)
    if requests:
        yield from_us, until_us, len(requests)


def _is_host_id(peer_id: str) -> bool:
    # A seat may be given to a name that no host can have; it never serves.
    try:
        msgspec.convert(peer_id, HostId)
    except msgspec.ValidationError:
        return False
    return True
