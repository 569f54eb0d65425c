"""Which models fit a machine, and which one is recommended."""

from typing import Any

import msgspec
import pytest

from peerllm.overlay.catalogue_messages import Catalogue, ModelTold, PlaceInLine, SeatHeld
from peerllm.peer.model_fit import (
    Fit,
    Machine,
    Misfit,
    chance_of,
    fit_of,
    read_rate,
    recommended,
)
from tests.overlay.catalogue_samples import AS_OF_US, CATALOGUE, LARGE, SMALL, model

GB = 1_000_000_000
MIDDLE = b"\x03" * 32


def machine(**changes: Any) -> Machine:
    return Machine(**{"memory_bytes": 16 * GB, "disk_bytes": 100 * GB, **changes})


def fitted(one: ModelTold, given: Machine, *, is_here: bool = False) -> Fit:
    return fit_of(one, given, context_tokens=4096, is_here=is_here)


@pytest.mark.parametrize(
    ("changes", "given", "misfit"),
    [
        ({}, machine(), ""),
        ({"file_bytes": 0}, machine(), "not_served"),
        ({}, machine(processor_fault="compiled for another"), "processor"),
        ({"file_bytes": 16 * GB}, machine(), "memory"),
        ({"file_bytes": 4 * GB}, machine(disk_bytes=4 * GB), "disk"),
        # The rest of the computer needs some of the disk, too.
        ({"file_bytes": 4 * GB}, machine(disk_bytes=4 * GB + GB // 2), "disk"),
        ({"file_bytes": 4 * GB}, machine(disk_bytes=None), ""),
        ({"file_bytes": 4 * GB, "embedded": True}, machine(disk_bytes=GB), ""),
    ],
)
def test_the_first_thing_against_a_model_is_named(
    changes: dict[str, Any], given: Machine, misfit: Misfit
) -> None:
    assert fitted(model(**changes), given).misfit == misfit


def test_a_model_that_is_here_needs_no_download() -> None:
    found = fitted(model(file_bytes=4 * GB), machine(disk_bytes=0), is_here=True)
    assert (found.misfit, found.download_bytes) == ("", 0)
    found = fitted(model(file_bytes=4 * GB), machine())
    assert (found.misfit, found.download_bytes) == ("", 4 * GB)


def test_what_a_model_needs_grows_with_its_context_up_to_the_network_s() -> None:
    one = model(context_tokens=1000)
    assert fitted(one, machine()).memory_bytes == 100_000_000 + 20_000 * 1000 + 150_000_000
    assert fitted(model(), machine()).memory_bytes == 100_000_000 + 20_000 * 4096 + 150_000_000


def test_speed_is_reckoned_from_what_was_measured() -> None:
    given = machine(bytes_per_second=read_rate([(100_000_000, 80_000), (50, 10**9)]))
    assert fitted(model(), given).tokens_per_second == 80
    assert fitted(model(file_bytes=GB), given).tokens_per_second == 8
    assert fitted(model(), machine()).tokens_per_second == 0
    assert read_rate([]) == 0


def catalogue(*models: ModelTold, **changes: Any) -> Catalogue:
    bare = {"seat": None, "places": [], "models": list(models)}
    return msgspec.structs.replace(CATALOGUE, **{**bare, **changes})


def best(found: Catalogue, given: Machine) -> bytes | None:
    fits = {one.digest: fitted(one, given) for one in found.models}
    one = recommended(found, fits, given)
    return None if one is None else one.digest


def test_the_largest_is_recommended_that_leaves_half_of_the_memory() -> None:
    found = catalogue(model(), model(MIDDLE, file_bytes=3 * GB), model(LARGE, file_bytes=9 * GB))
    assert best(found, machine()) == MIDDLE
    assert best(found, machine(memory_bytes=64 * GB)) == LARGE
    assert best(found, machine(memory_bytes=2 * GB)) == SMALL
    assert best(found, machine(memory_bytes=GB // 2)) is None


def test_what_would_be_too_slow_is_not_recommended() -> None:
    found = catalogue(model(), model(MIDDLE, file_bytes=3 * GB))
    # 60 tokens a second with the small one, 2 with the other.
    assert best(found, machine(bytes_per_second=6 * GB)) == SMALL
    assert best(found, machine(bytes_per_second=60 * GB)) == MIDDLE


def test_a_model_with_a_seat_comes_before_a_larger_one_without() -> None:
    small, large = model(), model(LARGE, file_bytes=3 * GB, free_seats=0)
    assert best(catalogue(small, large), machine()) == SMALL
    seated = SeatHeld(region="bavaria", digests=[LARGE])
    assert best(catalogue(small, large, seat=seated), machine()) == LARGE
    # Without any seat anywhere the larger one is worth waiting for.
    assert best(catalogue(model(free_seats=0), large), machine()) == LARGE


def test_where_a_host_stands_with_a_model() -> None:
    place = PlaceInLine(
        region="bavaria", digest=SMALL, place=1, since_us=AS_OF_US, offered_until_us=0
    )
    offer = msgspec.structs.replace(place, offered_until_us=AS_OF_US)
    seated = SeatHeld(region="bavaria", digests=[SMALL])
    assert chance_of(catalogue(model(), seat=seated), model()) == "seated"
    assert chance_of(catalogue(model(), places=[offer]), model()) == "offered"
    assert chance_of(catalogue(model(), places=[place]), model()) == "in_line"
    assert chance_of(catalogue(model()), model()) == "open"
    # Free ones go to those in line first.
    assert chance_of(catalogue(model(waiting=2)), model(waiting=2)) == "full"
