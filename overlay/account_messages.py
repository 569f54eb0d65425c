"""What a coordinator tells a host about the host's own account: money, standing and region.

Amounts are whole nano-USD, instants microseconds since the Unix epoch. All of it is the
coordinator's word; a host checks payouts by their proofs, and its work by its own receipts.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

# How much of each list is told; a statement has the rest.
MAXIMUM_RELEASES: Final = 12
MAXIMUM_PAYOUTS: Final = 12
MAXIMUM_DAYS: Final = 31
MAXIMUM_STRIKES: Final = 16
MAXIMUM_MONTHS: Final = 3

# What fits SQLite's and every other 64-bit integer.
NanoUsd = Annotated[int, Meta(ge=0, le=2**63 - 1)]
# Up to the year 2100: a host shows them as dates.
Date = Annotated[int, Meta(ge=0, le=4_102_444_800_000_000)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# Printable ASCII only: these strings reach terminals.
Word = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"\A[ -~]*\Z")]
Line = Annotated[str, Meta(max_length=500, pattern=r"\A[ -~]*\Z")]


class AccountAsked(msgspec.Struct, frozen=True, kw_only=True, tag="account_asked"):
    """What is my account? Only to a coordinator whose welcome says `tells_accounts`."""


class AppealMade(msgspec.Struct, frozen=True, kw_only=True, tag="appeal_made"):
    """This host appeals against a strike that it was told of. Answered like `AccountAsked`.

    Only to a coordinator whose welcome says `takes_appeals`. Whether the appeal was taken down is
    in the account.
    """

    strike: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What comes free from escrow on one UTC day; all of it has by `at_us`."""

    at_us: Date
    amount: NanoUsd


class PaidOut(msgspec.Struct, frozen=True, kw_only=True):
    """One payout, by the name of its batch."""

    batch: Word
    at_us: Date
    amount: NanoUsd


class EarnedDay(msgspec.Struct, frozen=True, kw_only=True):
    """What was earned on the UTC day that begins at `begins_us`."""

    begins_us: Date
    amount: NanoUsd


class StrikeTold(msgspec.Struct, frozen=True, kw_only=True):
    """A strike: the rule that was broken, when it was recorded, until when to appeal.

    `weight` is what it still counts for; 0 when it was withdrawn, is too old, or the charter no
    longer has the rule. An appeal that was taken down succeeds by itself at `decide_by_us`, unless
    it was dismissed before. `number` is the coordinator's own, 0 when it does not take appeals.
    """

    rule: Word
    at_us: Date
    appeal_until_us: Date
    weight: Count
    decide_by_us: Date | None = None
    dismissed_at_us: Date | None = None
    withdrawn_at_us: Date | None = None
    number: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0


class MonthTold(msgspec.Struct, frozen=True, kw_only=True):
    """A region's figures of the full UTC month that begins at `begins_us`."""

    begins_us: Date
    revenue: NanoUsd
    active_hosts: Count


class RegionTold(msgspec.Struct, frozen=True, kw_only=True):
    """The region of the host's seat and its path by the charter's thresholds.

    `status` as in its public record, empty while none is published. `months` are the last full
    ones, oldest first; empty while they are not known. `contact`: how its operators are reached.
    """

    name: Word
    status: Line
    contact: Line
    months: Annotated[list[MonthTold], Meta(max_length=MAXIMUM_MONTHS)]
    active_hosts_needed: Count
    federated_hosts_needed: Count
    federated_revenue_needed: NanoUsd


class Account(msgspec.Struct, frozen=True, kw_only=True, tag="account"):
    """A host's account as of `as_of_us`, by the coordinator's ledger and clock.

    `in_escrow` is part of `balance`; `releases` are its next dates, the soonest first, none once
    the host is `trusted`. It is trusted from `trusted_from_us` on (None before its first settled
    receipt) if no receipts are missing then. `days` are the last ones with earnings, oldest
    first; payouts and strikes are the latest, newest first. Strikes that still count suspend a
    host once they weigh `suspension_weight`. The next payout is due on the UTC day that begins at
    `payout_due_us`; one that this host should have had is overdue since `payout_overdue_since_us`.
    """

    as_of_us: Date
    earned: NanoUsd
    balance: NanoUsd
    in_escrow: NanoUsd
    releases: Annotated[list[Release], Meta(max_length=MAXIMUM_RELEASES)]
    trusted: bool
    trusted_from_us: Date | None
    receipts_missing: Count
    paid_out: NanoUsd
    payouts: Annotated[list[PaidOut], Meta(max_length=MAXIMUM_PAYOUTS)]
    minimum_payout: NanoUsd
    payout_every_days: Count
    days: Annotated[list[EarnedDay], Meta(max_length=MAXIMUM_DAYS)]
    strikes: Annotated[list[StrikeTold], Meta(max_length=MAXIMUM_STRIKES)]
    suspension_weight: Count
    region: RegionTold
    payout_due_us: Date | None = None
    payout_overdue_since_us: Date | None = None


class AccountNotTold(msgspec.Struct, frozen=True, kw_only=True, tag="account_not_told"):
    """The other answer to `AccountAsked`; ask again in some minutes."""

    reason: Literal["too_often", "unavailable"]
