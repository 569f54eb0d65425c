"""What whoever would host is told of models, seats and its place, from a real database."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import trio
from region_stage import DIGEST, Clock, Region
from simulated_host import served_model
from trio.testing import MockClock

from peerllm.charter.catalogue import CatalogueModel, ModelCatalogue
from peerllm.charter.defaults import first_terms
from peerllm.charter.loading import Charter
from peerllm.charter.region_record import LocalCapacity
from peerllm.charter.region_rules import open_region
from peerllm.charter.seat_rules import DAY_US, Offers, Waiting
from peerllm.coordinator.catalogue_answers import (
    QUESTION_SECONDS,
    QUESTIONS_AT_ONCE,
    CatalogueAnswers,
)
from peerllm.coordinator.storage_file import StorageFile
from peerllm.overlay.catalogue_messages import (
    Catalogue,
    CatalogueAnswer,
    CatalogueAsked,
    CatalogueNotTold,
    CatalogueQuestion,
    LineLeft,
    ModelTold,
    OfferTaken,
    PlaceInLine,
    SeatHeld,
    catalogue_answer,
    to_body,
)

OTHER = b"\x02" * 32
NOW_US = 1_800_000_000_000_000
OFFER_DAYS = first_terms("home").seats.offer_days
ADA, BOB, EVE = "12D3KooWAda", "12D3KooWBob", "12D3KooWEve"


@dataclass
class Vocabulary:
    cache_bytes_per_token: int = 23_040


def charter(status: str = "local", **changes: Any) -> Charter:
    record = open_region("bavaria", contact="Straße 1, ada@example", reason="begun", now_us=1)
    models = {
        "small-one": CatalogueModel(
            sha256=DIGEST.hex(), model_class="small", context_tokens=8192, license="MIT"
        ),
        "large-one": CatalogueModel(
            sha256=OTHER.hex(), model_class="large", context_tokens=8192, license="MIT"
        ),
    }
    whole = {
        "terms": first_terms("home"),
        "catalogue": ModelCatalogue(version=4, models=models),
        "regions": {"bavaria": msgspec.structs.replace(record, status=status)},
        "capacities": {},
    }
    return cast("Charter", SimpleNamespace(**{**whole, **changes}))


@pytest.fixture
def region(tmp_path: Path) -> Region:
    return Region(tmp_path / "coordinator.sqlite", Clock(NOW_US))


def answers_of(region: Region, given: Charter | None = None) -> CatalogueAnswers:
    served = replace(served_model(), digest=DIGEST, vocabulary=cast("Any", Vocabulary()))
    return CatalogueAnswers(
        region.path,
        given or charter(),
        [served],
        clock=trio.current_time,
        now_us=region.clock,
    )


async def answered(
    region: Region, peer: str, question: CatalogueQuestion, given: Charter | None = None
) -> CatalogueAnswer:
    answer = await answers_of(region, given).answer(peer, question)
    # As a host takes it: within all bounds.
    assert catalogue_answer(to_body(answer)) == answer
    return answer


async def told(region: Region, peer: str, given: Charter | None = None) -> Catalogue:
    answer = await answered(region, peer, CatalogueAsked(), given)
    assert isinstance(answer, Catalogue)
    return answer


def of(catalogue: Catalogue, digest: bytes) -> ModelTold:
    return next(model for model in catalogue.models if model.digest == digest)


def offer(region: Region, peer: str) -> None:
    """Keep a free seat for a host, as the operator's `--offer` does."""
    with StorageFile(region.path, clock=region.clock) as storage:
        storage.move_line(
            lambda line: Offers(
                tuple(
                    Waiting(
                        position=one.position,
                        peer_id=one.peer_id,
                        operator=one.operator,
                        model="",
                    )
                    for one in line
                    if one.peer_id == peer
                ),
                (),
                (),
            ),
            "bavaria",
        )


def queue(region: Region, *peers: str) -> None:
    with StorageFile(region.path, clock=region.clock) as storage:
        for peer in peers:
            storage.join_line(peer, f"op-{peer}", "bavaria", [DIGEST])


async def test_a_stranger_is_told_models_free_seats_and_who_to_ask(region: Region) -> None:
    region.seat([ADA])
    with StorageFile(region.path, clock=region.clock) as storage:
        storage.offer_seats("bavaria", {DIGEST: 4})
    queue(region, BOB)
    found = await told(region, EVE)
    small, large = of(found, DIGEST), of(found, OTHER)
    assert (small.name, small.free_seats, small.waiting) == ("small-one", 3, 1)
    assert (small.cache_bytes_per_token, small.file_bytes > 0) == (23_040, True)
    # Nobody has a copy of the other.
    assert (large.file_bytes, large.cache_bytes_per_token, large.free_seats) == (0, 0, 0)
    assert (found.network, found.version, found.seat, found.places) == ("home", 4, None, [])
    assert [(one.name, one.contact) for one in found.regions] == [
        ("bavaria", "Stra?e 1, ada@example")
    ]


