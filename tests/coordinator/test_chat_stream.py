from pathlib import Path
from typing import Any

import pytest
import trio
from toy_house import ANSWER, Reply, states, toy_house, unpaid
from trio.testing import MockClock, wait_all_tasks_blocked

from peerllm.coordinator.errors import StorageError


@pytest.mark.parametrize("pieces", [0, 1, 2, 3])
async def test_a_customer_who_leaves_costs_nothing_and_frees_the_hosts(
    tmp_path: Path, pieces: int
) -> None:
    async with toy_house(tmp_path) as toy:
        hosts = [toy.host(name, text="geese " * 3000, pace=0.01) for name in ("a", "b")]
        reply = await toy.chat(
            stream=True, max_tokens=3000, leaves=lambda reply: len(reply.pieces) >= pieces
        )
        assert not reply.complete
        await unpaid(toy, ["voided"] if pieces or await states(toy) else [])
        for host in hosts:
            assert len(host.cancelled) == len(host.tasks)
        assert b'outcome="disconnected"' in toy.house.metrics.text()


async def test_a_customer_who_reads_nothing_is_let_go(
    tmp_path: Path, patient_clock: MockClock
) -> None:
    async with toy_house(tmp_path) as toy:
        host = toy.host("a", text="geese " * 300)
        reply = await toy.chat(stream=True, max_tokens=300, reads=trio.sleep_forever)
        assert not reply.complete
        await unpaid(toy, ["voided"])
        assert host.cancelled or host.finished


async def test_leaving_while_the_answer_is_settled_pays_for_what_was_delivered(
    tmp_path: Path,
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        reply = await toy.chat(
            stream=True, leaves=lambda reply: ANSWER.split()[-1].encode() in reply.body
        )
        assert reply.text == ANSWER
        await toy.settle_down()
        assert (await states(toy)) in (["posted"], ["voided"])


async def test_a_plain_answer_is_handed_over_before_it_is_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        complete_when_read: list[bool] = []
        charged_after: list[list[bool]] = []
        post = toy.storage.post

        async def note_and_post(*arguments: Any) -> object:
            charged_after.append(list(complete_when_read))
            return await post(*arguments)

        def read(reply: Reply) -> bool:
            if reply.body:
                complete_when_read.append(reply.complete)
            return False

        monkeypatch.setattr(toy.storage, "post", note_and_post)
        reply = await toy.chat(leaves=read)
        assert reply.text == ANSWER
        assert charged_after == [[False]]
        assert reply.complete
        assert reply.headers["content-length"] == str(len(reply.body))
        assert await states(toy) == ["posted"]


async def test_leaving_before_a_plain_answer_is_handed_over_costs_nothing(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        reply = await toy.chat(leaves=lambda reply: reply.status == 200, reads=trio.sleep_forever)
        assert reply.body == b""
        await unpaid(toy, ["voided"])


async def test_leaving_with_a_plain_answer_in_hand_is_charged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")
        post, posting = toy.storage.post, trio.Event()

        async def leave_and_post(*arguments: Any) -> object:
            posting.set()
            await wait_all_tasks_blocked()
            return await post(*arguments)

        monkeypatch.setattr(toy.storage, "post", leave_and_post)
        reply = await toy.chat(left=posting)
        assert reply.text == ANSWER
        assert b'outcome="answered"' in toy.house.metrics.text()
        assert await states(toy) == ["posted"]


async def test_an_empty_stream_has_begun_before_it_is_charged(tmp_path: Path) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a", text="")
        reply = await toy.chat(
            stream=True, leaves=lambda reply: reply.starts == 1, reads=trio.sleep_forever
        )
        assert reply.starts == 1
        await unpaid(toy, ["voided"])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_ledger_that_fails_after_delivery_charges_nothing_and_answers_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    async with toy_house(tmp_path) as toy:
        toy.host("a")

        async def fail(*_: Any) -> None:
            raise StorageError("locked")

        monkeypatch.setattr(toy.storage, "post", fail)
        reply = await toy.chat(stream=stream)
        assert (reply.status, reply.starts, reply.complete) == (200, 1, True)
        if stream:
            assert reply.events[-2]["error"]["code"] == "internal_error"
        else:
            assert reply.text == ANSWER
        assert "StorageError" in toy.log.getvalue()
        await unpaid(toy, ["voided"])
