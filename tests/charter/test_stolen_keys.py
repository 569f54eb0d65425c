"""What somebody can do with one key of many: with the operator's, with one steward's, with none."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from peerllm.charter.ballot_papers import Second, Vote, sign
from peerllm.charter.drafts import read_paper
from peerllm.charter.errors import (
    AlteredDocument,
    CharterError,
    Malformed,
    NotDecided,
    RolledBack,
    TooFewSignatures,
)
from peerllm.charter.metadata import signed_by, timestamp_of
from peerllm.charter.spelling import spelling
from tests.charter.small_charter import EXPIRES, KEYS, ONLINE, SmallCharter, small_charter


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> SmallCharter:
    return small_charter(tmp_path_factory.mktemp("stolen"))


@pytest.fixture
def charter(original: SmallCharter, tmp_path: Path) -> SmallCharter:
    folder = Path(shutil.copytree(original.folder, tmp_path / "public"))
    return SmallCharter(folder, original.root, original.now)


def refused(charter: SmallCharter, kind: type[CharterError], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        charter.verify()


def serve(charter: SmallCharter, version: int, targets_raw: bytes) -> None:
    """With the operator's key: vouch that these targets are the newest."""
    metadata = charter.folder / "metadata"
    timestamp = Metadata[Timestamp].from_file(str(metadata / "timestamp.json")).signed
    snapshot = Metadata[Snapshot].from_file(str(metadata / "3.snapshot.json")).signed
    snapshot.version = 4
    snapshot.meta["targets.json"] = MetaFile.from_data(version, targets_raw, ["sha256"])
    raw = signed_by(snapshot, ONLINE)
    (metadata / "4.snapshot.json").write_bytes(raw)
    (metadata / f"{version}.targets.json").write_bytes(targets_raw)
    fresh = timestamp_of(timestamp, 4, raw, now=charter.now, expires=EXPIRES)
    (metadata / "timestamp.json").write_bytes(signed_by(fresh, ONLINE))


def ballot(charter: SmallCharter) -> Path:
    return charter.folder / "ballots" / charter.verify().ballot


def test_the_operators_key_brings_back_no_older_version(
    charter: SmallCharter, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    assert charter.verify(state).version == 2
    serve(charter, 1, (charter.folder / "metadata" / "1.targets.json").read_bytes())
    refused(charter, RolledBack, "rolled back: targets.json has version 1 and the root 2")
    with pytest.raises(RolledBack, match="older than what was seen before"):
        charter.verify(state)


def test_the_operators_key_and_one_stewards_put_nothing_in_force(charter: SmallCharter) -> None:
    path = charter.folder / "metadata" / "2.targets.json"
    targets = Metadata[Targets].from_file(str(path)).signed
    serve(charter, 2, signed_by(targets, KEYS[0]))
    refused(charter, TooFewSignatures, "threshold not met: .* carries 1 of the 2 signatures")


@pytest.mark.parametrize("threshold", [1, 2])
def test_one_stewards_key_makes_no_root(charter: SmallCharter, threshold: int) -> None:
    metadata = charter.folder / "metadata"
    root = Metadata[Root].from_file(str(metadata / "2.root.json")).signed
    root.version = 3
    root.roles["root"].threshold = root.roles["targets"].threshold = threshold
    (metadata / "3.root.json").write_bytes(signed_by(root, KEYS[0]))
    refused(charter, TooFewSignatures, r"3\.root\.json carries 1 of the 2 signatures")


def test_even_all_keys_give_a_region_no_more_than_its_record_says(charter: SmallCharter) -> None:
    path = charter.folder / "metadata" / "2.targets.json"
    targets = Metadata[Targets].from_file(str(path)).signed
    assert targets.delegations is not None
    assert targets.delegations.roles is not None
    targets.delegations.roles["region-north"].paths = ["*.json"]
    serve(charter, 2, signed_by(targets, *KEYS))
    refused(charter, Malformed, "delegates otherwise than the regions' records say")


def test_even_all_keys_do_not_put_another_change_behind_a_ballot(charter: SmallCharter) -> None:
    path = charter.folder / "metadata" / "2.targets.json"
    targets = Metadata[Targets].from_file(str(path)).signed
    targets.targets.pop("calculations/2030-q1.csv")
    serve(charter, 2, signed_by(targets, *KEYS))
    refused(charter, Malformed, "version 2: what was signed is not what was proposed")


def another_vote(folder: Path) -> None:
    vote = read_paper(folder / "votes" / "cai.json", Vote)
    changed = sign(msgspec.structs.replace(vote, choice="yes"), KEYS[2])
    (folder / "votes" / "cai-2.json").write_bytes(spelling(changed))


def another_seconding(folder: Path) -> None:
    second = read_paper(folder / "second.json", Second)
    earlier = sign(msgspec.structs.replace(second, at_us=second.at_us + 1), KEYS[1])
    (folder / "second.json").write_bytes(spelling(earlier))


@pytest.mark.parametrize(
    ("edit", "kind", "sentence"),
    [
        (another_vote, AlteredDocument, "version 2: its published tally is not what"),
        (another_seconding, NotDecided, "under another notice"),
    ],
)
def test_a_stewards_key_does_not_change_a_ballot_afterwards(
    charter: SmallCharter,
    edit: Callable[[Path], None],
    kind: type[CharterError],
    sentence: str,
) -> None:
    edit(ballot(charter))
    refused(charter, kind, sentence)
