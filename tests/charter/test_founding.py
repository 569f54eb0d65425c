import json
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from peerllm.charter.defaults import first_catalogue, first_standard, first_tariff, first_terms
from peerllm.charter.documents import CatalogueModel, ModelCatalogue
from peerllm.charter.errors import (
    AlreadyFounded,
    AlteredDocument,
    Malformed,
    MissingDocument,
    RolledBack,
    TooFewSignatures,
)
from peerllm.charter.store import amend_network, found_network, load_charter
from peerllm.charter.tariff import PriceTier
from peerllm.crypto.errors import KeyFileError
from peerllm.crypto.identity import Identity

LOW_TIER = PriceTier(meaning="Everybody.", host_share_basis_points=9_000)
UNPRICED = CatalogueModel(sha256="0" * 64, model_class="huge", context_tokens=99, license="MIT")


def _found(place: Path, expires: Any, **changes: Any) -> bytes:
    promised: dict[str, Any] = {
        "terms": first_terms("home"),
        "tariff": first_tariff(),
        "catalogue": first_catalogue(),
        "standard": first_standard(),
        "steward_keys_directory": place / "keys",
        "threshold": 2,
        "expires": expires,
    }
    return found_network(place / "charter", **(promised | changes))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_steward_gets_a_private_key_file(network: Any) -> None:
    files = sorted(network.keys.iterdir())
    assert [path.name for path in files] == [f"steward-{number}.key" for number in (1, 2, 3)]
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
    with pytest.raises(ValueError, match="threshold"):
        _found(tmp_path / "new", network.expires, threshold=threshold, stewards=stewards)


def test_a_steward_may_bring_a_key(tmp_path: Path, network: Any) -> None:
    own = Identity.load_or_create(tmp_path / "keys" / "ada.key")
    root = json.loads(_found(tmp_path, network.expires, threshold=1, stewards=["ada"]))
    [key] = root["signed"]["keys"].values()
    assert key["keyval"]["public"] == own.public_key.hex()


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path, network: Any) -> None:
    Identity.load_or_create(tmp_path / "keys" / "steward-1.key")
    (tmp_path / "keys" / "steward-1.key").chmod(0o644)
    with pytest.raises(KeyFileError):
        _found(tmp_path, network.expires)


def test_an_expired_charter_can_be_renewed(network: Any) -> None:
    later = network.expires + timedelta(days=10)
    amend_network(
        network.folder,
        trusted_root=network.root,
        steward_keys=[network.key(1), network.key(2)],
        expires=later + timedelta(days=30),
    )
    charter = load_charter(
        network.folder, trusted_root=network.root, state_directory=None, now=later
    )
    assert (charter.version, charter.expires_at) == (2, later + timedelta(days=30))
    assert charter.terms == first_terms("home")


def test_too_few_or_foreign_stewards_publish_nothing(network: Any, other_network: Any) -> None:
    before = _files(network.folder)
    for keys in (
        [],
        [network.key(1)],
        [network.key(1), network.key(1)],
        [network.key(1), other_network.key(2), other_network.key(3)],
    ):
        with pytest.raises(TooFewSignatures, match="as many stewards"):
            amend_network(
                network.folder,
                trusted_root=network.root,
                steward_keys=keys,
                expires=network.expires,
            )
    assert _files(network.folder) == before


def test_a_missing_key_file_is_not_made_up(network: Any) -> None:
    with pytest.raises(MissingDocument, match=r"steward-9\.key"):
        amend_network(
            network.folder,
            trusted_root=network.root,
            steward_keys=[network.key(1), network.key(9)],
            expires=network.expires,
        )
    assert not network.key(9).exists()


def test_a_changed_document_needs_a_higher_version(network: Any) -> None:
    tariff = msgspec.structs.replace(first_tariff(), backup_share_basis_points=1_000)
    with pytest.raises(RolledBack, match="tariff 1 must be newer than the published 1"):
        amend_network(
            network.folder,
            trusted_root=network.root,
            steward_keys=[network.key(1), network.key(2)],
            expires=network.expires,
            tariff=tariff,
        )


def test_stewards_do_not_sign_what_somebody_else_put_there(network: Any) -> None:
    [tariff] = (network.folder / "targets").glob("*.tariff.json")
    tariff.write_bytes(tariff.read_bytes().replace(b"9500", b"9999"))
    with pytest.raises(AlteredDocument):
        amend_network(
            network.folder,
            trusted_root=network.root,
            steward_keys=[network.key(1), network.key(2)],
            expires=network.expires,
        )
