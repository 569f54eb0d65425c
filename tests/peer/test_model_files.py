import errno
import os
from pathlib import Path

import msgspec
import pytest

from peerllm.peer import measurements
from peerllm.peer.benchmark import BenchmarkError, build
from peerllm.peer.catalogue import LocalCatalogue, WantedModel
from peerllm.peer.configuration import UNMEASURED_SLOTS
from peerllm.peer.engine import default_threads
from peerllm.peer.errors import ModelError
from peerllm.peer.gguf import read_shape
from peerllm.peer.measurements import Measurement, Measurements
from peerllm.peer.model_files import DiskModelFiles
from peerllm.peer.models import ModelFile
from peerllm.peer.tuning import hardware
from tests.peer.gguf_files import tiny_gguf

TEMPLATE = {"tokenizer__chat_template": "{{ messages }}"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_gguf(**TEMPLATE))
    return path


@pytest.fixture
def disk(tmp_path: Path) -> DiskModelFiles:
    return DiskModelFiles(
        tmp_path, tmp_path / "digests.json", slots=3, context_tokens=256, threads=5
    )


async def test_a_whole_file_is_what_its_engine_is_told(
    disk: DiskModelFiles, path: Path, tmp_path: Path
) -> None:
    known = await disk.read(WantedModel("mine", path))
    settings = known.settings
    assert (settings.model.name, settings.model.path, settings.slots) == ("mine", path, 3)
    assert settings.threads == 5
    assert known.sign == await disk.sign(path)
    # Its file says that it was trained on 128 tokens: no more are kept.
    assert known.need.cache == 3 * 128 * read_shape(path).cache_bytes_per_token
    digest, _ = LocalCatalogue(tmp_path).add(path)
    assert known.digest.hex() == digest


async def test_what_the_owner_left_open_is_measured_once_for_a_model_build_and_machine(
    path: Path, tmp_path: Path
) -> None:
    asked: list[tuple[int, int]] = []
    told: list[str] = []
    failing = False

    async def measure(
        model: ModelFile, *, slots: int, threads: int, digest_cache: Path
    ) -> Measurement:
        asked.append((slots, threads))
        if failing:
            raise BenchmarkError("too slow")
        return Measurement(
            threads=7,
            slots=slots or 8,
            prefill_milli=1,
            decode_milli=1,
            decode_all_milli=1,
            build=build(),
            hardware=hardware(),
        )

    def disk(folder: str, slots: int, threads: int) -> DiskModelFiles:
        data = tmp_path / folder
        data.mkdir(exist_ok=True)
        return DiskModelFiles(
            data, data / "digests.json", slots, 256, threads, told.append, measure
        )

    wanted = WantedModel("mine", path)
    decided = (await disk("a", 3, 5).read(wanted)).settings
    assert (decided.slots, decided.threads, asked, told) == (3, 5, [], [])
    for slots, threads, got in ((0, 0, (8, 7)), (0, 0, (8, 7)), (2, 0, (2, 7)), (0, 3, (8, 3))):
        settings = (await disk("a", slots, threads).read(wanted)).settings
        assert (settings.slots, settings.threads) == got
    assert (asked, told) == ([(0, 0)], ["mine"])
    # A figure of another machine is not believed.
    other = Measurements(tmp_path / "a")
    known = other.of(settings.model.digest)
    assert known
    other.remember(settings.model.digest, msgspec.structs.replace(known, hardware="another"))
    await disk("a", 0, 0).read(wanted)
    assert len(asked) == 2
    # What cannot be measured is served as before anything was known.
    failing = True
    settings = (await disk("b", 0, 0).read(wanted)).settings
    assert (settings.slots, settings.threads) == (UNMEASURED_SLOTS, default_threads())


async def test_figures_that_a_full_disk_does_not_take_are_done_without(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measure(
        model: ModelFile, *, slots: int, threads: int, digest_cache: Path
    ) -> Measurement:
        return Measurement(
            threads=7,
            slots=8,
            prefill_milli=1,
            decode_milli=1,
            decode_all_milli=1,
            build=build(),
            hardware=hardware(),
        )

    def full(_path: Path, _value: msgspec.Struct) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(measurements, "write_state", full)
    disk = DiskModelFiles(tmp_path, tmp_path / "digests.json", 0, 256, measure=measure)
    settings = (await disk.read(WantedModel("mine", path))).settings
    assert settings.slots == UNMEASURED_SLOTS


async def test_a_file_s_sign_changes_with_it(disk: DiskModelFiles, path: Path) -> None:
    before = await disk.sign(path)
    with path.open("ab") as file:
        file.write(b"x")
    after = await disk.sign(path)
    assert before
    assert after
    assert (before.inode, before.size) != (after.inode, after.size)
    assert before.inode == after.inode
    path.unlink()
    assert await disk.sign(path) is None


async def test_what_cannot_be_served_is_one_sentence(disk: DiskModelFiles, tmp_path: Path) -> None:
    plain, pipe, folder = (tmp_path / name for name in ("plain.gguf", "pipe", "folder"))
    plain.write_bytes(tiny_gguf())
    os.mkfifo(pipe)
    folder.mkdir()
    for path, digest, said in [
        (plain, None, "carries no chat template"),
        (plain, bytes(32), "is not the expected model"),
        (pipe, None, "pipe is not a file"),
        (folder, None, "folder is not a file"),
        (tmp_path / "absent", None, "No such file"),
        (tmp_path / ("y" * 4000), None, "File name too long"),
        (tmp_path / "no\0name", None, "no file has such a name"),
    ]:
        with pytest.raises(ModelError, match=said) as caught:
            await disk.read(WantedModel("mine", path, digest))
        assert "\n" not in str(caught.value)


async def test_damaged_measurements_cost_the_model_and_not_the_host(
    disk: DiskModelFiles, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "measurements.json").write_text("{")
    with pytest.raises(ModelError, match=r"measurements.json cannot be read .*: correct it"):
        await disk.read(WantedModel("mine", path))
