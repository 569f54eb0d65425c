import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from peerllm.charter.errors import (
    AlreadyFounded,
    AlteredLog,
    BadSignature,
    BusyLog,
    Malformed,
    MissingDocument,
    RolledBack,
)
from peerllm.charter.log import (
    LogKeys,
    create_log,
    log_key,
    open_log,
    prove_entry,
    verify_proof,
    write_entry,
)
from peerllm.charter.log_edge import RightEdge
from peerllm.charter.log_tiles import LogFiles, tile_name, tiles_of
from peerllm.charter.merkle import EMPTY_ROOT, merkle_root
from peerllm.crypto.identity import Identity
from tests.charter.log_stage import (
    OPERATOR,
    entries,
    expected_root,
    grown,
    no_waiting_for_the_disk,  # noqa: F401 - for every test here
    published_files,
)


def _append_and_publish(folder: Path, start: int) -> None:
    with open_log(folder) as log:
        log.append(entries(start, 1))
        log.publish(OPERATOR)


def test_a_new_log_is_empty_and_signed(tmp_path: Path) -> None:
    key = create_log(tmp_path / "log", "log.example/home", OPERATOR)
    assert log_key(tmp_path / "log") == key
    with open_log(tmp_path / "log") as log:
        assert log.published.checkpoint.root == EMPTY_ROOT
        assert log.size == 0
        assert log.publish(OPERATOR).checkpoint.size == 0


def test_a_log_is_not_made_over_another(tmp_path: Path) -> None:
    grown(tmp_path / "log", 3)
    with pytest.raises(AlreadyFounded, match="already holds a log"):
        create_log(tmp_path / "log", "other", Identity.generate())
    assert log_key(tmp_path / "log").name == "log.example/home"


@pytest.mark.parametrize(
    "steps",
    [(1,), (255, 1), (256,), (257,), (1, 254, 1, 1, 255, 1), (600, 1), (0, 5, 0)],
)
def test_every_size_has_the_root_of_its_entries(tmp_path: Path, steps: Sequence[int]) -> None:
    folder, size = grown(tmp_path / "log", *steps), sum(steps)
    with open_log(folder) as log:
        assert log.published.checkpoint.size == size
        assert log.published.checkpoint.root == expected_root(size)
    files = LogFiles(folder / "public", size)
    assert [files.entry(n) for n in range(size)] == [write_entry(e) for e in entries(0, size)]
    for index in {0, size // 2, size - 1}:
        keys = LogKeys(log_key(folder))
        proven = verify_proof(prove_entry(folder / "public", index, keys, 0), keys, 0)
        assert (proven.index, proven.entry) == (index, entries(index, 1)[0])
        assert files.find(write_entry(proven.entry)) == index
    assert files.find(b"{}") is None


def test_three_levels_of_tiles(tmp_path: Path) -> None:
    edge = RightEdge(LogFiles(tmp_path, 0), EMPTY_ROOT)
    leaves = [number.to_bytes(3) for number in range(70_000)]
    edge.add(leaves[:65_535])
    edge.add(leaves[65_535:])
    edge.finish()
    # The numbers that the specification gives for this size.
    tiles = list(tiles_of(edge.size))
    assert len([tile for tile in tiles if tile[0] == 0 and tile[2] == 256]) == 273
    assert [t for t in tiles if t[2] < 256] == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert all((tmp_path / tile_name(*tile)).exists() for tile in tiles)
    assert LogFiles(tmp_path, edge.size).root() == merkle_root(leaves)


def test_tiles_are_named_as_the_specification_names_them() -> None:
    assert tile_name(0, 1_234_067, 256) == "tile/0/x001/x234/067"
    assert tile_name(1, 17, 5) == "tile/1/017.p/5"
    assert tile_name("entries", 1_000, 256) == "tile/entries/x001/000"


def test_narrow_files_go_when_the_full_one_is_there(tmp_path: Path) -> None:
    folder = grown(tmp_path / "log", 3, 2)
    assert (folder / "public" / tile_name("entries", 0, 3)).exists()
    with open_log(folder) as log:
        log.append(entries(5, 255))
        log.publish(OPERATOR)
    assert sorted(published_files(folder / "public")) == [
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/4",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/4",
    ]
    # Who still has the old checkpoint reads the old tree from the full files.
    assert LogFiles(folder / "public", 5).root() == expected_root(5)


def test_what_is_appended_is_pending_until_published(tmp_path: Path) -> None:
    folder = grown(tmp_path / "log", 2)
    before = published_files(folder / "public")
    with open_log(folder) as log:
        assert log.append(entries(2, 2)) == range(2, 4)
    with open_log(folder) as log:
        assert log.append(entries(4, 1)) == range(4, 5)
        assert published_files(folder / "public") == before
        assert log.publish(OPERATOR).checkpoint.root == expected_root(5)
        assert log.append([]) == range(5, 5)


@pytest.mark.skipif(os.name != "posix", reason="needs inodes")
def test_what_is_confirmed_was_synced_with_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, synced = grown(tmp_path / "log", 2), set[int]()
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.add(os.fstat(descriptor).st_ino))
    with open_log(folder) as log:
        log.append(entries(2, 300))
        pending = folder / "pending"
        assert {path.stat().st_ino for path in (pending, *pending.iterdir())} <= synced
        log.publish(OPERATOR)
    everything = {path.stat().st_ino for path in (folder / "public", *folder.rglob("public/**/*"))}
    assert everything <= synced
    assert (folder / "last-signed").stat().st_ino in synced


