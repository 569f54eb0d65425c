"""A charter that is published, refused or runs out while the coordinator serves."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import trio
from simulated_host import NOW_US
from toy_house import ADA, toy_house
from trio.testing import MockClock

from peerllm.charter.defaults import (
    FIRST_MODEL,
    first_catalogue,
    first_standard,
    first_tariff,
    first_terms,
)
from peerllm.charter.errors import RolledBack
from peerllm.charter.loading import Charter
from peerllm.charter.store import found_network
from peerllm.coordinator.events import CoordinatorEvent
from peerllm.coordinator.house import House
from peerllm.coordinator.house_in_force import (
    LOOK_SECONDS,
    HouseInForce,
    Looks,
    expiry_us,
    keep_in_force,
)
from peerllm.coordinator.models import ModelFileError
from peerllm.coordinator.service import CoordinatorSettings, read_charter, rehoused
from peerllm.privacy.event_log import EventLog


@pytest.fixture
def charter(tmp_path: Path) -> Charter:
    now = datetime.now(UTC)
    found_network(
        tmp_path / "charter",
        terms=first_terms("tests"),
        tariff=first_tariff(),
        catalogue=first_catalogue(),
        standard=first_standard(),
        steward_keys_directory=tmp_path / "stewards",
        now=now,
        expires=now + timedelta(days=1),
    )
    return read_charter(
        CoordinatorSettings(
            data_directory=tmp_path / "data", charter_directory=tmp_path / "charter"
        )
    )


async def looked(
    in_force: HouseInForce, charter: Charter, reads: list[Charter | Exception], **more: Any
) -> list[dict[str, Any]]:
    """Let the keeper look once for each of `reads`; returns what it logged."""
    log = io.StringIO()

    def read() -> Charter:
        found = reads.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    rehouse: Callable[[House, Charter, Charter], House] = more.get(
        "rehouse", lambda _house, _older, newer: cast("House", newer.version)
    )
    with trio.move_on_after(LOOK_SECONDS * (len(reads) + 0.5)):
        events = EventLog[CoordinatorEvent](lambda: NOW_US, log)
        await keep_in_force(in_force, charter, Looks(read, rehouse), events)
    assert not reads
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def test_a_newer_charter_is_taken_up_and_told_once(
    charter: Charter, patient_clock: MockClock
) -> None:
    newer = replace(charter, version=2, expires_at=charter.expires_at + timedelta(days=1))
    ended_us = expiry_us(charter)
    in_force = HouseInForce(cast("House", 1), ended_us, lambda: ended_us)
    assert in_force.expired
    events = await looked(in_force, charter, [charter, newer, newer])
    assert cast("int", in_force.house) == 2
    assert not in_force.expired
    assert [(event["event"], event["version"]) for event in events] == [("charter_in_force", 2)]


async def test_what_is_refused_changes_nothing_and_is_told_once(
    charter: Charter, patient_clock: MockClock
) -> None:
    in_force = HouseInForce(cast("House", 1), NOW_US + 1, lambda: NOW_US)
    forged: list[Charter | Exception] = [RolledBack("older"), RolledBack("older"), charter]
    events = await looked(in_force, charter, forged)
    assert cast("int", in_force.house) == 1
    assert [(event["event"], event["error"]) for event in events] == [
        ("charter_refused", "RolledBack")
    ]


async def test_a_root_that_cannot_be_read_at_one_look_ends_nothing(
    tmp_path: Path, charter: Charter, patient_clock: MockClock
) -> None:
    root = tmp_path / "root.json"
    settings = CoordinatorSettings(
        data_directory=tmp_path / "data",
        charter_directory=tmp_path / "charter",
        root_file=root,
    )
    with pytest.raises(FileNotFoundError) as gone:
        read_charter(settings)
    in_force = HouseInForce(cast("House", 1), NOW_US + 1, lambda: NOW_US)
    newer = replace(charter, version=2)
    events = await looked(in_force, charter, [gone.value, gone.value, newer])
    assert [(event["event"], event.get("error")) for event in events] == [
        ("charter_refused", "FileNotFoundError"),
        ("charter_in_force", None),
    ]
    assert cast("int", in_force.house) == 2


async def test_a_charter_whose_models_are_not_here_is_not_served(
    charter: Charter, patient_clock: MockClock
) -> None:
    def rehouse(_house: House, _older: Charter, _newer: Charter) -> House:
        raise ModelFileError("no model of the catalogue has a file here")

    in_force = HouseInForce(cast("House", 1), NOW_US + 1, lambda: NOW_US)
    newer = replace(charter, version=2)
    events = await looked(in_force, charter, [newer, newer], rehouse=rehouse)
    assert cast("int", in_force.house) == 1
    assert [event["error"] for event in events] == ["ModelFileError"]


async def test_an_expired_charter_admits_nobody_and_charges_nothing(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path, expires_at_us=NOW_US) as toy:
        toy.host("one")
        reply = await toy.chat()
        assert (reply.status, reply.json["error"]["code"]) == (503, "charter_expired")
        assert (await toy.storage.balance(ADA)).available == 10**9


async def test_requests_obey_the_newest_standard_and_tariff(
    tmp_path: Path, charter: Charter, patient_clock: MockClock
) -> None:
    (tmp_path / "toy").mkdir()
    async with toy_house(tmp_path / "toy") as toy:
        tariff = msgspec.structs.replace(charter.tariff, version=7)
        standard = msgspec.structs.replace(charter.standard, version=9)
        terms = msgspec.structs.replace(charter.terms, race_size=1)
        newer = replace(charter, tariff=tariff, standard=standard, terms=terms)
        after = rehoused(toy.house, charter, newer, {})
        assert after.judge.standard_version == after.answer_judge.standard_version == 9
        assert after.terms.race_size == 1
        offer = after.price_list.offer(FIRST_MODEL, "standard")
        assert offer is not None
        assert offer.tariff_version == 7
        # What the charter does not speak of is the same thing, not another one.
        assert after.in_flight is toy.house.in_flight
        assert after.storage is toy.house.storage
        assert after.dispatcher.registry is toy.house.dispatcher.registry
        assert after.models is toy.house.models
