"""Seats, the line for them and their pauses, in the database."""

from collections.abc import Callable, Iterable, Mapping

from peerllm.charter.seat_rules import DAY_US, LONGEST_PAUSE_DAYS, Offers, PauseReason
from peerllm.coordinator import accounts, ledger
from peerllm.coordinator.accounts import Seat, SeatElsewhere, SeatPause, Tier, WaitingHost
from peerllm.coordinator.errors import NameRefusedError
from peerllm.coordinator.storage_connection import StorageConnection


class SeatStorage(StorageConnection):
    """The seats' part of `StorageFile`."""

    def seat(
        self,
        peer_id: str,
        operator: str,
        tier: Tier,
        digests: Iterable[bytes],
        *,
        region: str = "default",
    ) -> Seat:
        """Give a host a seat, or replace the one it has."""
        ledger.host_account(peer_id)
        seat = Seat(
            peer_id=peer_id,
            operator=accounts.check_label(operator, "an operator"),
            tier=tier,
            digests=frozenset(accounts.check_model_digest(digest) for digest in digests),
            region=accounts.check_region(region),
            seated_at_us=self._clock(),
        )

        self._write(lambda: self._seats.give(seat))
        return seat

    def unseat(self, peer_id: str) -> bool:
        """Take a host's seat away; False if it had none."""
        return self._write(lambda: self._seats.take(peer_id))

    def seats(self) -> tuple[Seat, ...]:
        """All seats, by peer id, each with the pause that is in force."""
        return self._read(self._seats.seats)

    def pause_seat(self, peer_id: str, reason: PauseReason, days: int) -> SeatPause | None:
        """Give a seated host no work for a while; None if it holds no seat."""
        if not 1 <= days <= LONGEST_PAUSE_DAYS:
            raise NameRefusedError(
                f"a pause of {days} days: give 1 to {LONGEST_PAUSE_DAYS}, pause again if need be"
            )
        now_us = self._clock()
        pause = SeatPause(reason, now_us, now_us + days * DAY_US)
        return pause if self._write(lambda: self._seats.pause(peer_id, pause)) else None

    def resume_seat(self, peer_id: str) -> bool:
        """End a seat's pause; False if it was not paused."""
        return self._write(lambda: self._seats.resume(peer_id))

    def seats_offered(self, region: str) -> dict[bytes, int]:
        """How many seats a region offers, by model digest."""
        return self._read(lambda: self._seats.offered(region))

    def offer_seats(self, region: str, offers: Mapping[bytes, int]) -> None:
        """Offer so many seats from now on; models that are not named stay as they are."""

        def write() -> None:
            for digest, seats in offers.items():
                self._seats.offer(region, accounts.check_model_digest(digest), seats)

        self._write(write)

    def waiting(self, region: str) -> tuple[WaitingHost, ...]:
        """Who is in line for a region's seats, first in line first."""
        return self._read(lambda: self._seats.waiting(region))

    def all_waiting(self) -> tuple[WaitingHost, ...]:
        """Who is in line in any region, first in line first."""
        return self._read(self._seats.all_waiting)

    def join_line(self, peer_id: str, operator: str, region: str, digests: Iterable[bytes]) -> int:
        """Put a host in line, once a model; the number of models it was not in line for yet."""
        ledger.host_account(peer_id)
        accounts.check_label(operator, "an operator")
        accounts.check_region(region)
        models = [accounts.check_model_digest(digest) for digest in digests]
        return self._write(lambda: self._seats.join_line(peer_id, operator, region, models))

    def leave_line(self, peer_id: str, region: str) -> int:
        """Take a host out of line; the number of places it held."""

        def write() -> int:
            held = [one.position for one in self._seats.waiting(region) if one.peer_id == peer_id]
            return self._seats.leave_line(held, "withdrawn")

        return self._write(write)

    def move_line(self, decide: Callable[[tuple[WaitingHost, ...]], Offers], region: str) -> Offers:
        """Let `decide` see the line and write what it says, all at one moment."""

        def write() -> Offers:
            offers = decide(self._seats.waiting(region))
            self._seats.leave_line((entry.position for entry in offers.lapsed), "lapsed")
            self._seats.offer_to(entry.position for entry in offers.offer)
            return offers

        return self._write(write)

    def accept_seat(self, peer_id: str, region: str) -> Seat | SeatElsewhere | None:
        """Seat a host for the models it has been offered; None if it was offered none."""
        return self._write(lambda: self._seats.accept(peer_id, region))