async def test_each_is_told_its_own_seat_and_places_only(region: Region) -> None:
    region.seat([ADA])
    queue(region, BOB, EVE)
    assert (await told(region, ADA)).seat == SeatHeld(region="bavaria", digests=[DIGEST])
    assert (await told(region, ADA)).places == []
    eve = await told(region, EVE)
    assert eve.places == [
        PlaceInLine(region="bavaria", digest=DIGEST, place=2, since_us=NOW_US, offered_until_us=0)
    ]
    assert BOB.encode() not in to_body(eve)


async def test_an_offer_is_taken_up_by_who_was_offered_it(region: Region) -> None:
    queue(region, BOB, EVE)
    offer(region, BOB)
    bob = await told(region, BOB)
    assert bob.places[0].offered_until_us == NOW_US + OFFER_DAYS * DAY_US
    # Who was offered a seat is ahead of nobody any more.
    assert (await told(region, EVE)).places[0].place == 1
    refused = await answered(region, EVE, OfferTaken(region="bavaria"))
    assert refused == CatalogueNotTold(reason="no_offer")
    taken = await answered(region, BOB, OfferTaken(region="bavaria"))
    assert isinstance(taken, Catalogue)
    assert taken.seat == SeatHeld(region="bavaria", digests=[DIGEST])
    assert taken.places == []
    again = await answered(region, BOB, OfferTaken(region="bavaria"))
    assert again == CatalogueNotTold(reason="no_offer")


async def test_an_offer_is_not_taken_too_late_nor_in_a_suspended_region(region: Region) -> None:
    queue(region, BOB)
    offer(region, BOB)
    take = OfferTaken(region="bavaria")
    suspended = await answered(region, BOB, take, charter("suspended"))
    assert suspended == CatalogueNotTold(reason="suspended")
    nowhere = await answered(region, BOB, OfferTaken(region="atlantis"))
    assert nowhere == CatalogueNotTold(reason="no_offer")
    region.clock.now += OFFER_DAYS * DAY_US
    assert await answered(region, BOB, take) == CatalogueNotTold(reason="lapsed")
    late = await told(region, BOB)
    assert (late.seat, late.places) == (None, [])


async def test_a_host_elsewhere_must_give_up_that_seat_first(region: Region) -> None:
    queue(region, BOB)
    offer(region, BOB)
    with StorageFile(region.path, clock=region.clock) as storage:
        storage.seat(BOB, "bob", "community", [OTHER], region="saxony")
    refused = await answered(region, BOB, OfferTaken(region="bavaria"))
    assert refused == CatalogueNotTold(reason="elsewhere")


async def test_who_leaves_the_line_moves_up_who_is_behind(region: Region) -> None:
    queue(region, BOB, EVE)
    # Nobody leaves for another.
    left = await answered(region, ADA, LineLeft(region="bavaria"))
    assert isinstance(left, Catalogue)
    assert (await told(region, EVE)).places[0].place == 2
    left = await answered(region, BOB, LineLeft(region="bavaria"))
    assert isinstance(left, Catalogue)
    assert left.places == []
    assert (await told(region, EVE)).places[0].place == 1


async def test_a_federated_region_and_a_suspended_one_count_by_their_own_word(
    region: Region,
) -> None:
    capacity = LocalCapacity(
        region="bavaria", seats={"small-one": 7}, target_utilisation_basis_points=6000
    )
    federated = charter("federated", capacities={"bavaria": capacity})
    assert of(await told(region, EVE, federated), DIGEST).free_seats == 7
    with StorageFile(region.path, clock=region.clock) as storage:
        storage.offer_seats("bavaria", {DIGEST: 4})
    suspended = await told(region, EVE, charter("suspended"))
    assert of(suspended, DIGEST).free_seats == 0
    assert not suspended.regions[0].takes_hosts


async def test_who_asks_too_often_is_told_so_and_others_are_not(
    region: Region, mock_clock: MockClock
) -> None:
    answers = answers_of(region)
    for _ in range(QUESTIONS_AT_ONCE):
        assert isinstance(await answers.answer(EVE, CatalogueAsked()), Catalogue)
    again = await answers.answer(EVE, CatalogueAsked())
    assert again == CatalogueNotTold(reason="too_often")
    assert isinstance(await answers.answer(BOB, CatalogueAsked()), Catalogue)
    mock_clock.jump(QUESTION_SECONDS)
    assert isinstance(await answers.answer(EVE, CatalogueAsked()), Catalogue)


async def test_without_a_database_nothing_is_told(tmp_path: Path) -> None:
    answers = CatalogueAnswers(
        tmp_path / "missing.sqlite", charter(), [], clock=trio.current_time, now_us=lambda: 1
    )
    answer = await answers.answer(EVE, CatalogueAsked())
    assert answer == CatalogueNotTold(reason="unavailable")
