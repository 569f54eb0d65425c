import hashlib
from pathlib import Path

import pytest

from peerllm.coordinator.accounts import CustomerCreated, CustomerExists, KeyExpired, KeyRevoked
from peerllm.coordinator.errors import LedgerError, NameRefusedError, UnknownAccountError
from peerllm.coordinator.ledger import BudgetExceeded, Reserved
from peerllm.coordinator.storage_file import StorageFile
from tests.coordinator.storage_stage import ADA, PAID, Clock


def test_customers_have_one_account_per_name(storage: StorageFile) -> None:
    assert storage.create_customer("bob") == CustomerCreated("customers/bob")
    assert storage.create_customer("bob") == CustomerExists("customers/bob")
    assert storage.customers() == (ADA, "customers/bob")
    for name in ("", "Bob", "a/b", "../x", "a" * 64, "a\n"):
        with pytest.raises(NameRefusedError):
            storage.create_customer(name)


def test_a_key_is_found_by_its_digest_and_stored_nowhere(
    storage: StorageFile, path: Path, clock: Clock
) -> None:
    issued = storage.create_api_key(ADA, "laptop", random=lambda size: b"\xfb" * size)
    assert issued.plain.startswith("pk-")
    assert len(issued.plain) == 46
    assert issued.plain not in repr(issued)
    assert storage.find_api_key(issued.plain) == issued.key
    assert storage.api_keys(ADA) == (issued.key,)
    assert storage.find_api_key("pk-" + "A" * 43) is None
    assert storage.find_api_key("anything else") is None
    storage.close()
    stored = path.read_bytes()
    assert issued.plain.encode()[3:] not in stored
    assert b"\xfb" * 32 not in stored
    assert hashlib.sha256(issued.plain.encode()).digest() in stored


def test_two_keys_differ(storage: StorageFile) -> None:
    first, second = storage.create_api_key(ADA, "a"), storage.create_api_key(ADA, "b")
    assert first.plain != second.plain
    with pytest.raises(LedgerError, match="random"):
        storage.create_api_key(ADA, "c", random=lambda _: b"short")


def test_expired_and_revoked_keys_buy_nothing(storage: StorageFile, clock: Clock) -> None:
    short = storage.create_api_key(ADA, "short", expires_at_us=clock.now + 1)
    lasting = storage.create_api_key(ADA, "lasting")
    clock.now += 1
    expired = KeyExpired(short.key.key_id, clock.now)
    assert storage.find_api_key(short.plain) == expired
    assert storage.reserve("r1", ADA, 1, key_id=short.key.key_id) == expired
    revoked = KeyRevoked(lasting.key.key_id, clock.now)
    assert storage.revoke_api_key(lasting.key.key_id) == revoked
    clock.now += 5
    assert storage.revoke_api_key(lasting.key.key_id) == revoked
    assert storage.find_api_key(lasting.plain) == revoked
    assert storage.reserve("r1", ADA, 1, key_id=lasting.key.key_id) == revoked
    assert storage.revoke_api_key("unknown") is None


def test_a_keys_budget_holds_over_its_life(storage: StorageFile) -> None:
    key_id = storage.create_api_key(ADA, "tight", budget=2_500).key.key_id
    assert isinstance(storage.reserve("r1", ADA, 2_000, key_id=key_id), Reserved)
    assert storage.reserve("r2", ADA, 501, key_id=key_id) == BudgetExceeded(500, 501)
    storage.post("r1", PAID)
    assert storage.reserve("r2", ADA, 1_501, key_id=key_id) == BudgetExceeded(1_500, 1_501)
    assert isinstance(storage.reserve("r2", ADA, 1_500, key_id=key_id), Reserved)
    storage.void("r2")
    (key,) = storage.api_keys(ADA)
    assert (key.spent, key.budget) == (1_000, 2_500)
    assert storage.ledger_check().balanced


def test_a_key_spends_its_own_account_only(storage: StorageFile) -> None:
    storage.create_customer("bob")
    bobs = storage.create_api_key("customers/bob", "laptop").key.key_id
    with pytest.raises(UnknownAccountError):
        storage.reserve("r1", ADA, 1, key_id=bobs)
