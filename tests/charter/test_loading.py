import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tuf.api.exceptions import DownloadError

from peerllm.charter.defaults import first_catalogue, first_standard, first_tariff, first_terms
from peerllm.charter.documents import write_document
from peerllm.charter.errors import (
    AlteredDocument,
    BadSignature,
    Expired,
    Malformed,
    MissingDocument,
    NotYetInForce,
    RolledBack,
    TooFewSignatures,
    WrongClock,
)
from peerllm.charter.folder import FolderFetcher
from peerllm.charter.store import (
    Charter,
    found_network,
    founding_root,
    load_charter,
)

METADATA_FILES = ["timestamp.json", "1.snapshot.json", "1.targets.json"]
DOCUMENTS = ["charter-terms", "tariff", "model-catalogue", "safety-standard"]


def _load(network: Any, folder: Path | None = None, state: Path | None = None) -> Charter:
    return load_charter(
        folder or network.folder,
        trusted_root=network.root,
        state_directory=state,
        now=network.founded_at,
    )


def _document_file(folder: Path, name: str) -> Path:
    [path] = (folder / "targets").glob(f"*.{name}.json")
    return path


def _edit_signatures(path: Path, edit: Callable[[list[dict[str, str]]], object]) -> None:
    content = json.loads(path.read_bytes())
    edit(content["signatures"])
    path.write_text(json.dumps(content))


def test_a_founded_network_loads_as_it_was_founded(network: Any) -> None:
    charter = _load(network)
    assert charter.terms == first_terms("home")
    assert charter.tariff == first_tariff()
    assert charter.catalogue == first_catalogue()
    assert charter.standard == first_standard()
    assert (charter.version, len(charter.stewards), charter.threshold) == (1, 3, 2)
    assert charter.expires_at == network.expires


def test_founding_root_is_the_one_that_founding_returned(network: Any, tmp_path: Path) -> None:
    assert founding_root(network.folder) == network.root
    with pytest.raises(MissingDocument, match="holds no charter"):
        founding_root(tmp_path / "nowhere")
    root = network.folder / "metadata" / "1.root.json"
    os.truncate(root, 2**40)
    with pytest.raises(Malformed, match="has more than 1048576 bytes"):
        founding_root(network.folder)
    root.unlink()
    os.mkfifo(root)
    with pytest.raises(MissingDocument, match="holds no charter"):
        founding_root(network.folder)


def test_the_remembered_root_is_trusted_and_none_is_not(network: Any, tmp_path: Path) -> None:
    state = tmp_path / "state"
    now = network.founded_at
    with pytest.raises(MissingDocument, match="no root is trusted yet"):
        load_charter(network.folder, trusted_root=None, state_directory=state, now=now)
    first = _load(network, state=state)
    again = load_charter(network.folder, trusted_root=None, state_directory=state, now=now)
    assert again == first


