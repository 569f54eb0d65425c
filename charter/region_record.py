"""The documents of a region: its record, which the stewards sign, and its own capacity.

A region's record tells how far its own governance goes and on which figures each decision rested.
A federated region signs its capacity itself. Neither document has room for a price or for a safety
rule: what is not named here is refused.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

import msgspec

from peerllm.charter.spelling import (
    BASIS_POINTS,
    YEAR_2100_US,
    ModelName,
    Sha256Hex,
    Version,
)

RegionName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]
# A calendar month in UTC.
Month = Annotated[str, msgspec.Meta(pattern=r"\A20[0-9]{2}-(0[1-9]|1[0-2])\Z")]
Moment = Annotated[int, msgspec.Meta(ge=0, le=YEAR_2100_US)]
Sentence = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
# 2**63 - 1 nano-USD are nine billion US dollars, and the most that a ledger's column holds.
NanoUsd = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

RegionStatus = Literal["local", "active", "federated", "suspended"]
RegionStep = Literal[
    "open", "activate", "federate", "give-notice", "withdraw-notice", "return", "suspend"
]

# A status, and apart from it the one of a federated region that fell below and was told so.
Standing = Literal["local", "active", "federated", "under-notice", "suspended"]

# Which step may be taken from which standing, and where it leads. None: no record yet.
STEPS: Final[Mapping[tuple[Standing | None, RegionStep], Standing]] = {
    (None, "open"): "local",
    ("local", "activate"): "active",
    ("active", "federate"): "federated",
    ("federated", "give-notice"): "under-notice",
    ("under-notice", "withdraw-notice"): "federated",
    ("under-notice", "return"): "active",
    ("local", "suspend"): "suspended",
    ("active", "suspend"): "suspended",
    ("federated", "suspend"): "suspended",
    ("under-notice", "suspend"): "suspended",
    ("suspended", "activate"): "active",
}


class MonthFigures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the ledger and the receipts say of a region in one full month.

    `operators` run the active hosts: how many they are is no threshold, but stewards should see
    whether a region hangs on one of them. `rows_sha256` is the digest of the rows behind the
    numbers, as `region check --rows` writes them, so that whoever holds the ledger can show that
    these rows are meant and no others.
    """

    month: Month
    revenue_nano_usd: NanoUsd
    active_hosts: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
    operators: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
    rows_sha256: Sha256Hex


class RegionDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a region's life, why it was taken and the months it rests on, oldest first."""

    step: RegionStep
    decided_at_us: Moment
    reason: Sentence
    # As many months as the charter may ask for.
    figures: Annotated[tuple[MonthFigures, ...], msgspec.Meta(max_length=120)] = ()


class ReturnNotice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A federated region fell below: from when on it may be returned unless it recovers."""

    given_at_us: Moment
    earliest_return_us: Moment


class RegionRecord(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="region/1",
):  # fmt: skip
    """How far a region governs itself, since when, and how that came about.

    `contact` is how its operators are reached. `delegated_keys` are the Ed25519 public keys, in
    hex, of which `delegated_threshold` must sign a federated region's capacity; any other region
    has none. `decisions` are in order of time and lead to `status`.
    """

    name: RegionName
    version: Version = 1
    status: RegionStatus
    since_us: Moment
    contact: Sentence
    notice: ReturnNotice | None = None
    delegated_keys: Annotated[tuple[Sha256Hex, ...], msgspec.Meta(max_length=20)] = ()
    delegated_threshold: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0
    decisions: Annotated[tuple[RegionDecision, ...], msgspec.Meta(min_length=1, max_length=500)]


class LocalCapacity(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="document",
    tag="region-capacity/1",
):  # fmt: skip
    """What a federated region decides by itself: seats per model and how busy they are to be."""

    region: RegionName
    version: Version = 1
    seats: Annotated[
        Mapping[ModelName, Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]],
        msgspec.Meta(max_length=10_000),
    ]
    target_utilisation_basis_points: Annotated[int, msgspec.Meta(ge=1, le=BASIS_POINTS)]


def region_faults(record: RegionRecord) -> Iterator[str]:
    """Yield a sentence for each rule that a region's record breaks by itself."""
    yield from _key_faults(record)
    yield from _history_faults(record)
    if not _is_readable(record.contact):
        yield "the contact is blank or holds characters that cannot be printed"
    for decision in record.decisions:
        if not _is_readable(decision.reason):
            yield f"the reason of the step {decision.step!r} is blank or cannot be printed"
        months = [figures.month for figures in decision.figures]
        if months != sorted(set(months)):
            yield f"the months of the step {decision.step!r} are not in order, each once"


def capacity_faults(capacity: LocalCapacity, record: RegionRecord | None = None) -> Iterator[str]:
    """Yield a sentence for each rule that a region's capacity breaks, given its record."""
    if not capacity.seats:
        yield f"region {capacity.region!r} names no model; give the seats of at least one"
    if record is None:
        return
    if capacity.region != record.name:
        yield f"this is the capacity of {capacity.region!r}, not of {record.name!r}"
    if record.status != "federated":
        yield (
            f"region {record.name!r} is {record.status}: only a federated region sets its own"
            " capacity"
        )


def _is_readable(text: str) -> bool:
    return bool(text.strip()) and text.isprintable()


def _key_faults(record: RegionRecord) -> Iterator[str]:
    keys = record.delegated_keys
    if record.status != "federated":
        if keys or record.delegated_threshold:
            yield f"only a federated region has delegated keys, and this one is {record.status}"
        if record.notice is not None:
            yield f"only a federated region can be under notice, and this one is {record.status}"
        return
    if not keys:
        yield "a federated region needs at least one delegated key"
    if len(set(keys)) != len(keys):
        yield "a delegated key is named twice"
    if not 1 <= record.delegated_threshold <= max(1, len(keys)):
        yield (
            f"{record.delegated_threshold} of {len(keys)} delegated keys cannot be a threshold;"
            f" take 1 to {len(keys)}"
        )


def status_of(standing: Standing) -> RegionStatus:
    """Return the status that a standing is part of."""
    return "federated" if standing == "under-notice" else standing


def standing_of(record: RegionRecord) -> Standing:
    """Return a record's status, told apart by whether it is under notice."""
    return record.status if record.notice is None else "under-notice"


def _history_faults(record: RegionRecord) -> Iterator[str]:
    standing: Standing | None = None
    status: RegionStatus | None = None
    since_us, standing_since_us = 0, 0
    for decision in record.decisions:
        after = STEPS.get((standing, decision.step))
        if after is None:
            yield f"a region that is {standing or 'new'} cannot take the step {decision.step!r}"
            return
        if decision.decided_at_us < standing_since_us:
            yield f"the step {decision.step!r} is dated before the one it follows"
        standing, standing_since_us = after, decision.decided_at_us
        if status_of(standing) != status:
            status, since_us = status_of(standing), standing_since_us
    if status != record.status or since_us != record.since_us:
        yield (
            f"the decisions lead to {status!r} since {since_us}, the record says"
            f" {record.status!r} since {record.since_us} (microseconds since 1970)"
        )
    told = standing_since_us if standing == "under-notice" else None
    given = None if record.notice is None else record.notice.given_at_us
    if given != told:
        yield f"the decisions say notice at {told}, the record says {given}"
