import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from peerllm.charter.defaults import first_catalogue, first_standard, first_tariff, first_terms
from peerllm.charter.documents import CatalogueModel, ModelCatalogue
from peerllm.charter.errors import (
    AlreadyFounded,
    Malformed,
)
from peerllm.charter.key_files import WrongPassphrase, open_key, steward_in
from peerllm.charter.store import found_network
from peerllm.charter.tariff import PriceTier
from peerllm.crypto.errors import KeyFileError
from peerllm.crypto.identity import Identity

LOW_TIER = PriceTier(meaning="Everybody.", host_share_basis_points=9_000)
UNPRICED = CatalogueModel(sha256="0" * 64, model_class="huge", context_tokens=99, license="MIT")

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def _found(place: Path, expires: Any, **changes: Any) -> bytes:
    promised: dict[str, Any] = {
        "terms": first_terms("home"),
        "tariff": first_tariff(),
        "catalogue": first_catalogue(),
        "standard": first_standard(),
        "steward_keys_directory": place / "keys",
        "threshold": 2,
        "now": NOW,
        "expires": expires,
    }
    return found_network(place / "charter", **(promised | changes))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_steward_gets_a_private_key_file(network: Any) -> None:
    files = sorted(network.keys.iterdir())
    names = ["online.key", *(f"steward-{number}.key" for number in (1, 2, 3))]
    assert [path.name for path in files] == names
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    everything = b"".join(_files(network.folder).values())
    for path in files:
        assert Identity.load_or_create(path).seed.hex().encode() not in everything
        assert Identity.load_or_create(path).public_key.hex().encode() in everything


def test_a_network_is_founded_once(network: Any) -> None:
    before = _files(network.folder)
    with pytest.raises(AlreadyFounded):
        found_network(
            network.folder,
            terms=first_terms("home"),
            tariff=first_tariff(),
            catalogue=first_catalogue(),
            standard=first_standard(),
            steward_keys_directory=network.keys,
            now=NOW,
            expires=network.expires,
        )
    assert _files(network.folder) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"terms": msgspec.structs.replace(first_terms("x"), minimum_host_share_basis_points=9_000)},
        {"tariff": msgspec.structs.replace(first_tariff(), tiers={"standard": LOW_TIER})},
        {"catalogue": ModelCatalogue(models={"gpt": UNPRICED})},
        {"standard": msgspec.structs.replace(first_standard(), thresholds_milli={})},
    ],
    ids=["terms", "share", "unknown model", "standard"],
)
def test_nothing_is_left_behind_by_a_refused_charter(
    tmp_path: Path, network: Any, changes: dict[str, Any]
) -> None:
    place = tmp_path / "new"
    with pytest.raises(Malformed):
        _found(place, network.expires, **changes)
    assert not place.exists()


@pytest.mark.parametrize(
    ("threshold", "stewards"), [(0, ["a"]), (2, ["a"]), (1, []), (2, ["a", "a"])]
)
def test_an_impossible_threshold_is_refused(
    tmp_path: Path, network: Any, threshold: int, stewards: list[str]
) -> None:
    with pytest.raises(Malformed, match="threshold"):
        _found(tmp_path / "new", network.expires, threshold=threshold, stewards=stewards)


def test_a_steward_may_bring_a_key(tmp_path: Path, network: Any) -> None:
    own = Identity.load_or_create(tmp_path / "keys" / "ada.key")
    root = json.loads(_found(tmp_path, network.expires, stewards=["ada", "ben", "cai"]))
    [key] = [key for key in root["signed"]["keys"].values() if key.get("x-peerllm-name") == "ada"]
    assert key["keyval"]["public"] == own.public_key.hex()


def test_roles_are_split_between_the_stewards_and_the_operator(network: Any) -> None:
    roles = json.loads(network.root)["signed"]["roles"]
    assert roles["root"] == roles["targets"]
    assert (len(roles["root"]["keyids"]), roles["root"]["threshold"]) == (3, 2)
    assert roles["snapshot"] == roles["timestamp"]
    assert (len(roles["snapshot"]["keyids"]), roles["snapshot"]["threshold"]) == (1, 1)
    assert not {*roles["root"]["keyids"]} & {*roles["snapshot"]["keyids"]}


@pytest.mark.parametrize(
    ("stewards", "sentence"),
    [
        (["a"], "nobody stands for 'customers'"),
        (["a", "b"], "nobody stands for 'operator'"),
    ],
)
def test_every_interest_of_the_leadership_clause_has_a_steward(
    tmp_path: Path, network: Any, stewards: list[str], sentence: str
) -> None:
    place = tmp_path / "new"
    with pytest.raises(Malformed, match=sentence):
        _found(place, network.expires, threshold=1, stewards=stewards)
    assert not place.exists()


def test_stewards_keys_are_sealed_with_a_passphrase(tmp_path: Path, network: Any) -> None:
    _found(tmp_path, network.expires, passphrase="four words are enough", stewards=["a", "b", "c"])
    with pytest.raises(WrongPassphrase):
        open_key(tmp_path / "keys" / "a.key", lambda: "four words are not enough")
    opened = open_key(tmp_path / "keys" / "a.key", lambda: "four words are enough")
    assert steward_in(tmp_path / "keys" / "a.key").public_key == opened.public_key.hex()


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path, network: Any) -> None:
    Identity.load_or_create(tmp_path / "keys" / "steward-1.key")
    (tmp_path / "keys" / "steward-1.key").chmod(0o644)
    with pytest.raises(KeyFileError):
        _found(tmp_path, network.expires)
