import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from peerllm.overlay.messages import ModelHolders, ModelNotFound
from peerllm.overlay.model_pieces import PIECE_BYTES
from peerllm.peer.model_fetch import Fetched, ModelFetch
from peerllm.peer.model_fetch_files import FetchError, PartialModel
from tests.peer.exchange_stage import NAME, Stage, Ways, inline, model_file

CONTENT = model_file(5)

StageOf = Callable[..., Stage]


@pytest.fixture
def stage_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StageOf:
    monkeypatch.setattr(trio.to_thread, "run_sync", inline)
    return lambda *ways, content=CONTENT: Stage(tmp_path / "models", content, *ways)


@asynccontextmanager
async def fetching(stage: Stage, wanted: str = NAME) -> AsyncIterator[ModelFetch]:
    async with trio.open_nursery() as nursery:
        yield ModelFetch(wanted, stage.parts(nursery))
        nursery.cancel_scope.cancel()


async def fetched(stage: Stage) -> ModelFetch:
    async with fetching(stage) as fetch:
        assert await fetch.run() == Fetched(path_of(stage), NAME)
        assert path_of(stage).read_bytes() == stage.content
        assert fetch.done_bytes == len(stage.content)
    return fetch


async def failing(stage: Stage) -> FetchError:
    async with fetching(stage) as fetch:
        with pytest.raises(FetchError) as caught:
            await fetch.run()
    return caught.value


def path_of(stage: Stage) -> Path:
    return stage.directory / f"{stage.facts.digest.hex()}.gguf"


def files(stage: Stage) -> list[str]:
    return sorted(path.suffix for path in stage.directory.iterdir())


async def test_a_model_comes_from_several_holders_at_once(
    autojump_clock: MockClock, stage_of: StageOf
) -> None:
    stage = stage_of("honest", "honest", "honest")
    await fetched(stage)
    assert files(stage) == [".gguf"]
    assert path_of(stage).stat().st_mode & 0o777 == 0o600
    asked = [holder.asked for holder in stage.holders.values()]
    assert sorted(index for pieces in asked for index in pieces) == [0, 1, 2, 3, 4]
    assert all(asked)


@pytest.mark.parametrize(
    "bad", ["false_piece", "false_list", "vanishing", "silent", "slow", "unreachable", "denying"]
)
async def test_one_honest_holder_beside_any_other_is_enough(
    autojump_clock: MockClock, stage_of: StageOf, bad: Ways
) -> None:
    stage = stage_of(bad, "honest", bad)
    fetch = await fetched(stage)
    liars = [peer for peer, holder in stage.holders.items() if holder.ways == bad]
    # A list is asked of all at first, but checked only until there is a true one.
    assert fetch.liars <= (set(liars) if bad.startswith("false") else set())
    if bad == "false_piece":
        assert fetch.liars
        assert '"reason": "false_piece"' in stage.output.getvalue()


@pytest.mark.parametrize("bad", ["false_piece", "false_list"])
async def test_with_liars_only_it_ends_in_a_sentence_and_nobody_is_asked_twice(
    autojump_clock: MockClock, stage_of: StageOf, bad: Ways
) -> None:
    stage = stage_of(bad, bad)
    error = await failing(stage)
    assert error.reason == "no_holders"
    assert "all of them were out of reach, busy or wrong" in str(error)
    assert [holder.dialled for holder in stage.holders.values()] == [1, 1]


async def test_nobody_known_is_said(autojump_clock: MockClock, stage_of: StageOf) -> None:
    began = trio.current_time()
    error = await failing(stage_of())
    assert "none is known" in str(error)
    # It waits some minutes for one to appear, and no longer.
    assert 200 < trio.current_time() - began < 600


async def test_a_holder_that_appears_later_is_used(
    autojump_clock: MockClock, stage_of: StageOf
) -> None:
    stage = stage_of("unreachable")
    async with trio.open_nursery() as nursery:

        async def appear() -> None:
            await trio.sleep(60)
            stage.add("honest")

        nursery.start_soon(appear)
        await fetched(stage)


async def test_what_was_fetched_before_an_interruption_is_not_fetched_again(
    autojump_clock: MockClock,
    stage_of: StageOf,
) -> None:
    stage = stage_of("vanishing")
    (holder,) = stage.holders.values()
    async with fetching(stage) as fetch:
        with trio.move_on_after(3):
            await fetch.run()
    assert (holder.asked[:2], fetch.done_bytes) == ([0, 1], 2 * PIECE_BYTES)
    assert files(stage) == [".partial", ".pieces"]
    holder.asked.clear()
    holder.ways = "honest"
    await fetched(stage)
    assert holder.asked == [2, 3, 4]


@pytest.mark.parametrize("damage", ["piece", "list", "no_list", "longer", "shorter"])
async def test_what_an_interruption_left_is_not_believed(
    autojump_clock: MockClock, stage_of: StageOf, damage: str
) -> None:
    stage = stage_of("vanishing")
    (holder,) = stage.holders.values()
    async with fetching(stage) as fetch:
        with trio.move_on_after(3):
            await fetch.run()
    partial, pieces = path_of(stage).with_suffix(".partial"), path_of(stage).with_suffix(".pieces")
    match damage:
        case "piece":
            with partial.open("r+b") as file:
                file.write(b"!")
        case "list":
            pieces.write_bytes(bytes(len(pieces.read_bytes())))
        case "no_list":
            pieces.unlink()
        case "longer":
            partial.write_bytes(partial.read_bytes() + bytes(7 * PIECE_BYTES))
        case "shorter":
            os.truncate(partial, PIECE_BYTES + 1)
    holder.asked.clear()
    holder.ways = "honest"
    await fetched(stage)
    again = {"piece": [0, 2, 3, 4], "shorter": [1, 2, 3, 4]}
    assert holder.asked == again.get(damage, [2, 3, 4])


