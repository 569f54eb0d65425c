"""Rows of the seats' tables: who holds which seat, since when, paused, offered or in line for one.

Nothing here opens a transaction; the caller has.
"""

from collections.abc import Callable, Iterable

from peerllm.coordinator.accounts import Seat, SeatElsewhere, SeatPause, Tier, WaitingHost
from peerllm.coordinator.ledger_tables import LedgerTables

_WAITING = "position, peer_id, operator, region, digest, since_us, offered_at_us"


class SeatTables:
    """The seats' rows on one connection."""

    def __init__(self, tables: LedgerTables, clock: Callable[[], int]) -> None:
        self._tables = tables
        self._clock = clock

    def give(self, seat: Seat) -> None:
        """Write a seat in place of the one the host has."""
        self._tables.execute("DELETE FROM seats WHERE peer_id = ?", seat.peer_id)
        self._tables.execute(
            "INSERT INTO seats (peer_id, operator, tier, region, seated_at_us)"
            " VALUES (?, ?, ?, ?, ?)",
            seat.peer_id,
            seat.operator,
            seat.tier,
            seat.region,
            seat.seated_at_us,
        )
        for digest in seat.digests:
            self._tables.execute("INSERT INTO seat_models VALUES (?, ?)", seat.peer_id, digest)
        self._remember(seat.peer_id, seat.operator, seat.tier, seat.region)

    def take(self, peer_id: str) -> bool:
        """Whether there was a seat to take."""
        taken = self._tables.execute("DELETE FROM seats WHERE peer_id = ?", peer_id) > 0
        if taken:
            self._remember(peer_id, None, None, None)
        return taken

    def _remember(
        self, peer_id: str, operator: str | None, tier: str | None, region: str | None
    ) -> None:
        """Add to the history, in order even when the clock has been set back."""
        latest = self._tables.row(
            "SELECT since_us, operator, tier, region FROM seat_history WHERE peer_id = ?"
            " ORDER BY since_us DESC, entry DESC LIMIT 1",
            peer_id,
        )
        if latest is not None and latest[1:] == (operator, tier, region):
            return
        self._tables.execute(
            "INSERT INTO seat_history (peer_id, since_us, operator, tier, region)"
            " VALUES (?, ?, ?, ?, ?)",
            peer_id,
            max(self._clock(), 0 if latest is None else latest[0]),
            operator,
            tier,
            region,
        )

    def seats(self) -> tuple[Seat, ...]:
        """All seats, by peer id, with the pause that is in force now."""
        pauses = {
            peer_id: SeatPause(*pause)
            for peer_id, *pause in self._tables.rows(
                "SELECT peer_id, reason, paused_at_us, until_us FROM seat_pauses"
                " WHERE resumed_at_us IS NULL AND until_us > ? ORDER BY pause",
                self._clock(),
            )
        }
        digests: dict[str, set[bytes]] = {}
        rows: dict[str, tuple[str, Tier, str, int]] = {}
        for peer_id, *row, digest in self._tables.rows(
            "SELECT peer_id, operator, tier, region, seated_at_us, digest"
            " FROM seats LEFT JOIN seat_models USING (peer_id) ORDER BY peer_id"
        ):
            rows[peer_id] = tuple(row)
            digests.setdefault(peer_id, set()).update(() if digest is None else (digest,))
        return tuple(
            Seat(
                peer_id=peer_id,
                operator=operator,
                tier=tier,
                digests=frozenset(digests[peer_id]),
                region=region,
                seated_at_us=seated_at_us,
                pause=pauses.get(peer_id),
            )
            for peer_id, (operator, tier, region, seated_at_us) in rows.items()
        )

    # Pauses

    def pause(self, peer_id: str, pause: SeatPause) -> bool:
        """Pause a seat, ending the pause it is in; whether there is such a seat."""
        if self._tables.row("SELECT 1 FROM seats WHERE peer_id = ?", peer_id) is None:
            return False
        self.resume(peer_id)
        self._tables.execute(
            "INSERT INTO seat_pauses (peer_id, reason, paused_at_us, until_us) VALUES (?, ?, ?, ?)",
            peer_id,
            pause.reason,
            pause.paused_at_us,
            pause.until_us,
        )
        return True

    def resume(self, peer_id: str) -> bool:
        """Whether there was a pause to end."""
        return (
            self._tables.execute(
                "UPDATE seat_pauses SET resumed_at_us = ?"
                " WHERE peer_id = ? AND resumed_at_us IS NULL AND until_us > ?",
                self._clock(),
                peer_id,
                self._clock(),
            )
            > 0
        )

    # How many seats a region offers

    def offered(self, region: str) -> dict[bytes, int]:
        """The seats a region offers now, by model digest."""
        return dict(
            self._tables.rows(
                "SELECT digest, seats FROM seat_offers WHERE offer IN"
                " (SELECT MAX(offer) FROM seat_offers WHERE region = ? GROUP BY digest)",
                region,
            )
        )

    def offer(self, region: str, digest: bytes, seats: int) -> None:
        """Write how many seats a region offers from now on."""
        self._tables.execute(
            "INSERT INTO seat_offers (region, digest, seats, decided_at_us) VALUES (?, ?, ?, ?)",
            region,
            digest,
            seats,
            self._clock(),
        )

    # The waiting list

    def waiting(self, region: str) -> tuple[WaitingHost, ...]:
        """Who waits or has an offer in a region, first in line first."""
        return tuple(
            WaitingHost(*row)
            for row in self._tables.rows(
                f"SELECT {_WAITING} FROM waiting_list"  # noqa: S608 - a constant
                " WHERE region = ? AND ended_at_us IS NULL ORDER BY position",
                region,
            )
        )

    def all_waiting(self) -> tuple[WaitingHost, ...]:
        """Who waits or has an offer in any region, first in line first."""
        return tuple(
            WaitingHost(*row)
            for row in self._tables.rows(
                f"SELECT {_WAITING} FROM waiting_list"  # noqa: S608 - a constant
                " WHERE ended_at_us IS NULL ORDER BY position"
            )
        )

    def join_line(self, peer_id: str, operator: str, region: str, digests: Iterable[bytes]) -> int:
        """For how many models the host is in line now that was not before."""
        return sum(
            self._tables.execute(
                "INSERT INTO waiting_list (peer_id, operator, region, digest, since_us)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                peer_id,
                operator,
                region,
                digest,
                self._clock(),
            )
            for digest in digests
        )

    def leave_line(self, positions: Iterable[int], ending: str) -> int:
        """How many of these places in line were still held."""
        return sum(
            self._tables.execute(
                "UPDATE waiting_list SET ended_at_us = ?, ending = ?"
                " WHERE position = ? AND ended_at_us IS NULL",
                self._clock(),
                ending,
                position,
            )
            for position in positions
        )

    def offer_to(self, positions: Iterable[int]) -> None:
        """Keep a free seat for each of these places in line."""
        for position in positions:
            self._tables.execute(
                "UPDATE waiting_list SET offered_at_us = ?"
                " WHERE position = ? AND ended_at_us IS NULL AND offered_at_us IS NULL",
                self._clock(),
                position,
            )

    def accept(self, peer_id: str, region: str) -> Seat | SeatElsewhere | None:
        """Seat a host for the models it was offered; None when it was offered none."""
        offers = [
            entry
            for entry in self.waiting(region)
            if entry.peer_id == peer_id and entry.offered_at_us is not None
        ]
        if not offers:
            return None
        held = next((seat for seat in self.seats() if seat.peer_id == peer_id), None)
        if held is not None and held.region != region:
            return SeatElsewhere(held.region)
        seat = Seat(
            peer_id=peer_id,
            operator=offers[0].operator if held is None else held.operator,
            tier="community" if held is None else held.tier,
            digests=(held.digests if held else frozenset()) | {entry.digest for entry in offers},
            region=region,
            # A further model does not make the seat a new one.
            seated_at_us=self._clock() if held is None else held.seated_at_us,
        )
        self.give(seat)
        self.leave_line((entry.position for entry in offers), "seated")
        return seat
