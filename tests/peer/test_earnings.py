from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from peerllm.crypto.identity import PEER_ID_CHARACTERS
from peerllm.crypto.receipt import Receipt
from peerllm.peer.earnings import (
    KEPT_ROWS,
    DayOfWork,
    Earnings,
    EarningsBook,
    read_earnings,
    with_receipt,
)
from peerllm.peer.errors import ConfigurationError
from peerllm.peer.files import write_state

DAY_US = 86_400_000_000


def receipt(day: int = 0, model: bytes = b"m" * 32, tokens: int = 5) -> Receipt:
    issued_at_us = 1_700_000_000_000_000 + day * DAY_US
    return Receipt(
        dispatch_id=b"d" * 16,
        host="host",
        coordinator="coordinator",
        nonce=b"n" * 16,
        model_digest=model,
        prompt_tokens=10,
        completion_tokens=tokens,
        first_token_us=1,
        duration_us=2,
        outcome="complete",
        issued_at_us=issued_at_us,
        expires_at_us=issued_at_us + 1,
    )


def test_receipts_are_summed_by_day_and_model() -> None:
    earnings = Earnings()
    for one in (receipt(), receipt(tokens=7), receipt(1), receipt(1, b"x" * 32)):
        earnings = with_receipt(earnings, one)
    assert [(row.day, row.receipts, row.completion_tokens) for row in earnings.days] == [
        ("2023-11-14", 2, 12),
        ("2023-11-15", 1, 5),
        ("2023-11-15", 1, 5),
    ]
    assert earnings.days[0].prompt_tokens == 20


def test_a_year_is_kept() -> None:
    earnings = Earnings()
    for day in range(400):
        earnings = with_receipt(earnings, receipt(day))
    assert len(earnings.days) == 366
    assert earnings.days[-1].day == "2024-12-17"


LARGEST = 2**63 - 1


def day_of_work(day: str, model: int, coordinator: str = "c" * PEER_ID_CHARACTERS) -> DayOfWork:
    return DayOfWork(
        day=day, coordinator=coordinator, model_digest=f"{model:064x}",
        receipts=LARGEST, prompt_tokens=LARGEST - 10, completion_tokens=LARGEST - 5,
    )  # fmt: skip


@pytest.mark.parametrize(
    "rows",
    [
        [day_of_work(f"2023-{n % 12 + 1:02}-02", n) for n in range(KEPT_ROWS)],
        [day_of_work("2023-11-14", n) for n in range(KEPT_ROWS)],
    ],
    ids=["many rows a day", "one day"],
)
def test_a_full_count_can_still_be_read(rows: list[DayOfWork], tmp_path: Path) -> None:
    rows = sorted(rows, key=lambda row: row.day)
    book = EarningsBook(tmp_path / "earnings.json")
    book.earnings = Earnings(days=rows)
    book.count(receipt())
    assert len(book.earnings.days) <= KEPT_ROWS
    book.write()
    assert read_earnings(tmp_path / "earnings.json") == book.earnings


def test_the_oldest_days_go_first_and_whole() -> None:
    rows = [day_of_work(f"2023-{n // 300 + 1:02}-01", n) for n in range(KEPT_ROWS)]
    kept = with_receipt(Earnings(days=rows), receipt()).days
    assert kept[:-1] == rows[300:]
    assert kept[-1].receipts == 1


def test_a_count_of_an_earlier_release_is_cut_and_not_refused(tmp_path: Path) -> None:
    path = tmp_path / "earnings.json"
    rows = [day_of_work(f"20{n // 360 + 10}-{n // 30 % 12 + 1:02}-01", n) for n in range(9000)]
    write_state(path, Earnings(days=rows))
    assert path.stat().st_size > 2**20
    assert EarningsBook(path).earnings.days == rows[-KEPT_ROWS:]


async def test_the_count_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "earnings.json"
    book = EarningsBook(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(book.run)
        book.count(receipt())
        with trio.fail_after(10):
            while read_earnings(path) != book.earnings:
                await trio.sleep(0.01)
        book.count(receipt())
        nursery.cancel_scope.cancel()
    assert EarningsBook(path).earnings.days[0].receipts == 2


async def test_a_full_disk_costs_the_count_and_not_the_work(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "earnings.json"
    book = EarningsBook(path)
    path.mkdir()
    book.count(receipt())
    book.write()
    path.rmdir()
    book.write()
    assert read_earnings(path).days[0].receipts == 1


def test_a_damaged_count_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "earnings.json"
    path.write_text("{")
    with pytest.raises(ConfigurationError):
        EarningsBook(path)
