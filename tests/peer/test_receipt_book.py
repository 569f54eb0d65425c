import base64
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from peerllm.crypto.identity import Identity
from peerllm.crypto.receipt import Receipt, ReceiptRefused, read_receipt, sign_receipt
from peerllm.peer.errors import ConfigurationError
from peerllm.peer.receipt_book import KEPT_RECEIPTS, ReceiptBook, signed_bytes
from tests.peer.test_earnings import receipt

HOST = Identity.from_seed(b"h" * 32)


async def test_the_last_receipts_survive_a_restart_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "receipts.json"
    book = ReceiptBook(path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(book.run)
        for number in range(KEPT_RECEIPTS + 2):
            book.keep(b"%d" % number)
        await wait_all_tasks_blocked()
        book.keep(b"last")
        nursery.cancel_scope.cancel()
    found = ReceiptBook(path).receipts.receipts
    assert len(found) == KEPT_RECEIPTS
    assert [signed_bytes(text) for text in found[:2]] == [b"last", b"501"]


async def test_a_full_disk_costs_the_file_and_not_the_work(tmp_path: Path) -> None:
    path = tmp_path / "receipts.json"
    book = ReceiptBook(path)
    path.mkdir()
    book.keep(b"first")
    book.write()
    path.rmdir()
    book.write()
    assert ReceiptBook(path).receipts == book.receipts


@pytest.mark.parametrize("damage", ["{", '{"receipts": [1]}', "\xff"])
def test_a_damaged_file_is_not_overwritten(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "receipts.json"
    path.write_bytes(damage.encode("latin-1"))
    with pytest.raises(ConfigurationError):
        ReceiptBook(path)


def test_what_was_kept_is_proved_by_its_signature() -> None:
    raw = sign_receipt(HOST, mine := _of(HOST.peer_id))
    assert read_receipt(raw, host=HOST.peer_id) == mine
    other = Identity.from_seed(b"o" * 32)
    assert read_receipt(raw, host=other.peer_id) == ReceiptRefused("bad_signature")
    stolen = sign_receipt(other, mine)
    assert read_receipt(stolen, host=other.peer_id) == ReceiptRefused("wrong_host")
    altered = raw[:-1] + bytes([raw[-1] ^ 1])
    assert read_receipt(altered, host=HOST.peer_id) == ReceiptRefused("bad_signature")
    assert read_receipt(b"", host=HOST.peer_id) == ReceiptRefused("malformed")
    assert signed_bytes("not base64!") is None
    assert signed_bytes(base64.b64encode(raw).decode()) == raw


def _of(peer_id: str) -> Receipt:
    return msgspec.structs.replace(receipt(), host=peer_id, coordinator=HOST.peer_id)
