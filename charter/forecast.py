"""A yearly budget from a usage profile, with the worst that the tariff's own rule allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from peerllm.charter.errors import Malformed
from peerllm.charter.spelling import MAXIMUM_DOCUMENT_BYTES
from peerllm.charter.tariff import TOKENS_PER_PRICE, TokenPrice
from peerllm.charter.tariff_rule import NOTICE_DAYS, QUARTER_DAYS, lowest_and_highest

YEAR_DAYS: Final = 365


class UsageProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a school uses a model: by person and day, tokens by request."""

    people: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
    requests_per_person_and_day: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    input_tokens_per_request: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    output_tokens_per_request: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    days_per_year: Annotated[int, msgspec.Meta(ge=1, le=YEAR_DAYS)]

    @property
    def requests_per_year(self) -> int:
        """All requests of all people."""
        return self.people * self.requests_per_person_and_day * self.days_per_year


@dataclass(frozen=True, slots=True)
class AnnouncedPrice:
    """A price that is signed and counts from some moment of the day `day`; today is 0."""

    day: int
    price: TokenPrice


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A year's cost in nano-USD: at today's price, and when every move is the largest allowed.

    `worst_prices` are the prices of the worst case by the day of the year from which they count.
    """

    requests: int
    at_todays_price: int
    worst_case: int
    worst_prices: tuple[tuple[int, TokenPrice], ...]


def read_profile(raw: bytes) -> UsageProfile:
    """Parse a usage profile; raises Malformed with the field that is wrong."""
    if len(raw) > MAXIMUM_DOCUMENT_BYTES:
        raise Malformed(f"the profile has {len(raw)} bytes, at most {MAXIMUM_DOCUMENT_BYTES}")
    try:
        return msgspec.json.decode(raw, type=UsageProfile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the usage profile: {error}") from error


def forecast(
    profile: UsageProfile, price: TokenPrice, announced: AnnouncedPrice | None = None
) -> Forecast:
    """Work out a year's cost.

    The worst case takes the days of use to be the dearest of the year, and every price to rise as
    soon and as far as the rule allows: after the notice, or after the announced price and another
    notice, at most 5% above every price of the quarter before.
    """
    days = _worst_days(price, announced)
    changes = [day for day in range(YEAR_DAYS) if day == 0 or days[day] != days[day - 1]]
    costs = sorted(request_cost(profile, found) for found in days)
    per_day = profile.people * profile.requests_per_person_and_day
    return Forecast(
        requests=profile.requests_per_year,
        at_todays_price=profile.requests_per_year * request_cost(profile, price),
        worst_case=per_day * sum(costs[-profile.days_per_year :]),
        worst_prices=tuple((day, days[day]) for day in changes),
    )


def request_cost(profile: UsageProfile, price: TokenPrice) -> int:
    """Return what one request costs, rounded as the coordinator rounds a charge."""
    return (
        profile.input_tokens_per_request * price.input_nano_usd_per_million
        + profile.output_tokens_per_request * price.output_nano_usd_per_million
    ) // TOKENS_PER_PRICE


def _worst_days(price: TokenPrice, announced: AnnouncedPrice | None) -> list[TokenPrice]:
    """The highest price that each day of the year can have."""
    starts = YEAR_DAYS if announced is None else announced.day
    # What is announced is not overtaken, and its successor takes a notice of its own.
    free = NOTICE_DAYS if announced is None else starts + NOTICE_DAYS
    days: list[TokenPrice] = []
    for day in range(YEAR_DAYS):
        if day >= free:
            quarter = days[max(0, day - QUARTER_DAYS) :]
            # Before today's first day today's price was in force.
            days.append(_risen([*quarter, price] if day < QUARTER_DAYS else quarter))
        elif announced is None or day < starts:
            days.append(price)
        else:
            days.append(announced.price if day > starts else _dearer(price, announced.price))
    return days


def _risen(quarter: Sequence[TokenPrice]) -> TokenPrice:
    """The most that may follow these prices."""
    return TokenPrice(
        input_nano_usd_per_million=lowest_and_highest(
            min(price.input_nano_usd_per_million for price in quarter)
        )[1],
        output_nano_usd_per_million=lowest_and_highest(
            min(price.output_nano_usd_per_million for price in quarter)
        )[1],
    )


def _dearer(one: TokenPrice, other: TokenPrice) -> TokenPrice:
    """The dearer of each side: on the day of a change both are in force."""
    return TokenPrice(
        input_nano_usd_per_million=max(
            one.input_nano_usd_per_million, other.input_nano_usd_per_million
        ),
        output_nano_usd_per_million=max(
            one.output_nano_usd_per_million, other.output_nano_usd_per_million
        ),
    )