@pytest.mark.parametrize("name", METADATA_FILES)
def test_missing_metadata_is_named(network: Any, name: str) -> None:
    (network.folder / "metadata" / name).unlink()
    with pytest.raises(MissingDocument, match=f"{name} is missing"):
        _load(network)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_missing_document_is_named(network: Any, name: str) -> None:
    _document_file(network.folder, name).unlink()
    with pytest.raises(MissingDocument, match=f"{name}.json is missing"):
        _load(network)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_altered_document_is_named_even_when_it_was_seen_before(
    network: Any, name: str, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    _load(network, state=state)
    path = _document_file(network.folder, name)
    for altered in (path.read_bytes().replace(b"1", b"2"), path.read_bytes() + b" ", b""):
        path.write_bytes(altered)
        with pytest.raises(AlteredDocument, match=f"{name}.json is not what the stewards signed"):
            _load(network, state=state)


def test_fewer_signatures_than_the_threshold_are_refused(network: Any) -> None:
    path = network.folder / "metadata" / "timestamp.json"
    _edit_signatures(path, lambda signatures: signatures.pop())
    with pytest.raises(TooFewSignatures, match=r"timestamp\.json carries 0 of the 1"):
        _load(network)


def test_wrong_signatures_are_refused(network: Any) -> None:
    def spoil(signatures: list[dict[str, str]]) -> None:
        for signature in signatures:
            signature["sig"] = "00" * 64

    _edit_signatures(network.folder / "metadata" / "timestamp.json", spoil)
    with pytest.raises(
        BadSignature, match=r"timestamp\.json has signatures that are wrong"
    ) as found:
        _load(network)
    assert not isinstance(found.value, TooFewSignatures)


def test_one_steward_signing_twice_counts_once(network: Any) -> None:
    def repeat(signatures: list[dict[str, str]]) -> None:
        signatures.append(signatures[0])

    _edit_signatures(network.folder / "metadata" / "timestamp.json", repeat)
    with pytest.raises(Malformed, match=r"timestamp\.json"):
        _load(network)


def test_another_networks_stewards_are_nobody_here(network: Any, other_network: Any) -> None:
    with pytest.raises(BadSignature, match="do not use this charter"):
        _load(network, folder=other_network.folder)


def test_a_root_that_is_not_signed_by_its_own_stewards_is_no_root(network: Any) -> None:
    content = json.loads(network.root)
    content["signed"]["roles"]["targets"]["threshold"] = 1
    forged = json.dumps(content).encode()
    for root, kind in ((forged, BadSignature), (b"{}", Malformed), (b"", Malformed)):
        with pytest.raises(kind, match="the trusted root"):
            load_charter(
                network.folder,
                trusted_root=root,
                state_directory=None,
                now=network.founded_at,
            )


@pytest.mark.parametrize("seconds", [0, 1])
def test_it_ends_when_it_says(network: Any, seconds: int) -> None:
    last = network.expires - timedelta(seconds=1)
    load_charter(network.folder, trusted_root=network.root, state_directory=None, now=last)
    now = network.expires + timedelta(seconds=seconds)
    with pytest.raises(Expired, match="ask the stewards for a newer one"):
        load_charter(network.folder, trusted_root=network.root, state_directory=None, now=now)


def test_a_tariff_of_the_future_is_not_in_force(network: Any, tmp_path: Path) -> None:
    starts = network.founded_at + timedelta(hours=1)
    tariff = first_tariff(valid_from_us=int(starts.timestamp()) * 1_000_000)
    root = found_network(
        tmp_path / "later",
        terms=first_terms("later"),
        tariff=tariff,
        catalogue=first_catalogue(),
        standard=first_standard(),
        steward_keys_directory=network.keys,
        now=network.founded_at,
        expires=network.expires,
    )
    folder = tmp_path / "later"
    with pytest.raises(NotYetInForce, match="2030-01-01T01:00:00"):
        load_charter(folder, trusted_root=root, state_directory=None, now=network.founded_at)
    charter = load_charter(folder, trusted_root=root, state_directory=None, now=starts)
    assert charter.tariff == tariff


def test_an_older_charter_is_refused_once_a_newer_was_seen(
    network: Any, tmp_path: Path, copy_of: Callable[[Path], Path]
) -> None:
    older = copy_of(network.folder)
    standard = msgspec.structs.replace(first_standard(), version=2, answer_margin_milli=150)
    now = network.amend(tmp_path / "draft", {"safety-standard.json": write_document(standard)})
    state = tmp_path / "state"
    root = network.root
    first = load_charter(older, trusted_root=root, state_directory=state, now=now)
    newer = load_charter(network.folder, trusted_root=root, state_directory=state, now=now)
    assert (first.version, newer.version, newer.standard) == (1, 2, standard)
    with pytest.raises(
        RolledBack, match=r"rolled back: .*timestamp\.json is older.*get the newest"
    ):
        load_charter(older, trusted_root=root, state_directory=state, now=now)


def test_parts_of_two_versions_are_not_mixed(
    network: Any, tmp_path: Path, copy_of: Callable[[Path], Path]
) -> None:
    older = copy_of(network.folder)
    network.amend(tmp_path / "draft", {})
    metadata = network.folder / "metadata"
    shutil.copy(older / "metadata" / "1.targets.json", metadata / "2.targets.json")
    with pytest.raises(AlteredDocument, match=r"2\.targets\.json"):
        load_charter(
            network.folder,
            trusted_root=network.root,
            state_directory=None,
            now=network.founded_at + timedelta(days=30),
        )
    shutil.copy(older / "metadata" / "1.snapshot.json", metadata / "2.snapshot.json")
    with pytest.raises(AlteredDocument, match=r"2\.snapshot\.json"):
        load_charter(
            network.folder,
            trusted_root=network.root,
            state_directory=None,
            now=network.founded_at + timedelta(days=30),
        )


def test_a_folder_is_read_no_further_than_its_own_files(network: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    fetcher = FolderFetcher(network.folder)
    (network.folder / "metadata" / "link.json").symlink_to(tmp_path / "secret")
    for url in (
        "../secret",
        "metadata/../../secret",
        str(tmp_path / "secret"),
        "metadata/link.json",
    ):
        with pytest.raises(DownloadError):
            fetcher.download_bytes(url, 100)
    assert fetcher.download_bytes("metadata/1.root.json", 10_000) == network.root


def test_what_is_not_metadata_is_malformed(network: Any) -> None:
    (network.folder / "metadata" / "timestamp.json").write_bytes(b"[" * 10_000)
    with pytest.raises(Malformed, match=r"timestamp\.json is not a TUF metadata file"):
        _load(network)


def test_a_clock_that_is_a_day_behind_is_noticed(network: Any) -> None:
    for behind in (timedelta(days=1), timedelta(days=10_000)):
        with pytest.raises(WrongClock, match=r"by this machine's clock; set the clock"):
            load_charter(
                network.folder,
                trusted_root=network.root,
                state_directory=None,
                now=network.founded_at - behind,
            )
    nearly = network.founded_at - timedelta(minutes=9)
    load_charter(network.folder, trusted_root=network.root, state_directory=None, now=nearly)


def test_the_callers_clock_decides_and_not_the_machines(network: Any) -> None:
    far = network.expires + timedelta(days=10_000)
    with pytest.raises(Expired):
        load_charter(network.folder, trusted_root=network.root, state_directory=None, now=far)
