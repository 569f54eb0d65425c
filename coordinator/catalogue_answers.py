"""Tells whoever would host the network's models, the seats that are free, and its own place."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import trio

from peerllm.charter.loading import Charter
from peerllm.charter.seat_rules import DAY_US, has_lapsed
from peerllm.coordinator.accounts import Seat, SeatElsewhere, WaitingHost
from peerllm.coordinator.errors import StorageError
from peerllm.coordinator.host_accounts import printable
from peerllm.coordinator.orders import ServedModel
from peerllm.coordinator.storage_file import StorageFile
from peerllm.overlay.catalogue_messages import (
    MAXIMUM_MODELS,
    MAXIMUM_PLACES,
    MAXIMUM_REGIONS,
    Catalogue,
    CatalogueAnswer,
    CatalogueNotTold,
    CatalogueQuestion,
    LineLeft,
    ModelTold,
    OfferTaken,
    PlaceInLine,
    RegionOfHosts,
    SeatHeld,
)

# A host asks once a minute until it has a seat; in between its owner may look and take an offer.
QUESTION_SECONDS: Final = 5.0
QUESTIONS_AT_ONCE: Final = 6
# Some rows of one database; longer than that its disk is stuck.
_ANSWER_SECONDS: Final = 10.0
_NAME_CHARACTERS: Final = 128
_LINE_CHARACTERS: Final = 500
_LARGEST_COUNT: Final = 2**31 - 1


class CatalogueAnswers:
    """Answers from the coordinator's database, one question at a time.

    On connections of its own, in threads. `charter` is the one in force, replaced together with
    the models by `serve`; `clock` gives seconds.
    """

    def __init__(
        self,
        database: Path,
        charter: Charter,
        models: Iterable[ServedModel],
        *,
        clock: Callable[[], float],
        now_us: Callable[[], int],
    ) -> None:
        self._database = database
        self.serve(charter, models)
        self._clock = clock
        self._now_us = now_us
        self._free_at: dict[str, float] = {}
        self._turn = trio.CapacityLimiter(1)

    def serve(self, charter: Charter, models: Iterable[ServedModel]) -> None:
        """From now on answer by this charter and for these files."""
        self._charter = charter
        self._served = {model.digest: model for model in models}

    async def answer(self, peer_id: str, question: CatalogueQuestion) -> CatalogueAnswer:
        """What is told to a peer, or done for it: never about another one."""
        if not self._may_ask(peer_id):
            return CatalogueNotTold(reason="too_often")
        with trio.move_on_after(_ANSWER_SECONDS):
            try:
                # Abandoned, it ends by itself and closes what it opened.
                return await trio.to_thread.run_sync(
                    self._answer, peer_id, question, limiter=self._turn, abandon_on_cancel=True
                )
            except StorageError:
                pass
        return CatalogueNotTold(reason="unavailable")

    def _may_ask(self, peer_id: str) -> bool:
        now = self._clock()
        # Only those are remembered who asked in the last seconds.
        self._free_at = {one: at for one, at in self._free_at.items() if at > now}
        free_at = self._free_at.get(peer_id, now)
        if free_at - now > QUESTION_SECONDS * (QUESTIONS_AT_ONCE - 1):
            return False
        self._free_at[peer_id] = free_at + QUESTION_SECONDS
        return True

    def _answer(self, peer_id: str, question: CatalogueQuestion) -> CatalogueAnswer:
        now_us, charter, served = self._now_us(), self._charter, self._served
        reads = not isinstance(question, OfferTaken | LineLeft)
        with StorageFile(self._database, clock=lambda: now_us, read_only=reads) as storage:
            if isinstance(question, OfferTaken):
                refused = _take(storage, charter, peer_id, question.region, now_us)
                if refused is not None:
                    return refused
            elif isinstance(question, LineLeft):
                storage.leave_line(peer_id, question.region)
            return catalogue_told(
                charter,
                served,
                peer_id,
                seats=storage.seats(),
                line=storage.all_waiting(),
                offered={region: storage.seats_offered(region) for region in charter.regions},
                now_us=now_us,
            )


def _take(
    storage: StorageFile, charter: Charter, peer_id: str, region: str, now_us: int
) -> CatalogueNotTold | None:
    """Seat a host that takes up its offer, as `region waiting --accept` does; None when done."""
    record = charter.regions.get(region)
    if record is None or record.status == "suspended":
        return CatalogueNotTold(reason="suspended" if record else "no_offer")
    days = charter.terms.seats.offer_days
    for entry in storage.waiting(region):
        if entry.peer_id == peer_id and has_lapsed(entry.offered_at_us, days, now_us):
            return CatalogueNotTold(reason="lapsed")
    match storage.accept_seat(peer_id, region):
        case None:
            return CatalogueNotTold(reason="no_offer")
        case SeatElsewhere():
            return CatalogueNotTold(reason="elsewhere")
    return None


def catalogue_told(
    charter: Charter,
    served: Mapping[bytes, ServedModel],
    peer_id: str,
    *,
    seats: Iterable[Seat],
    line: Iterable[WaitingHost],
    offered: Mapping[str, Mapping[bytes, int]],
    now_us: int,
) -> Catalogue:
    """What one peer is told. `offered` are the seats that regions offer, by model digest."""
    line, seats = list(line), list(seats)
    days = charter.terms.seats.offer_days
    live = [one for one in line if not has_lapsed(one.offered_at_us, days, now_us)]
    free = _free_seats(charter, seats, live, offered)
    own = next((seat for seat in seats if seat.peer_id == peer_id), None)
    names = sorted(charter.catalogue.models)[:MAXIMUM_MODELS]
    models = []
    for name in names:
        entry = charter.catalogue.models[name]
        copy = served.get(entry.digest)
        models.append(
            ModelTold(
                name=printable(name, _NAME_CHARACTERS),
                digest=entry.digest,
                model_class=printable(entry.model_class, _NAME_CHARACTERS),
                context_tokens=entry.context_tokens,
                license=printable(entry.license, _LINE_CHARACTERS),
                embedded=entry.embedded,
                file_bytes=copy.facts.file_bytes if copy else 0,
                cache_bytes_per_token=copy.vocabulary.cache_bytes_per_token if copy else 0,
                free_seats=min(_LARGEST_COUNT, free[entry.digest]),
                waiting=sum(
                    one.digest == entry.digest and one.offered_at_us is None for one in live
                ),
            )
        )
    return Catalogue(
        as_of_us=now_us,
        network=printable(charter.terms.network, _NAME_CHARACTERS),
        version=charter.catalogue.version,
        models=models,
        regions=[
            RegionOfHosts(
                name=name,
                contact=printable(record.contact, _LINE_CHARACTERS),
                takes_hosts=record.status != "suspended",
            )
            for name, record in sorted(charter.regions.items())[:MAXIMUM_REGIONS]
        ],
        seat=(
            None
            if own is None
            else SeatHeld(region=own.region, digests=sorted(own.digests)[:MAXIMUM_MODELS])
        ),
        places=_places(line, peer_id, days, now_us)[:MAXIMUM_PLACES],
    )


def _free_seats(
    charter: Charter,
    seats: Iterable[Seat],
    line: Iterable[WaitingHost],
    offered: Mapping[str, Mapping[bytes, int]],
) -> Counter[bytes]:
    """Seats that nobody holds or has been offered, by model, over the regions that take hosts."""
    held: Counter[tuple[str, bytes]] = Counter()
    for seat in seats:
        if seat.tier == "community":
            held.update((seat.region, digest) for digest in seat.digests)
    held.update((one.region, one.digest) for one in line if one.offered_at_us is not None)
    free: Counter[bytes] = Counter()
    for region, record in charter.regions.items():
        if record.status == "suspended":
            continue
        capacity = charter.capacities.get(region)
        for name, entry in charter.catalogue.models.items():
            given = offered.get(region, {}).get(entry.digest, 0)
            if capacity is not None:
                given = capacity.seats.get(name, 0)
            free[entry.digest] += max(0, given - held[region, entry.digest])
    return free


def _places(
    line: Iterable[WaitingHost], peer_id: str, offer_days: int, now_us: int
) -> list[PlaceInLine]:
    """The peer's own places, counted among those who wait for the same model in the same region."""
    ahead: Counter[tuple[str, bytes]] = Counter()
    places = []
    for one in sorted(line, key=lambda entry: entry.position):
        if has_lapsed(one.offered_at_us, offer_days, now_us):
            continue
        if one.offered_at_us is None:
            ahead[one.region, one.digest] += 1
        if one.peer_id == peer_id:
            offered_us = one.offered_at_us
            places.append(
                PlaceInLine(
                    region=one.region,
                    digest=one.digest,
                    place=max(1, ahead[one.region, one.digest]),
                    since_us=one.since_us,
                    offered_until_us=(
                        0 if offered_us is None else offered_us + offer_days * DAY_US
                    ),
                )
            )
    return places
