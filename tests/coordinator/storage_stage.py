"""A database with one customer, and what the tests of its parts write into it."""

from peerllm.coordinator.accounts import SignedReceipt
from peerllm.coordinator.ledger import Leg, Reserved
from peerllm.coordinator.settlement import Settlement
from peerllm.coordinator.storage_file import StorageFile

ADA = "customers/ada"
PAID = Settlement(
    charge=1_000,
    host_share=950,
    margin=50,
    legs=(Leg("hosts/h1", 700), Leg("hosts/h2", 250), Leg("network/margin", 50)),
)
FREE = Settlement(charge=0, host_share=0, margin=0, legs=())


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


def receipt(number: int, host: str = "h1") -> SignedReceipt:
    return SignedReceipt(host, bytes([number]) * 16, b"signed bytes")


def reserve(storage: StorageFile, reservation_id: str, amount: int = 1_000) -> None:
    outcome = storage.reserve(reservation_id, ADA, amount, key_id=None)
    assert isinstance(outcome, Reserved)