def test_a_bad_entry_takes_the_whole_batch_down_with_it(tmp_path: Path) -> None:
    folder = grown(tmp_path / "log", 1)
    good = entries(1, 1)[0]
    bad = msgspec.structs.replace(good, at_us=-1)
    with open_log(folder) as log:
        with pytest.raises(Malformed, match="at_us"):
            log.append([good, bad])
        with pytest.raises(Malformed, match="at most 10000"):
            log.append([good] * 10_001)
        assert log.size == 1


def test_only_one_writes_at_a_time(tmp_path: Path) -> None:
    folder = grown(tmp_path / "log", 1)
    with open_log(folder), pytest.raises(BusyLog, match="another process is writing"):
        open_log(folder).__enter__()
    with open_log(folder) as log:
        assert log.size == 1


def test_anothers_key_publishes_nothing(tmp_path: Path) -> None:
    folder = grown(tmp_path / "log", 1)
    with open_log(folder) as log:
        log.append(entries(1, 1))
        before = published_files(folder)
        with pytest.raises(BadSignature, match="this key file is not that of"):
            log.publish(Identity.generate())
        assert published_files(folder) == before


@pytest.mark.parametrize("name", ["", "two words", "a+b", "x" * 129, "line\nbreak"])
def test_a_name_that_no_note_can_bear_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Malformed, match="a key's name"):
        create_log(tmp_path / "log", name, OPERATOR)


def test_an_empty_folder_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(MissingDocument, match="peerllm log init"), open_log(tmp_path):
        pass


@pytest.mark.parametrize(
    "name", ["tile/0/001.p/4", "tile/entries/001.p/4", "tile/1/000.p/1", "checkpoint"]
)
def test_nothing_is_built_on_altered_files(tmp_path: Path, name: str) -> None:
    folder = grown(tmp_path / "log", 260)
    path = folder / "public" / name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises((AlteredLog, BadSignature, Malformed)):
        _append_and_publish(folder, 260)
    assert not (folder / "public" / "tile/0/001.p/5").exists()


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "strange"])
def test_damaged_pending_entries_are_not_published(tmp_path: Path, damage: str) -> None:
    folder = grown(tmp_path / "log", 2)
    with open_log(folder) as log:
        log.append(entries(2, 1))
        log.append(entries(3, 1))
    first = min((folder / "pending").iterdir())
    raw = first.read_bytes()
    if damage == "flip":
        first.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    elif damage == "cut":
        first.write_bytes(raw[:-1])
    elif damage == "remove":
        first.unlink()
    else:
        (folder / "pending" / "notes.txt").write_text("mine")
    with pytest.raises(AlteredLog, match=r"back from a copy|move it away"), open_log(folder) as log:
        log.publish(OPERATOR)
    assert LogFiles(folder / "public", 2).root() == expected_root(2)


def test_a_half_written_batch_is_dropped_and_told(tmp_path: Path) -> None:
    folder = grown(tmp_path / "log", 2)
    (folder / "pending" / ".0000000000000002-1.0123456789abcdef").write_bytes(b"half")
    (folder / "pending" / ".DS_Store").write_bytes(b"not ours")
    with open_log(folder) as log:
        assert [sentence for sentence in log.told if "1 half-written file" in sentence]
        assert log.append(entries(2, 1)) == range(2, 3)
    with open_log(folder) as log:
        assert log.told == []


# For each place, a copy of the log and a process that stops dead, as in a crash, before its n-th
# rename of a file into place.
CRASHES = """
import itertools, os, shutil, signal, sys
from pathlib import Path
from peerllm.charter.log import open_log
from tests.charter.log_stage import OPERATOR, entries
rename, left = Path.replace, 0
def crashing(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
Path.replace = crashing
base = Path(sys.argv[1])
for left in itertools.count():
    folder = Path(shutil.copytree(base, base.with_name(f"crash-{left}")))
    child = os.fork()
    if not child:
        with open_log(folder) as log:
            log.append(entries(log.size, 255))
            log.append(entries(log.size, 1))
            log.publish(OPERATOR)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")
def test_after_a_crash_at_any_rename_nothing_confirmed_is_lost(tmp_path: Path) -> None:
    folder = grown(tmp_path / "log", 3)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", CRASHES, str(folder)], env=environment, check=True)
    crashed = list(tmp_path.glob("crash-*"))
    # Two batches, five tiles and bundles, two checkpoints; and one run without a crash.
    assert len(crashed) == 10
    sizes = set()
    for copy in crashed:
        with open_log(copy) as log:
            sizes.add(log.size)
            assert log.published.checkpoint.root == expected_root(log.published.checkpoint.size)
            log.append(entries(log.size, 1))
            size = log.size
            assert log.publish(OPERATOR).checkpoint.root == expected_root(size)
        assert not list(copy.rglob(".*"))
        with open_log(copy) as log:
            assert log.told == []
    assert sizes == {3, 258, 259}


def test_a_log_put_back_from_an_old_copy_is_not_forked(tmp_path: Path) -> None:
    folder = grown(tmp_path / "log", 2)
    old = published_files(folder / "public")
    with open_log(folder) as log:
        log.append(entries(2, 2))
        log.publish(OPERATOR)
    for name, raw in old.items():
        (folder / "public" / name).write_bytes(raw)
    with open_log(folder) as log:
        log.append(entries(7, 3))
        with pytest.raises(RolledBack, match="has signed 4 entries"):
            log.publish(OPERATOR)
    with open_log(folder) as log:
        assert log.published.checkpoint.size == 2