async def test_a_file_that_was_whole_when_all_ended_is_only_checked(
    autojump_clock: MockClock, stage_of: StageOf
) -> None:
    stage = stage_of("honest")
    stage.directory.mkdir()
    path_of(stage).write_bytes(CONTENT)
    async with fetching(stage) as fetch:
        await fetch.run()
    assert [holder.dialled for holder in stage.holders.values()] == [0]
    path_of(stage).write_bytes(CONTENT[:-1] + b"!")
    await fetched(stage)


async def test_a_model_of_the_local_catalogue_is_not_fetched(
    autojump_clock: MockClock, stage_of: StageOf
) -> None:
    stage = stage_of("honest")
    stage.local = stage.directory / "elsewhere.gguf"
    async with fetching(stage) as fetch:
        assert await fetch.run() == Fetched(stage.local, NAME)
    assert not stage.directory.exists()


async def test_a_full_disk_ends_it_in_a_sentence_and_loses_nothing(
    autojump_clock: MockClock, stage_of: StageOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = stage_of("honest")
    (holder,) = stage.holders.values()
    real = PartialModel._write

    def write(files: PartialModel, index: int, data: bytes) -> None:
        if index == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(files, index, data)

    monkeypatch.setattr(PartialModel, "_write", write)
    error = await failing(stage)
    assert error.reason == "no_space"
    assert "is full: make room and fetch again" in str(error)
    monkeypatch.setattr(PartialModel, "_write", real)
    holder.asked.clear()
    await fetched(stage)
    assert holder.asked == [3, 4]


async def test_too_little_room_is_said_before_anything_is_fetched(
    autojump_clock: MockClock, stage_of: StageOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = stage_of("honest")
    free = shutil.disk_usage("/")._replace(free=len(CONTENT) + 63 * 1024 * 1024)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: free)
    error = await failing(stage)
    assert (error.reason, "MB free" in str(error)) == ("no_space", True)
    assert [holder.asked for holder in stage.holders.values()] == [[]]


async def test_a_list_that_leads_elsewhere_is_the_coordinator_s_fault(
    autojump_clock: MockClock, stage_of: StageOf
) -> None:
    stage = stage_of("honest")
    named = stage.named()
    other = type(named)(
        wanted=NAME,
        name=NAME,
        digest=bytes(32),
        file_bytes=named.file_bytes,
        list_digest=named.list_digest,
        holders=named.holders,
    )
    stage.named = lambda: other  # type: ignore[method-assign]
    error = await failing(stage)
    assert error.reason == "digest_mismatch"
    assert files(stage) == []


async def test_what_is_no_model_is_not_kept(autojump_clock: MockClock, stage_of: StageOf) -> None:
    stage = stage_of("honest", content=b"x" * (PIECE_BYTES + 1))
    error = await failing(stage)
    assert error.reason == "not_a_model"
    assert files(stage) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "not_connected"),
        (ModelNotFound(wanted=NAME, reason="unknown_model"), "unknown_model"),
        (ModelNotFound(wanted=NAME, reason="too_often"), "too_often"),
    ],
)
async def test_without_an_answer_it_ends_at_once(
    autojump_clock: MockClock, stage_of: StageOf, answer: ModelNotFound | None, reason: str
) -> None:
    stage = stage_of("honest")
    stage.named = lambda: answer  # type: ignore[method-assign,assignment,return-value]
    began = trio.current_time()
    assert (await failing(stage)).reason == reason
    assert trio.current_time() == began


async def test_a_coordinator_that_is_away_for_a_while_ends_no_fetch(
    autojump_clock: MockClock, stage_of: StageOf
) -> None:
    stage = stage_of("vanishing")
    stage.answer = ModelNotFound(wanted=NAME, reason="too_often")
    (holder,) = stage.holders.values()
    holder.life = 100

    async def vanish_at_times() -> None:
        while True:
            holder.life = len(holder.asked) + 1
            await trio.sleep(4)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(vanish_at_times)
        await fetched(stage)
        nursery.cancel_scope.cancel()
    assert holder.dialled > 1


async def test_a_name_that_comes_to_mean_another_file_ends_the_fetch(
    autojump_clock: MockClock, stage_of: StageOf
) -> None:
    stage = stage_of("unreachable")
    named = stage.named()
    stage.answer = ModelHolders(
        wanted=NAME,
        name=NAME,
        digest=bytes(32),
        file_bytes=named.file_bytes,
        list_digest=named.list_digest,
        holders=[],
    )
    assert "names another file now" in str(await failing(stage))


async def test_what_is_asked_for_by_its_digest_is_no_other_file(
    autojump_clock: MockClock, stage_of: StageOf
) -> None:
    stage = stage_of("honest")
    async with fetching(stage, "AB" * 32) as fetch:
        with pytest.raises(FetchError, match="Nothing was fetched"):
            await fetch.run()
    assert not stage.directory.exists()
    async with fetching(stage, stage.facts.digest.hex().upper()) as fetch:
        assert await fetch.run() == Fetched(path_of(stage), NAME)
