import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peerllm.crypto.process_lock import taken_lock
from peerllm.peer.catalogue import (
    CatalogueError,
    LocalCatalogue,
    WantedModel,
    find_model,
    find_models,
)
from peerllm.peer.errors import ConfigurationError, ModelError
from peerllm.peer.models import EMBEDDED_MODEL
from tests.peer.gguf_files import tiny_gguf


@pytest.fixture
def catalogue(tmp_path: Path) -> LocalCatalogue:
    return LocalCatalogue(tmp_path / "data")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Tiny One.gguf"
    path.write_bytes(tiny_gguf())
    return path


def test_a_model_is_entered_by_digest_and_found_by_name_or_digest(
    catalogue: LocalCatalogue, file: Path, tmp_path: Path
) -> None:
    digest, model = catalogue.add(file)
    assert (model.name, model.architecture, model.parameters) == ("tiny-one", "llama", 16)
    assert catalogue.find("tiny-one") == catalogue.find(digest[:6].upper()) == (digest, model)
    assert catalogue.model_file(digest).path == file
    if os.name == "posix":
        assert (tmp_path / "data" / "models.json").stat().st_mode & 0o777 == 0o600
    # Again is no fault, and the name can be changed so.
    catalogue.add(file, "other")
    assert [entry.name for entry in catalogue.models().values()] == ["other"]


def test_what_is_not_there_is_said_with_what_is(catalogue: LocalCatalogue, file: Path) -> None:
    with pytest.raises(CatalogueError, match="in the catalogue: none"):
        catalogue.find("absent")
    catalogue.add(file, "here")
    with pytest.raises(CatalogueError, match="in the catalogue: here"):
        catalogue.find("absent")


def test_names_are_words_and_belong_to_one_model(
    catalogue: LocalCatalogue, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(CatalogueError, match="letters, digits"):
        catalogue.add(file, "two words")
    catalogue.add(file, "taken")
    other = tmp_path / "other.gguf"
    other.write_bytes(tiny_gguf(general__name="another"))
    with pytest.raises(CatalogueError, match="already called 'taken'"):
        catalogue.add(other, "taken")


def test_models_entered_at_once_are_all_kept(catalogue: LocalCatalogue, tmp_path: Path) -> None:
    files = [tmp_path / f"model-{at}.gguf" for at in range(40)]
    for file in files:
        file.write_bytes(tiny_gguf(general__name=file.stem))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(catalogue.add, files))
        digests = list(catalogue.models())
        assert len(digests) == len(files)
        list(threads.map(catalogue.remove, digests))
    assert catalogue.models() == {}


def test_a_change_that_never_ends_is_named(
    catalogue: LocalCatalogue, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peerllm.peer.catalogue._PATIENCE_SECONDS", 0.0)
    catalogue.add(file, "before")
    with (
        taken_lock(tmp_path / "data" / "models.lock"),
        pytest.raises(ConfigurationError, match=r"another program is changing .*models\.json"),
    ):
        catalogue.add(file, "after")
    assert [model.name for model in catalogue.models().values()] == ["before"]


def test_an_altered_file_is_noticed_whatever_its_times_say(
    catalogue: LocalCatalogue, file: Path
) -> None:
    digest, _ = catalogue.add(file)
    assert catalogue.verify(digest)
    status = file.stat()
    file.write_bytes(tiny_gguf()[:-1] + b"!")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not catalogue.verify(digest)
    file.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        catalogue.verify(digest)


def test_only_models_are_entered(catalogue: LocalCatalogue, tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("no model")
    with pytest.raises(ModelError):
        catalogue.add(path)
    assert catalogue.models() == {}


def test_a_model_to_serve_is_a_path_or_a_name(
    catalogue: LocalCatalogue, file: Path, tmp_path: Path
) -> None:
    digest, _ = catalogue.add(file, "here")
    folder, absent = tmp_path / "data", tmp_path / "absent.gguf"
    # What was entered must still be that; a path is whatever lies there.
    entered = WantedModel("here", file, bytes.fromhex(digest))
    assert find_model(folder, "here") == find_model(folder, digest[:8]) == entered
    assert find_model(folder, str(absent)) == WantedModel("absent", absent)
    with pytest.raises(CatalogueError):
        find_model(folder, "absent")
    # Names that no file can have.
    assert find_model(folder, "/" + "y" * 4000).path.name == "y" * 4000
    with pytest.raises(CatalogueError):
        find_model(folder, "y" * 4000)


def test_a_host_serves_the_embedded_model_or_those_named(
    catalogue: LocalCatalogue, file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    (embedded,) = find_models(folder, [])
    assert (embedded.name, embedded.digest) == (EMBEDDED_MODEL.name, EMBEDDED_MODEL.digest)
    catalogue.add(file, "here")
    found = find_models(folder, [EMBEDDED_MODEL.name, "here", "here"])
    assert [model.name for model in found] == [EMBEDDED_MODEL.name, "here"]
    with pytest.raises(CatalogueError, match="two models are called 'twin'"):
        find_models(folder, [str(tmp_path / "twin.gguf"), str(tmp_path / "b" / "twin.gguf")])


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"version": 2}', b'{"models": {"x": 1}}'])
def test_a_damaged_catalogue_is_not_overwritten(
    catalogue: LocalCatalogue, file: Path, tmp_path: Path, damage: bytes
) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "models.json"
    path.write_bytes(damage)
    with pytest.raises(ConfigurationError, match=r"models.json cannot be read"):
        catalogue.add(file)
    assert path.read_bytes() == damage
