"""Customers' accounts and their keys in the database."""

import secrets
from collections.abc import Callable

from peerllm.coordinator import accounts, ledger
from peerllm.coordinator.accounts import (
    ApiKey,
    CustomerCreated,
    CustomerExists,
    IssuedKey,
    KeyExpired,
    KeyRevoked,
)
from peerllm.coordinator.errors import LedgerError
from peerllm.coordinator.storage_connection import StorageConnection

KeyOutcome = ApiKey | KeyExpired | KeyRevoked | None


class CustomerStorage(StorageConnection):
    """The customers' part of `StorageFile`."""

    def create_customer(self, name: str) -> CustomerCreated | CustomerExists:
        """Open an account `customers/<name>`; raises NameRefusedError."""
        account = ledger.customer_account(accounts.check_customer_name(name))
        created = self._write(lambda: self._tables.open_account(account))
        return CustomerCreated(account) if created else CustomerExists(account)

    def set_price_tier(self, account: str, tier: str) -> None:
        """Put an account into a tier of the tariff, from its next request on."""
        accounts.check_price_tier(tier)

        def write() -> None:
            self._tables.require_account(account)
            self._tables.execute(
                "UPDATE accounts SET price_tier = ? WHERE account = ?", tier, account
            )

        self._write(write)

    def customers(self) -> tuple[str, ...]:
        """All customers' accounts, by name."""
        rows = self._read(
            lambda: self._tables.rows(
                "SELECT account FROM accounts WHERE account GLOB ? ORDER BY account",
                ledger.CUSTOMER_PREFIX + "*",
            )
        )
        return tuple(account for (account,) in rows)

    def create_api_key(
        self,
        account: str,
        name: str,
        *,
        budget: int | None = None,
        expires_at_us: int | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> IssuedKey:
        """Issue a key; only its digest is kept. `budget` limits what it may ever spend."""
        accounts.check_label(name, "a key's name")
        if budget is not None:
            ledger.check_amount(budget, "a budget")
        plain = accounts.new_key(random)
        digest = accounts.key_digest(plain)
        if digest is None:
            raise LedgerError("the random source gave the wrong number of bytes for a key")
        key = ApiKey(
            key_id=accounts.key_id_of(digest),
            account=account,
            name=name,
            created_at_us=self._clock(),
            expires_at_us=expires_at_us,
            revoked_at_us=None,
            budget=budget,
            spent=0,
        )

        def write() -> None:
            self._tables.require_account(account)
            self._tables.insert_key(key, digest)

        self._write(write)
        return IssuedKey(key, plain)

    def revoke_api_key(self, key_id: str) -> KeyRevoked | None:
        """Withdraw a key at once and for good; None if there is no such key."""

        def write() -> KeyRevoked | None:
            self._tables.execute(
                "UPDATE api_keys SET revoked_at_us = ? WHERE key_id = ? AND revoked_at_us IS NULL",
                self._clock(),
                key_id,
            )
            key = self._tables.key(key_id)
            if key is None or key.revoked_at_us is None:
                return None
            return KeyRevoked(key_id, key.revoked_at_us)

        return self._write(write)

    def find_api_key(self, plain: str) -> KeyOutcome:
        """Whom a presented key belongs to; None for one that was never issued."""
        digest = accounts.key_digest(plain)
        if digest is None:
            return None
        key = self._read(lambda: self._tables.key_by_digest(digest))
        return None if key is None else accounts.key_state(key, self._clock())

    def api_keys(self, account: str) -> tuple[ApiKey, ...]:
        """An account's keys, oldest first, the revoked and expired ones too."""
        return self._read(lambda: self._tables.keys_of(account))
