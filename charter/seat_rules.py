"""How many seats a region offers, who gets the next one, and what a pause means: pure rules.

A seat is a host's right to work for a model in a region, and is counted as one stream at a time,
the least that every host gives. Nothing here takes a seat away: a smaller offer leaves free seats
unfilled and never touches one that is held.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from peerllm.charter.promises import SeatPolicy
from peerllm.charter.spelling import BASIS_POINTS

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US

PauseReason = Literal["errors", "slow", "unreachable", "outdated", "requested"]
# An administrator pauses for the reasons above; only strikes suspend, by the charter's own rule.
RestReason = PauseReason | Literal["suspended"]

# A pause ends by itself; whoever wants it longer must say so again, with a reason.
LONGEST_PAUSE_DAYS: Final = 30

WAYS_BACK: Final[Mapping[RestReason, str]] = {
    "errors": "mend what fails on the host, then ask to be resumed",
    "slow": "serve a smaller model, or give the host more of the machine, then ask to be resumed",
    "unreachable": "mend the connection until the host stays connected, then ask to be resumed",
    "outdated": "install the current release, then ask to be resumed",
    "requested": "ask to be resumed whenever it suits",
    "suspended": "appeal against the strikes, or wait until they no longer count",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatNeed:
    """What a model needs in a region, and what follows from it.

    `busy_us` holds, for each of the days looked at, how long its busiest hour was worked in useful
    streams; `utilisation` is the same against `offered`, in basis points. `seats` is what is to be
    offered from now on, equal to `offered` where nothing is to change.
    """

    busy_us: tuple[int, ...]
    redundancy: int
    offered: int
    utilisation: tuple[int, ...]
    needed: int
    seats: int


def seat_need(
    busy_us: Sequence[int],
    *,
    redundancy: int,
    offered: int,
    policy: SeatPolicy,
    target_utilisation_basis_points: int | None = None,
) -> SeatNeed:
    """Decide how many seats of a model a region is to offer.

    `busy_us` are the latest full days' busiest hours, oldest first, in microseconds of useful
    streams; each stream is run by `redundancy` hosts. Seats grow or shrink only when every one of
    the policy's `steady_days` days says so, towards what the middle one of them needs at the target
    utilisation. With fewer days than that nothing changes beyond the policy's minimum.
    """
    target = target_utilisation_basis_points or policy.target_utilisation_basis_points
    days = tuple(busy_us)[-policy.steady_days :]
    least = max(policy.minimum_seats_per_model, redundancy)
    worked = [busy * redundancy for busy in days]
    utilisation = tuple(_utilisation(busy, offered) for busy in worked)
    middle = sorted(worked)[len(worked) // 2] if worked else 0
    needed = max(least, -(-middle * BASIS_POINTS // (target * HOUR_US)))
    seats = max(offered, least)
    if len(days) == policy.steady_days:
        if min(utilisation) > policy.grow_above_basis_points:
            seats = max(seats, needed)
        elif max(utilisation) < policy.shrink_below_basis_points:
            seats = min(seats, needed)
    return SeatNeed(
        busy_us=days,
        redundancy=redundancy,
        offered=offered,
        utilisation=utilisation,
        needed=needed,
        seats=seats,
    )


def _utilisation(worked_us: int, offered: int) -> int:
    """Basis points, rounded down; work where nothing is offered is more than full."""
    if worked_us == 0:
        return 0
    return worked_us * BASIS_POINTS // (max(1, offered) * HOUR_US)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A host in line for a seat of one model; `position` is its place, the lowest comes first.

    `offered_at_us` is when a free seat was offered to it, None while it only waits.
    """

    position: int
    peer_id: str
    operator: str
    model: str
    offered_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class Offers:
    """Whom a free seat is to be offered to now, and whose offer has run out, in order."""

    offer: tuple[Waiting, ...]
    lapsed: tuple[Waiting, ...]
    passed_over: tuple[Waiting, ...]


def next_offers(
    waiting: Sequence[Waiting],
    *,
    offered: Mapping[str, int],
    held: Mapping[str, int],
    hosts_of_operator: Mapping[str, frozenset[str]],
    operator_cap: int,
    offer_days: int,
    now_us: int,
) -> Offers:
    """Offer each model's free seats to those in line, first come first served.

    `offered` and `held` count seats by model, `hosts_of_operator` names the hosts that an operator
    has seated or been offered seats for. A host beyond its operator's cap is passed over and keeps
    its place. An offer that was not taken up within `offer_days` lapses and frees its seat.
    """
    queue = sorted(waiting, key=lambda entry: entry.position)
    lapsed = [entry for entry in queue if has_lapsed(entry.offered_at_us, offer_days, now_us)]
    pending = [entry for entry in queue if entry.offered_at_us is not None and entry not in lapsed]
    free = Counter(offered)
    free.subtract(held)
    free.subtract(entry.model for entry in pending)
    hosts = {operator: set(peers) for operator, peers in hosts_of_operator.items()}
    for entry in pending:
        hosts.setdefault(entry.operator, set()).add(entry.peer_id)
    offer, passed_over = [], []
    for entry in queue:
        if entry.offered_at_us is not None or free[entry.model] <= 0:
            continue
        its = hosts.setdefault(entry.operator, set())
        if len(its | {entry.peer_id}) > operator_cap:
            passed_over.append(entry)
            continue
        its.add(entry.peer_id)
        free[entry.model] -= 1
        offer.append(entry)
    return Offers(tuple(offer), tuple(lapsed), tuple(passed_over))


def has_lapsed(offered_at_us: int | None, offer_days: int, now_us: int) -> bool:
    """Tell whether an offer of a seat has run out; False where none was made."""
    return offered_at_us is not None and now_us >= offered_at_us + offer_days * DAY_US
