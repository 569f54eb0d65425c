"""A federated region sets its own capacity, and nothing else, and harms nobody by failing to."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from tuf.api.metadata import Metadata, Targets

from peerllm.charter.documents import write_document
from peerllm.charter.errors import (
    AlteredDocument,
    BadSignature,
    Expired,
    Malformed,
    RolledBack,
    TooFewSignatures,
)
from peerllm.charter.metadata import capacity_targets, signed_by
from peerllm.charter.publishing import OnlineKeys, publish_capacity, sign_capacity, verified
from peerllm.charter.region_record import RegionDecision
from peerllm.crypto.identity import Identity
from tests.charter.small_charter import (
    EXPIRES,
    FOUNDED,
    FOUNDED_US,
    KEYS,
    NORTH,
    ONLINE,
    SmallCharter,
    amended,
    capacity,
    federated_region,
    found,
    with_capacity,
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> SmallCharter:
    return found(tmp_path_factory.mktemp("delegation"))


@pytest.fixture
def charter(original: SmallCharter, tmp_path: Path) -> SmallCharter:
    folder = Path(shutil.copytree(original.folder, tmp_path / "public"))
    return SmallCharter(folder, original.root, original.now)


def signed(charter: SmallCharter, content: bytes, *keys: Identity) -> bytes:
    raw = None
    for key in keys:
        published = verified(charter.folder, charter.root, charter.now)
        raw = sign_capacity(published, content, key, expires=EXPIRES, before=raw)
    assert raw is not None
    return raw


def publish(charter: SmallCharter, content: bytes, raw: bytes, online: Identity = ONLINE) -> None:
    publish_capacity(
        charter.folder,
        content,
        raw,
        trusted_root=charter.root,
        online=OnlineKeys(online, EXPIRES),
        now=charter.now,
    )


def test_a_region_sets_its_capacity_and_changes_it(charter: SmallCharter) -> None:
    before = charter.verify()
    assert before.notices == ("region 'north' has not set its own capacity yet",)
    with_capacity(charter, capacity())
    first = charter.verify()
    assert first.capacities["north"].seats == {"smollm2-135m-instruct": 12}
    assert (first.version, first.notices) == (1, ())
    with_capacity(charter, capacity(version=2, seats=20))
    assert charter.verify().capacities["north"].seats == {"smollm2-135m-instruct": 20}
    with pytest.raises(RolledBack, match="region-capacity 2 must be newer than the published 2"):
        signed(charter, capacity(version=2, seats=30), *NORTH)


def test_the_regions_threshold_must_sign(charter: SmallCharter) -> None:
    content = capacity()
    with pytest.raises(TooFewSignatures, match="threshold not met"):
        publish(charter, content, signed(charter, content, NORTH[0]))
    with pytest.raises(BadSignature, match="none of region 'north''s delegated keys"):
        signed(charter, content, KEYS[0])
    with pytest.raises(BadSignature, match="not the one that the stewards have named"):
        publish(charter, content, signed(charter, content, *NORTH), online=NORTH[0])
    assert charter.verify().capacities == {}


def test_a_region_signs_its_capacity_and_nothing_more(charter: SmallCharter) -> None:
    content = capacity()
    for name in ("tariff.json", "regions/north.json", "regions/south/capacity.json"):
        targets = capacity_targets(
            "regions/north/capacity.json", content, version=1, expires=EXPIRES
        )
        more = capacity_targets(name, content, version=1, expires=EXPIRES)
        targets.targets |= more.targets
        with pytest.raises(Malformed, match="or for more than it"):
            publish(charter, content, signed_by(targets, *NORTH))
    price = json.loads(content) | {"price": 1}
    raw = msgspec.json.format(msgspec.json.encode(price, order="sorted"), indent=2) + b"\n"
    with pytest.raises(Malformed, match="unknown field"):
        publish(charter, raw, signed(charter, content, *NORTH))
    with pytest.raises(Malformed, match="there is no region 'south'"):
        signed(charter, content.replace(b"north", b"south"), *NORTH)
    with pytest.raises(Malformed, match="not signed for this capacity"):
        publish(charter, capacity(seats=99), signed(charter, content, *NORTH))


def test_a_region_that_lets_its_capacity_expire_harms_only_itself(charter: SmallCharter) -> None:
    content = capacity()
    soon = FOUNDED + timedelta(days=2)
    published = verified(charter.folder, charter.root, charter.now)
    raw = None
    for key in NORTH:
        raw = sign_capacity(published, content, key, expires=soon, before=raw)
    assert raw is not None
    late = SmallCharter(charter.folder, charter.root, soon)
    with pytest.raises(Expired, match="must sign the capacity again"):
        publish(late, content, raw)
    publish(charter, content, raw)
    later = SmallCharter(charter.folder, charter.root, soon + timedelta(days=1)).verify()
    assert later.capacities == {}
    [notice] = later.notices
    assert "the capacity of region 'north' is not in force" in notice
    assert "expired" in notice


def test_a_capacity_signed_with_former_keys_is_not_in_force(
    charter: SmallCharter, tmp_path: Path
) -> None:
    with_capacity(charter, capacity())
    fresh = Identity.from_seed(b"n" * 32)
    record = msgspec.structs.replace(
        federated_region(),
        version=2,
        delegated_keys=(fresh.public_key.hex(),),
        delegated_threshold=1,
    )
    files = {"regions/north.json": write_document(record)}
    later = amended(charter, tmp_path / "draft", files)
    verified_again = later.verify()
    assert verified_again.capacities == {}
    assert "the capacity of region 'north' is not in force" in verified_again.notices[0]
    with pytest.raises(BadSignature, match="delegated keys"):
        signed(later, capacity(version=2), NORTH[0])
    publish(later, capacity(version=2), signed(later, capacity(version=2), fresh))
    assert later.verify().capacities["north"].version == 2


def test_an_altered_capacity_is_refused(charter: SmallCharter) -> None:
    with_capacity(charter, capacity())
    [path] = (charter.folder / "targets" / "regions" / "north").iterdir()
    path.write_bytes(path.read_bytes().replace(b"12", b"13"))
    with pytest.raises(AlteredDocument, match=r"capacity\.json is not what the stewards signed"):
        charter.verify()


def test_stewards_delegate_no_more_than_the_region_record_says(charter: SmallCharter) -> None:
    path = charter.folder / "metadata" / "1.targets.json"
    targets = Metadata[Targets].from_file(str(path)).signed
    assert targets.delegations is not None
    assert targets.delegations.roles is not None
    [role] = targets.delegations.roles.values()
    assert (role.name, role.paths, role.threshold, role.terminating) == (
        "region-north",
        ["regions/north/*.json"],
        2,
        True,
    )


def test_a_region_that_is_not_federated_has_no_say(tmp_path: Path) -> None:
    record = msgspec.structs.replace(
        federated_region(),
        status="active",
        since_us=FOUNDED_US - 2,
        delegated_keys=(),
        delegated_threshold=0,
        decisions=federated_region().decisions[:2],
    )
    assert isinstance(record.decisions[0], RegionDecision)
    assert write_document(record)
    charter = found(tmp_path, region=record)
    assert charter.verify().notices == ()
    with pytest.raises(Malformed, match="only a federated region sets its own capacity"):
        signed(charter, capacity(), NORTH[0])
