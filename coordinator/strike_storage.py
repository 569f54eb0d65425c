"""Strikes, and the receipts that are evidence of them, in the database."""

import secrets
from collections.abc import Callable

from peerllm.charter.promises import StrikePolicy
from peerllm.coordinator import accounts
from peerllm.coordinator.accounts import Strike, StrikeKnown, StrikeWithdrawn
from peerllm.coordinator.appeal_rules import AppealRefused, DismissalRefused
from peerllm.coordinator.storage_connection import StorageConnection


class StrikeStorage(StorageConnection):
    """The strikes' part of `StorageFile`."""

    def record_strike(
        self,
        peer_id: str,
        rule: str,
        *,
        dispatch_id: bytes | None = None,
        evidence_sha256: bytes | None = None,
        by: str | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Strike | StrikeKnown:
        """Note that a host broke the rule of this name; the same evidence counts once.

        `by`: who recorded it, who then cannot dismiss an appeal against it.
        """
        accounts.check_label(rule, "a rule's name")
        if by is not None:
            accounts.check_label(by, "the name of who recorded it")
        return self._write(
            lambda: self._strikes.record(peer_id, rule, dispatch_id, evidence_sha256, random, by)
        )

    def appeal_strike(
        self, number: int, policy: StrikePolicy, *, received_us: int | None = None
    ) -> Strike | AppealRefused | None:
        """Take down an appeal, which came in now or at `received_us`; None without the strike."""
        return self._write(lambda: self._strikes.appeal(number, policy, received_us))

    def dismiss_appeal(self, number: int, by: str) -> Strike | DismissalRefused | None:
        """Decide against an appeal in time, by somebody else; None if there is no such strike."""
        accounts.check_label(by, "the name of who decided")
        return self._write(lambda: self._strikes.dismiss(number, by))

    def write_due_appeals(self) -> int:
        """Write down that appeals which nobody decided in time have succeeded; how many."""
        return self._write(self._strikes.write_due_appeals)

    def withdraw_strike(self, number: int, reason: str) -> Strike | StrikeWithdrawn | None:
        """Let a strike count no more, for good; None if there is no strike of that number."""
        accounts.check_label(reason, "a reason")
        return self._write(lambda: self._strikes.withdraw(number, reason))

    def strikes(self, peer_id: str | None = None) -> tuple[Strike, ...]:
        """A host's strikes, or everybody's, as of now, oldest first; the withdrawn ones too."""
        return self._read(lambda: self._strikes.strikes(peer_id))

    def receipt(self, peer_id: str, dispatch_id: bytes) -> bytes | None:
        """The signed receipt that a host handed in for a dispatch, None if it did not."""
        return self._read(lambda: self._strikes.receipt(peer_id, dispatch_id))
